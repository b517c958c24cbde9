"""Assets: every file is carried under a name that its readers understand, or listed with a reason."""

import json

import pytest

from vertebra._presets.assets import select_assets
from vertebra._resolve.open import open_folder
from vertebra.errors import PresetConfigError

CONFIGS = {
    "native": {"vertebra_format": 1, "backbone": "X", "config": {}},
    "transformers": {"model_type": "x", "eos_token_id": 7},
    "kerashub": {"registered_name": "x>X", "config": {}},
}
WEIGHTS = {"native": "model.safetensors", "transformers": "model.safetensors", "kerashub": "model.weights.h5"}
KERASHUB_TOKENIZER = json.dumps({"registered_name": "keras_hub>BertTokenizer", "config": {}})
TRANSFORMERS_TOKENIZER = json.dumps({"version": "1.0", "model": {"type": "WordPiece"}})
MODULES = json.dumps([{"path": ""}, {"path": "1_Pooling"}, {"path": "2_Dense"}, {"path": "3_Normalize"}])


@pytest.fixture
def preset(tmp_path):
    """Returns a function that writes a preset of a format with further files, and opens it."""

    def write(format, files=()):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        own = {"config.json": json.dumps(CONFIGS[format]), WEIGHTS[format]: "weights"}
        for name, text in (own | {name: name for name in files} | (files if isinstance(files, dict) else {})).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        return open_folder(folder)

    return write


def selected(folder, format, **options):
    return select_assets(folder, format, folder.fetch_all, **options)


# === Which files ===

SENTENCE_TRANSFORMERS = {
    "1_Pooling/config.json": "{}",
    "2_Dense/config.json": "{}",
    "2_Dense/model.safetensors": "a projection",
    "2_Dense/pytorch_model.bin": "a projection",
    "config_sentence_transformers.json": "{}",
    "modules.json": MODULES,
    "sentence_bert_config.json": "{}",
    "special_tokens_map.json": "{}",
    "tokenizer.json": TRANSFORMERS_TOKENIZER,
    "tokenizer_config.json": "{}",
    "vocab.txt": "[PAD]",
}
OF_A_TASK = {
    "assets/tokenizer/vocabulary.txt": "[PAD]",
    "preprocessor.json": "{}",
    "task.json": "{}",
    "task.weights.h5": "a head",
    "tokenizer.json": KERASHUB_TOKENIZER,
}
OF_EVERYBODY = (
    "LICENSE",
    "NOTICE.txt",
    "README.md",
    "data/x.csv",
    "generation_config.json",
    "modeling.py",
    "spm.model",
)


@pytest.mark.parametrize(
    ("format", "files"),
    [("transformers", SENTENCE_TRANSFORMERS), ("kerashub", OF_A_TASK), ("native", SENTENCE_TRANSFORMERS)],
)
def test_within_a_format_all_files_keep_their_names(preset, format, files):
    found = selected(preset(format, files | dict.fromkeys(OF_EVERYBODY, "x")), format)
    assert found.carried == {name: name for name in sorted({*files, *OF_EVERYBODY})}
    assert found.left_out == {}
    assert {name: path.read_text() for name, (path, _) in found.files.items() if name in files} == files


@pytest.mark.parametrize("format", CONFIGS)
@pytest.mark.parametrize(
    ("reason", "names"),
    [
        ("a hidden file", [".gitattributes", "x/.env", "2_Dense/.hidden"]),
        ("of a training run", ["optimizer.pt", "scheduler.pt", "rng_state_0.pth", "trainer_state.json"]),
        (
            "of a training run",
            ["training_args.bin", "checkpoint-500/model.safetensors", "runs/a/events.out.tfevents.1"],
        ),
        ("other weights", ["pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack"]),
        (
            "other weights",
            ["onnx/model.onnx", "onnx/ort.json", "openvino/x.xml", "model.q4.GGUF", "x/y.safetensors"],
        ),
        ("other weights", ["model.fp16.safetensors", "model.safetensors.index.fp16.json", "bert_model.ckpt.meta"]),
    ],
)
def test_files_that_are_not_carried_are_named_with_a_reason(preset, format, reason, names):
    found = selected(preset(format, names), format)
    assert found.left_out == dict.fromkeys(sorted(names), reason)
    assert found.carried == {}


