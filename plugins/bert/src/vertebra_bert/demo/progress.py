"""Progress of training: a bar on a terminal, and otherwise a few plain lines."""

from __future__ import annotations

from typing import Any, Self

import keras
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from vertebra_bert.demo.screen import Screen

_PLAIN_LINES = 4


class TrainingProgress(keras.callbacks.Callback):  # type: ignore[misc]
    """Shows the epoch and the loss during training."""

    def __init__(self, screen: Screen, epochs: int, steps: int) -> None:
        super().__init__()
        self._screen, self._epochs = screen, epochs
        self._bar = Progress(
            TextColumn("   training  "),
            BarColumn(bar_width=32),
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}  loss {task.fields[loss]} "),
            TimeElapsedColumn(),
            console=screen.console,
            disable=not screen.is_live,
        )
        self._task = self._bar.add_task("", total=epochs * steps, epoch=0, epochs=epochs, loss="-")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._bar.update(self._task, advance=1, loss=f"{logs['loss']:.3f}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        done = epoch + 1
        self._bar.update(self._task, epoch=done)
        if not self._screen.is_live and done * _PLAIN_LINES % self._epochs < _PLAIN_LINES:
            self._screen.fact("training", f"epoch {done}/{self._epochs}, loss {logs['loss']:.3f}")
