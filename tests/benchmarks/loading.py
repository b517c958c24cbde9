"""`from_preset` of a BERT of base size (438 MB) from a local preset, against KerasHub in its own environment."""

import subprocess
import sys
from pathlib import Path

from measure import figures, interleaved

HERE = Path(__file__).parent
MAKE_PRESET = (
    "import sys, vertebra; vertebra.use('torch'); "
    "vertebra.models.BertBackbone(30522, 12, 12, 768, 3072).save_to_preset(sys.argv[1])"
)


def measure_loading(runs: int, peers: Path, work: Path) -> list[tuple[str, str, str, bool]]:
    """Returns rows of what, measured, bar and whether it holds.

    Args:
        runs: How often each load is repeated, in turn.
        peers: The interpreter of the environment with KerasHub.
        work: A folder for the presets.
    """
    ours, theirs = work / "native", work / "kerashub"
    if not ours.exists():
        subprocess.run([sys.executable, "-c", MAKE_PRESET, str(ours)], check=True)
    if not theirs.exists():
        subprocess.run([str(peers), str(HERE / "load_kerashub.py"), "make", "torch", str(theirs)], check=True)
    rows = []
    for runtime in ("torch", "jax"):
        results = interleaved(
            runs,
            vertebra=lambda runtime=runtime: figures(
                [sys.executable, str(HERE / "load_vertebra.py"), runtime, str(ours)]
            ),
            kerashub=lambda runtime=runtime: figures(
                [str(peers), str(HERE / "load_kerashub.py"), "load", runtime, str(theirs)]
            ),
        )
        rows += _compare(runtime, results["vertebra"], results["kerashub"])
    return rows


def _compare(runtime, ours, theirs):
    ratio = ours["load_s"] / theirs["load_s"]
    share = ours["new_mb"] / ours["weights_mb"]
    times = f"{ours['load_s']:.2f} s / {theirs['load_s']:.2f} s = 1/{1 / ratio:.0f}"
    memory = f"{ours['new_mb']:.0f} MB = {share:.1%} of weights (KerasHub {theirs['new_mb']:.0f} MB)"
    return [
        (f"from_preset on {runtime}, time against KerasHub", times, "1/20", ratio <= 1 / 20),
        (f"from_preset on {runtime}, new memory", memory, "10 %", share <= 0.1),
    ]
