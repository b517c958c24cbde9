"""The suite that every task must pass.

class TestMyTask(TaskSuite):
    @pytest.fixture
    def spec(self):
        (spec,) = my_plugin.vertebra_tasks()
        return spec

    @pytest.fixture
    def labels(self):
        return [0, 1, 0, 1]
"""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import vertebra
from vertebra import DescribedPreset, TaskFacts, TaskSpec
from vertebra.testing import PluginSuite, TinyBackbone, rule, tiny_plugin
from vertebra.testing.backbones.comparing import arrays_of, largest_difference
from vertebra.testing.backbones.inputs import disturb
from vertebra.testing.plugins import entry_module_of
from vertebra_text.tasks.task import Task
from vertebra_text.testing.letters import small_tokenizer
from vertebra_text.tokenizers.interface import Tokenizer

_TOLERANCE = 1e-5


class TaskSuite(PluginSuite):
    """Tests of a task. Give the subclass a name that pytest collects, and define `spec`, and `labels` if it trains."""

    # === Fixtures of a subclass ===

    @pytest.fixture
    def spec(self) -> TaskSpec:
        """The task, as the plugin contributes it."""
        raise NotImplementedError

    @pytest.fixture
    def arguments(self) -> Mapping[str, Any]:
        """Arguments of the constructor in addition to the backbone and the preprocessor, by name."""
        return {}

    @pytest.fixture
    def tokenizer(self, tmp_path: Path) -> Tokenizer:
        """A tokenizer for the texts."""
        (tmp_path / "tokenizer").mkdir()
        return small_tokenizer(tmp_path / "tokenizer")

    @pytest.fixture
    def backbone(self, tokenizer: Tokenizer) -> Any:
        """A small backbone."""
        return TinyBackbone(vocabulary_size=tokenizer.vocabulary_size())

    @pytest.fixture
    def texts(self) -> Sequence[Any]:
        """Four inputs of the task: texts, or pairs of texts."""
        return ["the good fox.", "bad", "a good dog", "the bad dog is bad."]

    @pytest.fixture
    def labels(self) -> Any:
        """Labels of the texts, as `fit` takes them."""
        pytest.skip("the `labels` fixture is not defined")

    # === Fixtures of the suite ===

    @pytest.fixture
    def entry_module(self, spec: TaskSpec, tested_modules: set[str]) -> str:
        """Name of the module that contributes the task."""
        return entry_module_of("vertebra_tasks", spec.name, tested_modules)

    @pytest.fixture
    def light_references(self, spec: TaskSpec) -> Sequence[str]:
        """The function that describes presets of the task."""
        return [spec.describe] if spec.describe else []

    @pytest.fixture(autouse=True)
    def tiny_architecture(self) -> Iterator[None]:
        """Adds the plugin of `TinyBackbone`, so that its presets load."""
        vertebra.add_plugin(tiny_plugin, "tiny")
        yield
        vertebra.remove_plugin("tiny")

    @pytest.fixture
    def task(self, spec: TaskSpec, backbone: Any, tokenizer: Tokenizer, arguments: Mapping[str, Any]) -> Any:
        """The task with a new head."""
        return getattr(vertebra.models, spec.name)(backbone, preprocessor=tokenizer, **arguments)

    @pytest.fixture
    def predict(self, texts: Sequence[Any]) -> Callable[..., Any]:
        """A function that returns the outputs of a task for texts, by name."""
        return lambda task, texts=texts, **options: arrays_of(task.predict(texts, **options))

    # === Rules ===

    @rule("TA-01")
    def test_the_spec_names_the_class(self, spec: TaskSpec) -> None:
        """The spec names a subclass of `vertebra_text.Task`, which `vertebra.models` has under that name."""
        module, _, name = spec.task.partition(":")
        loaded = getattr(importlib.import_module(module), name)
        assert issubclass(loaded, Task)
        assert loaded.__name__ == loaded.task_name() == spec.name
        assert getattr(vertebra.models, spec.name) is loaded

    @rule("TA-02")
    def test_its_head_has_names_of_its_own(self, task: Any) -> None:
        """`head_weights` names every weight that is not the backbone's, so that a preset holds the head."""
        weights = task.named_weights()
        assert {id(weight) for weight in weights.values()} == {id(weight) for weight in task.weights}
        assert [name for name in task.head_weights() if name.startswith("backbone/")] == []

    @rule("TA-03")
    def test_a_text_has_the_same_outputs_in_every_batch(
        self, task: Any, predict: Callable[..., Any], texts: Sequence[Any]
    ) -> None:
        """`predict` returns the outputs of each text in their order, whatever the size of the batches."""
        disturb(task.weights)  # a head that starts with zeros answers the same for all texts
        expected = predict(task)
        assert {len(array) for array in expected.values()} == {len(texts)}
        for row, text in enumerate(texts):
            alone = predict(task, [text])  # of fewer tokens, if the outputs have an axis for tokens
            sizes = {name: tuple(map(slice, array.shape[1:])) for name, array in alone.items()}
            same = {name: array[row : row + 1][:, *sizes[name]] for name, array in expected.items()}
            assert largest_difference(alone, same) <= _TOLERANCE, text

    @rule("TA-04")
    def test_training_changes_every_weight_of_the_head(self, task: Any, texts: Sequence[Any], labels: Any) -> None:
        """`fit` takes texts and labels, and changes every trainable weight of the head."""
        before = {name: weight.numpy().copy() for name, weight in task.head_weights().items()}
        task.fit(list(texts), labels, batch_size=len(texts), epochs=2, verbose=0)
        trainable = {id(weight) for weight in task.trainable_weights}
        same = [
            name for name, w in task.head_weights().items() if id(w) in trainable and (w.numpy() == before[name]).all()
        ]
        assert same == []

    @rule("TA-05")
    def test_a_preset_keeps_it(self, task: Any, predict: Callable[..., Any], tmp_path: Path) -> None:
        """A native preset holds backbone, head, tokenizer and arguments: the task that loads predicts the same."""
        disturb(task.weights)
        expected = predict(task)
        task.save_to_preset(tmp_path / "preset")
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of weights that the preset lacks
            again = type(task).from_preset(tmp_path / "preset")
        assert again.task_arguments() == task.task_arguments()
        assert largest_difference(predict(again), expected) <= _TOLERANCE

    @rule("TA-06")
    def test_a_keras_file_keeps_it(self, task: Any, predict: Callable[..., Any], tmp_path: Path) -> None:
        """A `.keras` file holds the task with its tokenizer."""
        disturb(task.weights)
        expected = predict(task)
        task.save(tmp_path / "task.keras")
        again = vertebra.load_model(tmp_path / "task.keras", compile=False)
        assert largest_difference(predict(again), expected) <= _TOLERANCE

    @rule("TA-07")
    def test_a_new_head_is_reported(self, task: Any, backbone: Any, tokenizer: Tokenizer, tmp_path: Path) -> None:
        """A preset without the head gives a task with a new one, and a warning that it must be trained."""
        if not task.head_weights():
            pytest.skip("the task has no weights of its own")
        backbone.save_to_preset(tmp_path / "preset")
        tokenizer.save_to_preset(tmp_path / "preset")
        with pytest.warns(UserWarning, match="train"):
            again = type(task).from_preset(tmp_path / "preset", **task.task_arguments())
        assert again.random_weights

    @rule("TA-08")
    def test_presets_are_described(self, spec: TaskSpec, task: Any, backbone: Any, tmp_path: Path) -> None:
        """The function of the spec describes a preset of the task by its files, and no preset of a backbone alone."""
        if not spec.describe:
            pytest.skip("the spec names no function that describes presets")
        module, _, name = spec.describe.partition(":")
        describe = getattr(importlib.import_module(module), name)
        task.save_to_preset(tmp_path / "task")
        facts = describe(spec.name, _described(backbone, tmp_path / "task"))
        assert isinstance(facts, TaskFacts)
        assert json.loads(json.dumps(dict(facts.settings))) == facts.settings
        if task.head_weights():
            backbone.save_to_preset(tmp_path / "backbone")
            assert describe(spec.name, _described(backbone, tmp_path / "backbone")) is None

    @rule("TA-09")
    def test_adapters_are_kept(self, task: Any, predict: Callable[..., Any], tmp_path: Path) -> None:
        """An adapter changes nothing at first, and a preset keeps it."""
        expected = predict(task)
        task.enable_lora(2)
        assert largest_difference(predict(task), expected) <= _TOLERANCE
        disturb(task.trainable_weights)
        adapted = predict(task)
        assert largest_difference(adapted, expected) > _TOLERANCE
        task.save_to_preset(tmp_path / "preset")
        assert largest_difference(predict(type(task).from_preset(tmp_path / "preset")), adapted) <= _TOLERANCE


def _described(backbone: Any, folder: Path) -> DescribedPreset:
    arguments = backbone.constructor_config()
    return DescribedPreset("native", type(backbone).__name__, arguments, vertebra.open_files(folder), None)
