"""`vertebra new` lists the kinds, and writes a project completely or not at all."""

import ast
import importlib.util
import io
import json
import re
import shutil
import subprocess
import sys
import tokenize
import tomllib
import types
import zipfile
from pathlib import Path

import pytest

import vertebra
from vertebra import hookimpl
from vertebra._configuration.settings import settings
from vertebra.cli import main
from vertebra.cli.controls.command import build_parser
from vertebra.cli.new.kinds import kinds
from vertebra.errors import PluginError
from vertebra.testing import MemorySource

from .conftest import PRESET, PROJECTS

ROOT = Path(__file__).parents[4]
LONGEST = "zoo-a-name-with-as-many-letters-as-can"
MOST_LINES_OF_A_SOURCE = 35


def files_of(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def refused(capsys):
    """Returns a function that runs the command with wrong arguments, and returns its message."""

    def run(*arguments):
        assert main(["new", *map(str, arguments)]) == 1
        return capsys.readouterr().err

    return run


# === Kinds ===


def test_without_arguments_the_kinds_are_listed(capsys):
    assert main(["new"]) == 0
    shown = capsys.readouterr().out
    assert all(re.search(rf"^{kind.name} +{re.escape(kind.help)}$", shown, flags=re.MULTILINE) for kind in kinds())
    assert main(["new", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"kind": kind.name, "help": kind.help} for kind in kinds()]


def test_there_is_a_project_of_each_kind_in_these_tests():
    assert {kind for kind, *_ in PROJECTS.values()} == {kind.name for kind in kinds()}


def test_a_mistyped_kind_is_answered_with_similar_ones(refused):
    assert "No kind of plugin is named 'achitecture'. Did you mean 'architecture'?" in refused("achitecture", "zoo-x")


def test_a_kind_needs_a_name(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["new", "task"])
    assert ended.value.code == 2
    assert "vertebra new task acme-task" in capsys.readouterr().err


def test_kinds_and_options_are_documented():
    page = (
        (ROOT / "docs" / "how-to" / "write-a-plugin.md")
        .read_text(encoding="utf-8")
        .partition("## Without a template")[0]
    )
    listed = re.findall(r"^\| \[`(\S+)`\]", page, flags=re.MULTILINE)
    assert sorted(listed) == [kind.name for kind in kinds()]
    (new,) = [action.choices["new"] for action in build_parser(["new"])._actions if action.choices]
    options = {option for action in new._actions for option in action.option_strings if option.startswith("--")}
    assert {option for option in options - {"--help"} if f"`{option}" not in page} == set()


# === Projects ===


def test_a_project_is_complete(projects):
    for name in PROJECTS:
        package = name.replace("-", "_")
        assert set(files_of(projects / name)) >= {
            *(".github/workflows/test.yml", ".gitignore", "README.md", "pyproject.toml"),
            *(f"src/{package}/__init__.py", f"src/{package}/py.typed", f"tests/test_{package}.py"),
        }


def test_nothing_of_the_template_is_left(projects):
    for path in projects.rglob("*"):
        text = path.read_bytes() if path.is_file() else b""
        assert not re.search(rb"example.?(plugin|name)|EXAMPLE_", text, flags=re.IGNORECASE), path
        assert "example" not in path.name


def test_metadata_names_the_plugin_and_the_versions_that_it_was_written_for(projects):
    for name, (kind, *_) in PROJECTS.items():
        project = tomllib.loads((projects / name / "pyproject.toml").read_text())["project"]
        package = name.replace("-", "_")
        assert (project["name"], project["entry-points"]["vertebra"]) == (name, {name: package})
        assert project["entry-points"]["vertebra.api"] == {"1": package}
        assert re.fullmatch(r"vertebra(\[http\])?>=0\.1,<0\.2", project["dependencies"][0])
        (tests,) = project["optional-dependencies"]["test"]
        assert ("torch" in tests) == (kind in ("architecture", "format", "preset-pack", "strategy", "task"))


def test_a_project_with_keras_is_quiet_about_its_known_warning(projects, tmp_path):
    known = "__array__ implementation doesn't accept a copy keyword, so passing copy=False failed."
    (tmp_path / "test_x.py").write_text(
        f"import warnings\ndef test():\n    warnings.warn({known!r}, DeprecationWarning)"
    )
    for name, shown in {"zoo-llama": "1 passed in", "zoo-rules": "1 passed, 1 warning in"}.items():
        run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", projects / name / "pyproject.toml"]
        done = subprocess.run([*run, tmp_path / "test_x.py"], capture_output=True, text=True)
        assert shown in done.stdout, done.stdout + done.stderr


def test_ci_runs_the_tests_once_for_each_runtime(projects):
    for name in ("zoo-llama", "zoo-rules"):
        workflow = (projects / name / ".github" / "workflows" / "test.yml").read_text()
        assert re.findall(r"- run: (.+)", workflow) == ['pip install -e ".[test]"', "pytest"]
        assert ("runtime: [torch, jax]" in workflow) == ("KERAS_BACKEND" in workflow) == (name == "zoo-llama")


def test_json_names_the_files_and_the_next_commands(tmp_path, capsys):
    folder = tmp_path / "a b"
    assert main(["new", "task", "zoo-mood", "--output", str(folder), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["files"] == files_of(folder)
    assert (facts["distribution"], facts["package"], facts["registers"]) == ("zoo-mood", "zoo_mood", "ZooMood")
    assert facts["next"] == [
        f"cd '{folder}'",
        'pip install -e ".[test]"',
        "KERAS_BACKEND=torch pytest",
        "KERAS_BACKEND=jax pytest",
    ]


def test_a_preset_named_like_a_folder_of_builds_is_in_the_wheel(tmp_path):
    """Hatchling leaves out what .gitignore names."""
    arguments = ["--preset", f"dist={PRESET}", "--output", str(tmp_path / "x")]
    assert main(["new", "preset-pack", "zoo-p", *arguments]) == 0
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=tmp_path / "x", check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"zoo_p/dist/config.json", "zoo_p/presets.json", "zoo_p/py.typed"} <= set(names)


@pytest.mark.parametrize("license", ["MIT", "LicenseRef-Own"])
def test_the_wheel_names_the_licence_and_has_its_text(license, tmp_path):
    assert main(["new", "policy", "zoo-p", "--license", license, "--output", str(tmp_path / "x")]) == 0
    (tmp_path / "x" / "LICENSE").write_text("As README.md says.")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=tmp_path / "x", check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    files = zipfile.ZipFile(wheel)
    (text,) = (name for name in files.namelist() if name.endswith("licenses/LICENSE"))
    assert f"License-Expression: {license}\n" in files.read(text.replace("licenses/LICENSE", "METADATA")).decode()


def test_author_and_licence_are_in_the_metadata(tmp_path):
    author = 'Zoë "Z" Zoo <zoe@zoo.example>'
    options = ["--author", author, "--license", "MIT", "--output", str(tmp_path / "x")]
    assert main(["new", "policy", "zoo-rules", *options]) == 0
    project = tomllib.loads((tmp_path / "x" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["authors"] == [{"name": 'Zoë "Z" Zoo', "email": "zoe@zoo.example"}]
    assert project["license"] == "MIT"
    assert "licence (MIT)" in (tmp_path / "x" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("author", ["", "<>", "a\nb", "Ada <no-address>"])
def test_an_author_without_a_name_is_refused(author, tmp_path, refused):
    assert "expected a name" in refused("policy", "zoo-rules", "--author", author, "--output", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_the_folder_is_that_of_the_name_and_an_empty_one_is_used(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zoo-rules").mkdir()
    assert main(["new", "policy", "Zoo Rules"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["zoo-rules"]


def test_a_folder_of_the_user_is_expanded(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert main(["new", "policy", "zoo-rules", "--output", "~/x", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["next"][0] == f"cd {tmp_path / 'x'}"
    assert (tmp_path / "x" / "README.md").exists()


def test_a_folder_with_files_is_left_as_it_is(tmp_path, refused):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "notes.txt").write_text("mine")
    assert "is not an empty folder" in refused("policy", "zoo-rules", "--output", tmp_path / "x")
    assert "is not an empty folder" in refused("policy", "zoo-rules", "--output", tmp_path / "x" / "notes.txt")
    assert files_of(tmp_path) == ["x/notes.txt"]


def test_a_failure_leaves_nothing(tmp_path, refused):
    arguments = ("--preset", PRESET, "--preset", tmp_path / "missing", "--output", tmp_path / "x")
    assert "missing" in refused("preset-pack", "zoo-presets", *arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path, refused):
    (tmp_path / "file").write_text("")
    assert "Could not save to" in refused("policy", "zoo-rules", "--output", tmp_path / "file" / "x")


# === Preset packs ===


def test_a_local_preset_is_copied_into_the_package(projects):
    package = projects / "zoo-presets" / "src" / "zoo_presets"
    assert (package / "zoo_tiny" / "config.json").read_bytes() == (PRESET / "config.json").read_bytes()
    (listed,) = json.loads((package / "presets.json").read_text())
    assert listed["name"] == "zoo_tiny"
    assert listed["handle"] == "package://zoo_presets/zoo_tiny"
    assert (listed["backbone"], listed["parameters"]) == ("BertBackbone", 6656)
    project = tomllib.loads((projects / "zoo-presets" / "pyproject.toml").read_text())["project"]
    assert project["dependencies"][1:] == ["vertebra-bert"]


def test_a_preset_without_an_id_has_one_of_its_folder(tmp_path):
    assert main(["new", "preset-pack", "zoo-p", "--preset", f"{PRESET}/", "--output", str(tmp_path / "x")]) == 0
    (listed,) = json.loads((tmp_path / "x" / "src" / "zoo_p" / "presets.json").read_text())
    assert listed["name"] == "zoo_p_transformers"


def test_an_error_in_the_list_of_presets_names_the_file(projects, tmp_path):
    package = tmp_path / "broken_zoo"
    shutil.copytree(projects / "zoo-presets" / "src" / "zoo_presets", package)
    file = package / "presets.json"
    file.write_text(file.read_text(encoding="utf-8").replace("[", "[,", 1), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("broken_zoo", package / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.raises(PluginError, match=r"presets\.json is not valid JSON: .*line 1 column 2"):
        vertebra.add_plugin(module, "broken-zoo")
    vertebra.remove_plugin("broken-zoo")


@pytest.fixture
def memory(tmp_path, monkeypatch):
    """A remote source with the preset, added as a plugin."""
    monkeypatch.setenv("VERTEBRA_CACHE", str(tmp_path / "cache"))
    settings.cache_clear()
    source = MemorySource()
    source.add("team/bert", {path.name: path.read_bytes() for path in PRESET.iterdir()})
    plugin = types.ModuleType("memory_of_this_test")
    plugin.vertebra_preset_sources = hookimpl(lambda: [source], specname="vertebra_preset_sources")
    vertebra.add_plugin(plugin, "zoo-memory")
    yield source
    vertebra.remove_plugin("zoo-memory")
    settings.cache_clear()


def test_a_remote_preset_is_pinned_and_not_copied(tmp_path, memory):
    folder = tmp_path / "x"
    arguments = ["--preset", "zoo_far=memory://team/bert", "--output", str(folder)]
    assert main(["new", "preset-pack", "zoo-p", *arguments]) == 0
    (listed,) = json.loads((folder / "src" / "zoo_p" / "presets.json").read_text())
    assert re.fullmatch(r"memory://team/bert@[0-9a-f]{64}", listed["handle"])
    assert listed["parameters"] == 6656
    assert list((folder / "src" / "zoo_p").glob("*/")) == []
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["dependencies"][1:] == ["vertebra-bert", "zoo-memory"]


def test_presets_that_cannot_be_in_a_pack_are_refused(tmp_path, refused):
    output = ("--output", tmp_path / "x")
    assert "needs presets" in refused("preset-pack", "zoo-p", *output)
    twice = ("--preset", f"one={PRESET}", "--preset", f"one={PRESET}")
    assert "'one' is no new id" in refused("preset-pack", "zoo-p", *twice, *output)
    taken = refused("preset-pack", "zoo-p", "--preset", f"bert_base_en={PRESET}", *output)
    assert "the preset id 'bert_base_en' is of vertebra-bert" in taken
    assert "only a preset pack" in refused("task", "zoo-p", "--preset", PRESET, *output)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("id", ["presets.json", "__init__.py", "py.typed", "Aux", "one.", "ZOO_TINY"])
def test_an_id_that_cannot_be_a_folder_of_the_package_is_refused(id, tmp_path, refused):
    presets = ("--preset", f"zoo_tiny={PRESET}", "--preset", f"{id}={PRESET}")
    assert f"'{id}' is no new id" in refused("preset-pack", "zoo-p", *presets, "--output", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_the_preset_of_an_architecture_that_is_not_installed_is_refused(tmp_path, refused, sample_preset):
    message = refused("preset-pack", "zoo-p", "--preset", sample_preset, "--output", tmp_path / "x")
    assert "SampleBackbone" in message
    assert not (tmp_path / "x").exists()


# === Code ===


def lines_of_code(path):
    """Counts the lines with code: without blank lines, comments and docstrings."""
    source = path.read_text(encoding="utf-8")
    skipped = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in skipped:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        is_text = (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        )
        lines -= set(range(node.lineno, node.end_lineno + 1)) if is_text else set()
    return len(lines)


@pytest.mark.parametrize("name", ["zoo-web", "zoo-disk"])
def test_a_source_is_a_few_lines(name, projects):
    (module,) = (projects / name / "src").rglob("*.py")
    assert lines_of_code(module) <= MOST_LINES_OF_A_SOURCE


def test_the_lines_of_code_are_counted(tmp_path):
    (tmp_path / "x.py").write_text('"""Text.\n\nMore."""\n\nx = [\n    1,  # one\n]\n# comment\n')
    assert lines_of_code(tmp_path / "x.py") == 3


def test_a_preset_pack_has_no_code_to_write(projects):
    """Two packs differ in data and names only."""
    package = projects / "zoo-presets" / "src" / "zoo_presets"
    assert "zoo" not in (package / "__init__.py").read_text()


@pytest.mark.parametrize("name", [None, LONGEST])
def test_the_code_keeps_our_rules_for_style(name, projects, tmp_path):
    """Ruff, with the rules of this repository; the lines of a long name may be wrapped otherwise."""
    folder = projects
    if name:
        folder = tmp_path
        for project, (kind, *options) in PROJECTS.items():
            assert main(["new", kind, LONGEST, "--output", str(tmp_path / project), *options]) == 0
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
    allowed = [*rules["ignore"], "T201"]  # a command prints
    arguments = ["--select", ",".join(rules["select"]), "--ignore", ",".join(allowed)]
    arguments += ["--line-length", "120", "--target-version", "py311", "--no-cache"]
    for project in PROJECTS:  # each is a root of its own, so that its package is known as its own
        run = [sys.executable, "-m", "ruff", "check", "--isolated", *arguments, "."]
        checked = subprocess.run(run, cwd=folder / project, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout + checked.stderr
    if name is None:
        run = [sys.executable, "-m", "ruff", "format", "--check", "--no-cache", "--exclude", "*.md", "."]
        formatted = subprocess.run(run, cwd=folder, capture_output=True, text=True)
        assert formatted.returncode == 0, formatted.stdout + formatted.stderr


def test_the_wheel_of_the_core_has_the_templates(tmp_path):
    run = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(run, cwd=ROOT / "registry", check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if "/new/templates/" in name}
    templates = ROOT / "registry" / "src" / "vertebra" / "cli" / "new" / "templates"
    written = {path for path in templates.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert names == {f"vertebra/cli/new/templates/{path.relative_to(templates).as_posix()}" for path in written}
