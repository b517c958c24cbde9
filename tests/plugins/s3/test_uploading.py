"""Publishing in a bucket: atomic, also if it is interrupted or two processes publish at once."""

import hashlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy

from servers import faults
from vertebra import PresetHandle
from vertebra._cache.transfer import download
from vertebra.errors import (
    HandleError,
    IntegrityError,
    PresetAccessError,
    PresetConfigError,
    PresetExistsError,
    PresetNotFoundError,
    SourceUnavailableError,
)
from vertebra.testing import opened
from vertebra_s3 import bucket, layout, uploading

obstore = pytest.importorskip("obstore")

OLD = {"config.json": b"{}", "model.safetensors": b"old" * 5_000, "assets/words.txt": b"words", "empty": b""}
NEW = {"config.json": b'{"new": 1}', "model.safetensors": b"new" * 5_000}
WRITES = len(NEW) + 2  # with the manifest, and the pointer


@pytest.fixture
def push(source, write, destination):
    """Uploads files to the test's own place; returns the pinned handle."""

    def push(files, replacing=False, handle=destination):
        return source.upload(handle, write(files), replacing, "message")

    return push


@pytest.fixture
def keys(gateway, destination):
    """Returns the keys of all objects below the test's own place, without that."""

    def keys():
        bucket, _, prefix = destination.path.partition("/")
        listed = gateway.request("GET", f"/{bucket}?prefix={prefix}/").decode()
        found = [part.partition("</Key>")[0] for part in listed.split("<Key>")[1:]]
        return {key.removeprefix(f"{prefix}/") for key in found if key.startswith(f"{prefix}/")}

    return keys


@pytest.fixture
def stopping(monkeypatch):
    """Makes the client library's writes stop the process, as it were, at the one of a number: before or after it."""

    def stop(number, after):
        real, count = obstore.put, iter(range(1_000))

        def put(*arguments, **options):
            now = next(count) == number
            if now and not after:
                raise KeyboardInterrupt
            done = real(*arguments, **options)
            if now:
                raise KeyboardInterrupt
            return done

        monkeypatch.setattr(obstore, "put", put)

    return stop


# === Written objects ===


def test_files_lie_below_what_their_manifest_hashes_to(push, gateway, destination, keys):
    pinned = push(OLD)
    manifest = gateway.request("GET", f"/{destination.path}/{pinned.revision}/vertebra.json")
    assert pinned.revision == hashlib.sha256(manifest).hexdigest()[:32]
    assert {file["name"]: (file["size"], file["sha256"]) for file in json.loads(manifest)["files"]} == {
        name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in OLD.items()
    }
    pointer = json.loads(gateway.request("GET", f"/{destination.path}/vertebra.json"))
    assert pointer == {**json.loads(manifest), "revision": pinned.revision}
    assert keys() == {"vertebra.json", *(f"{pinned.revision}/{name}" for name in [*OLD, "vertebra.json"])}


def test_what_is_pushed_is_read_by_every_handle_of_it(push, read, destination):
    pinned = push(OLD)
    assert read(destination) == read(pinned) == OLD
    assert PresetHandle.parse(str(pinned)) == pinned


def test_a_prefix_may_be_the_whole_bucket(gateway, push, read):
    gateway.create_bucket("whole")
    pinned = push(OLD, handle=PresetHandle("s3", "whole"))
    assert read(pinned) == read(PresetHandle("s3", "whole")) == OLD


def test_revisions_have_names_if_one_likes(push, read, destination):
    first = push(OLD, handle=replace(destination, revision="v1"))
    second = push(NEW, handle=replace(destination, revision="v2.0-rc_1"))
    assert read(replace(destination, revision="v1")) == OLD
    assert read(replace(destination, revision="v2.0-rc_1")) == NEW
    assert first.revision != second.revision
    with pytest.raises(PresetNotFoundError, match=r"named revisions only, such as .*@v1"):
        read(destination)
    with pytest.raises(PresetNotFoundError, match="no revision 'v3'") as raised:
        read(replace(destination, revision="v3"))
    assert "v1" in raised.value.suggestions


@pytest.mark.parametrize("revision", ["0" * 32, "list-" + "0" * 32, "x" * 201, "ä" * 40])
def test_some_revisions_nobody_can_name(push, destination, proxy, revision):
    with pytest.raises(HandleError):
        push(OLD, handle=replace(destination, revision=revision))
    assert {request.method for request in proxy.requests} <= {"GET"}


