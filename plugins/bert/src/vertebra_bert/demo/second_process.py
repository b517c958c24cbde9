"""The second process: loads preset and adapter on its runtime, and compares outputs with those of the first process."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Report:
    """The result of the second process."""

    runtime: str
    without_adapter: float
    """Largest difference between the outputs of the preset without the adapter."""
    with_adapter: float
    cosine: float
    """Similarity of the first two sentences, without the adapter."""


def main(arguments: Sequence[str]) -> None:
    """Prints a report as JSON; the arguments are the preset's handle and the paths of adapter and reference."""
    preset, adapter, reference = arguments
    warnings.simplefilter("ignore")  # stderr is for errors only
    print(json.dumps(asdict(compare(preset, Path(adapter), Path(reference)))))


def compare(preset: str, adapter: Path, reference: Path) -> Report:
    """Computes the reference's outputs again on the runtime of this process, and returns the differences."""
    import vertebra

    backbone = vertebra.Backbone.from_preset(preset)

    import keras

    from vertebra_bert.demo.models import EMBEDDING, compiled, sentence_model
    from vertebra_bert.demo.reference import Reference, largest_difference

    expected = Reference.load(reference)
    sentences, mask = sentence_model(backbone), expected.inputs["padding_mask"]
    plain = compiled(sentences)(expected.inputs)
    backbone.load_lora_weights(adapter)
    adapted = compiled(sentences)(expected.inputs)
    first, second = plain[EMBEDDING][:2]
    return Report(
        runtime=keras.config.backend(),
        without_adapter=largest_difference(plain, expected.plain, mask),
        with_adapter=largest_difference(adapted, expected.adapted, mask),
        cosine=float(first @ second),
    )


if __name__ == "__main__":
    main(sys.argv[1:])
