"""What a download costs, beside each service's own client: from the same server, in turn, each in a new process."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from measure import ENVIRONMENT, Row, figures, interleaved

CHILD = Path(__file__).with_name("store.py")
NAME, SIZE = "model.safetensors", 200 * 2**20
BAR = 0.9
"""Of the other client's throughput."""

sys.path.append(str(Path(__file__).parents[1]))  # for `servers`


@dataclass(frozen=True)
class Match:
    """Where one file is for Vertebra, and for another client."""

    service: str
    handle: str
    client: str
    place: str


def measure_storing(runs: int, work: Path) -> list[Row]:
    """Times the download of one large file, checking included."""
    folder = work / "storing"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    rows = []
    for service in (at_gateway, at_hub):
        with service(folder) as match:
            rows += measure_match(runs, match, folder)
    shutil.rmtree(folder)
    return rows


def measure_match(runs: int, match: Match, folder: Path) -> list[Row]:
    times = interleaved(
        runs,
        ours=lambda: download("vertebra", match.handle, folder),
        theirs=lambda: download(match.client, match.place, folder),
    )
    speeds = {who: SIZE / 1e6 / times[who]["seconds"] for who in times}
    share = speeds["ours"] / speeds["theirs"]
    titles = {"ours": "Vertebra", "theirs": f"*{match.client}*"}
    return [
        {
            "service": match.service,
            "downloaded by": titles[who],
            "MB/s": round(speeds[who]),
            "of the client's, %": speeds[who] / speeds["theirs"],
            "processor, s": times[who]["processor"],
            "bar": None if who == "theirs" else "holds" if share >= BAR else "missed",
        }
        for who in times
    ]


def download(client: str, place: str, folder: Path) -> dict[str, float]:
    """Downloads the file once, in a new process and to a new place, which is then removed."""
    target = folder / "download"
    try:
        return figures([sys.executable, str(CHILD), client, place, NAME, str(target)])
    finally:
        shutil.rmtree(target, ignore_errors=True)
        os.sync()  # what one has left to write must not slow down the next


# === Services ===


def files(folder: Path) -> dict[str, Path]:
    """Writes a preset's files; the large one does not compress."""
    found = {"config.json": folder / "config.json", NAME: folder / NAME}
    found["config.json"].write_text("{}")
    found[NAME].write_bytes(os.urandom(2**20) * (SIZE // 2**20))
    return found


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Sets variables for child processes, and here."""
    for each in (os.environ, ENVIRONMENT):
        each.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name], ENVIRONMENT[name]


@contextmanager
def at_gateway(folder: Path) -> Iterator[Match]:
    """A real gateway for S3."""
    from servers.radosgw import RadosGateway
    from vertebra import PresetHandle
    from vertebra_s3.source import S3Source

    with RadosGateway() as gateway:
        gateway.create_bucket("models")
        access = {
            "AWS_ENDPOINT_URL_S3": gateway.endpoint,
            "AWS_ENDPOINT": gateway.endpoint,
            "AWS_ACCESS_KEY_ID": gateway.access_key,
            "AWS_SECRET_ACCESS_KEY": gateway.secret_key,
        }
        with environment(**access):
            pinned = S3Source().upload(PresetHandle("s3", "models/bert"), files(folder), False, "")
            yield Match("S3 (RADOS Gateway)", str(pinned), "obstore", f"s3://models/bert/{pinned.revision}")


@contextmanager
def at_hub(folder: Path) -> Iterator[Match]:
    """A hub, which sends large files as storage does."""
    from servers.hub import HubServer

    with HubServer(separate_storage=True) as hub:
        sha = hub.commit("acme/bert", files(folder))
        with environment(HF_ENDPOINT=hub.url, HF_HUB_DISABLE_XET="1", HF_HUB_DISABLE_TELEMETRY="1"):
            yield Match("Hugging Face (loopback)", f"hf://acme/bert@{sha}", "huggingface_hub", "acme/bert")
