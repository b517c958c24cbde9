"""Publishing on Kaggle: a new version of exactly the given files."""

import pytest

from servers import faults
from vertebra import PresetHandle
from vertebra.errors import HandleError, PresetAccessError, PresetError, PresetExistsError, SourceUnavailableError
from vertebra.testing import opened

VARIATION = "acme/bert/keras/small"
HANDLE = PresetHandle("kaggle", VARIATION)
OLD = {"config.json": b"{}", "model-00001-of-00002.safetensors": b"1", "README.md": b"# Old"}
NEW = {"config.json": b'{"new": 1}', "model.safetensors": bytes(range(251)) * 200, "assets/words.txt": b"words"}


@pytest.fixture
def files(tmp_path):
    for name, content in NEW.items():
        (tmp_path / "new" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "new" / name).write_bytes(content)
    return {name: tmp_path / "new" / name for name in NEW}


@pytest.fixture(autouse=True)
def logged_in(kaggle, log_in, monkeypatch):
    log_in(kaggle.users["acme"])
    monkeypatch.setattr("vertebra_kaggle.uploading._PAUSE", 0.0)


def test_a_model_is_made_if_there_is_none_and_is_private(kaggle, source, files):
    assert source.upload(HANDLE, files, False, "message") == PresetHandle("kaggle", f"{VARIATION}/1")
    assert kaggle.files(VARIATION) == NEW
    assert kaggle._models["acme/bert"].private


def test_a_model_that_is_there_gets_a_variation(kaggle, source, files):
    kaggle.publish("acme/bert/pyTorch/small", OLD)
    assert source.upload(HANDLE, files, False, "message") == PresetHandle("kaggle", f"{VARIATION}/1")
    assert kaggle.files("acme/bert/pyTorch/small") == OLD


def test_a_new_version_leaves_the_others(kaggle, source, files):
    kaggle.publish(VARIATION, OLD)
    with pytest.raises(PresetExistsError, match=r"version 1 of the variation is a preset.*replace=True"):
        source.upload(HANDLE, files, False, "message")
    assert source.upload(HANDLE, files, True, "message") == PresetHandle("kaggle", f"{VARIATION}/2")
    assert [kaggle.files(VARIATION, version) for version in (1, 2)] == [OLD, NEW]


def test_a_variation_without_a_preset_may_take_one(kaggle, source, files):
    kaggle.publish(VARIATION, {"README.md": b"# Soon"})
    assert source.upload(HANDLE, files, False, "message") == PresetHandle("kaggle", f"{VARIATION}/2")


def test_a_version_is_no_place_to_publish_to(source, files):
    with pytest.raises(HandleError, match="get their numbers from Kaggle"):
        source.upload(PresetHandle("kaggle", f"{VARIATION}/2"), files, True, "message")


def test_many_files_are_published(kaggle, source, files, tmp_path):
    for number in range(60):
        name = f"shards/{number}.bin"
        files[name] = tmp_path / str(number)
        files[name].write_bytes(bytes([number]))
    pinned = source.upload(HANDLE, files, False, "message")
    assert kaggle.files(VARIATION) == {name: path.read_bytes() for name, path in files.items()}
    assert len(opened(source).files(pinned)) == 63


def test_files_are_copied_where_links_cannot_be_made(kaggle, source, files, monkeypatch):
    def symlink_to(path, target):
        raise OSError("a privilege is missing")

    monkeypatch.setattr("pathlib.Path.symlink_to", symlink_to)
    source.upload(HANDLE, files, False, "message")
    assert kaggle.files(VARIATION) == NEW


def test_what_somebody_else_publishes_at_once_is_not_taken_for_it(kaggle, source, files, monkeypatch):
    kaggle.publish(VARIATION, OLD)
    import kagglehub

    real = kagglehub.model_upload

    def between_others(*arguments, **options):
        kaggle.publish(VARIATION, {"config.json": b"another user's"})
        real(*arguments, **options)
        kaggle.publish(VARIATION, {"config.json": b"and another"})

    monkeypatch.setattr(kagglehub, "model_upload", between_others)
    assert source.upload(HANDLE, files, True, "message") == PresetHandle("kaggle", f"{VARIATION}/3")


def test_kaggle_is_waited_for_until_it_has_made_the_version(kaggle, source, files, monkeypatch):
    from vertebra_kaggle import uploading

    waits = []

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 2:  # it is out of breath for a moment
            kaggle.faults = [faults.status(503, paths="*/ListModelInstanceVersionFiles", methods=("POST",), times=1)]
        if len(waits) == 3:
            kaggle.publish(VARIATION, NEW)

    monkeypatch.setattr("kagglehub.model_upload", lambda *_, **__: None)  # so it is only sent
    monkeypatch.setattr(uploading.time, "sleep", sleep)
    assert source.upload(HANDLE, files, False, "message") == PresetHandle("kaggle", f"{VARIATION}/1")
    assert len(waits) == 4
    monkeypatch.setattr(uploading, "PROCESSING_SECONDS", -1.0)
    with pytest.raises(SourceUnavailableError, match="has not created the version yet"):
        source.upload(HANDLE, files, True, "message")


@pytest.mark.parametrize("user", ["other", "expired", None])
@pytest.mark.parametrize("exists", [True, False])
def test_who_may_not_write_is_told(kaggle, source, files, log_in, monkeypatch, user, exists):
    if user:
        log_in(kaggle.users.get(user, "KGAT_expired"))
    else:
        monkeypatch.delenv("KAGGLE_API_TOKEN")
    if exists:
        kaggle.publish(VARIATION, OLD)
    with pytest.raises(PresetAccessError, match="KAGGLE_API_TOKEN") as raised:
        source.upload(HANDLE, files, True, "message")
    assert "KGAT_" not in str(raised.value)
    assert not exists or kaggle.files(VARIATION) == OLD


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.status(500, paths="*/CreateModelInstanceVersion", methods=("POST",)), SourceUnavailableError),
        (faults.reset(paths="*/CreateModelInstanceVersion", methods=("POST",)), SourceUnavailableError),
        (faults.status(400, paths="/uploads/*", methods=("PUT",)), PresetError),
    ],
    ids=str,
)
def test_an_upload_that_fails_leaves_what_was(kaggle, source, files, fault, error):
    kaggle.publish(VARIATION, OLD)
    kaggle.faults = [fault]
    with pytest.raises(error) as raised:
        source.upload(HANDLE, files, True, "message")
    assert kaggle.files(VARIATION) == OLD
    assert kaggle.storage.url not in str(raised.value)


def test_a_command_prints_its_own_results_only(kaggle, source, files, capsys):
    source.upload(HANDLE, files, False, "message")
    assert capsys.readouterr().out == ""
