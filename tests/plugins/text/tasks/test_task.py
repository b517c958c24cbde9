"""Training and predicting from raw texts, in all the forms that texts have."""

import inspect

import keras
import numpy as np
import pytest

import vertebra
from vertebra.errors import ArgumentError, PresetConfigError
from vertebra_text import TextPreprocessor

from .conftest import BAD, GOOD

pytestmark = pytest.mark.keras
TEXTS, LABELS = GOOD + BAD, [1] * len(GOOD) + [0] * len(BAD)


@pytest.fixture
def classifier(preset):
    with pytest.warns(UserWarning, match=r"no values for logits.*train them"):
        task = vertebra.models.TextClassifier.from_preset(preset, labels=["bad", "good"])
    task.compile(keras.optimizers.Adam(5e-3))
    return task


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return TEXTS[index::3], np.array(LABELS[index::3])


def loader():
    torch = pytest.importorskip("torch")
    return torch.utils.data.DataLoader(list(zip(TEXTS, LABELS, strict=True)), batch_size=4)


def generator():
    while True:
        yield TEXTS, LABELS


FORMS = {
    "lists": lambda: ((TEXTS, LABELS), {}),
    "names of classes": lambda: ((TEXTS, ["bad" if label == 0 else "good" for label in LABELS]), {}),
    "arrays": lambda: ((np.array(TEXTS), np.array(LABELS)), {}),
    "a table": lambda: (({"text": TEXTS, "label": LABELS},), {}),
    "PyDataset": lambda: ((Batches(),), {}),
    "DataLoader": lambda: ((loader(),), {}),
    "a generator": lambda: ((generator(),), {"steps_per_epoch": 4}),
}


@pytest.mark.parametrize("form", FORMS)
def test_texts_are_trained_on_in_each_form(form, classifier):
    arguments, options = FORMS[form]()
    epochs = 1 if form == "DataLoader" else 3
    history = classifier.fit(*arguments, epochs=epochs, verbose=0, **options)
    assert np.isfinite(history.history["loss"]).all()


def test_a_classifier_learns_and_answers_with_names(classifier):
    classifier.fit(TEXTS, LABELS, epochs=30, verbose=0, batch_size=4)
    assert [answer["label"] for answer in classifier.classify(TEXTS)] == ["good"] * len(GOOD) + ["bad"] * len(BAD)
    assert classifier.evaluate(TEXTS, LABELS, verbose=0, return_dict=True)["sparse_categorical_accuracy"] == 1.0


def test_validation_sets_and_splits(classifier):
    held_out = (["good fox", "bad fox"], [1, 0])
    history = classifier.fit(TEXTS, LABELS, validation_data=held_out, verbose=0)
    assert "val_loss" in history.history
    history = classifier.fit(TEXTS, LABELS, validation_split=0.25, sample_weight=np.ones(len(TEXTS)), verbose=0)
    assert "val_loss" in history.history


def test_adapters_train_with_the_head_and_are_chosen_for_each_row(preset, classifier, tmp_path):
    classifier.enable_lora(2, name="first")
    trained = {weight.path for weight in classifier.trainable_weights}
    assert any("logits" in path for path in trained)
    classifier.fit(TEXTS, LABELS, epochs=2, verbose=0)
    classifier.save_lora_weights(tmp_path / "first.safetensors")
    classifier.load_lora_weights(tmp_path / "first.safetensors", "second")
    for weight in classifier.trainable_weights:
        weight.assign(weight + 0.5)
    names = ["first", "second", None] * 4
    alone = {name: classifier.predict(TEXTS, adapters=[name] * len(TEXTS)) for name in ("first", "second", None)}
    mixed = classifier.predict(TEXTS, adapters=names, batch_size=5)
    for row, name in enumerate(names):
        np.testing.assert_allclose(mixed[row], alone[name][row], atol=1e-5)
    assert not np.allclose(alone["first"], alone["second"], atol=1e-3)


def test_predictions_have_the_order_of_the_texts(classifier):
    together = classifier.predict(TEXTS, batch_size=5)
    for row, text in enumerate(TEXTS):
        np.testing.assert_allclose(together[row], classifier.predict([text])[0], atol=1e-5)


def test_without_texts_there_is_nothing(classifier):
    assert classifier.predict([]).shape == (0, 2)


def test_token_ids_are_taken_without_a_preprocessor(preset):
    task = vertebra.models.TextClassifier.from_preset(preset, False, num_classes=2, preprocessor=None)
    inputs = {name: np.ones((2, 4), "int32") for name in task.input}
    assert task.predict(inputs, verbose=0).shape == (2, 2)
    task.fit(inputs, np.array([0, 1]), verbose=0)


