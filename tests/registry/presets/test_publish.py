"""Publishing: unloadable presets are refused, the user's folder is not changed, and an upload is complete or absent."""

import hashlib
import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

import vertebra
from vertebra import PresetHandle
from vertebra._presets.model_card import adapter_card, is_generated, model_card
from vertebra._presets.publish import upload
from vertebra._weights.safetensors.writing import write_tensors
from vertebra._weights.tensor_entry import layout_of
from vertebra.errors import (
    HandleError,
    PresetAccessError,
    PresetConfigError,
    PresetExistsError,
    PresetNotFoundError,
    PresetRefusedError,
    PresetSaveError,
    PresetUploadError,
    SourceUnavailableError,
    UnknownNameError,
    WeightsFileError,
    WeightsMismatchError,
)


@pytest.fixture
def preset(tmp_path):
    """A native preset of a class that no plugin provides."""
    folder = tmp_path / "preset"
    folder.mkdir()
    config = {"vertebra_format": 1, "backbone": "SampleBackbone", "config": {"num_layers": 1}}
    (folder / "config.json").write_text(json.dumps(config))
    layouts = {"head/kernel": layout_of("head/kernel", "float32", (4, 2))}
    write_tensors(folder / "model.safetensors", {"head/kernel": lambda: np.zeros((4, 2), "float32")}, layouts, {})
    return folder


@pytest.fixture
def bert(reload_plugins, tmp_path, request):
    """A copy of a transformers checkpoint, whose architecture is installed."""
    return Path(shutil.copytree(request.path.parents[2] / "golden" / "bert" / "transformers", tmp_path / "bert"))


# === To a source ===


def test_what_is_uploaded_is_what_is_loaded(toy, preset, digest):
    before = digest(preset)
    handle = vertebra.upload_preset("toy://mine", preset, message="the first")
    assert handle == PresetHandle("toy", "mine", "r1")
    there = toy.presets["mine"]["r1"]
    assert there.keys() == {"README.md", "config.json", "model.safetensors"}
    assert {name: data for name, data in there.items() if name != "README.md"} == {
        path.name: path.read_bytes() for path in preset.iterdir()
    }
    assert digest(preset) == before
    assert "upload the first" in toy.asked


def test_it_says_what_its_author_should_know(toy, preset):
    (preset / ".env").write_text("SECRET=1")
    done = upload("toy://mine", preset)
    notes = "\n".join(done.notes)
    for text in (".env", "SampleBackbone", "certificate", "README.md"):
        assert text in notes
    assert ".env" not in toy.presets["mine"]["r1"]
    assert done.size == sum(map(len, toy.presets["mine"]["r1"].values()))


def test_a_model_card_that_is_there_stays(toy, preset):
    (preset / "README.md").write_text("mine")
    upload("toy://mine", preset)
    assert toy.presets["mine"]["r1"]["README.md"] == b"mine"


def test_another_preset_is_replaced_only_if_asked(toy, preset):
    upload("toy://mine", preset)
    with pytest.raises(PresetExistsError):
        upload("toy://mine", preset)
    assert str(vertebra.upload_preset("toy://mine", preset, replace=True)) == "toy://mine@r2"


def test_a_preset_elsewhere_can_be_sent_on(toy, preset, tmp_path):
    vertebra.upload_preset("toy://mine", preset)
    assert str(vertebra.upload_preset(tmp_path / "copy", "toy://mine")) == f"file://{tmp_path / 'copy'}"
    assert (tmp_path / "copy" / "config.json").read_bytes() == (preset / "config.json").read_bytes()


def test_an_upload_that_breaks_off_says_so(toy, preset, monkeypatch):
    def breaking_off(*_):
        raise SourceUnavailableError("toy://mine", "HTTP 503")

    monkeypatch.setattr(toy, "upload", breaking_off)
    with pytest.raises(PresetUploadError, match=r"did not finish: HTTP 503"):
        upload("toy://mine", preset)


def test_sources_take_no_uploads_unless_they_say_so(toy, preset):
    with pytest.raises(PresetAccessError):
        upload("package://vertebra", preset)


# === To a folder ===


def test_a_folder_appears_whole(preset, tmp_path, reload_plugins):
    (preset / "assets").mkdir()
    (preset / "assets" / "vocabulary.txt").write_text("a")
    target = tmp_path / "new" / "place"
    for uri in (target, str(target), f"file://{target}"):
        assert (
            str(vertebra.upload_preset(uri, preset)) == f"file://{target}"
        )  # publishing the same files again changes nothing
    assert (target / "assets" / "vocabulary.txt").read_text() == "a"
    assert [path.name for path in target.parent.iterdir()] == ["place"]


def test_a_folder_with_another_preset_is_replaced_only_if_asked(preset, tmp_path, reload_plugins):
    target = tmp_path / "place"
    vertebra.upload_preset(target, preset)
    (target / "more").touch()
    with pytest.raises(PresetExistsError):
        vertebra.upload_preset(target, preset)
    vertebra.upload_preset(target, preset, replace=True)
    assert not (target / "more").exists()