@pytest.mark.parametrize("revision", ["feature/x", "refs/pr/1", "v1+cpu", "ä", ".x", "a=2Fb", "50%"])
def test_names_of_branches_elsewhere_are_names_here(push, read, source, destination, revision):
    named = replace(destination, revision=revision)
    pinned = push(OLD, handle=named)
    assert opened(source).resolve(named) == pinned
    assert {name: content for name, content in read(named).items() if name in OLD} == OLD
    with pytest.raises(PresetNotFoundError) as raised:
        source.resolve_snapshot(replace(destination, revision=f"{revision}y"))
    assert revision in raised.value.suggestions


def test_large_files_are_sent_in_parts_and_read_back(push, read, destination, proxy, monkeypatch):
    monkeypatch.setattr(uploading, "_LARGE", 2**20)
    monkeypatch.setattr(bucket, "_PART_SIZE", 5 * 2**20)  # the least that services take
    monkeypatch.setattr(download, "RANGE", 2**22)
    large = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * (11 * 2**12)}
    push(large)
    assert sum("partNumber" in request.query for request in proxy.requests) == 3
    assert read(destination) == large


def test_a_file_that_changes_meanwhile_is_not_published(source, write, destination, keys, monkeypatch):
    for large in (2**30, 0):
        monkeypatch.setattr(uploading, "_LARGE", large)
        files, real = write(NEW), uploading._send

        def changing(target, preset, file, path, files=files, real=real):
            files["model.safetensors"].write_bytes(b"other" * 3_000)
            real(target, preset, file, path)

        monkeypatch.setattr(uploading, "_send", changing)
        with pytest.raises(IntegrityError, match="changed while it was uploaded"):
            source.upload(destination, files, False, "message")
        assert not any(key.endswith(("vertebra.json", "model.safetensors")) for key in keys())
        monkeypatch.setattr(uploading, "_send", real)


# === Existing presets ===


def test_the_same_again_is_no_change(push, proxy):
    pinned = push(OLD)
    proxy.clear()
    assert push(OLD) == push(OLD, replacing=True) == pinned
    assert {request.method for request in proxy.requests} == {"GET"}


def test_another_preset_is_not_replaced_by_mistake(push, read, destination):
    pinned = push(OLD)
    with pytest.raises(PresetExistsError, match="--replace"):
        push(NEW)
    assert read(destination) == OLD
    push(NEW, replacing=True)
    assert read(destination) == NEW
    assert read(pinned) == OLD


def test_files_of_others_are_not_replaced_by_mistake(push, put, read, destination):
    put(destination, OLD)
    with pytest.raises(PresetExistsError, match="from another tool"):
        push(NEW)
    push(NEW, replacing=True)
    assert read(destination) == NEW


def test_something_else_of_that_name_is_not_replaced_by_mistake(push, put, read, destination):
    put(destination, {"vertebra.json": b'{"dependencies": {}}'})
    with pytest.raises(PresetConfigError, match=r"the format of its vertebra\.json is unknown"):
        push(NEW)
    push(NEW, replacing=True)
    assert read(destination) == NEW


# === Stopped ===


@pytest.mark.parametrize("replacing", [False, True])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", range(WRITES))
def test_whoever_is_stopped_leaves_what_was_and_goes_on_later(
    push, read, destination, source, stopping, proxy, monkeypatch, number, after, replacing
):
    real = obstore.put
    if replacing:
        push(OLD)
    stopping(number, after)
    with pytest.raises(KeyboardInterrupt):
        push(NEW, replacing)
    monkeypatch.setattr(obstore, "put", real)
    if (number, after) == (WRITES - 1, True):
        assert read(destination) == NEW  # all was done
    elif replacing:
        assert read(destination) == OLD
    else:
        with pytest.raises(PresetNotFoundError):
            opened(source).resolve(destination)
    proxy.clear()
    push(NEW, replacing)
    assert read(destination) == NEW
    sent = {
        name for name in NEW for request in proxy.requests if request.method == "PUT" and request.path.endswith(name)
    }
    assert sent == set(list(NEW)[number + after :])


# === At once ===


def at_once(monkeypatch, *pushes):
    """Runs pushes in threads; all of them read the existing pointer before any writes."""
    barrier, real = threading.Barrier(len(pushes), timeout=30), uploading._is_published
    local = threading.local()

    def stands(*arguments):
        found = real(*arguments)
        if not getattr(local, "met", False):
            local.met = True
            barrier.wait()
        return found

    monkeypatch.setattr(uploading, "_is_published", stands)

    def outcome(push):
        try:
            return push()
        except PresetExistsError as error:
            return error

    with ThreadPoolExecutor(len(pushes)) as pool:
        return [future.result() for future in [pool.submit(outcome, push) for push in pushes]]


