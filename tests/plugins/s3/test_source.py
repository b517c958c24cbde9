"""The s3 source: handles of buckets, and errors for those of no preset."""

import multiprocessing
from dataclasses import replace

import pytest

from servers import faults
from servers.programs import free_ports
from servers.proxy import FaultProxy
from vertebra import PresetHandle
from vertebra._cache import cached_source
from vertebra._configuration.settings import settings
from vertebra.errors import (
    HandleError,
    IntegrityError,
    OfflineError,
    PresetAccessError,
    PresetConfigError,
    PresetError,
    PresetNotFoundError,
    RedirectRefusedError,
    SourceUnavailableError,
)
from vertebra.testing import opened
from vertebra_s3 import layout, unmanaged
from vertebra_s3.layout import Location, location_of
from vertebra_s3.source import S3Source

pytest.importorskip("obstore")

WEIGHTS = bytes(range(251)) * 200
FILES = {"config.json": b"{}", "model.safetensors": WEIGHTS, "assets/words.txt": b"words"}


@pytest.fixture
def pushed(source, write, destination):
    """The pinned handle of a preset that was pushed to the test's own place."""
    return source.upload(destination, write(FILES), False, "message")


# === Handles ===


@pytest.mark.parametrize(
    ("path", "destination"),
    [
        ("models", Location("models", "")),
        ("models/bert", Location("models", "bert/")),
        ("My_models.2/a b/ü?", Location("My_models.2", "a b/ü?/")),
    ],
)
def test_a_handle_names_a_bucket_and_a_prefix(path, destination):
    assert location_of(PresetHandle("s3", path)) == destination


@pytest.mark.parametrize("path", ["-x/bert", "a b/bert", "a?b", "a:b@c/bert", "é", "a" * 256])
def test_names_that_no_bucket_has_are_refused_without_asking(path):
    with pytest.raises(HandleError, match="is not a valid name of a bucket"):
        S3Source().resolve_snapshot(PresetHandle("s3", path))


@pytest.mark.parametrize(
    ("revision", "pinned"),
    [
        (None, False),
        ("v1", False),
        ("a" * 32, True),
        ("A" * 32, False),
        ("a" * 33, False),
        ("list-" + "0" * 32, True),
        ("list-0", False),
    ],
)
def test_what_contents_hash_to_is_pinned(revision, pinned):
    assert S3Source().is_pinned(PresetHandle("s3", "models/bert", revision)) is pinned


def test_keys_may_hold_what_addresses_escape(source, write, read, put, destination):
    strange = replace(destination, path=f"{destination.path}/ä +%3F&'x/y")
    source.upload(strange, write({**FILES, "ä +%41.txt": b"1"}), False, "message")
    assert read(strange)["ä +%41.txt"] == b"1"


# === Pushed presets ===


def test_a_look_up_is_one_request(pushed, source, destination, proxy):
    proxy.clear()
    assert source.resolve_snapshot(destination).handle == pushed
    assert source.resolve_snapshot(pushed).handle == pushed
    assert [request.target for request in proxy.requests] == [
        f"/{destination.path}/vertebra.json",
        f"/{destination.path}/{pushed.revision}/vertebra.json",
    ]


def test_a_revision_that_is_not_there_is_told(pushed, source):
    with pytest.raises(PresetNotFoundError, match="no revision '0000"):
        source.resolve_snapshot(replace(pushed, revision="0" * 32))


def test_a_manifest_that_was_changed_is_refused(pushed, source, destination, put, gateway):
    content = gateway.request("GET", f"/{destination.path}/vertebra.json")
    put(destination, {"vertebra.json": content.replace(b'"size": 2', b'"size": 3')})
    with pytest.raises(IntegrityError, match="expected"):
        source.resolve_snapshot(destination)
    content = gateway.request("GET", f"/{destination.path}/{pushed.revision}/vertebra.json")
    put(destination, {f"{pushed.revision}/vertebra.json": content.replace(b"words.txt", b"other.txt")})
    with pytest.raises(IntegrityError, match="expected"):
        source.resolve_snapshot(pushed)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"<html>", SourceUnavailableError),
        (b"", SourceUnavailableError),
        (b"[" * 100_000, SourceUnavailableError),
        (b"[]", PresetConfigError),
        (b'{"format": 2}', PresetConfigError),
        (b'{"format": 1}', PresetConfigError),
        (b'{"format": 1, "revision": "x"}', PresetConfigError),
        (b'{"format": 1, "revision": "x", "files": [3]}', PresetConfigError),
        (b'{"format": 1, "revision": "x", "files": [{"name": "a", "size": -1, "sha256": "x"}]}', PresetConfigError),
        (b'{"format": 1, "revision": "x", "files": []}', IntegrityError),
        (b" " * (8 * 2**20 + 1), PresetConfigError),
    ],
)
def test_a_pointer_that_is_none_is_refused(source, destination, put, content, error):
    put(destination, {"vertebra.json": content})
    with pytest.raises(error):
        source.resolve_snapshot(destination)


