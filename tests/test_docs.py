"""The documentation matches the code: hooks, names, commands, settings, links and examples."""

import ast
import inspect
import re
import sys
import types
from pathlib import Path

import pytest

import vertebra
from pages import pages
from vertebra import hookspecs
from vertebra._configuration import config_file
from vertebra._configuration.settings import Settings
from vertebra._discovery import catalog
from vertebra._discovery.core_commands import MODULES
from vertebra._discovery.plugins import PluginRegistry
from vertebra._resolve import candidates
from vertebra.errors import PresetRefusedError

ROOT = Path(__file__).parents[1]
DOCS = pages()
README = (ROOT / "README.md").read_text(encoding="utf-8")
CODE = re.compile(r"^ *```.*?^ *```$", flags=re.MULTILINE | re.DOTALL)


def test_every_hook_has_a_heading_with_its_arguments():
    headings = re.findall(r"^### `(.+)`$", DOCS["reference/hooks.md"], flags=re.MULTILINE)
    specs = {name: value for name, value in vars(hookspecs).items() if name.startswith("vertebra_")}
    assert headings == [f"{name}({', '.join(inspect.signature(spec).parameters)})" for name, spec in specs.items()]


def test_every_public_name_is_documented():
    text = "\n".join([README, *DOCS.values()])
    missing = [name for name in vertebra.__all__ if not re.search(rf"\b{name}\b", text)]
    assert not missing


def test_every_command_is_documented():
    assert all(f"`vertebra {command}" in DOCS["reference/command.md"] for command in MODULES)


def test_every_setting_is_documented():
    names = [*config_file.LISTS, *config_file.TEXTS, *config_file.SWITCHES]
    assert all(f"`VERTEBRA_{name.upper()}`" in DOCS["reference/settings.md"] for name in names)


def test_every_function_and_setting_of_lora_is_documented():
    settings = inspect.signature(vertebra.lora.enable).parameters.keys() - {"model", "rank", "target_names", "options"}
    assert all(f"`{setting}`" in DOCS["concepts/lora.md"] for setting in settings)
    assert all(f"`{name}`" in DOCS["concepts/lora.md"] for name in vertebra.lora.__all__)


def test_every_link_leads_somewhere():
    names = [path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *ROOT.glob("*/README.md"))]
    names += [path.relative_to(ROOT).as_posix() for path in ROOT.glob("*/*/README.md")]
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in names}
    texts |= {f"docs/{name}": text for name, text in DOCS.items()}
    for page, text in texts.items():
        for target, heading in re.findall(r"\]\(([^)#:\s]*)(?:#([^)]+))?\)", CODE.sub("", text)):
            file = (ROOT / page).parent.joinpath(target) if target else ROOT / page
            assert file.exists(), f"{page} links to {target}"
            in_api = heading.startswith("vertebra")  # anchors that mkdocstrings makes, which `make docs` checks
            assert not heading or in_api or heading in headings(file), f"{page} links to {target}#{heading}"