def test_of_two_who_publish_at_once_one_is_told(push, read, destination, monkeypatch):
    presets = [OLD, NEW]
    outcomes = at_once(monkeypatch, *(lambda files=files: push(files) for files in presets))
    won = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, PresetHandle)]
    assert len(won) == 1
    assert read(destination) == presets[won[0]]


def test_many_who_publish_the_same_at_once_all_have(push, read, destination, monkeypatch):
    outcomes = at_once(monkeypatch, *[lambda: push(OLD)] * 6)
    assert len(set(outcomes)) == 1
    assert read(destination) == OLD


def test_two_who_replace_at_once_do_not_mix(push, read, destination, monkeypatch):
    push({"config.json": b"first"})
    first, second = at_once(monkeypatch, lambda: push(OLD, True), lambda: push(NEW, True))
    assert (read(first), read(second)) == (OLD, NEW)
    assert read(destination) in (OLD, NEW)


def test_a_service_that_refuses_both_of_two_is_asked_again(push, read, destination, monkeypatch):
    real, refused = bucket.Bucket.create, iter([True, True, False])
    monkeypatch.setattr(bucket.Bucket, "create", lambda *arguments: not next(refused) and real(*arguments))
    push(OLD)
    assert read(destination) == OLD


def test_a_service_that_always_refuses_is_told(push, destination, monkeypatch):
    monkeypatch.setattr(bucket.Bucket, "create", lambda *_: False)
    with pytest.raises(PresetExistsError, match="another process is publishing"):
        push(OLD)


# === Refused ===


def test_who_may_not_write_is_told(push, monkeypatch, gateway, proxy):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "geheim")
    proxy.faults = [faults.status(404, paths="/models/*")]
    with pytest.raises(
        PresetAccessError, match=r"does not let you write to its bucket \(HTTP 403, SignatureDoesNotMatch"
    ) as e:
        push(OLD)
    assert not [secret for secret in ("geheim", gateway.secret_key) if secret in str(e.value)]


def test_a_bucket_that_is_missing_is_told(push):
    with pytest.raises(PresetNotFoundError, match="has no bucket 'nowhere'"):
        push(OLD, handle=PresetHandle("s3", "nowhere/bert"))


def test_an_upload_that_fails_in_passing_goes_on(push, read, destination, proxy):
    proxy.faults = [faults.status(503, paths="/models/*", methods=("PUT",), times=2)]
    push(OLD)
    assert read(destination) == OLD


def test_an_upload_that_fails_leaves_what_was(push, read, destination, proxy, monkeypatch):
    monkeypatch.setattr("vertebra_s3.bucket._RETRIES", 0)
    push(OLD)
    proxy.faults = [faults.reset(paths="/models/*", methods=("PUT",))]
    with pytest.raises(SourceUnavailableError):
        push(NEW, True)
    proxy.faults = []
    assert read(destination) == OLD


def test_manifests_do_not_depend_on_the_order_of_files():
    from vertebra import PresetFile

    files = [PresetFile(name, 1, None, f"sha256:{'0' * 64}") for name in ("b", "a")]
    assert layout.manifest(files) == layout.manifest(files[::-1])


# === By command ===


def test_a_preset_is_pushed_pulled_and_locked_by_command(proxy, cache, destination, capsys, monkeypatch, tmp_path):
    from vertebra.cli import main

    preset = tmp_path / "preset"
    preset.mkdir()
    config = {"vertebra_format": 1, "backbone": "SampleBackbone", "config": {"num_layers": 1}}
    (preset / "config.json").write_text(json.dumps(config))
    weights = safetensors.numpy.save({"head/kernel": np.zeros((4, 2), "float32")})
    (preset / "model.safetensors").write_bytes(weights)
    monkeypatch.chdir(tmp_path)
    assert main(["push", str(preset), str(destination)]) == 0
    pinned = capsys.readouterr().out.splitlines()[0]
    assert main(["lock", str(destination)]) == 0
    assert pinned in (tmp_path / "vertebra.lock").read_text()
    assert main(["pull", pinned]) == 0
    assert weights in [path.read_bytes() for path in cache.glob("blobs/*/*")]
    proxy.clear()
    assert main(["inspect", pinned]) == 0
    assert "SampleBackbone" in capsys.readouterr().out
    assert proxy.requests == []
