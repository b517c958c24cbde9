"""Services that lie: names of files, digests, redirects, headers and documents of hubs, and links in the cache."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from faults.advisories import texts
from faults.advisories.archives import gzip_bomb
from faults.advisories.payload import Operations, Payload, Site

from fuzz.target import changed_settings
from fuzz.targets import hubs as services
from servers.faults import Fault, redirect, redirect_origin
from servers.hub import HubServer
from servers.messages import Request, Response
from vertebra._configuration.settings import settings

REPO, TOKEN = "acme/payload", "hf_goodgoodgoodgood"
CONFIG = b'{"vertebra_format": 1}'
FILES = {"config.json": CONFIG, "model.safetensors": bytes(range(256)) * 64}
NEEDS = ("huggingface_hub", "vertebra_hf")


@contextlib.contextmanager
def served(site: Site) -> Iterator[HubServer]:
    """Runs a hub with one repository, which this process uses as a user with a token; large files are at a second."""
    variables = {"HOME": str(site.folder), "VERTEBRA_CACHE": str(site.folder / "cache"), "HF_TOKEN": TOKEN}
    with (
        changed_settings(**variables) as patch,
        HubServer(tokens={TOKEN}, separate_storage=True) as hub,
        mock.patch("vertebra._cache.cached_source._listed", {}),
    ):
        for name in [name for name in os.environ if name.startswith("HF_") and name != "HF_TOKEN"]:
            patch.delenv(name)
        services.to_hf(hub, patch)
        patch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        patch.setattr("vertebra._cache.transfer.retry.FIRST_WAIT", 0.0)
        site.ports |= {hub.port, hub.storage.port}
        hub.commit(REPO, FILES)
        settings()
        yield hub


def pull(names: tuple[str, ...] = tuple(FILES)) -> None:
    """Downloads files, which must be the sound ones."""
    from vertebra._resolve.open import open_folder

    folder = open_folder(f"hf://{REPO}")
    paths = folder.fetch_all(sorted(names))
    assert [path.read_bytes() for path in paths] == [FILES[name] for name in sorted(names)]


# === Names ===


def with_name(name: str, site: Site, stack: contextlib.ExitStack) -> Operations:
    hub = stack.enter_context(served(site))
    hub.commit(REPO, {name.replace("SECRET", str(site.secret)): b"flag"})

    def pull_all() -> None:
        from vertebra._resolve.open import open_folder

        folder = open_folder(f"hf://{REPO}")
        assert set(folder.names) == set(FILES)
        folder.fetch_all(sorted(folder.names))

    return pull_all, pull


def names(*texts: str) -> Iterator[Payload]:
    for text in texts:
        write = partial(with_name, text)
        yield Payload(f"{text!r} in the list of a hub", write, True, keras=False, needs=NEEDS, serves=True)


# === Headers and redirects ===


def with_header(name: str, value: str, site: Site, stack: contextlib.ExitStack) -> Operations:
    hub = stack.enter_context(served(site))
    header = {name: value.replace("SECRET", str(site.secret)).replace("FLAG", str(site.flag))}

    def effect(_: Request, response: Response) -> Response:
        return response.with_headers(**header)

    hub.faults = [Fault(name, effect)]
    return [pull]


def headers(name: str, *values: str) -> Iterator[Payload]:
    for value in values:
        write = partial(with_header, name, value)
        yield Payload(f"{name}: {value}", write, True, keras=False, needs=NEEDS, serves=True)


def led(location: str, site: Site, stack: contextlib.ExitStack) -> Operations:
    """Has the hub send each download to a URL, which must not be asked."""
    hub = stack.enter_context(served(site))
    hub.faults = [redirect(location.replace("SECRET", str(site.secret)).replace("PORT", str(site.other_port)))]
    return [pull]


def redirects(*locations: str) -> Iterator[Payload]:
    for location in locations:
        write = partial(led, location)
        yield Payload(f"redirect to {location!r}", write, keras=False, needs=NEEDS, serves=True)


def credentials(header: str, origin: str, site: Site, stack: contextlib.ExitStack) -> Operations:
    """Has the hub send downloads to another origin, which must see no credentials, after it has set a cookie."""
    from huggingface_hub.utils import close_session

    stack.callback(close_session)  # the client keeps cookies, also for later tests
    hub = stack.enter_context(served(site))
    other = stack.enter_context(HubServer())
    other.commit(REPO, FILES)
    site.ports.add(other.port)

    def set_cookie(_: Request, response: Response) -> Response:
        return response.with_headers(Set_Cookie="session=secret; Path=/; Domain=127.0.0.1")

    cookies = [Fault("cookie", set_cookie, paths="*"), Fault("cookie", set_cookie)]
    moved = redirect_origin(f"http://{origin}:{other.port}")
    hub.faults = [*cookies, moved]

    def pull_and_look() -> None:
        pull()
        assert other.requests
        assert [
            sent.headers[header] for sent in (*other.requests, *hub.storage.requests) if header in sent.headers
        ] == []

    return [pull_and_look]


def kept(header: str, *origins: str) -> Iterator[Payload]:
    for origin in origins:
        write = partial(credentials, header, origin)
        yield Payload(f"{header} at {origin}", write, True, keras=False, needs=NEEDS, serves=True)


def checked(location: str, _: Site) -> Operations:
    """Returns the check of a redirect of a service on the internet."""
    from vertebra import PresetHandle
    from vertebra.http import RedirectPolicy

    start = "https://93.184.216.34/x"
    policy = RedirectPolicy(PresetHandle("hf", REPO), "https://93.184.216.34", start, "HF_ENDPOINT")
    return [partial(policy.resolve, start, location)]


def refused(*locations: str) -> Iterator[Payload]:
    for location in locations:
        yield Payload(f"redirect of a public hub to {location!r}", partial(checked, location), keras=False)


# === What a user publishes ===


def published(card: str, site: Site, stack: contextlib.ExitStack) -> Operations:
    """Publishes a folder with a hostile model card, which stays as it is."""
    import vertebra

    hub = stack.enter_context(served(site))
    preset = Path(shutil.copytree(site.presets["transformers"], site.folder / "preset"))
    vertebra.upload_preset("hf://tester/sound", preset)
    text = f"---\n{card.replace('FLAG', str(site.flag))}\n---\n# Card\n"
    (preset / "README.md").write_text(text)

    def publish() -> None:
        vertebra.upload_preset("hf://tester/card", preset)
        assert hub.files("tester/card")["README.md"] == text.encode()

    return [publish]


# === Answers of other services ===


def answered(
    opened: Any, sound: bytes, data: bytes, site: Site, stack: contextlib.ExitStack, encoding: str = "identity"
) -> Operations:
    """Has a service answer each request with the same bytes, after a sound answer."""
    with mock.patch.object(services.Service, "start", _noting(site)):
        read = stack.enter_context(opened(site.folder))
    settings()
    read(sound)
    stack.enter_context(mock.patch.object(services.Service, "encoding", encoding))
    return [partial(read, data.replace(b"SECRET", os.fsencode(site.secret)))]


def _noting(site: Site) -> Callable[[Any], None]:
    """Returns how a service starts whose port operations may ask."""
    start = services.Service.start

    def note(service: Any) -> None:
        start(service)
        site.ports.add(service.port)

    return note


def packed(connect: Any, sound: Any, encoding: str, site: Site, stack: contextlib.ExitStack) -> Operations:
    """Has a service answer with a small response that is large when it is unpacked."""
    sound = sound()[0] if callable(sound) else sound.encode()
    data = gzip_bomb() if encoding == "gzip" else gzip_bomb()[10:-8]
    return answered(services.asking(connect), sound, data, site, stack, encoding)


def packed_answers() -> Iterator[Payload]:
    asked = {
        "vertebra_hf": (services.to_hf, json.dumps(services.HF)),
        "vertebra_oci": (services.to_oci, json.dumps(services.MANIFEST)),
        "vertebra_modelscope": (services.to_modelscope, json.dumps(services.MODELSCOPE)),
        "vertebra_kaggle": (services.to_kaggle, json.dumps(services.KAGGLE_INSTANCE)),
        "vertebra_s3": (services.to_s3, services.s3_pointers),
    }
    for package, (connect, sound) in asked.items():
        for encoding in ("gzip", "deflate"):
            write = partial(packed, connect, sound, encoding)
            yield Payload(f"{encoding} by {package}", write, keras=False, needs=(package,), serves=True)


def manifest(digest: str) -> bytes:
    layers = [{**services.LAYERS[0], "digest": digest}]
    return json.dumps({**services.MANIFEST, "layers": layers}).encode()


def listing(digest: str) -> bytes:
    siblings = [{"rfilename": "model.safetensors", "size": 40, "lfs": {"sha256": digest, "size": 40}}]
    return json.dumps({**services.HF, "siblings": siblings}).encode()


def files(digest: str) -> bytes:
    return json.dumps(
        {
            "Code": 200,
            "Data": {**services.MODELSCOPE["Data"], "Files": [{**services.MODELSCOPE_FILES[0], "Sha256": digest}]},
        }
    ).encode()


DIGESTS = ("sha256:../../../flag", "../../../flag", "sha256:SECRET", f"sha256:{'0' * 40}/../../../../flag")


def digests() -> Iterator[Payload]:
    """Yields payloads whose digests lead out, in the lists of services that have digests."""
    asked: Mapping[str, tuple[Any, Callable[[str], bytes], str]] = {
        "OCI": (services.to_oci, manifest, "vertebra_oci"),
        "ModelScope": (services.to_modelscope, files, "vertebra_modelscope"),
        "Hugging Face": (services.to_hf, listing, "vertebra_hf"),
    }
    for service, (connect, form, package) in asked.items():
        for digest in DIGESTS:
            sound = form(services.SHA if service != "OCI" else f"sha256:{services.SHA}")
            write = partial(answered, services.asking(connect), sound, form(digest))
            ignored = service == "ModelScope"
            yield Payload(f"{digest} of {service}", write, ignored, keras=False, needs=(package,), serves=True)


ENTITIES = "".join(f"<!ENTITY {b} '{f'&{a};' * 10}'>" for a, b in zip("abcdefgh", "bcdefghi", strict=True))


def page(declared: str, entity: str) -> bytes:
    """Returns a list of objects, one of whose names is an entity."""
    sound = services.s3_pages()[0].replace(b"config.json", entity.encode())
    return sound.replace(b"<ListBucketResult", f"<!DOCTYPE x [{declared}]>\n<ListBucketResult".encode(), 1)


def xml(name: str, declared: str, entity: str) -> Payload:
    opened = services.asking(services.to_s3, "application/xml", lists_only=True)
    write = partial(answered, opened, services.s3_pages()[0], page(declared, entity))
    return Payload(name, write, keras=False, needs=("vertebra_s3",), serves=True)


# === Links in the cache ===


def with_links(target: str, site: Site, stack: contextlib.ExitStack) -> Operations:
    """Puts links where the locks of a download are."""
    stack.enter_context(served(site))
    pull()
    cache = site.folder / "cache"
    locks = [path.name for path in (cache / "locks").iterdir()]
    assert locks
    shutil.rmtree(cache)
    (cache / "locks").mkdir(parents=True)
    for name in locks:
        (cache / "locks" / name).symlink_to(target.replace("SECRET", str(site.secret)).replace("FLAG", str(site.flag)))
    return [pull]


def links(*targets: str) -> Iterator[Payload]:
    for target in targets:
        write = partial(with_links, target)
        yield Payload(f"a lock that is a link to {target}", write, True, keras=False, needs=NEEDS, serves=True)


def advisories() -> dict[str, list[Payload]]:
    """Returns the payloads by advisory."""
    cards = {"CVE-2017-18342": texts.SYSTEM, "CVE-2020-14343": texts.NEW_TYPE}
    return {
        "CVE-2021-41131": [
            *names("../flag", "../../flag", "/flag", "a/../../flag", "..\\flag", "C:\\flag", "\\\\host\\flag", "a/..")
        ],
        "CVE-2021-42574": [*names("flag\u202etxt.json", "a\u2066.json")],
        "CVE-2019-20916": [
            *headers("Content_Disposition", 'attachment; filename="../../flag"', 'attachment; filename="FLAG"'),
            *headers("Content_Disposition", "attachment; filename*=UTF-8''..%2f..%2fflag", 'inline; filename="SECRET"'),
        ],
        "CVE-2009-0037": [*redirects("file://SECRET", "scp://evil.example/x", "ftp://evil.example/x", "data:,flag")],
        "CVE-2021-29921": [*refused("https://0177.0.0.1/", "https://127.0.0.01/", "https://0300.0250.0.1/")],
        "CVE-2023-24329": [*redirects("\x0bfile://SECRET", "\x01http://169.254.169.254/")],
        "CVE-2014-1829": [*kept("authorization", "localhost")],
        "CVE-2018-20060": [*kept("authorization", "127.0.0.1")],
        "CVE-2023-43804": [*kept("cookie", "localhost")],
        "CVE-2018-18074": [*refused("http://93.184.216.34/x", "http://93.184.216.34:443/x", "http:x")],
        "CVE-2024-37032": [*digests()],
        "CVE-2025-66471": [*packed_answers()],
        "CVE-2013-1664": [xml("entities of entities", f"<!ENTITY a 'aaaaaaaaaa'>{ENTITIES}", "&i;")],
        "CVE-2013-1665": [
            xml(url, f"<!ENTITY a SYSTEM '{url}'>", "&a;") for url in ("file://SECRET", "http://127.0.0.1:9/x")
        ],
        "CVE-2025-68146": [*links("SECRET")],
        "CVE-2026-22701": [*links("FLAG")],
        **{
            advisory: [
                Payload(
                    "README.md that is pushed", partial(published, card), True, keras=False, needs=NEEDS, serves=True
                )
            ]
            for advisory, card in cards.items()
        },
    }
