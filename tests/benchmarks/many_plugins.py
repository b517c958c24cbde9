"""An installation of 200 plugins: 180 that `vertebra new` wrote, of all kinds, and 20 that are broken in ten ways."""

import compileall
import itertools
import shutil
import tempfile
import tomllib
from pathlib import Path

from vertebra.cli.new.kinds import kinds, template_of
from vertebra.cli.new.names import Names
from vertebra.cli.new.project import Project, write_project

ONCE = ("runtime",)  # a second runtime for one backend would be a clash
PRESET = Path(__file__).parents[1] / "golden" / "bert" / "transformers"
IMPORT = "from vertebra import PresetSpec, hookimpl\n\n\n"
HOOK = "@hookimpl\ndef vertebra_presets():\n    "
WAYS = {
    "no valid Python": "def vertebra_presets(:\n",
    "a missing dependency": "import a_package_that_is_missing\n",
    "raises at import": "SETTINGS = {}\nNAME = SETTINGS['name']\n",
    "ends the process": "import sys\n\nsys.exit('no licence')\n",
    "no module": None,
    "a misspelled hook": f"{IMPORT}@hookimpl\ndef vertebra_preset():\n    return []\n",
    "no marker": f"{IMPORT}def vertebra_presets():\n    return []\n",
    "raises in a hook": f"{IMPORT}{HOOK}return [][0]\n",
    "returns no list": f"{IMPORT}{HOOK}return None\n",
    "another API": f"{IMPORT}{HOOK}return []\n",
}
"""The ten ways, each with the module of the plugin."""


def install_all(site: Path, healthy: int = 180, broken: int = 20) -> tuple[list[str], dict[str, str]]:
    """Installs numbers of healthy and of broken plugins into a folder, as an installer does.

    Returns:
        The names of the healthy plugins, and the way in which each of the others is broken, by name.
    """
    names = _install_healthy(site, healthy)
    ways = {f"broken-{number:02}": way for number, way in zip(range(broken), itertools.cycle(WAYS), strict=False)}
    for name, way in ways.items():
        module, api = name.replace("-", "_"), 99 if way == "another API" else 1
        if WAYS[way] is not None:
            (site / f"{module}.py").write_text(WAYS[way])
        _write_metadata(site, name, {"vertebra": {name: module}, "vertebra.api": {str(api): module}})
    compileall.compile_dir(site, quiet=2)  # as pip does
    return names, ways


def _install_healthy(site: Path, count: int) -> list[str]:
    names = []
    with tempfile.TemporaryDirectory() as folder:
        for number, kind in zip(range(count), _kinds(), strict=False):
            name = f"many-{kind}-{number:03}"
            names.append(name)
            project = Path(folder, name)
            presets = [f"many_{number}={PRESET}"] if kind == "preset-pack" else []
            template = template_of(kind)
            write_project(Project(template, Names.of(name, template), "MIT", presets=presets), project)
            metadata = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
            package = name.replace("-", "_")
            shutil.copytree(project / "src" / package, site / package)
            _write_metadata(site, name, metadata["entry-points"])
    return names


def _kinds():
    """Yields kinds: each in turn, those of which there can be one only once."""
    names = [kind.name for kind in kinds()]
    yield from names
    while True:
        yield from (name for name in names if name not in ONCE)


def _write_metadata(site: Path, name: str, entry_points: dict[str, dict[str, str]]) -> None:
    folder = site / f"{name.replace('-', '_')}-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [
        line
        for group, items in entry_points.items()
        for line in (f"[{group}]", *(f"{k} = {v}" for k, v in items.items()))
    ]
    (folder / "entry_points.txt").write_text("\n".join(lines) + "\n")
    (folder / "RECORD").write_text("")