@pytest.mark.parametrize("format", CONFIGS)
def test_weights_that_are_not_the_backbone_s_are_carried(preset, format):
    names = ["adapter_config.json", "adapter_model.safetensors", "legal/adapter_model.bin", "x.lora.h5"]
    assert selected(preset(format, names), format).carried == {name: name for name in names}


def test_the_files_that_were_read_are_neither_carried_nor_left_out(preset):
    shards = ["a-1.safetensors", "model-00002-of-00002.safetensors"]
    index = {"model.safetensors.index.json": json.dumps({"weight_map": {"x": shards[0], "y": shards[1]}})}
    folder = preset("transformers", index | dict.fromkeys([*shards, "model-00003-of-00003.safetensors"], ""))
    assert selected(folder, "transformers").left_out.keys() == {*index, *shards, "model-00003-of-00003.safetensors"}
    (folder.fetch("model.safetensors")).unlink()
    found = selected(open_folder(folder.requested), "transformers")
    # A file with a usual shard name counts as a shard even if the index does not name it.
    assert found.left_out == {}


def test_a_second_checkpoint_in_the_folder_is_named(preset):
    names = ["model.safetensors.index.json", "model-00001-of-00001.safetensors", "model.weights.h5"]
    assert selected(preset("transformers", names), "native").left_out == dict.fromkeys(sorted(names), "other weights")


def test_another_preset_in_a_folder_inside_is_left_out_whole(preset):
    others = [f"{name}/{file}" for name in ("a", "a/b") for file in ("config.json", "model.safetensors", "vocab.txt")]
    modules = json.dumps([{"path": "0_Transformer"}])
    kept = ["0_Transformer/config.json", "0_Transformer/model.safetensors", "c/config.json", "c/adapter_model.bin"]
    found = selected(preset("transformers", {"modules.json": modules} | dict.fromkeys([*others, *kept], "")), "native")
    assert found.left_out == dict.fromkeys(others, "of another preset")
    assert {*kept} <= {*found.carried}


@pytest.mark.parametrize("modules", ["[", "{}", "[1, null]", '[{"path": 3}]', '[{"path": "."}, {"path": "../x"}]'])
def test_a_list_of_modules_that_is_unsound_names_no_folder(preset, modules):
    found = selected(preset("transformers", {"modules.json": modules, "x/w.bin": "", "onnx/w.onnx": ""}), "native")
    assert found.left_out == dict.fromkeys(["onnx/w.onnx", "x/w.bin"], "other weights")


def test_a_generated_model_card_is_not_carried(preset):
    from vertebra._presets.model_card import model_card

    facts = {"format": "native", "backbone": "X", "parameters": 1, "bytes_by_dtype": {"float32": 4}, "config": {}}
    facts |= {"tasks": []}
    card = model_card(facts, "x", "./x", {})
    found = selected(preset("native", {"README.md": card}), "transformers")
    assert found.left_out == {"README.md": "a model card that was generated for the source"}
    assert selected(preset("native", {"README.md": card + "mine"}), "transformers").carried == {
        "README.md": "README.md"
    }


def test_of_other_weights_the_model_card_is_not_carried_and_the_licence_is(preset):
    found = selected(preset("native", ["README.md", "LICENSE"]), "native", same_weights=False)
    assert (found.carried, found.left_out) == ({"LICENSE": "LICENSE"}, {"README.md": "a model card of other weights"})


def test_files_are_asked_for_only_if_they_are_carried(preset):
    asked = []
    folder = preset("transformers", ["pytorch_model.bin", "vocab.txt", ".env", "onnx/model.onnx"])

    def locate(names):
        asked.extend(names)
        return folder.fetch_all(names)

    select_assets(folder, "native", locate)
    assert {*asked} == {"config.json", "vocab.txt"}


# === Which names ===


