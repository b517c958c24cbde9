"""The site: its navigation, its generated parts and its links agree with the code and the pages."""

import argparse
import ast
import importlib
import inspect
import re
import sys
import tomllib
from pathlib import Path

import pytest

import vertebra
import vertebra_generation
import vertebra_text
import vertebra_text.plugin
from pages import page
from vertebra import errors, hookspecs
from vertebra._configuration import config_file
from vertebra._discovery.core_commands import MODULES
from vertebra.cli.controls.command import build_parser

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "docs" / "site"
READMES = [ROOT / "README.md", *ROOT.glob("*/*/README.md")]


@pytest.fixture(scope="module")
def site():
    """The modules that build the site."""
    sys.path.insert(0, str(TOOLS))
    names = ("generated", "links", "staging")
    yield argparse.Namespace(**{name: importlib.import_module(name) for name in names})
    sys.path.remove(str(TOOLS))
    for name in names:
        del sys.modules[name]


# === Pages ===


def entries(nav):
    """Yields the pages of a navigation."""
    for entry in nav:
        (value,) = entry.values()
        yield from [value] if isinstance(value, str) else entries(value)


def test_the_navigation_has_each_page_once(site):
    nav = tomllib.loads(site.staging.config())["project"]["nav"]
    assert sorted(entries(nav)) == sorted(site.staging.pages())


def test_links_lead_to_pages_of_the_site(site, tmp_path):
    name = "concepts/example.md"
    source = ROOT / "docs" / name
    text = "[s3](../../plugins/s3/README.md#x) [code](../../pyproject.toml) [out](https://example.org) [here](#y)\n"
    assert (
        site.staging.rendered("concepts/cache.md", ROOT / "docs/concepts/cache.md").count("../plugins/kaggle.md#") == 1
    )
    (tmp_path / "example.md").write_text(text)
    lines = [site.staging._link(match, name, source) for match in site.staging.LINK.finditer(text)]
    assert lines == ["[s3](../plugins/s3.md#x)", "code"]
    match = site.staging.LINK.search("[gone](../gone.md)")
    with pytest.raises(SystemExit, match=r"\.\./gone\.md leads nowhere"):
        site.staging._link(match, name, source)


def test_broken_links_and_files_of_other_servers_are_found(site, tmp_path):
    (tmp_path / "a").mkdir()
    body = '<h1 id="top">A</h1><a href="../#none">1</a><a href="../none/">2</a><a href="#top">3</a><a href="..">4</a>'
    body += '<script src="https://cdn.example.org/x.js"></script><a href="https://example.org">5</a>'
    (tmp_path / "a" / "index.html").write_text(body)
    (tmp_path / "index.html").write_text('<a href="a/#top">1</a><img src="a/missing.png">')
    assert site.links.check_rendered(tmp_path) == [
        "a/index.html loads https://cdn.example.org/x.js from another server",
        "a/index.html links to ../#none, an anchor that does not exist",
        "a/index.html links to ../none/, which does not exist",
        "index.html links to a/missing.png, which does not exist",
    ]


def test_pictures_have_a_title_and_no_colour_of_one_mode():
    for path in (ROOT / "docs").rglob("*.svg"):
        text = path.read_text(encoding="utf-8")
        assert "<title>" in text, path
        assert not re.search(r'<text[^>]*\bfill(="|: )(?!currentColor)', text), path


def test_a_picture_may_have_a_form_for_phones(site):
    home = site.staging.rendered("index.md", ROOT / "docs/index.md")
    assert [home.count(f'"picture {form}"') for form in ("picture-wide", "picture-narrow")] == [1, 1]
    assert home.count("<svg ") == 2
    tutorial = site.staging.rendered("tutorials/first-backbone.md", ROOT / "docs/tutorials/first-backbone.md")
    assert tutorial.count('<div class="picture">') == tutorial.count("<svg ") == 1


