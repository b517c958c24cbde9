"""Signed presets: published, downloaded, and refused before anything in them is read."""

import json
import shutil
import types
from pathlib import Path

import pytest

import vertebra
from checked_json import check
from vertebra._configuration import settings
from vertebra._discovery import catalog, plugins
from vertebra._presets.lock import compare_lock, lock_presets
from vertebra._presets.publish import SigningKey, upload
from vertebra._resolve import signatures
from vertebra._resolve.consistent_read import read_consistently
from vertebra._resolve.open import open_folder
from vertebra._system.atomic_save import _exchange
from vertebra.cli import main
from vertebra.errors import LockError, SettingsError, SignatureError
from vertebra.testing import MemorySource

GOLDEN = Path(__file__).parents[2] / "golden" / "bert"


@pytest.fixture
def configure(cache, monkeypatch):
    """Returns a function that sets variables and reloads settings and plugins."""

    def forget():
        settings.settings.cache_clear()
        plugins.registry.cache_clear()
        catalog.clear_catalog()

    def set_variables(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        settings.settings.cache_clear()

    forget()
    yield set_variables
    monkeypatch.undo()
    forget()


@pytest.fixture
def memory(configure):
    """A remote source, which the core caches."""
    source = MemorySource()
    module = types.ModuleType("memory_plugin")
    module.vertebra_preset_sources = vertebra.hookimpl(lambda: [source], specname="vertebra_preset_sources")
    vertebra.add_plugin(module, "memory")
    yield source
    vertebra.remove_plugin("memory")


@pytest.fixture
def published(memory, preset, keys):
    """The preset, signed with our key and published."""
    return upload("memory://team/bert", preset, signing=SigningKey(keys / "ours.pem"), any_runtime=False).handle


@pytest.fixture
def required(configure, keys):
    """Requires our signature in the settings, as an organisation does."""
    configure(VERTEBRA_REQUIRE_SIGNATURE="1", VERTEBRA_SIGNATURE_KEYS=keys / "ours.pub")


def changed(memory, change):
    """Publishes the newest version again, with a change of its files that its source reports as it is."""
    files = dict(next(reversed(memory._presets["team/bert"].values())))
    change(files)
    return str(memory.add("team/bert", files))


CHANGES = {
    "an added file": (lambda files: files.update({"more.py": b"x"}), r"does not cover 'more\.py'"),
    "a changed config": (lambda files: files.update({"config.json": b"{}"}), "its config.json is not the signed file"),
    "changed weights": (
        lambda files: files.update({"model.safetensors": bytes(len(files["model.safetensors"]))}),
        "its model.safetensors is not the signed file",
    ),
    "a missing file": (lambda files: files.pop("more/file.txt"), r"covers are missing: 'more/file\.txt'"),
    "a renamed file": (lambda files: files.update({"b": files.pop("README.md")}), "does not cover 'b'"),
    "no signature": (lambda files: files.pop("model.sig"), "it has no signature, a file model.sig"),
    "a signature of nothing": (lambda files: files.update({"model.sig": b"{}"}), "not a signature of OpenSSF"),
    "a huge signature": (lambda files: files.update({"model.sig": bytes(2**24 + 1)}), "which no signature has"),
}


def test_a_published_preset_has_its_signature_and_loads(memory, published, required):
    folder = open_folder("memory://team/bert")
    assert folder.handle == published
    assert folder.is_signed
    assert memory.requests == [f"files {published.path}"] * 1 + ["read model.sig"]
    assert folder.config().value["model_type"] == "bert"
    assert "model.sig" in folder.names


@pytest.mark.parametrize("case", CHANGES)
def test_other_files_than_the_signed_ones_are_refused(memory, published, required, case):
    change, said = CHANGES[case]
    text = changed(memory, change)
    with pytest.raises(SignatureError, match=said):
        vertebra.files(text)
    assert open_folder(text, keys=()).names  # the change itself is one that a load without the setting accepts


def test_nothing_but_the_signature_is_read_before_a_refusal(memory, published, configure, keys):
    configure(VERTEBRA_REQUIRE_SIGNATURE="1", VERTEBRA_SIGNATURE_KEYS=keys / "other.pub")
    with pytest.raises(SignatureError, match="was made with another key"):
        open_folder("memory://team/bert")
    assert [request for request in memory.requests if request.startswith("read")] == ["read model.sig"]


def test_bytes_that_changed_in_the_cache_are_refused(memory, published, required):
    path = open_folder("memory://team/bert").fetch("model.safetensors")
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(SignatureError, match=r"is not the signed file: .*cache verify --repair"):
        open_folder("memory://team/bert").fetch("model.safetensors")


def test_hidden_files_are_not_signed_and_not_read(memory, published, required):
    text = changed(memory, lambda files: files.update({".gitattributes": b"x", ".git/config": b"y"}))
    folder = open_folder(text)
    assert not any(name.startswith(".") for name in folder.names)


def test_a_setting_without_keys_is_an_error(memory, published, configure):
    configure(VERTEBRA_REQUIRE_SIGNATURE="1")
    with pytest.raises(SettingsError, match="signature_keys names no key that may sign them"):
        open_folder("memory://team/bert")


def test_a_key_that_cannot_be_used_is_named(memory, published, configure, tmp_path):
    (tmp_path / "no-key.pem").write_text("nothing")
    for name, said in {"no-key.pem": "it is no key that can be trusted", "gone.pem": "the file cannot be read"}.items():
        configure(VERTEBRA_REQUIRE_SIGNATURE="1", VERTEBRA_SIGNATURE_KEYS=tmp_path / name)
        with pytest.raises(SignatureError, match=f"{name}': {said}"):
            open_folder("memory://team/bert")


def test_without_the_plugin_nothing_loads_and_the_error_names_it(memory, published, required, monkeypatch):
    monkeypatch.setattr("vertebra._resolve.signatures.catalog", lambda kind: [])
    with pytest.raises(SignatureError, match="no installed plugin signs presets or verifies signatures"):
        open_folder("memory://team/bert")


def test_a_signed_preset_can_be_locked_and_loads_offline(memory, published, required, configure, tmp_path):
    lock_presets(["memory://team/bert"], tmp_path / "vertebra.lock", update=False)
    vertebra.files("memory://team/bert")
    configure(VERTEBRA_LOCKFILE=tmp_path / "vertebra.lock", VERTEBRA_LOCKED="1", VERTEBRA_OFFLINE="1")
    assert open_folder("memory://team/bert").fetch("config.json").is_file()
    text = (tmp_path / "vertebra.lock").read_text()
    data = json.loads(text)
    data["presets"]["memory://team/bert"]["files"]["config.json"]["sha256"] = "0" * 64
    (tmp_path / "vertebra.lock").write_text(json.dumps(data))
    with pytest.raises((SignatureError, LockError), match=r"config\.json"):
        open_folder("memory://team/bert").fetch("config.json")


def test_a_lockfile_with_hidden_files_and_one_without_are_both_current(memory, published, configure, keys, tmp_path):
    """A hub adds hidden files; whether they are listed depends on the settings of the one who locks."""
    text = changed(memory, lambda files: files.update({".gitattributes": b"x"}))
    for setting, other in (("1", "0"), ("0", "1")):
        configure(VERTEBRA_REQUIRE_SIGNATURE=setting, VERTEBRA_SIGNATURE_KEYS=keys / "ours.pub")
        lock_presets([text], tmp_path / f"{setting}.lock", update=False)
        configure(VERTEBRA_REQUIRE_SIGNATURE=other)
        assert [status.state for status in compare_lock(tmp_path / f"{setting}.lock")] == ["unchanged"]


def test_a_pull_with_a_key_does_not_change_what_the_cache_lists(memory, published, keys, capsys):
    pinned = open_folder(changed(memory, lambda files: files.update({".gitattributes": b"x"}))).handle
    assert main(["pull", str(pinned), "--signature-key", str(keys / "ours.pub")]) == 0
    assert ".gitattributes" in open_folder(pinned).names


# === Local folders ===


@pytest.fixture
def local(preset, keys, tmp_path, configure):
    """A signed preset in a folder."""
    upload(tmp_path / "signed", preset, signing=SigningKey(keys / "ours.pem"))
    return tmp_path / "signed"


def test_a_signed_folder_loads_and_a_changed_one_does_not(local, required):
    assert open_folder(local).fetch("config.json") == local / "config.json"
    (local / "config.json").write_text("{}")
    with pytest.raises(SignatureError, match=r"its config\.json is not the signed file"):
        open_folder(local).fetch("config.json")


@pytest.mark.parametrize("before", [True, False])
def test_a_signed_folder_may_be_replaced_while_it_is_read(local, required, keys, preset, tmp_path, monkeypatch, before):
    """The listing may be of one version, and the signature or the other files of the next; both are valid."""
    (preset / "README.md").write_text("# Next\n")
    upload(tmp_path / "next", preset, signing=SigningKey(keys / "ours.pem"))
    read, opened = signatures._content, []

    def replace_meanwhile(handle, signature, path):
        opened.append(path)
        content = None if before else read(handle, signature, path)
        if len(opened) == 1:
            _exchange(tmp_path / "next", local)
        return content or read(handle, signature, path)

    monkeypatch.setattr(signatures, "_content", replace_meanwhile)
    card = read_consistently(local, lambda folder: folder.fetch("README.md").read_text())
    assert (card, len(opened)) == ("# Next\n", 2)


def test_a_changed_file_of_a_signed_folder_is_neither_locked_nor_unchanged(local, required, tmp_path):
    lock_presets([str(local)], tmp_path / "vertebra.lock", update=False)
    assert [status.state for status in compare_lock(tmp_path / "vertebra.lock")] == ["unchanged"]
    (local / "config.json").write_text("{}")
    with pytest.raises(SignatureError, match=r"its config\.json is not the signed file"):
        list(compare_lock(tmp_path / "vertebra.lock"))
    with pytest.raises(SignatureError, match=r"its config\.json is not the signed file"):
        lock_presets([str(local)], tmp_path / "other.lock", update=False)
    assert not (tmp_path / "other.lock").exists()


def test_a_folder_is_published_although_it_is_not_signed_yet(preset, required, keys, tmp_path):
    with pytest.raises(SignatureError, match="Publish it with a signature"):
        open_folder(preset)
    upload(tmp_path / "signed", preset, signing=SigningKey(keys / "ours.pem"))
    assert open_folder(tmp_path / "signed").is_signed


def test_hidden_files_may_be_signed(local, required, keys):
    """The library's own command signs them, such as those of the cache of a client, which push does not publish."""
    import model_signing

    (local / "model.sig").unlink()
    (local / ".cache").mkdir()
    (local / ".cache" / "state").write_text("x")
    signer = model_signing.signing.Config().use_elliptic_key_signer(private_key=keys / "ours.pem")
    signer.sign(local, local / "model.sig")
    assert open_folder(local).is_signed
    (local / ".cache" / "state").unlink()
    assert ".cache/state" not in open_folder(local).names
    (local / "README.md").unlink()
    with pytest.raises(SignatureError, match=r"covers are missing: 'README\.md'"):
        open_folder(local)


def test_an_old_signature_of_a_folder_is_noted(local, tmp_path, keys):
    (local / "README.md").write_text("# Another card\n")
    (note,) = [note for note in upload(tmp_path / "again", local).notes if "model.sig" in note]
    assert note == "its model.sig is not valid if a file has changed since it was made: --sign makes a new one"
    signed = upload(tmp_path / "signed again", local, signing=SigningKey(keys / "ours.pem"))
    assert not any("model.sig" in note for note in signed.notes)


def test_publishing_again_replaces_the_signature(local, keys, tmp_path):
    (local / "README.md").write_text("# Another card\n")
    upload(tmp_path / "again", local, signing=SigningKey(keys / "other.pem"))
    assert open_folder(tmp_path / "again", keys=[keys / "other.pub"]).is_signed
    with pytest.raises(SignatureError):
        open_folder(tmp_path / "again", keys=[keys / "ours.pub"])


def test_a_new_card_makes_an_old_signature_invalid_which_is_noted(local, tmp_path):
    (local / "README.md").unlink()
    result = upload(tmp_path / "again", local)
    assert any("does not cover the new README.md" in note for note in result.notes)


def test_a_key_that_cannot_sign_publishes_nothing(preset, keys, tmp_path, configure):
    with pytest.raises(SignatureError, match="it cannot sign"):
        upload(tmp_path / "signed", preset, signing=SigningKey(keys / "ours.pub"))
    assert not (tmp_path / "signed").exists()


def test_adapters_are_signed_as_presets(tmp_path, keys, required):
    golden = shutil.copytree(GOLDEN / "peft_lora", tmp_path / "a")
    with pytest.raises(SignatureError):
        open_folder(golden)
    upload(tmp_path / "signed", golden, signing=SigningKey(keys / "ours.pem"))
    assert open_folder(tmp_path / "signed").is_signed


# === The commands ===


def test_the_commands_sign_and_verify(keys, memory, capsys, configure):
    assert (
        main(["push", str(GOLDEN / "peft_lora"), "memory://team/bert", "--sign", str(keys / "ours.pem"), "--json"]) == 0
    )
    done = json.loads(capsys.readouterr().out)
    check("push", done)
    assert done["signed"]
    assert main(["pull", "memory://team/bert", "--signature-key", str(keys / "ours.pub"), "--json"]) == 0
    (pulled,) = json.loads(capsys.readouterr().out)
    check("pull", [pulled])
    assert pulled["signed"]
    assert main(["pull", "memory://team/bert", "--signature-key", str(keys / "other.pub")]) == 1
    assert "none of the trusted keys verifies it" in capsys.readouterr().err
    assert main(["pull", "memory://team/bert", "--require-signature"]) == 1
    assert "a signature is required, but no key is trusted" in capsys.readouterr().err
    configure(VERTEBRA_SIGNATURE_KEYS=keys / "ours.pub")
    assert main(["pull", "memory://team/bert", "--require-signature"]) == 0
    assert "signed by a trusted key" in capsys.readouterr().out
    assert main(["pull", "memory://team/bert", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["signed"] is False


def test_a_key_of_the_user_does_not_replace_those_of_the_machine(local, keys, configure, capsys, monkeypatch, tmp_path):
    machine = tmp_path / "machine.toml"
    monkeypatch.setattr(settings, "MACHINE_CONFIG", machine)
    trusted = [str(keys / "other.pub"), str(keys / "locked.pub")]
    machine.write_text(f"[enforced]\nrequire_signature = true\nsignature_keys = {json.dumps(trusted)}\n")
    configure()
    assert main(["pull", str(local), "--signature-key", str(keys / "ours.pub")]) == 1
    said = f"Settings in {machine} [enforced]: signatures by the keys in the settings are required, and "
    assert f"{said}{keys / 'ours.pub'} is none of them" in capsys.readouterr().err
    upload(tmp_path / "theirs", local, signing=SigningKey(keys / "other.pem"))
    assert main(["pull", str(tmp_path / "theirs"), "--signature-key", trusted[0]]) == 0
    assert main(["pull", str(tmp_path / "theirs"), "--signature-key", trusted[1]]) == 1


def test_wrong_usage_of_the_options(capsys, keys):
    for words in (["push", "a", "b", "--certificate", "c"], ["pull", "--from", "x", "--require-signature"]):
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 2
