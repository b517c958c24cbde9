"""Memory that `vertebra convert` takes between all formats, beside the largest tensor: the token embedding."""

import shutil
import sys
from functools import partial
from pathlib import Path

from loading import WRITERS, preset_of
from measure import Row, figures, interleaved, read_through
from models import MODELS

HERE = Path(__file__).parent


def measure_converting(runs: int, peers: Path, work: Path) -> list[Row]:
    """Converts the presets that each library wrote into every format."""
    return [
        _row(runs, preset_of(work, peers, name, source), work / "converted", name, source, target)
        for name in ("bert", "gpt2")
        for source in WRITERS
        for target in WRITERS
    ]


def _row(runs: int, folder: Path, target_folder: Path, name: str, source: str, target: str) -> Row:
    read_through(folder)
    own = interleaved(runs, conversion=partial(_convert, folder, target_folder, target))["conversion"]
    sizes = MODELS[name].arguments
    return {
        "model": MODELS[name].title,
        "from": source,
        "to": target,
        "time, s": own["seconds"],
        "largest tensor, MB": sizes["vocabulary_size"] * sizes["hidden_dim"] * 4 / 2**20,
        "anonymous, MB": own["anonymous_mb"],
        "RSS, MB": own["rss_mb"],
    }


def _convert(source: Path, target: Path, format: str) -> dict[str, float]:
    try:
        return figures([sys.executable, str(HERE / "convert.py"), str(source), str(target), format])
    finally:
        shutil.rmtree(target, ignore_errors=True)