def test_every_marker_is_filled_in(site):
    for name, path in site.staging.pages().items():
        assert "\n<!-- generated" not in site.staging.rendered(name, path), name


# === Commands ===


def parsers(parser):
    """Yields each command without subcommands, by its own account."""
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in inner:
        for command in action.choices.values():
            yield from parsers(command)
    if not inner:
        yield parser


def test_every_option_of_every_command_is_listed(site):
    text = site.generated.options()
    sections = dict(re.findall(r"^## `(.+?)`\n(.+?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL))
    assert {name.split()[1] for name in sections} >= MODULES.keys()
    for parser in parsers(build_parser(plugins=True)):
        options = [option for action in parser._actions for option in action.option_strings]
        missing = {option for option in options if f"`{option}" not in sections[parser.prog]} - {"-h", "--help"}
        assert not missing, parser.prog


def test_every_command_and_subcommand_has_a_row():
    text = page("reference/command.md")
    for parser in parsers(build_parser()):
        assert f"`{parser.prog}" in text, parser.prog


COMMAND_LINE = re.compile(
    r"^\$ (?:[A-Z_]+=\S+ )*(vertebra [a-z].+?)(?: *#.*)?$|`(?:[A-Z_]+=\S+ )*(vertebra [a-z][^`]*)`", re.MULTILINE
)
NOT_PARSED = {"vertebra help", "vertebra new", "vertebra cache rm"}
"""The word that shows a command's help, a command of later releases, and one that users try."""


def test_the_commands_of_pages_exist():
    """Each command of a page, in a block or within a sentence, is one of the parser, with options of that command."""
    known = {parser.prog: parser for parser in parsers(build_parser(plugins=True))}
    groups = {prog.rpartition(" ")[0] for prog in known if prog.count(" ") == 2}
    for path in sorted([*(ROOT / "docs").rglob("*.md"), *READMES]):
        for match in COMMAND_LINE.finditer(path.read_text(encoding="utf-8")):
            words = (match[1] or match[2]).partition(" | ")[0].split()
            prog = " ".join(words[:3]) if " ".join(words[:2]) in groups else " ".join(words[:2])
            if prog in NOT_PARSED | groups:
                continue
            assert prog in known, f"{path.name}: {match[0]}"
            options = {option for action in known[prog]._actions for option in action.option_strings}
            used = {word.strip("[].,").partition("=")[0] for word in words if re.match(r"\[?--?[a-z]", word)}
            assert used <= options, f"{path.name}: {match[0]}"


# === Settings ===


def test_the_table_of_settings_is_that_of_the_code():
    rows = re.findall(r"^\| `VERTEBRA_(\w+)` \| (?:`(\w+) = (.+?)`)? ?\|", page("reference/settings.md"), re.MULTILINE)
    forms = dict.fromkeys(config_file.LISTS, "[...]") | dict.fromkeys(config_file.TEXTS, '"..."')
    forms |= dict.fromkeys(config_file.SWITCHES, "true") | dict.fromkeys(config_file.NUMBERS, "30")
    assert {name.lower(): form for name, key, form in rows if key} == forms
    assert all(name.lower() == key for name, key, _ in rows if key)
    assert [name for name, key, _ in rows if not key] == ["CONFIG"]


SERVICES = "HF|KAGGLE|AWS|VERTEBRA|SSL|HUGGING_FACE|GOOGLE|AZURE|MODELSCOPE|DOCKER|REGISTRY|REQUESTS|CURL|XDG"
VARIABLE = re.compile(rf"\b(?:{SERVICES})_[A-Z0-9_]+\b")


def test_the_variables_that_plugins_read_are_documented():
    settings = set(VARIABLE.findall(page("reference/settings.md")))
    for folder in ROOT.glob("plugins/*"):
        named = settings | set(VARIABLE.findall((folder / "README.md").read_text()))
        used = {name for path in (folder / "src").rglob("*.py") for name in constants(path) if VARIABLE.fullmatch(name)}
        assert used <= named, folder


def constants(path):
    """Returns the strings in a module."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


# === Errors ===


def test_every_error_has_a_way_out_and_a_section(site):
    text = page("reference/errors.md")
    table = text.partition("## Causes and remedies")[2].partition("## Classes")[0]
    first_cells = re.findall(r"^\| (`.+?) \|", table, flags=re.MULTILINE)
    listed = [name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)]
    classes = [kind.__name__ for kind in site.generated.error_classes()]
    assert sorted(listed) == sorted(classes)
    assert re.findall(r"^### `(\w+)`", site.generated.error_list(), flags=re.MULTILINE) == classes
    public = {name for name, value in vars(errors).items() if inspect.isclass(value)}
    assert set(classes) == public


def test_the_form_of_a_message_is_that_of_the_class(site):
    section = site.generated.error_list().partition("### `CertificateError`")[2].partition("###")[0]
    assert "Preset &lt;handle> cannot be certified: &lt;problem> &lt;remedy>" in section
    assert "Fields: `handle`, `problem`." in section


# === API ===


def directives(names):
    return [name for text in names for name in re.findall(r"^::: (\S+)$", text, flags=re.MULTILINE)]


def test_every_public_name_has_one_entry():
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs/reference/api").glob("*.md"))]
    found = directives(texts)
    wanted = {f"vertebra.{name}" for name in vertebra.__all__ if name != "errors"}  # these have a page of their own
    wanted |= {f"vertebra_generation.{name}" for name in vertebra_generation.__all__}
    wanted |= {f"vertebra_text.{name}" for name in vertebra_text.__all__} | {
        "vertebra.testing",
        "vertebra_text.testing",
    }
    wanted |= {"vertebra._api.CompiledModel"}  # which vertebra.compile returns
    assert sorted(found) == sorted(wanted)


def test_every_task_and_tokenizer_has_an_entry(site):
    """The classes that `vertebra-text` contributes are on the page of its API, by the names that users write."""
    text = site.staging.rendered("reference/api/text.md", ROOT / "docs/reference/api/text.md")
    headings = re.findall(r"^      heading: (\S+)$", text, flags=re.MULTILINE)
    tasks = [f"vertebra.models.{spec.name}" for spec in vertebra_text.plugin.vertebra_tasks()]
    tokenizers = [spec.name for spec in vertebra_text.plugin.vertebra_tokenizers()]
    assert sorted(headings) == sorted([*tasks, *tokenizers])
    assert {"vertebra.models.TextEmbedder", "vertebra.models.Reranker", "PretrainedTokenizer"} <= set(headings)


# === Plugins ===


def test_the_kinds_of_plugins_are_the_hooks():
    table = page("concepts/plugins.md").partition("## Kinds")[2].partition("## Discovery")[0]
    assert set(re.findall(r"`(vertebra_\w+)`", table)) == {
        name for name in vars(hookspecs) if name.startswith("vertebra_")
    }


def test_the_directory_lists_each_distribution_with_its_contributions(site):
    text = site.generated.plugins()
    for path in [ROOT / "registry", *ROOT.glob("plugins/*/"), *ROOT.glob("adapters/*/")]:
        if (path / "pyproject.toml").exists():
            assert f"](plugins/{path.name}.md) |" in text, path.name
    (bert,) = (line for line in text.splitlines() if "[`vertebra-bert`]" in line)
    assert "architectures: `BertBackbone`, `ElectraBackbone`" in bert
    assert "built-in presets" in bert


def test_the_extras_of_pages_exist():
    extras = tomllib.loads((ROOT / "registry/pyproject.toml").read_text())["project"]["optional-dependencies"]
    for path in [*(ROOT / "docs").rglob("*.md"), *READMES]:
        for names in re.findall(r"vertebra\[([\w,-]+)\]", path.read_text(encoding="utf-8")):
            assert set(names.split(",")) <= extras.keys(), f"{path.name}: {names}"
