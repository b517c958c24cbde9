"""What starting costs: `import vertebra`, `vertebra presets`, and discovery with 200 more plugins."""

import sys
import tempfile
from pathlib import Path

from measure import Row, interleaved, wall_seconds

BIN = Path(sys.executable).parent
MANY = 200
PLUGIN = """\
from vertebra import BackboneSpec, PresetSpec, hookimpl


@hookimpl
def vertebra_backbones():
    presets = (PresetSpec("preset_{number}", "file:///nowhere/{number}", 1),)
    return [BackboneSpec("Backbone{number}", "plugin_{number}.backbone:Backbone{number}", presets)]
"""


def measure_startup(runs: int) -> list[Row]:
    """Times whole processes, beside one that does nothing."""
    with tempfile.TemporaryDirectory() as folder:
        install_plugins(Path(folder), MANY)
        code = "import sys; sys.path.insert(0, sys.argv[1]); from vertebra.cli import main; main(['presets'])"
        times = interleaved(
            runs,
            bare=lambda: wall_seconds([sys.executable, "-c", "pass"]),
            imported=lambda: wall_seconds([sys.executable, "-c", "import vertebra"]),
            presets=lambda: wall_seconds([str(BIN / "vertebra"), "presets"]),
            many=lambda: wall_seconds([sys.executable, "-c", code, folder]),
        )
    rows = [
        ("import vertebra, over a bare interpreter", times["imported"] - times["bare"], 0.15),
        ("vertebra presets, over a bare interpreter", times["presets"] - times["bare"], 0.15),
        (f"vertebra presets with {MANY} more plugins, over without", times["many"] - times["presets"], 0.5),
    ]
    return [
        {"what": what, "time, s": seconds, "bar, s": bar, "holds": "yes" if seconds <= bar else "missed"}
        for what, seconds, bar in rows
    ]


def install_plugins(folder: Path, count: int) -> None:
    """Writes plugins as an installer would: a module, and a dist-info folder with its entry point."""
    for number in range(count):
        (folder / f"plugin_{number}.py").write_text(PLUGIN.format(number=number))
        info = folder / f"plugin_{number}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: plugin-{number}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[vertebra]\nplugin_{number} = plugin_{number}\n")
