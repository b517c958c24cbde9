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
from vertebra_bert.demo.adapting import Score, Task, fit_adapter, fit_frozen, steps_per_epoch
from vertebra_bert.demo.handover import TOLERANCE, continue_on
from vertebra_bert.demo.heatmap import heat_map
from vertebra_bert.demo.models import EMBEDDING, compiled, sentence_model
from vertebra_bert.demo.picture import can_draw, save_picture
from vertebra_bert.demo.problems import DemoError
from vertebra_bert.demo.progress import TrainingProgress
from vertebra_bert.demo.reference import Reference
from vertebra_bert.demo.screen import Screen, number, percent
from vertebra_bert.demo.sentences import COMPARED, HELD_OUT_PAIRS, PUBLISHED, TRAINING_PAIRS, labelled
from vertebra_bert.demo.tokens import Tokenize, open_tokenizer
from vertebra_bert.demo.weights import Weights

SEED = 1
RANK, ALPHA = 8, 16


def tell(screen: Screen, weights: Weights, first: str, second: str, folder: Path) -> None:
    """Runs all sections: load, compare, fine-tune, and continue in a second process."""
    keras.utils.set_random_seed(SEED)
    backbone = _load(screen, weights, first)
    tokenize = _tokenizer(weights)
    sentences = sentence_model(backbone)
    reference_inputs = tokenize([*PUBLISHED, *COMPARED, *labelled(HELD_OUT_PAIRS)[0]])
    plain = compiled(sentences)(reference_inputs)
    _compare(screen, plain[EMBEDDING][len(PUBLISHED) :][: len(COMPARED)], folder)
    _adapt(screen, backbone, sentences, Task.tokenized(tokenize), weights)
    adapted = compiled(sentences)(reference_inputs)
    _hand_over(screen, backbone, weights, second, folder, Reference(reference_inputs, plain, adapted))
    _end(screen, weights, second, folder)


# === Load ===


def _load(screen: Screen, weights: Weights, runtime: str) -> Any:
    screen.heading(f"Load {weights.title}")
    if weights.note:
        screen.fact("note", weights.note)
    started = time.perf_counter()
    backbone = vertebra.Backbone.from_preset(weights.handle, dropout=0.0, attention_dropout=0.0)
    seconds = time.perf_counter() - started
    screen.fact("preset", weights.handle)
    screen.fact("loaded", f"{backbone.count_params():,} parameters in {number(seconds)} s, on {runtime}")
    return backbone


def _tokenizer(weights: Weights) -> Tokenize:
    if weights.folder is None:
        raise DemoError(
            f"The package {weights.package} is not installed", "Install it, or let the demo choose its weights"
        )
    return open_tokenizer(weights.folder)


# === Compare ===


def _compare(screen: Screen, embeddings: Any, folder: Path) -> None:
    screen.heading("Compare sentences")
    similarities = embeddings @ embeddings.T
    screen.show(heat_map(COMPARED, similarities))
    if not can_draw():
        screen.fact("picture", "not drawn: Pillow is not installed (pip install pillow)")
        return
    picture = folder / "similarity.png"
    save_picture(picture, "How similar are these sentences?", COMPARED, similarities)
    screen.fact("picture", str(picture))


# === Adapt ===


def _adapt(screen: Screen, backbone: Any, sentences: Any, task: Task, weights: Weights) -> None:
    screen.heading(f"Fine-tune with LoRA, rank {RANK}")
    examples = " / ".join(HELD_OUT_PAIRS[3])
    screen.fact("task", f"is the speaker happy or not?  {examples}")
    screen.fact("data", f"{2 * len(TRAINING_PAIRS)} remarks for training, {2 * len(HELD_OUT_PAIRS)} others for testing")
    before = fit_frozen(sentences, task)
    screen.fact("adapter", str(backbone.enable_lora(RANK, alpha=ALPHA, seed=SEED)))
    with TrainingProgress(screen, weights.epochs, steps_per_epoch(task)) as progress:
        after = fit_adapter(sentences, task, weights.epochs, weights.learning_rate, progress)
    _show_score(screen, "before", before, "a linear head on the frozen embeddings")
    _show_score(screen, "after", after, "a linear head, trained together with the adapter")
    _show_corrections(screen, before, after)


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
    return "happy" if probability > 0.5 else "unhappy"


# === Hand over ===


def _hand_over(
    screen: Screen, backbone: Any, weights: Weights, runtime: str, folder: Path, reference: Reference
) -> None:
    first_runtime = keras.config.backend()
    screen.heading(f"Continue on {runtime}, in a second process")
    if first_runtime == runtime:
        screen.fact("note", f"{runtime} is the only available runtime; install another one to continue on it")
    adapter, outputs = folder / "adapter.lora.safetensors", folder / "reference.npz"
    backbone.save_lora_weights(adapter)
    reference.save(outputs)
    screen.fact("saved", f"{adapter}, {adapter.stat().st_size:,} bytes")
    started = time.perf_counter()
    report = continue_on(runtime, weights.handle, adapter, outputs)
    screen.fact(
        "loaded", f"preset and adapter, on {report.runtime}; the process took {time.perf_counter() - started:.0f} s"
    )
    differences = f"{report.without_adapter:.1e} without the adapter, {report.with_adapter:.1e} with it"
    screen.fact("difference", f"at most {differences} (allowed: {TOLERANCE:.0e})")
    first, second = reference.plain[EMBEDDING][:2]
    cosines = f"{number(first @ second, 4)} on {first_runtime}, {number(report.cosine, 4)} on {report.runtime}"
    screen.fact("similarity", f'of "{PUBLISHED[0]}" and "{PUBLISHED[1]}": {cosines}')


# === End ===


def _end(screen: Screen, weights: Weights, runtime: str, folder: Path) -> None:
    screen.heading("Try next")
    screen.code(
        f"{_program('vertebra')} presets",
        f"{_program('vertebra')} inspect {weights.handle}",
        _program("python"),
        ">>> import vertebra",
        f'>>> backbone = vertebra.Backbone.from_preset("{weights.handle}", runtime="{runtime}")',
        f'>>> print(backbone.load_lora_weights("{(folder / "adapter.lora.safetensors").as_posix()}"))',
    )
    screen.console.print()
    screen.fact("files", ", ".join(sorted(str(path) for path in folder.iterdir() if path.is_file())))


def _program(name: str) -> str:
    """Returns the command for a program of this environment: its name if the shell finds it, otherwise its path."""
    folder = Path(sys.executable).parent
    program = shutil.which(name, path=folder)
    if program is None or shutil.which(name) == program:
        return name
    return os.path.relpath(program) if folder.is_relative_to(Path.cwd()) else program
