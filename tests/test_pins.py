"""What CI installs is pinned, so that no other project's release changes it from one day to the next."""

import itertools
import re
import tomllib
from pathlib import Path

import vertebra.cli.new

ROOT = Path(__file__).parent.parent
PROJECTS = sorted([ROOT / "pyproject.toml", *ROOT.glob("*/pyproject.toml"), *ROOT.glob("*/*/pyproject.toml")])
COMMIT = re.compile(r"[0-9a-f]{40}")


def name_of(requirement):
    return re.split(r"[<>=~!\[ ;]", requirement)[0].lower().replace("_", "-")


def requirements():
    """Yields the names of all packages that a distribution, its build or a group of developers' tools requires."""
    for path in PROJECTS:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        project = document.get("project", {})
        extras = project.get("optional-dependencies", {}).values()
        groups = document.get("dependency-groups", {}).values()
        build = document.get("build-system", {}).get("requires", [])
        yield from map(name_of, itertools.chain(project.get("dependencies", ()), build, *extras, *groups))


def test_every_required_package_is_pinned():
    pinned = {name_of(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    required = {name for name in requirements() if not name.startswith("vertebra")}
    assert len(required) > 20
    assert required - pinned == set()


def test_tools_that_the_makefile_and_ci_install_are_pinned():
    scripts = [ROOT / "Makefile", ROOT / ".ci" / "run", *(ROOT / "tests" / "servers").glob("install_*.sh")]
    text = "\n".join(path.read_text() for path in scripts)
    for name in ("pip-audit", "cyclonedx-bom", "atheris", "transformers", "keras-hub", "peft"):
        assert re.search(rf"\b{name}==\d", text), name
    assert re.findall(r"npm install .* (\S+)$", text, re.MULTILINE) == ["azurite@3.37.0"]


def test_actions_of_new_projects_are_pinned_by_commit():
    folder = Path(vertebra.cli.new.__file__).parent / "templates"
    used = [
        action
        for path in folder.rglob("*.yml")
        for action in re.findall(r"uses: (\S+)", path.read_text(encoding="utf-8"))
    ]
    assert len(used) >= 2
    assert [action for action in used if not COMMIT.fullmatch(action.partition("@")[2])] == []
