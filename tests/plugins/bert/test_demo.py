"""The demo of BERT: its parts, and all of it on the small preset."""

import dataclasses
import io
import sys

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import vertebra
from vertebra_bert.demo import handover, heatmap, picture, weights
from vertebra_bert.demo.grammar import sentences, vocabulary
from vertebra_bert.demo.models import EMBEDDING, compiled, sentence_model
from vertebra_bert.demo.problems import DemoError
from vertebra_bert.demo.reference import Reference
from vertebra_bert.demo.screen import Screen
from vertebra_bert.demo.second_process import Report
from vertebra_bert.demo.sentences import COMPARED, HELD_OUT_PAIRS, TRAINING_PAIRS, labelled
from vertebra_bert.demo.tokens import LENGTH, open_tokenizer

pytestmark = pytest.mark.keras

LABELS = ("eating food", "a storm is coming")
SIMILARITIES = np.array([[1.0, -0.25], [-0.25, 1.0]])


def printed(text, **options):
    """Returns what a console prints of a text."""
    console = Console(file=io.StringIO(), **options)
    Screen(console).show(text)
    return console.file.getvalue()


# === Sentences ===


def test_labels_are_balanced():
    for pairs in (TRAINING_PAIRS, HELD_OUT_PAIRS):
        remarks, labels = labelled(pairs)
        assert len(remarks) == len(labels) == 2 * sum(labels)


def test_no_remark_stands_twice_and_none_that_is_tested_on_was_trained_on():
    remarks = [*labelled(TRAINING_PAIRS)[0], *labelled(HELD_OUT_PAIRS)[0]]
    assert len({remark.lower().rstrip(".") for remark in remarks}) == len(remarks)


def test_the_small_preset_knows_every_word_and_no_sentence_is_cut():
    encode = open_tokenizer(weights.SMALL.folder)
    pieces = (weights.SMALL.folder / "vocab.txt").read_text(encoding="utf-8").split()
    read = [*COMPARED, *labelled(TRAINING_PAIRS)[0], *labelled(HELD_OUT_PAIRS)[0]]
    inputs = encode(read)
    used = {pieces[number] for number in np.unique(inputs["token_ids"])}
    assert "[UNK]" not in used
    assert not [piece for piece in used if piece.startswith("##")]
    assert inputs["token_ids"].shape == (len(read), LENGTH)
    lengths = inputs["padding_mask"].sum(axis=1)
    assert {pieces[row[length - 1]] for row, length in zip(inputs["token_ids"], lengths, strict=True)} == {"[SEP]"}
    words = [len(sentence.replace(",", " ,").replace(".", " .").split()) for sentence in read]
    assert lengths.tolist() == [count + 2 for count in words]


def test_the_grammar_draws_different_sentences_of_its_own_words_and_none_that_is_tested_on():
    drawn = sentences(500, seed=2)
    assert drawn == sentences(500, seed=2)
    assert len(set(drawn)) == 500
    assert {word for sentence in drawn for word in sentence.split()} <= vocabulary() | {","}
    held_out = {remark.lower().rstrip(".").replace(",", " ,") for remark in labelled(HELD_OUT_PAIRS)[0]}
    assert not held_out & set(drawn)


# === Heat maps ===


def test_a_heat_map_has_a_line_for_each_label_with_its_numbers():
    _, first, second = printed(heatmap.heat_map(LABELS, SIMILARITIES)).splitlines()
    assert first.split() == ["1", "eating", "food", "1.00", "-0.25"]
    assert second.split() == ["2", "a", "storm", "is", "coming", "-0.25", "1.00"]


def test_a_heat_map_is_coloured_on_a_terminal_only():
    text = heatmap.heat_map(LABELS, SIMILARITIES)
    assert "\x1b[" not in printed(text)
    lines = printed(text, force_terminal=True, color_system="truecolor", legacy_windows=False)
    assert "48;2;22;52;97m 1.00" in lines


def test_ink_can_be_read_on_every_colour():
    for similarity in np.linspace(-1, 1, 41):
        ground = heatmap.colour_of(similarity)
        ink = heatmap.ink_on(ground)
        assert abs(sum(ground) - sum(ink)) > 200


def test_a_picture_shows_a_cell_for_each_pair(tmp_path):
    path = tmp_path / "similarity.png"
    picture.save_picture(path, "Title", LABELS, SIMILARITIES)
    with Image.open(path) as image:
        assert image.format == "PNG"
        colours = {colour: count for count, colour in image.getcolors(maxcolors=100_000)}
    for similarity in (1.0, -0.25):
        assert colours[heatmap.colour_of(similarity)] > 2 * 80 * 80