def test_whoever_names_the_folder_of_contents_is_told_the_handle(pushed, source):
    with pytest.raises(PresetConfigError, match=str(pushed)):
        source.resolve_snapshot(replace(pushed, path=f"{pushed.path}/{pushed.revision}", revision=None))


def test_a_manifest_that_leads_elsewhere_is_refused(pushed, destination, put, source, cache, monkeypatch):
    from vertebra import PresetFile
    from vertebra._resolve import preset_folder
    from vertebra._resolve.failover import Failover

    bad = layout.manifest([PresetFile("../../config.json", 2, None, f"sha256:{'0' * 64}")])
    put(destination, {"vertebra.json": layout.pointer(bad)})
    monkeypatch.setattr(preset_folder, "source_of", lambda handle, requested: source)
    folder = preset_folder.PresetFolder("preset", Failover([destination]))
    assert folder.names == set()
    with pytest.raises(PresetNotFoundError, match="outside the preset's folder"):
        folder.fetch("../../config.json")


def test_an_object_that_is_missing_is_told(pushed, source, gateway, destination):
    gateway.request("DELETE", f"/{destination.path}/{pushed.revision}/model.safetensors")
    with pytest.raises(PresetNotFoundError, match="is missing"):
        opened(source).fetch(pushed, "model.safetensors")


def test_an_object_that_was_changed_is_refused(pushed, source, destination, put):
    put(destination, {f"{pushed.revision}/model.safetensors": WEIGHTS[::-1]})
    with pytest.raises(IntegrityError, match="sha256"):
        opened(source).fetch(pushed, "model.safetensors")


# === Files of others ===


def test_files_that_others_have_put_there_are_pinned_by_what_is_listed(source, put, read, destination):
    put(destination, FILES)
    pinned = opened(source).resolve(destination)
    assert pinned.revision.startswith("list-")
    assert read(pinned) == FILES
    put(destination, {"assets/more.txt": b"more"})
    assert opened(source).resolve(destination) != pinned


def test_what_is_pinned_is_refused_when_it_is_no_longer_there(source, put, destination, cache, monkeypatch):
    put(destination, FILES)
    pinned = opened(source).resolve(destination)
    put(destination, {"model.safetensors": WEIGHTS[::-1]})
    other = S3Source()  # as another process, which knows the list and not the tags
    with pytest.raises(PresetNotFoundError, match="have changed since"):
        opened(other).fetch(pinned, "model.safetensors")


def test_a_file_that_is_replaced_halfway_is_refused(source, put, destination, proxy, monkeypatch):
    put(destination, FILES)
    pinned = opened(source).resolve(destination)
    (file,) = [file for file in opened(source).files(pinned) if file.name == "model.safetensors"]
    real, reads = source.read, []

    def read(*arguments, **more):
        reads.append(arguments)
        if len(reads) == 3:
            put(destination, {"model.safetensors": WEIGHTS[::-1]})
        return real(*arguments, **more)

    monkeypatch.setattr(source, "read", read)
    with pytest.raises(IntegrityError, match=r"was replaced after the preset was looked up.*vertebra push"):
        opened(source).fetch_all(pinned, [file])


def test_parts_of_pushed_presets_and_marks_of_folders_are_no_files(source, put, read, write, destination):
    put(destination, FILES)
    pinned = opened(source).resolve(destination)
    put(
        destination,
        {f"{'a' * 32}/config.json": b"of an interrupted upload", "": b"", "assets/": b"", "vertebra.v1.json": b""},
    )
    assert opened(source).resolve(destination) == pinned
    assert read(destination) == FILES


