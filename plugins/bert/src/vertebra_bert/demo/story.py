"""The sections of the demo, in order; importing this module imports Keras."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

import vertebra
from vertebra_bert.demo.adapting import LABELS, Score, fit_adapter, fit_frozen, make_classifier, steps_per_epoch
from vertebra_bert.demo.handover import TOLERANCE, continue_on
from vertebra_bert.demo.heatmap import heat_map
from vertebra_bert.demo.picture import can_draw, save_picture
from vertebra_bert.demo.progress import TrainingProgress
from vertebra_bert.demo.reference import TEXTS, Reference
from vertebra_bert.demo.screen import Screen, number, percent
from vertebra_bert.demo.sentences import COMPARED, EXAMPLE, HELD_OUT_PAIRS, PUBLISHED, TRAINING_PAIRS, labelled
from vertebra_bert.demo.weights import Weights

SEED = 1
RANK, ALPHA = 8, 16


CLASSIFIER = "classifier"
"""The folder of the fine-tuned classifier, in the demo's folder."""


def tell(screen: Screen, weights: Weights, first: str, second: str, folder: Path) -> None:
    """Runs all sections: load, compare, fine-tune, and continue in a second process."""
    keras.utils.set_random_seed(SEED)
    embedder = _load(screen, weights, first)
    vectors = embedder.embed(TEXTS)
    _compare(screen, vectors[len(PUBLISHED) :][: len(COMPARED)], folder)
    classifier = _adapt(screen, embedder, weights)
    reference = Reference(vectors, classifier.probabilities(TEXTS))
    _hand_over(screen, classifier, weights, second, folder, reference)
    _end(screen, second, folder)


# === Load ===


def _load(screen: Screen, weights: Weights, runtime: str) -> Any:
    screen.heading(f"Load {weights.title}")
    if weights.note:
        screen.fact("note", weights.note)
    screen.code(f'embedder = vertebra.models.TextEmbedder.from_preset("{weights.handle}")')
    started = time.perf_counter()
    embedder = vertebra.models.TextEmbedder.from_preset(weights.handle, dropout=0.0, attention_dropout=0.0)
    seconds = time.perf_counter() - started
    tokens = f"{embedder.tokenizer.vocabulary_size():,} tokens"
    screen.fact("loaded", f"{embedder.count_params():,} parameters and {tokens} in {number(seconds)} s, on {runtime}")
    return embedder


# === Compare ===


def _compare(screen: Screen, vectors: Any, folder: Path) -> None:
    screen.heading("Compare texts")
    screen.code(f'vectors = embedder.embed(["{COMPARED[0]}", "{COMPARED[1]}", ...])')
    similarities = vectors @ vectors.T
    screen.show(heat_map(COMPARED, similarities))
    if not can_draw():
        screen.fact("picture", "not drawn: Pillow is not installed (pip install pillow)")
        return
    picture = folder / "similarity.png"
    save_picture(picture, "How similar are these sentences?", COMPARED, similarities)
    screen.fact("picture", str(picture))


# === Adapt ===


def _adapt(screen: Screen, embedder: Any, weights: Weights) -> Any:
    screen.heading(f"Fine-tune a classifier with LoRA, rank {RANK}")
    examples = " / ".join(HELD_OUT_PAIRS[3])
    screen.fact("task", f"is the speaker happy or not?  {examples}")
    screen.fact("data", f"{2 * len(TRAINING_PAIRS)} remarks for training, {2 * len(HELD_OUT_PAIRS)} others for testing")
    before = fit_frozen(embedder)
    classifier = make_classifier(embedder)
    screen.fact("adapter", str(classifier.enable_lora(RANK, alpha=ALPHA, seed=SEED)))
    with TrainingProgress(screen, weights.epochs, steps_per_epoch()) as progress:
        after = fit_adapter(classifier, weights.epochs, weights.learning_rate, progress)
    _show_score(screen, "before", before, "a linear head on the frozen vectors")
    _show_score(screen, "after", after, "a TextClassifier, trained together with the adapter")
    _show_corrections(screen, before, after)
    return classifier


def _show_score(screen: Screen, label: str, score: Score, meaning: str) -> None:
    right = f"{score.right.sum()} of {score.right.size} right"
    measured = f"accuracy {percent(score.accuracy)} ({right}), loss {number(score.loss)}"
    screen.fact(label, (f"{measured:<47}", "bold"), meaning)


def _show_corrections(screen: Screen, before: Score, after: Score) -> None:
    """Shows the two remarks with the largest change from wrong to right."""
    remarks = labelled(HELD_OUT_PAIRS)[0]
    change = np.abs(after.probabilities - before.probabilities) * (after.right & ~before.right)
    for index in [remark for remark in np.argsort(-change)[:2] if change[remark]]:
        wrong, right = (_feeling(score.probabilities[index]) for score in (before, after))
        screen.fact("example", f"{remarks[index]}  before: {wrong}, after: ", (right, "bold green"))


def _feeling(probability: float) -> str:
    return LABELS[int(probability > 0.5)]


# === Hand over ===


def _hand_over(
    screen: Screen, classifier: Any, weights: Weights, runtime: str, folder: Path, reference: Reference
) -> None:
    first_runtime = keras.config.backend()
    screen.heading(f"Continue on {runtime}, in a second process")
    if first_runtime == runtime:
        screen.fact("note", f"{runtime} is the only available runtime; install another one to continue on it")
    preset, outputs = folder / CLASSIFIER, folder / "reference.npz"
    classifier.save_to_preset(preset, certificate=False, assets=False)
    reference.save(outputs)
    size = sum(path.stat().st_size for path in preset.rglob("*") if path.is_file())
    screen.fact("saved", f"{preset}: backbone, adapter, head and tokenizer, {size / 1e6:.1f} MB")
    started = time.perf_counter()
    report = continue_on(runtime, weights.handle, preset, outputs)
    screen.fact("loaded", f"on {report.runtime}; the process took {time.perf_counter() - started:.0f} s")
    differences = f"{report.vectors:.1e} of the vectors, {report.probabilities:.1e} of the probabilities"
    screen.fact("difference", f"at most {differences} (allowed: {TOLERANCE:.0e})")
    first, second = reference.vectors[:2]
    cosines = f"{number(first @ second, 4)} on {first_runtime}, {number(report.cosine, 4)} on {report.runtime}"
    screen.fact("similarity", f'of "{PUBLISHED[0]}" and "{PUBLISHED[1]}": {cosines}')
    screen.fact("answer", f'to "{EXAMPLE}" on {report.runtime}: ', (report.answer, "bold green"))


# === End ===


def _end(screen: Screen, runtime: str, folder: Path) -> None:
    screen.heading("Try next")
    preset = (folder / CLASSIFIER).as_posix()
    screen.code(
        f"{_program('vertebra')} presets",
        f"{_program('vertebra')} inspect {preset}",
        _program("python"),
        ">>> import vertebra",
        f'>>> classifier = vertebra.models.TextClassifier.from_preset("{preset}", runtime="{runtime}")',
        f'>>> classifier.classify("{EXAMPLE}")',
    )
    screen.console.print()
    screen.fact("files", ", ".join(sorted(str(path) for path in folder.iterdir())))


def _program(name: str) -> str:
    """Returns the command for a program of this environment: its name if the shell finds it, otherwise its path."""
    folder = Path(sys.executable).parent
    program = shutil.which(name, path=folder)
    if program is None or shutil.which(name) == program:
        return name
    return os.path.relpath(program) if folder.is_relative_to(Path.cwd()) else program
