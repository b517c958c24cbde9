"""The second process: loads embedder and classifier on its runtime, and compares answers with the first one's."""

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
    vectors: float
    """Largest difference between the vectors of the embedder."""
    probabilities: float
    """Largest difference between the probabilities of the classifier."""
    cosine: float
    """Similarity of the first two sentences."""
    answer: str
    """The classifier's answer to the first held-out remark with a negation."""


def main(arguments: Sequence[str]) -> None:
    """Prints a report as JSON; the arguments are the preset's handle and the paths of classifier and reference."""
    preset, classifier, reference = arguments
    warnings.simplefilter("ignore")  # stderr is for errors only
    print(json.dumps(asdict(compare(preset, Path(classifier), Path(reference)))))


def compare(preset: str, classifier: Path, reference: Path) -> Report:
    """Computes the reference's answers again on the runtime of this process, and returns the differences."""
    import vertebra

    embedder = vertebra.models.TextEmbedder.from_preset(preset)
    tuned = vertebra.models.TextClassifier.from_preset(classifier)

    import keras

    from vertebra_bert.demo.reference import TEXTS, Reference
    from vertebra_bert.demo.sentences import EXAMPLE

    answers = Reference(embedder.embed(TEXTS), tuned.probabilities(TEXTS))
    first, second = answers.vectors[:2]
    differences = answers.differences(Reference.load(reference))
    return Report(keras.config.backend(), *differences, float(first @ second), tuned.classify(EXAMPLE)["label"])


if __name__ == "__main__":
    main(sys.argv[1:])