def test_other_things_are_never_replaced(preset, tmp_path, reload_plugins, monkeypatch):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "notes.txt").touch()
    (tmp_path / "link").symlink_to(tmp_path / "notes")
    monkeypatch.chdir(preset)
    for path in ("notes", "link", "notes/notes.txt", "preset"):
        with pytest.raises(PresetSaveError):
            vertebra.upload_preset(tmp_path / path, preset, replace=True)
    assert [path.name for path in (tmp_path / "notes").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("uri", "error"),
    [
        ("bert_base_en", HandleError),
        ("somewhere", HandleError),
        ("", HandleError),
        ("file://relative", HandleError),
        ("file:///somewhere@v1", HandleError),
        ("tow://x", UnknownNameError),
    ],
)
def test_what_is_no_place_is_refused(preset, reload_plugins, uri, error, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error):
        vertebra.upload_preset(uri, preset)


def test_a_policy_has_a_say(toy, preset):
    import types

    module = types.ModuleType("policy")
    refuse = vertebra.hookimpl(lambda handle: "not there" if handle.path == "mine" else None)
    module.vertebra_refuse_preset = vertebra.hookimpl(refuse, specname="vertebra_refuse_preset")
    vertebra.add_plugin(module, "policy")
    with pytest.raises(PresetRefusedError):
        upload("toy://mine", preset)
    assert "mine" not in toy.presets


# === Checks ===


@pytest.mark.parametrize(
    "name",
    ["CON", "con.txt", "a/NUL", "com1.bin", "x.", "x ", "a:b", 'a"b', "a?", "a*", "a|b", "Config.json"],
)
def test_names_that_some_systems_cannot_have_are_refused(toy, preset, name):
    path = preset / name
    try:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    except OSError:
        pytest.skip("this system is one of them")
    with pytest.raises(PresetConfigError, match="file"):
        upload("toy://mine", preset)
    assert "mine" not in toy.presets


def test_a_link_that_leads_out_is_refused(toy, preset, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (preset / "vocabulary.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(PresetNotFoundError, match="leads out"):
        upload("toy://mine", preset)


@pytest.mark.parametrize("case", ["no config", "no json", "no format", "no weights", "cut", "no safetensors"])
def test_what_could_not_be_loaded_is_refused(toy, preset, case):
    config, weights = preset / "config.json", preset / "model.safetensors"
    {
        "no config": config.unlink,
        "no json": lambda: config.write_text("{"),
        "no format": lambda: config.write_text("{}"),
        "no weights": weights.unlink,
        "cut": lambda: weights.write_bytes(weights.read_bytes()[:-1]),
        "no safetensors": lambda: weights.write_bytes(struct.pack("<Q", 2) + b"[]"),
    }[case]()
    with pytest.raises((PresetNotFoundError, PresetConfigError, WeightsFileError)):
        upload("toy://mine", preset)
    assert "mine" not in toy.presets


def test_a_preset_that_lost_its_config_is_no_adapter(toy, preset):
    shutil.copy(preset / "model.safetensors", preset / "certificate.safetensors")
    (preset / "config.json").unlink()
    with pytest.raises(PresetNotFoundError, match=r"config\.json is missing next to model\.safetensors"):
        upload("toy://mine", preset)


def test_tensors_that_the_config_does_not_mean_are_refused(bert, tmp_path):
    config = json.loads((bert / "config.json").read_text())
    (bert / "config.json").write_text(json.dumps(config | {"num_hidden_layers": config["num_hidden_layers"] + 1}))
    with pytest.raises(WeightsMismatchError) as caught:
        upload(tmp_path / "copy", bert)
    assert any("transformer_layer_2" in name for name in caught.value.missing)
    (bert / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 1}))
    with pytest.raises(WeightsMismatchError) as caught:
        upload(tmp_path / "copy", bert)
    assert caught.value.unused


def test_those_that_it_means_are_taken(bert, tmp_path):
    done = upload(tmp_path / "copy", bert)
    assert not any("no installed plugin" in note for note in done.notes)
    card = (tmp_path / "copy" / "README.md").read_text()
    assert 'library_name: "transformers"' in card
    assert "`BertBackbone` with 6,656 parameters" in card
    assert "`vertebra`, `vertebra-bert`" in card


# === The model card ===


def test_the_card_tells_what_is_known(toy, preset):
    upload("toy://team/mine", preset)
    card = toy.presets["team/mine"]["r1"]["README.md"].decode()
    head, front, body = card.split("---\n", 2)
    assert head == ""
    assert front == 'library_name: "vertebra"\ntags: ["vertebra", "backbone", "SampleBackbone"]\n'
    assert "# mine\n" in body
    assert 'vertebra.Backbone.from_preset("toy://team/mine")' in body
    assert "8 parameters (32 bytes float32), in the native format" in body
    assert "| `num_layers` | `1` |" in body
    assert "| `config.json` |" in body