@pytest.mark.parametrize(
    ("source", "target", "content", "name"),
    [
        ("transformers", "native", TRANSFORMERS_TOKENIZER, "tokenizer.json"),
        ("kerashub", "native", KERASHUB_TOKENIZER, "tokenizer.json"),
        ("transformers", "kerashub", TRANSFORMERS_TOKENIZER, "carried/transformers/tokenizer.json"),
        ("kerashub", "transformers", KERASHUB_TOKENIZER, "carried/kerashub/tokenizer.json"),
        ("native", "transformers", TRANSFORMERS_TOKENIZER, "tokenizer.json"),
        ("native", "kerashub", TRANSFORMERS_TOKENIZER, "carried/transformers/tokenizer.json"),
        ("native", "transformers", KERASHUB_TOKENIZER, "carried/kerashub/tokenizer.json"),
        ("native", "kerashub", KERASHUB_TOKENIZER, "tokenizer.json"),
        # The user has put the other library's file into the folder.
        ("kerashub", "transformers", TRANSFORMERS_TOKENIZER, "tokenizer.json"),
        ("transformers", "kerashub", KERASHUB_TOKENIZER, "tokenizer.json"),
        ("kerashub", "kerashub", TRANSFORMERS_TOKENIZER, "tokenizer.json"),
        # Larger than a config may be, as tokenizers with large vocabularies are; and not JSON.
        ("native", "kerashub", TRANSFORMERS_TOKENIZER + " " * 2**23, "carried/transformers/tokenizer.json"),
        ("transformers", "kerashub", "", "carried/transformers/tokenizer.json"),
    ],
)
def test_a_tokenizer_is_never_where_its_readers_misunderstand_it(preset, source, target, content, name):
    found = selected(preset(source, {"tokenizer.json": content}), target)
    assert found.carried["tokenizer.json"] == name


@pytest.mark.parametrize("owner", ["transformers", "kerashub"])
def test_a_format_gets_its_files_back_and_gives_others_theirs(preset, owner):
    other = {"transformers": "kerashub", "kerashub": "transformers"}[owner]
    texts = {"transformers": TRANSFORMERS_TOKENIZER, "kerashub": KERASHUB_TOKENIZER}
    files = {f"carried/{owner}/tokenizer.json": texts[owner], "tokenizer.json": texts[other]}
    found = selected(preset(other, files), owner)
    assert found.carried[f"carried/{owner}/tokenizer.json"] == "tokenizer.json"
    assert found.carried["tokenizer.json"] == f"carried/{other}/tokenizer.json"
    stays = selected(preset(other, files), "native").carried
    assert stays | {"config.json": None} == {name: name for name in files} | {"config.json": None}


def test_a_file_that_is_there_wins_over_one_that_was_carried(preset):
    files = {"carried/kerashub/tokenizer.json": "the old one", "tokenizer.json": KERASHUB_TOKENIZER}
    found = selected(preset("native", files), "kerashub")
    assert found.carried == {"tokenizer.json": "tokenizer.json"}
    assert found.left_out == {"carried/kerashub/tokenizer.json": "another file has this name in the target"}


def test_a_file_that_another_format_writes_itself_is_kept_for_later(preset):
    found = selected(preset("transformers", {"metadata.json": "the author's"}), "native")
    assert found.carried["metadata.json"] == "carried/transformers/metadata.json"
    found = selected(preset("native", {"carried/transformers/metadata.json": "the author's"}), "transformers")
    assert found.carried == {"carried/transformers/metadata.json": "metadata.json"}


# === The config ===


def test_a_config_of_transformers_is_kept_and_comes_back(preset):
    config = CONFIGS["transformers"]
    assert selected(preset("transformers"), "native").carried == {"config.json": "carried/transformers/config.json"}
    assert selected(preset("transformers"), "transformers").original == config
    kept = {"carried/transformers/config.json": json.dumps(config)}
    for format in ("native", "kerashub"):
        found = selected(preset(format, kept), "transformers")
        assert (found.original, found.carried, found.left_out) == (config, {}, {})
    assert selected(preset("native", kept), "kerashub").carried == {name: name for name in kept}


def test_a_config_of_kerashub_says_nothing_that_is_not_read(preset):
    found = selected(preset("kerashub", ["carried/kerashub/config.json"]), "kerashub")
    assert (found.original, found.carried) == ({}, {})
    assert found.left_out == {"carried/kerashub/config.json": "another file has this name in the target"}


# === Hostile presets ===

HOSTILE = [
    "carried/transformers/model.safetensors",
    "carried/transformers/certificate.safetensors",
    "carried/transformers/model.safetensors.index.json",
    "carried/transformers/.env",
    "carried/kerashub/model.weights.h5",
    "carried/kerashub/metadata.json",
    "carried/kerashub/config.json",
    "carried/native/config.json",
    "carried/native/metadata.json",
]