def test_presets_below_a_prefix_are_named(source, put, destination):
    put(destination, {"checkpoint-500/config.json": b"{}", "a/b/config.json": b"{}", "a/b/c/config.json": b"{}"})
    put(destination, {f"{'a' * 32}/config.json": b"{}", f"{'a' * 32}/1_Pooling/config.json": b"{}", "x.txt": b""})
    with pytest.raises(PresetNotFoundError) as caught:
        opened(source).resolve(destination)
    assert caught.value.suggestions == [f"{destination}/a/b", f"{destination}/checkpoint-500"]
    assert opened(source).resolve(PresetHandle.parse(caught.value.suggestions[1]))


def test_a_prefix_is_no_beginning_of_a_name(source, put, read, destination):
    put(replace(destination, path=f"{destination.path}-large"), FILES)
    with pytest.raises(PresetNotFoundError, match=r"neither a vertebra\.json nor a config\.json"):
        opened(source).resolve(destination)


def test_a_key_that_is_no_path_is_told(source, put, destination):
    put(destination, {**FILES, "assets//words.txt": b""})
    with pytest.raises(PresetError, match="whose key is not a path"):
        opened(source).resolve(destination)


def test_a_whole_bucket_is_no_preset(source, put, destination, monkeypatch):
    monkeypatch.setattr(unmanaged, "MOST_OBJECTS", 2)
    put(destination, FILES)
    with pytest.raises(PresetError, match="more than 2 objects"):
        opened(source).resolve(destination)


def test_what_is_copied_with_its_notes_is_checked(pushed, source, destination, put, gateway, proxy):
    """Objects of a pushed preset have their hash as metadata, and copying tools keep it."""
    import obstore

    other = replace(destination, path=f"{destination.path}-copy")
    store = source._buckets.open(destination, "models")._store
    for name in FILES:
        obstore.copy(
            store, f"{pushed.path}/{pushed.revision}/{name}".removeprefix("models/"), f"{other.path}/{name}"[7:]
        )
    proxy.faults = [faults.flip_bit(30_000, files="*copy/model.safetensors")]
    with pytest.raises(IntegrityError, match="sha256"):
        opened(source).fetch(opened(source).resolve(other), "model.safetensors")


def test_what_is_stored_encoded_is_refused(source, put, destination, write):
    import obstore

    put(destination, FILES)
    store = source._buckets.open(destination, "models")._store
    key = f"{destination.path}/config.json".removeprefix("models/")
    obstore.put(store, key, b"\x1f\x8b", attributes={"Content-Encoding": "gzip"})
    with pytest.raises(IntegrityError, match="stored as gzip"):
        opened(source).fetch(opened(source).resolve(destination), "config.json")


# === Unavailable services and missing access ===


@pytest.mark.parametrize("revision", [None, "v1", "0" * 32])
def test_a_bucket_that_is_missing_is_told(source, proxy, revision):
    with pytest.raises(PresetNotFoundError, match=f"{proxy.url} has no bucket 'nowhere'"):
        source.resolve_snapshot(PresetHandle("s3", "nowhere/bert", revision))


def test_a_wrong_secret_is_told_and_not_repeated(pushed, source, destination, monkeypatch, gateway):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "geheim")
    for call in (lambda: source.resolve_snapshot(destination), lambda: opened(source).fetch(pushed, "config.json")):
        with pytest.raises(PresetAccessError, match=r"SignatureDoesNotMatch.*AWS_ACCESS_KEY_ID") as raised:
            call()
        assert not [text for text in ("geheim", gateway.access_key) if text in str(raised.value)]