def test_a_card_has_no_markup_of_strangers():
    facts = {
        "format": "native",
        "backbone": "X`\n---\n# <script>",
        "parameters": 1_500_000,
        "bytes_by_dtype": {"float32": 6_000_000},
        "config": {"a|b": "<img src=x>`", "long": "x" * 1000, "nested": {"k": [1]}},
        "tasks": [],
    }
    card = model_card(facts, "n`\n", 'toy://a"b', {"big": 3_500_000_000})
    assert card.count("\n---\n") == 1
    assert "6.0 MB float32" in card
    assert "3.5 GB" in card
    assert '{"k": [1]}' in card
    assert r"from_preset(\"" not in card
    assert "x" * 201 not in card


LIVE = [
    "![x](https://evil.example/p.png)",
    "[Click here to log in](https://evil.example)",
    "<https://evil.example>",
    "https://evil.example www.evil.example me@evil.example",
    "<img src=https://evil.example/p.png>`<script>evil()</script>",
    "`[evil](https://evil.example)`",
    "\\`[evil](https://evil.example)",
    "[evil](https://evil.example)\\| <b>evil</b> |",
    "[evil](https://evil.example)\\\\|",
    "| [evil](https://evil.example) |\\",
    "\n\n# evil\n\n[evil]: https://evil.example\n```\n---\nevil: 1\n",
    "\u2028# evil\u202e\x1b[31m",
    "&lt;b&gt;evil&#96;[evil](https://evil.example)",
]


@pytest.mark.parametrize("text", LIVE)
def test_no_text_of_a_file_is_more_than_code_in_a_card(text):
    """V8: links, addresses and images of strangers would be live where the card is shown."""
    markdown = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")
    task = {"task": text, "settings": {text: [text]}, "parameters": 1, "pipeline_tag": None, "library_name": None}
    task |= {"tags": [text], "owner": "acme", "usage": [f"task.fill({json.dumps(text)})"]}
    facts = {"format": "native", "backbone": text, "parameters": 1, "bytes_by_dtype": {}, "config": {text: text}}
    adapter = {"base_model": text, "form": "short", "strategy": text, "layers": [], "parameters": 1}
    for card in (
        model_card(facts | {"tasks": []}, "mine", f"toy://{text}", {text: 1}),
        model_card(facts | {"tasks": [task]}, "mine", f"toy://{text}", {text: 1}),
        adapter_card(adapter, "mine", f"toy://{text}", {text: 1}),
    ):
        head, front, body = card.split("---\n", 2)
        assert (head, "\x1b" in card, "\u202e" in card) == ("", False, False)
        assert front.count("\n") == len(front.splitlines()) <= 3
        tokens = list(markdown.parse(body.rpartition("\n<!-- Generated")[0]))
        parts = [part for token in tokens for part in token.children or ()]
        assert {part.type for part in parts} <= {"text", "code_inline", "softbreak"}
        assert {token.type for token in tokens if token.type.startswith(("html", "hr", "code"))} == set()
        assert not [part.content for part in parts if part.type == "text" and "evil" in part.content]
        assert [part for part in parts if part.type == "code_inline" and "evil" in part.content]


def test_no_name_is_markup_in_the_title_of_a_card():
    """V8."""
    markdown = pytest.importorskip("markdown_it").MarkdownIt("commonmark")
    facts = {"format": "native", "backbone": "A", "parameters": 1, "bytes_by_dtype": {}, "config": {}, "tasks": []}
    for text in LIVE[:3]:
        title = markdown.parse(model_card(facts, text, "toy://x", {}).split("---\n", 2)[2])[1]
        assert (title.content[:1], {part.type for part in title.children}) == (title.content[:1], {"text"})


def test_a_card_that_nobody_has_changed_is_made_anew(toy, preset):
    upload("toy://mine", preset)
    (preset / "README.md").write_bytes(toy.presets["mine"]["r1"]["README.md"])
    assert is_generated(preset / "README.md")
    upload("toy://other", preset)
    assert b'from_preset("toy://other")' in toy.presets["other"]["r1"]["README.md"]
    with (preset / "README.md").open("a") as card:
        card.write("Licence: mine\n")
    assert not is_generated(preset / "README.md")
    upload("toy://third", preset)
    assert b'from_preset("toy://mine")' in toy.presets["third"]["r1"]["README.md"]


def test_a_generated_card_is_recognised_in_the_wording_of_any_version(tmp_path):
    card = tmp_path / "README.md"
    digest = hashlib.sha256(b"# mine\n").hexdigest()[:16]
    card.write_text(f"# mine\n\n<!-- Made by vertebra of what the files tell: {digest}. -->\n")
    assert is_generated(card)
    card.write_text(f"# yours\n\n<!-- Made by vertebra of what the files tell: {digest}. -->\n")
    assert not is_generated(card)


def test_a_card_names_no_folder_of_this_machine(preset, tmp_path, reload_plugins):
    upload(tmp_path / "copy", preset)
    assert 'from_preset("./copy")' in (tmp_path / "copy" / "README.md").read_text()