@pytest.mark.parametrize("target", CONFIGS)
@pytest.mark.parametrize("source", CONFIGS)
def test_nothing_that_was_carried_takes_the_name_of_what_is_written(preset, source, target):
    modules = json.dumps([{"path": name} for name in ("carried", "carried/transformers", "carried/kerashub")])
    files = {**dict.fromkeys(HOSTILE, "{}"), "modules.json": modules}
    found = selected(preset(source, files), target)
    written = {"config.json", "metadata.json", "certificate.safetensors", "model.safetensors", "model.weights.h5"}
    assert not written & {*found.carried.values()}
    assert not [name for name in found.carried.values() if "/." in name]
    assert {*HOSTILE, "modules.json"} <= {*found.carried, *found.left_out}


def test_a_file_with_the_name_of_a_folder_of_the_target_is_left_out(preset):
    found = selected(preset("transformers", ["carried"]), "native")
    assert "carried/transformers/config.json" not in found.carried.values()
    assert "is in a folder with the name of the file 'carried'" in found.left_out.values()


def test_files_that_are_left_out_of_the_preset_are_named(preset):
    found = selected(preset("native", ["vocab.txt", "vocab.txt:Zone.Identifier"]), "kerashub")
    assert list(found.carried) == ["vocab.txt"]
    assert list(found.left_out) == ["vocab.txt:Zone.Identifier"]


def test_a_file_that_grows_while_it_is_copied_is_an_error(preset, tmp_path):
    found = selected(preset("native", ["vocab.txt"]), "native")
    found.files["vocab.txt"][0].write_text("longer than it was")
    (tmp_path / "stage").mkdir()
    with pytest.raises(PresetConfigError, match=r"18 bytes, expected 9 from the file list"):
        found.copy(tmp_path / "stage")


def test_a_file_that_vanishes_before_it_is_copied_is_an_error_about_it(preset, tmp_path):
    found = selected(preset("native", ["vocab.txt"]), "native")
    found.files["vocab.txt"][0].unlink()
    (tmp_path / "stage").mkdir()
    with pytest.raises(PresetConfigError, match=r"vocab\.txt: it cannot be read \(No such file"):
        found.copy(tmp_path / "stage")


def test_a_link_in_the_target_is_not_written_through(preset, tmp_path):
    found = selected(preset("native", ["assets/vocabulary.txt", "vocab.txt"]), "native")
    for name in ("stage", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "stage" / "assets").symlink_to(tmp_path / "other")
    (tmp_path / "stage" / "vocab.txt").symlink_to(tmp_path / "other" / "vocab.txt")
    copied = found.copy(tmp_path / "stage")
    assert list((tmp_path / "other").iterdir()) == []
    assert (copied.carried, copied.left_out) == (
        {},
        dict.fromkeys(["assets/vocabulary.txt", "vocab.txt"], "another file has this name in the target"),
    )


def test_a_link_in_the_source_is_copied_as_the_file(preset, tmp_path):
    folder = preset("native", {"vocab.txt": "a word"})
    folder.fetch("vocab.txt").with_name("merges.txt").symlink_to("vocab.txt")
    (tmp_path / "stage").mkdir()
    selected(open_folder(folder.requested), "native").copy(tmp_path / "stage")
    assert not (tmp_path / "stage" / "merges.txt").is_symlink()
    assert (tmp_path / "stage" / "merges.txt").read_text() == "a word"


# === Messages ===


def test_of_a_great_many_files_some_are_told(preset, tmp_path):
    outcome = selected(preset("native", [f".{number}" for number in range(150)]), "native").outcome(tmp_path, [])
    assert str(outcome).endswith(" and 50 more (a hidden file)")
    assert len(outcome.left_out) == 150


def test_files_are_told_by_reason(preset, tmp_path):
    names = [".a", ".b", "pytorch_model.bin", "vocab.txt"]
    outcome = selected(preset("native", names), "native").outcome(tmp_path, ["_name_or_path"])
    assert (
        str(outcome)
        == ".a, .b (a hidden file); pytorch_model.bin (other weights); _name_or_path (fields of its config)"
    )