# === Weights ===


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Weights in a package of their own."""
    (tmp_path / "weights_of_a_test" / "model").mkdir(parents=True)
    (tmp_path / "weights_of_a_test" / "__init__.py").write_text("raise RuntimeError")
    (tmp_path / "weights_of_a_test" / "model" / "model.safetensors").write_bytes(b"abc")
    monkeypatch.syspath_prepend(tmp_path)
    return dataclasses.replace(weights.MINILM, package="weights_of_a_test")


# Of the text "abc": NIST's example for SHA-256.
SHA256_OF_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_weights_with_the_published_sha256_are_taken_without_importing_their_package(package):
    found = weights.find_weights(package, SHA256_OF_ABC)
    assert found.handle == "package://weights_of_a_test/model"
    assert SHA256_OF_ABC[:12] in found.note


def test_weights_with_another_sha256_are_left_for_the_small_preset(package):
    found = weights.find_weights(package)
    assert found.handle == weights.SMALL.handle
    assert SHA256_OF_ABC in found.note


def test_weights_that_are_not_installed_are_left_for_the_small_preset(package):
    missing = dataclasses.replace(package, package="no_such_package_of_weights")
    elsewhere = dataclasses.replace(package, inside="elsewhere")
    for wanted in (missing, elsewhere):
        found = weights.find_weights(wanted)
        assert found.handle == weights.SMALL.handle
        assert "not installed" in found.note


def test_without_the_plugin_for_texts_the_demo_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "vertebra_text", None)
    with pytest.raises(DemoError, match="vertebra-text") as caught:
        weights.require_text()
    assert "vertebra-bert[demo]" in caught.value.remedy


# === The small preset ===


@pytest.fixture(scope="module")
def embed():
    """Embeds sentences with the small preset."""
    compute = compiled(sentence_model(vertebra.Backbone.from_preset(weights.SMALL.handle)))
    encode = open_tokenizer(weights.SMALL.folder)
    return lambda texts: compute(encode(texts))[EMBEDDING]


def test_the_small_preset_finds_related_sentences_similar(embed):
    embeddings = embed(COMPARED)
    assert np.linalg.norm(embeddings, axis=1) == pytest.approx(1, abs=1e-5)
    similarities = embeddings @ embeddings.T
    for first, second in ((0, 1), (2, 3), (4, 5)):
        others = np.delete(similarities[first], [first, second])
        assert similarities[first, second] > others.max() + 0.3


def test_padding_does_not_change_an_embedding(embed):
    alone, together = embed(["eating food"]), embed(["eating food", "they said the food was good, but it was terrible"])
    assert np.abs(alone[0] - together[0]).max() < 1e-5


def test_the_small_preset_is_small():
    assert sum(path.stat().st_size for path in weights.SMALL.folder.iterdir()) < 600_000


# === Handing over ===


@pytest.fixture
def reference():
    return Reference(np.zeros((2, 3), "float32"), np.ones((2, 2), "float32"))


def test_a_reference_survives_its_file(reference, tmp_path):
    reference.save(tmp_path / "reference.npz")
    assert Reference.load(tmp_path / "reference.npz").differences(reference) == (0, 0)


def test_differences_are_the_largest_and_nan_is_one(reference):
    other = Reference(reference.vectors.copy(), reference.probabilities.copy())
    other.vectors[0, 1], other.vectors[1, 1] = 0.25, -0.5
    assert other.differences(reference) == (0.5, 0)
    other.probabilities[0, 0] = np.nan
    assert np.isnan(other.differences(reference)[1])


@pytest.mark.parametrize("differences", [(2e-4, 0.0), (0.0, 2e-4), (float("nan"), 0.0), (0.0, float("nan"))])
def test_runtimes_that_disagree_end_the_demo(differences, monkeypatch, tmp_path):
    monkeypatch.setattr(handover, "_run", lambda runtime, arguments: Report(runtime, *differences, 1.0, "happy"))
    with pytest.raises(DemoError, match="differ"):
        handover.continue_on("torch", "preset", tmp_path, tmp_path)


def test_a_second_process_that_fails_says_why(runtime):
    with pytest.raises(DemoError, match="not enough values") as caught:
        handover._run(runtime, ["only a preset"])
    assert isinstance(caught.value, vertebra.errors.VertebraError)
    assert "vertebra_bert.demo.second_process" in caught.value.remedy


def test_the_second_process_runs_no_file_of_the_current_folder(runtime, monkeypatch, tmp_path):
    for name in ("json", "keras", "numpy", "vertebra", "vertebra_bert"):
        (tmp_path / f"{name}.py").write_text("open('flag', 'w')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DemoError, match="not enough values"):
        handover._run(runtime, ["only a preset"])
    assert not (tmp_path / "flag").exists()


# === All of it ===

DEMO = """
import sys
from pathlib import Path
import vertebra
from vertebra_bert.demo import run
from vertebra_bert.demo.weights import small_weights

run(vertebra.DemoContext(tuple(sys.argv[1].split()), Path(sys.argv[2])), small_weights("for a test"))
"""


def test_the_demo_learns_and_goes_on_in_a_second_process(child, runtime, tmp_path):
    runtimes = "jax torch" if runtime == "torch" else runtime
    printed = child(DEMO, runtimes, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"classifier", "reference.npz", "similarity.png"}
    before, after = (float(printed.split(f"{word}     ")[1].split()[1]) for word in ("before", "after "))
    assert after >= before + 10
    assert ("is the only available runtime" in printed) == (runtime != "torch")
    assert "\x1b[" not in printed
    assert "nan" not in printed
