"""A preset that replaces another one gets its own tokenizer, not that of the other."""

import shutil

import pytest

import vertebra
from vertebra._presets.convert import convert_preset

pytestmark = pytest.mark.keras(once=True)

TEXT = "the cat sits"


@pytest.fixture
def presets(tmp_path):
    """Two presets of one architecture and of vocabularies in another order; the first has a tokenizer.json, too."""
    from vertebra_bert.backbone import BertBackbone
    from vertebra_text import Tokenizer
    from vertebra_text.testing import small_tokenizer

    for name in ("one", "two"):
        backbone = BertBackbone(
            vocabulary_size=63, num_layers=1, num_heads=2, hidden_dim=8, intermediate_dim=12, max_sequence_length=16
        )
        backbone.save_to_preset(tmp_path / name)
        small_tokenizer(tmp_path / name)
    vocabulary = (tmp_path / "two" / "vocab.txt").read_text().splitlines()
    (tmp_path / "two" / "vocab.txt").write_text("\n".join([*vocabulary[:5], *vocabulary[:4:-1]]))
    Tokenizer.from_preset(tmp_path / "one").save_to_preset(tmp_path / "one", format="transformers")
    assert (tmp_path / "one" / "tokenizer.json").is_file()
    assert not (tmp_path / "two" / "tokenizer.json").is_file()
    assert ids(tmp_path / "one") != ids(tmp_path / "two")
    return tmp_path / "one", tmp_path / "two"


def ids(preset):
    from vertebra_text import Tokenizer

    return Tokenizer.from_preset(preset)(TEXT)["token_ids"].tolist()


@pytest.fixture(params=["save", "convert"])
def write(request):
    """Writes a preset to a folder."""
    if request.param == "convert":
        return lambda preset, target: convert_preset(preset, target)
    return lambda preset, target: vertebra.Backbone.from_preset(preset).save_to_preset(target)


def test_the_tokenizer_of_the_old_preset_is_replaced(presets, write, tmp_path, caplog):
    one, two = presets
    write(one, tmp_path / "out")
    write(two, tmp_path / "out")
    assert "had the tokenizer of another preset (" in caplog.text
    assert ids(tmp_path / "out") == ids(two)
    assert not (tmp_path / "out" / "tokenizer.json").exists()


def test_the_same_tokenizer_and_other_files_stay(presets, write, tmp_path, caplog):
    one, _ = presets
    write(one, tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    write(one, tmp_path / "out")
    assert "another preset" not in caplog.text
    assert ids(tmp_path / "out") == ids(one)
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


def test_a_tokenizer_that_was_made_for_the_token_table_stays(presets, tmp_path):
    one, two = presets
    shutil.copytree(one, tmp_path / "out")
    shorter = (two / "vocab.txt").read_text().splitlines()[:-1]
    (two / "vocab.txt").write_text("\n".join(shorter))
    vertebra.Backbone.from_preset(two).save_to_preset(tmp_path / "out")
    assert ids(tmp_path / "out") == ids(one)


def test_without_assets_the_tokenizer_of_the_folder_stays(presets, tmp_path):
    one, two = presets
    shutil.copytree(one, tmp_path / "out")
    vertebra.Backbone.from_preset(two).save_to_preset(tmp_path / "out", assets=False)
    assert ids(tmp_path / "out") == ids(one)


def test_without_a_plugin_for_tokenizers_their_files_are_compared(presets, tmp_path, monkeypatch, caplog):
    one, two = presets
    shutil.copytree(one, tmp_path / "out")
    monkeypatch.setattr("vertebra._tasks.tokenizers.tokenizer_classes", list)
    vertebra.Backbone.from_preset(one).save_to_preset(tmp_path / "out")
    vertebra.Backbone.from_preset(two).save_to_preset(tmp_path / "out")
    assert "had the tokenizer of another preset (" in caplog.text
    assert (tmp_path / "out" / "vocab.txt").read_bytes() == (two / "vocab.txt").read_bytes()