def test_the_folders_of_the_core_import_in_the_documented_order():
    rows = re.findall(r"^\| (`[\w/.]+`(?:, `[\w/.]+`)*) \|", DOCS["concepts/design.md"], flags=re.MULTILINE)
    rank = {name.removesuffix("/"): number for number, row in enumerate(rows) for name in re.findall(r"`(.+?)`", row)}
    source = Path(vertebra.__file__).parent
    names = {path.name for path in source.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert rank.keys() == names - {"__init__.py", "__pycache__"}
    templates = set((source / "cli" / "new" / "templates").rglob("*.py"))  # of other plugins
    for path in set(source.rglob("*.py")) - {source / "__init__.py"} - templates:
        own = rank[path.relative_to(source).parts[0]]
        for node in ast.walk(ast.parse(path.read_bytes())):
            for name in imported_from_core(node):
                assert rank.get(name, rank.get(f"{name}.py")) <= own, f"{path} imports {name}"


def imported_from_core(node: ast.AST) -> list[str]:
    """Returns the folders and modules of the core that an import statement names."""
    if not isinstance(node, ast.ImportFrom) or node.module.partition(".")[0] != "vertebra":
        return []
    return [f"{node.module}.{alias.name}".split(".")[1] for alias in node.names]


def headings(page: Path) -> set[str]:
    """Returns the anchors of the headings of a page."""
    texts = re.findall(r"^#+ (.+)$", CODE.sub("", page.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in texts}


def test_the_example_plugin_works(tmp_path, monkeypatch):
    source = re.search(
        r"`vertebra_team.py`\n\n```python\n(.+?)```", DOCS["how-to/write-a-plugin.md"], flags=re.DOTALL
    ).group(1)
    module = types.ModuleType("vertebra_team")
    monkeypatch.setitem(sys.modules, "vertebra_team", module)
    exec(compile(source, "vertebra_team.py", "exec"), module.__dict__)
    plugin = PluginRegistry(Settings(block=("*",))).add(module, "team")
    assert plugin.status == "loaded"
    (tmp_path / "nlp" / "bert").mkdir(parents=True)
    (tmp_path / "nlp" / "bert" / "config.json").write_text("{}")
    module.ROOT = tmp_path
    (team,) = plugin.implementations["vertebra_preset_sources"]()
    handle = vertebra.PresetHandle.parse("team://nlp/bert")
    assert [file.name for file in team.files(handle)] == ["config.json"]
    assert team.fetch(handle, "config.json").read_text() == "{}"


def example(name: str, page: str) -> types.ModuleType:
    """Returns the module with the code of a page."""
    source = re.search(rf"`{name}\.py`\n\n```python\n(.+?)```", DOCS[page], flags=re.DOTALL).group(1)
    module = types.ModuleType(name)
    exec(compile(source, f"{name}.py", "exec"), module.__dict__)
    return module


@pytest.fixture
def policies(monkeypatch):
    """Registers the plugins of docs/how-to/mirror.md, and no others."""
    registry = PluginRegistry(Settings(block=("*",)))
    for name in ("acme_mirror", "acme_allowed"):
        assert registry.add(example(name, "how-to/mirror.md"), name).status == "loaded"
    monkeypatch.setattr(candidates, "registry", lambda: registry)


COMMIT = "0123456789abcdef" * 2 + "01234567"


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("hf://google-bert/bert-base-uncased@main", "s3://acme-models/hf/google-bert/bert-base-uncased@main"),
        ("kaggle://keras/bert/keras/bert_base_en", "s3://acme-models/kaggle/keras/bert/keras/bert_base_en"),
        ("s3://acme-models/gpt2", "s3://acme-models/gpt2"),
        ("/data/models/bert", "file:///data/models/bert"),
        (f"hf://acme/bert@{COMMIT}", f"s3://acme-models/hf/acme/bert@{COMMIT}"),
        ("bert_base_en", "s3://acme-models/"),
    ],
)
def test_the_example_of_a_mirror_tries_the_bucket_first(policies, written, means):
    first, *others = candidates.candidate_handles(written)
    assert str(first).startswith(means)
    assert [handle.scheme for handle in others] in (
        [],
        ["hf"],
        ["kaggle"],
        ["s3", "kaggle", "hf"],
    )  # a built-in id also has its own handle, and a copy


@pytest.mark.parametrize("written", ["s3://others/gpt2", "file:///data/other", "hf://acme/x@main"])
def test_the_example_of_a_list_refuses_the_others(policies, written):
    with pytest.raises(PresetRefusedError, match="only s3://acme-models"):
        candidates.ask_policies(candidates.candidate_handles(written)[-1])


@pytest.fixture
def added():
    """Returns a function that adds the module of an example as a plugin for the test."""
    names = []

    def add(name, page):
        vertebra.add_plugin(example(name, page), name)
        names.append(name)

    yield add
    for name in names:
        vertebra.remove_plugin(name)


def test_the_example_of_a_preset_pack_adds_an_id(added):
    added("acme_presets", "how-to/write-a-plugin.md")
    preset = vertebra.models.BertBackbone.presets["acme_bert_small"]
    assert dict(preset)["s3_handle"] == "s3://acme-models/bert-small"
    assert [str(handle) for handle in candidates.candidate_handles("acme_bert_small")][:1] == [preset.handle]


def test_the_example_of_a_nested_format_reads_what_it_writes():
    source = re.search(
        r"in place of `identifier_field`:\n\n```python\n(.+?)```", DOCS["how-to/write-a-plugin.md"], flags=re.DOTALL
    )
    names = {"PresetFormat": vertebra.PresetFormat}
    exec(compile(source.group(1), "acme_format.py", "exec"), names)
    format = names["AcmeFormat"]()
    config = format.config("acme_bert", {"width": 768})
    assert config == {"acme": {"kind": "acme_bert"}, "network": {"width": 768}}
    assert (format.identifier(config), format.fields(config)) == ("acme_bert", {"width": 768})
    assert format.identifier({"acme": 1}) is None


def test_the_example_of_a_format_reads_what_it_writes(added):
    added("acme_format", "how-to/write-a-plugin.md")
    format = catalog.catalog(catalog.FORMATS).lookup("acme").value
    config = format.config("acme_bert", {"width": 768})
    assert config == {"architecture": "acme_bert", "width": 768}
    assert (format.identifier(config), format.identifier({"model_type": "bert"})) == ("acme_bert", None)


def test_the_example_declares_an_entry_point_that_the_core_reads():
    import tomllib

    text = re.search(r"`pyproject.toml`\n\n```toml\n(.+?)```", DOCS["how-to/write-a-plugin.md"], flags=re.DOTALL).group(
        1
    )
    points = tomllib.loads(text)["project"]["entry-points"]
    assert points["vertebra"] == {"team": "vertebra_team"}
    assert points["vertebra.api"] == {str(vertebra.API_VERSION): "vertebra_team"}