def test_who_has_no_credentials_is_told(pushed, source, destination, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID"), monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(PresetAccessError, match=r"HTTP 403, AccessDenied; no credentials were found"):
        source.resolve_snapshot(destination)


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidToken"])
def test_credentials_that_have_expired_are_told(source, destination, proxy, code):
    proxy.faults = [refused(400, code)]
    with pytest.raises(PresetAccessError, match=f"HTTP 400, {code}"):
        source.resolve_snapshot(destination)


def refused(status, code):
    """An error as S3 tells it, with what S3 tells besides."""
    body = f"<Error><Code>{code}</Code><AWSAccessKeyId>geheim</AWSAccessKeyId></Error>".encode()
    fault = faults.status(status, paths="/models*")
    effect = fault.effect

    def as_s3(request, response):
        from servers.messages import Content

        return replace(effect(request, response), content=Content.of(body))

    object.__setattr__(fault, "effect", as_s3)
    return fault


@pytest.mark.parametrize("fault", [refused(400, "AuthorizationHeaderMalformed"), faults.status(301, paths="/models*")])
def test_a_wrong_region_is_told(source, destination, proxy, fault):
    proxy.faults = [fault]
    with pytest.raises(PresetError, match=r"not in the region us-east-1\. Set AWS_REGION"):
        source.resolve_snapshot(destination)


def test_nobody_listens(source, destination, monkeypatch):
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
    with pytest.raises(SourceUnavailableError, match=f"no complete response from {url}: the connection failed"):
        source.resolve_snapshot(destination)


def test_a_proxy_that_is_dead_is_named_without_its_password(source, destination, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://s3.example.invalid")
    monkeypatch.setenv("HTTP_PROXY", "http://user:geheim@127.0.0.1:9")
    with pytest.raises(SourceUnavailableError, match=r"HTTP_PROXY names a proxy") as raised:
        source.resolve_snapshot(destination)
    assert "geheim" not in str(raised.value)


def test_no_proxy_is_heeded(pushed, source, destination, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert S3Source().resolve_snapshot(destination).handle == pushed


def test_a_blank_endpoint_of_the_service_does_not_hide_the_other(pushed, destination, proxy, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", " ")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f" {proxy.url}/ ")
    assert S3Source().resolve_snapshot(destination).handle == pushed


def test_what_is_known_serves_when_the_service_is_gone(pushed, read, destination, proxy, caplog):
    assert read(destination) == FILES
    proxy.close()
    assert read(destination) == FILES
    assert "Using the cached revision" in caplog.text


def test_offline_nothing_is_asked(pushed, read, source, destination, proxy, monkeypatch):
    """The client library's own sockets are not Python's: requests are counted where they would arrive."""
    assert read(destination) == FILES
    monkeypatch.setenv("VERTEBRA_OFFLINE", "1")
    monkeypatch.setattr(cached_source, "_listed", {})
    settings.cache_clear()
    proxy.clear()
    assert read(destination) == FILES
    with pytest.raises(OfflineError):
        read(replace(destination, revision="v1"))
    assert proxy.requests == []


@pytest.fixture
def public(gateway, proxy, monkeypatch):
    """Returns the handle of a public preset, for a user without credentials."""
    handle = PresetHandle("s3", "public/team/bert")
    gateway.request("PUT", "/public", acl="public-read")
    for name, content in FILES.items():
        gateway.request("PUT", f"/{handle.path}/{name}", content, acl="public-read")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    return handle


def test_what_is_public_is_read_without_credentials(public, read, proxy):
    assert read(public) == FILES
    assert not any("authorization" in request.headers for request in proxy.requests)
    assert not any("X-Amz-Signature" in request.query for request in proxy.requests)


def test_what_is_public_may_be_elsewhere(public, source, proxy, gateway):
    pinned = opened(source).resolve(public)
    opened(source).files(pinned)
    with FaultProxy(gateway) as other:
        proxy.faults = [faults.redirect_origin(other.url, paths="*model.safetensors")]
        assert opened(source).fetch(pinned, "model.safetensors").read_bytes() == WEIGHTS
        assert other.requests != []
    proxy.faults = [faults.redirect("http://169.254.169.254/", paths="*config.json")]
    with pytest.raises(RedirectRefusedError, match="inside this network"):
        opened(source).fetch(pinned, "config.json")


# === Redirects (NW-08) ===


@pytest.fixture
def other(gateway):
    """Another host with the same objects."""
    with FaultProxy(gateway) as other:
        yield other


def led_to(other, **when):
    return faults.redirect_origin(other.url.replace("127.0.0.1", "localhost"), **when)


def test_a_redirect_to_another_host_takes_no_signature_along(source, destination, proxy, other):
    proxy.faults = [led_to(other, paths="/models*")]
    with pytest.raises(PresetAccessError):
        source.resolve_snapshot(destination)
    assert [request.headers.get("authorization") for request in other.requests] == [None]


@pytest.fixture
def token(monkeypatch):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-this-session")


def test_credentials_with_a_session_token_read_and_write(source, destination, proxy, token, write, read):
    pinned = S3Source().upload(destination, write(FILES), False, "message")
    proxy.clear()
    assert read(pinned) == FILES
    asked = [request for request in proxy.requests if request.path.endswith("model.safetensors")]
    assert all("X-Amz-Signature" in request.query for request in asked)
    assert not any("x-amz-security-token" in request.headers for request in asked)


WHERE = {"look up": "/models*", "a file": "*model.safetensors", "list": "/models/"}


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("address", ["http://localhost:{port}", "http://169.254.169.254", "ftp://localhost"])
def test_a_session_token_is_taken_nowhere_else(
    source, destination, proxy, other, token, write, read, put, where, address
):
    if where == "list":
        put(destination, FILES)
    else:
        S3Source().upload(destination, write(FILES), False, "message")
    proxy.faults = [faults.redirect_origin(address.format(port=other.port), paths=WHERE[where])]
    with pytest.raises(RedirectRefusedError) as raised:
        read(destination)
    assert "of-this-session" not in str(raised.value)
    assert other.requests == []


def test_a_session_token_is_not_written_elsewhere(source, destination, proxy, other, token, write):
    proxy.faults = [led_to(other, paths="*/model.safetensors")]
    with pytest.raises(RedirectRefusedError, match="session token"):
        source.upload(destination, write(FILES), False, "message")
    assert other.requests == []


def test_with_a_session_token_no_redirect_is_followed_at_all(source, destination, proxy, other, token, write, read):
    pinned = S3Source().upload(destination, write(FILES), False, "message")
    elsewhere = faults.redirect_origin(other.url.replace("127.0.0.1", "localhost"), paths="*hop=1*")
    proxy.faults = [elsewhere, faults.redirect_hops(1, paths="*model.safetensors")]
    with pytest.raises(RedirectRefusedError, match="a session token"):
        read(pinned)
    assert other.requests == []


def test_what_passes_does_not_count_as_an_answer(source, destination, proxy, token, write, read):
    pinned = S3Source().upload(destination, write(FILES), False, "message")
    proxy.faults = [faults.status(503, paths="*model.safetensors", times=1)]
    assert read(pinned) == FILES
    asked = [request for request in proxy.requests if "X-Amz-Signature" in request.query]
    assert len([request for request in asked if request.path.endswith("model.safetensors")]) >= 2


def test_without_an_answer_nothing_is_sent(source, destination, proxy, token):
    proxy.faults = [faults.reset(paths="/models*")]
    with pytest.raises(SourceUnavailableError):
        source.resolve_snapshot(destination)
    assert not any("authorization" in request.headers for request in proxy.requests)


# === Processes ===


def in_child(function):
    """Returns what a function returns in a process that is made by fork, or the error that it raises, as text."""
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()

    def answer():
        try:
            answers.put(str(function()))
        except PresetError as error:
            answers.put(str(error))

    child = context.Process(target=answer)
    child.start()
    child.join(30)
    if child.is_alive():
        child.kill()
        pytest.fail("the child waits for ever")
    return answers.get()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # which is what this is about
def test_a_child_made_by_fork_is_told_and_leaves_its_parent_alone(pushed, source, destination, read):
    assert "by spawn or forkserver" in in_child(lambda: source.resolve_snapshot(destination))
    assert source.resolve_snapshot(destination).handle == pushed
    assert read(pushed) == FILES
    assert in_child(lambda: read(pushed) == FILES) == "True"  # it is here


def test_profiles_are_read(pushed, destination, nobody, monkeypatch, gateway, proxy):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of other keys")
    monkeypatch.setenv("AWS_PROFILE", "lab")
    keys = f"aws_access_key_id = {gateway.access_key}\naws_secret_access_key = {gateway.secret_key}\n"
    (nobody / ".aws" / "credentials").write_text(f"[lab]\n{keys}")
    (nobody / ".aws" / "config").write_text(f"[profile lab]\nendpoint_url = {proxy.url}\nregion = lab-1\n")
    assert S3Source().resolve_snapshot(destination).handle == pushed
    assert "lab-1" in proxy.requests[-1].headers["authorization"]
    assert "x-amz-security-token" not in proxy.requests[-1].headers
