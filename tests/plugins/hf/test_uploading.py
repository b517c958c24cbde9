"""Publishing on the hub: one commit, of exactly the given files."""

import pytest

from servers import faults
from vertebra import PresetHandle
from vertebra.errors import (
    HandleError,
    PresetAccessError,
    PresetError,
    PresetExistsError,
    PresetNotFoundError,
    SourceUnavailableError,
)
from vertebra.testing import opened

REPO = "acme/bert"
HANDLE = PresetHandle("hf", REPO)
OLD = {
    "config.json": b"{}",
    "model-00001-of-00002.safetensors": b"1",
    "model-00002-of-00002.safetensors": b"2",
    "model.safetensors.index.json": b"{}",
    "certificate.safetensors": b"3",
    "tokenizer.json": b"4",
    "README.md": b"# Old",
    "adapter_model.safetensors": b"5",
    "small/model.safetensors": b"6",
}
NEW = {"config.json": b'{"new": 1}', "model.safetensors": bytes(range(251)) * 200, "assets/words.txt": b"words"}
TOKEN = "hf_goodgoodgoodgood"


@pytest.fixture
def files(tmp_path):
    for name, content in NEW.items():
        (tmp_path / "new" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "new" / name).write_bytes(content)
    return {name: tmp_path / "new" / name for name in NEW}


@pytest.fixture(autouse=True)
def logged_in(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)


def test_a_repository_is_made_if_there_is_none(hub, source, files):
    pinned = source.upload(HANDLE, files, False, "message")
    assert {
        name: content for name, content in hub.files(REPO, pinned.revision).items() if name != ".gitattributes"
    } == NEW


def test_the_same_once_more_is_no_commit(hub, source, files):
    pinned = source.upload(HANDLE, files, False, "message")
    assert source.upload(HANDLE, files, False, "again") == pinned
    assert source.upload(HANDLE, files, True, "again") == pinned
    files["config.json"].write_bytes(b'{"new": 2}')
    with pytest.raises(PresetExistsError, match="--replace"):
        source.upload(HANDLE, files, False, "changed")


def test_for_a_branch_of_nothing_nothing_is_made(hub, source, files):
    with pytest.raises(PresetNotFoundError):
        source.upload(PresetHandle("hf", REPO, "drafts"), files, False, "message")
    assert not [request for request in hub.requests if request.method == "POST"]


def test_weights_of_the_old_preset_go_and_the_rest_stays(hub, source, files):
    hub.commit(REPO, OLD)
    source.upload(HANDLE, files, True, "message")
    stays = {
        name: OLD[name]
        for name in ("tokenizer.json", "README.md", "adapter_model.safetensors", "small/model.safetensors")
    }
    assert hub.files(REPO) == {**stays, **NEW}


ADAPTER = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"new", "README.md": b"# New"}


@pytest.mark.parametrize("new", [ADAPTER, {"own.safetensors": b"new"}], ids=["PEFT", "one file"])
@pytest.mark.parametrize(
    "old",
    [{"a.lora.h5": b"1"}, {"adapter_config.json": b"{}", "adapter_model.bin": b"1"}, OLD],
    ids=["h5", "bin", "all"],
)
def test_an_adapter_replaces_another_and_a_preset(hub, source, tmp_path, old, new):
    """Files of the old one would be read in place of the new one."""
    for name, content in new.items():
        (tmp_path / name).write_bytes(content)
    paths = {name: tmp_path / name for name in new}
    hub.commit(REPO, old)
    with pytest.raises(PresetExistsError):
        source.upload(HANDLE, paths, False, "message")
    source.upload(HANDLE, paths, True, "message")
    left = hub.files(REPO).keys() - new.keys()
    assert not left - {"tokenizer.json", "README.md", "small/model.safetensors"}


def test_a_repository_without_a_preset_may_take_one(hub, source, files):
    hub.commit(REPO, {"README.md": b"# Soon"})
    source.upload(HANDLE, files, False, "message")
    assert hub.files(REPO) == {"README.md": b"# Soon", **NEW}


def test_a_folder_is_published_beside_others(hub, source, files):
    hub.commit(REPO, OLD)
    pinned = source.upload(PresetHandle("hf", f"{REPO}/large"), files, False, "message")
    assert hub.files(REPO) == {**OLD, **{f"large/{name}": content for name, content in NEW.items()}}
    assert {file.name for file in opened(source).files(pinned)} == set(NEW)


def test_a_branch_is_published_to(hub, source, files):
    hub.commit(REPO, OLD)
    hub.commit(REPO, {"README.md": b""}, branch="next")
    source.upload(PresetHandle("hf", REPO, "next"), files, True, "message")
    assert hub.files(REPO) == OLD
    assert hub.files(REPO, "next")["config.json"] == NEW["config.json"]
    with pytest.raises(PresetNotFoundError, match="no revision 'other'"):
        source.upload(PresetHandle("hf", REPO, "other"), files, True, "message")


def test_a_commit_is_no_place_to_publish_to(source, files):
    with pytest.raises(HandleError, match="name a branch"):
        source.upload(PresetHandle("hf", REPO, "a" * 40), files, True, "message")


def test_what_is_there_already_is_no_commit(hub, source, files):
    first = source.upload(HANDLE, files, False, "message")
    assert source.upload(HANDLE, files, True, "message") == first


def test_two_who_publish_at_once_do_not_mix(hub, source, files, monkeypatch):
    hub.commit(REPO, OLD)
    before, real = hub.files(REPO), source.resolve_snapshot

    def resolve_snapshot(handle):
        found = real(handle)
        hub.commit(REPO, {"config.json": b"another user's"})
        return found

    monkeypatch.setattr(source, "resolve_snapshot", resolve_snapshot)
    with pytest.raises(PresetExistsError, match="the branch has changed"):
        source.upload(HANDLE, files, True, "message")
    assert hub.files(REPO) == {**before, "config.json": b"another user's"}


@pytest.mark.parametrize("token", ["hf_reader", "hf_expired", ""])
@pytest.mark.parametrize("exists", [True, False])
def test_who_may_not_write_is_told(hub, source, files, monkeypatch, token, exists):
    monkeypatch.setenv("HF_TOKEN", token)
    if exists:
        hub.commit(REPO, OLD)
    with pytest.raises(PresetAccessError, match=r"hf auth login") as raised:
        source.upload(HANDLE, files, True, "message")
    assert not token or token not in str(raised.value)


@pytest.mark.parametrize(
    "fault",
    [faults.status(500, paths="*/commit/*", methods=("POST",)), faults.reset(paths="*/commit/*", methods=("POST",))],
    ids=str,
)
def test_an_upload_that_fails_leaves_what_was(hub, source, files, fault):
    hub.commit(REPO, OLD)
    hub.faults = [fault]
    with pytest.raises(SourceUnavailableError):
        source.upload(HANDLE, files, True, "message")
    assert hub.files(REPO) == OLD


def test_a_name_that_the_hub_does_not_take(hub, source, files):
    with pytest.raises(PresetError):
        source.upload(PresetHandle("hf", "acme/bert.git"), files, True, "message")
