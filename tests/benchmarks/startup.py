"""What starting costs: `import vertebra`, and `vertebra presets`, also with 200 more plugins."""

import sys
import tempfile
from pathlib import Path

from many_plugins import install_all
from measure import Row, interleaved, wall_seconds

BIN = Path(sys.executable).parent


def measure_startup(runs: int) -> list[Row]:
    """Times whole processes, beside one that does nothing."""
    with tempfile.TemporaryDirectory() as folder:
        install_all(Path(folder))
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
        ("vertebra presets with 180 plugins of vertebra new and 20 broken ones", times["many"], 0.5),
    ]
    return [
        {"what": what, "time, s": seconds, "bar, s": bar, "holds": "yes" if seconds <= bar else "missed"}
        for what, seconds, bar in rows
    ]