def test_any_function_can_prepare_the_texts(preset):
    def lengths(texts):
        ids = np.array([[2, min(len(text), 20), 3] for text in texts], "int32")
        return {"token_ids": ids, "segment_ids": np.zeros_like(ids), "padding_mask": np.ones_like(ids)}

    task = vertebra.models.TextClassifier.from_preset(preset, False, num_classes=2, preprocessor=lengths)
    assert task.predict(TEXTS, verbose=0).shape == (12, 2)
    task.fit(TEXTS, LABELS, verbose=0)


def test_a_vocabulary_that_is_larger_than_the_table_is_refused(preset):
    with (preset / "vocab.txt").open("a") as file:
        file.write("\nmore")
    with pytest.raises(PresetConfigError, match="it has 64 tokens, and the backbone's table has 63 rows"):
        vertebra.models.TextClassifier.from_preset(preset, False, num_classes=2)


def test_a_task_of_one_architecture(preset):
    task = vertebra.models.BertTextClassifier.from_preset(preset, False, num_classes=2)
    assert isinstance(task, vertebra.models.TextClassifier)
    assert type(task).__name__ == "BertTextClassifier"


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        ([0, 1], "12 texts"),
        ([2, *LABELS[1:]], "from 0 to 1"),
        (["ugly"] * 12, "bad, good"),
        ([[1, 0]] * 12, "one class for each text"),
    ],
)
def test_labels_that_cannot_be_are_refused(labels, problem, classifier):
    with pytest.raises(ArgumentError, match=problem):
        classifier.fit(TEXTS, labels, verbose=0)


@pytest.mark.parametrize("texts", [[None], [b"bytes"], [1.5], [["a", "b", "c"]]])
def test_what_is_no_text_is_refused(texts, classifier):
    with pytest.raises(ArgumentError):
        classifier.predict(texts)


def test_a_text_that_is_too_long_is_cut_and_counted(classifier, caplog):
    classifier.predict(["good " * 100, "bad"])
    assert "1 of 2 texts are longer than 32 tokens" in caplog.text


def test_a_task_is_saved_and_loaded_by_keras(classifier, tmp_path):
    classifier.fit(TEXTS, LABELS, verbose=0)  # Keras saves no optimizer that is not built, and warns when it loads none
    classifier.save(tmp_path / "task.keras")
    loaded = keras.saving.load_model(tmp_path / "task.keras")
    loaded.preprocessor = classifier.preprocessor
    np.testing.assert_allclose(loaded.predict(TEXTS), classifier.predict(TEXTS), atol=1e-6)


def test_a_text_that_is_too_long_can_be_refused(classifier):
    classifier.preprocessor = TextPreprocessor(classifier.tokenizer, truncation="error")
    with pytest.raises(ArgumentError, match="at most 30 without special tokens"):
        classifier.predict(["good " * 100])


def test_the_weights_that_a_preset_lacks_are_listed(classifier, preset):
    assert sorted(classifier.random_weights) == ["logits/bias", "logits/kernel"]
    assert list(vertebra.models.TextEmbedder.from_preset(preset).random_weights) == []


def test_a_reranker_without_a_head_in_its_checkpoint_has_one_class(preset, tmp_path):
    """A checkpoint of transformers that names no classes has two by default."""
    vertebra.Backbone.from_preset(preset).save_to_preset(tmp_path / "checkpoint", format="transformers")
    with pytest.warns(UserWarning, match="no values for"):
        assert vertebra.models.Reranker.from_preset(tmp_path / "checkpoint").output_shape == (None, 1)


def test_an_adapter_is_saved_without_the_head_and_says_so(classifier, preset, tmp_path, caplog):
    classifier.enable_lora(2)
    classifier.save_lora_weights(tmp_path / "a.lora.h5")
    assert "does not hold the task's head" in caplog.text
    caplog.clear()
    embedder = vertebra.models.TextEmbedder.from_preset(preset)
    embedder.enable_lora(2)
    embedder.save_lora_weights(tmp_path / "b.lora.h5")
    assert "the task's head" not in caplog.text


@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
def test_a_keras_file_does_not_bring_the_way_of_compiling_of_another_runtime(classifier, tmp_path):
    classifier.compile(jit_compile=True)
    classifier.save(tmp_path / "task.keras")
    loaded = vertebra.load_model(tmp_path / "task.keras")
    assert loaded.jit_compile == (vertebra.use().name == "jax")


def test_a_folder_is_no_keras_file(preset):
    with pytest.raises(ArgumentError, match=r"expected a \.keras file; from_preset reads folders"):
        vertebra.load_model(preset)


@pytest.mark.parametrize("name", ["TextEmbedder", "TextClassifier", "Reranker", "TokenClassifier", "MaskedLM"])
def test_help_on_a_constructor_shows_its_arguments(name):
    constructor = getattr(vertebra.models, name).__init__
    text = inspect.getdoc(constructor)
    arguments = [each for each in inspect.signature(constructor).parameters if each not in ("self", "kwargs")]
    assert [each for each in arguments if f"    {each}:" not in text] == []
