"""What a download costs, beside each service's own client: from the same server, in turn, each in a new process."""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest.mock import patch

from measure import ENVIRONMENT, Row, figures, in_turn, median

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
    url: str | None = None
    """Where it can be read without any client, if it can."""

    def sides(self) -> dict[str, tuple[str, str]]:
        """Returns who downloads it, and where each finds it."""
        sides = {"ours": ("vertebra", self.handle), "theirs": (self.client, self.place)}
        return sides if self.url is None else {**sides, "nobody": ("reading", self.url)}

    def titles(self) -> dict[str, str]:
        return {"ours": "Vertebra", "theirs": f"*{self.client}*", "nobody": "*read and thrown away*"}


def measure_storing(runs: int, work: Path) -> list[Row]:
    """Times the download of one large file, checking included."""
    folder = work / "storing"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    rows = []
    for service in (at_gateway, at_hub, at_kaggle):
        with service(folder) as match:
            rows += measure_match(runs, match, folder)
    shutil.rmtree(folder)
    return rows


def measure_match(runs: int, match: Match, folder: Path) -> list[Row]:
    """Lets each side download in turn; a share is the median over downloads that followed each other."""
    downloads = {who: partial(download, *side, folder) for who, side in match.sides().items()}
    in_turn(1, **downloads)  # what the server does once, such as hashing, is nobody's
    results = in_turn(runs, **downloads)
    return [row(match, results, who) for who in results]


def row(match: Match, results: Mapping[str, Sequence[Mapping[str, float]]], who: str) -> Row:
    own = results[who]
    share = median([theirs["seconds"] / each["seconds"] for each, theirs in zip(own, results["theirs"], strict=True)])
    return {
        "service": match.service,
        "downloaded by": match.titles()[who],
        "MB/s": round(SIZE / 1e6 / median([each["seconds"] for each in own])),
        "of the client's, %": share,
        "processor, s": median([each["processor"] for each in own]),
        "bar": None if who != "ours" else "holds" if share >= BAR else "missed",
    }


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
    with patch.dict(os.environ, variables), patch.dict(ENVIRONMENT, variables):
        yield


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
            url = f"{hub.url}/acme/bert/resolve/{sha}/{NAME}"
            yield Match("Hugging Face (loopback)", f"hf://acme/bert@{sha}", "huggingface_hub", "acme/bert", url)


@contextmanager
def at_kaggle(folder: Path) -> Iterator[Match]:
    """Kaggle, whose storage tells the MD5 of a file with the file, and nothing before."""
    from servers.kaggle import KaggleServer
    from servers.kaggle_models import ModelFile

    with KaggleServer() as kaggle:
        published = files(folder)
        version = f"acme/bert/keras/base/{kaggle.publish('acme/bert/keras/base', published)}"
        access = {
            "KAGGLE_ADDRESS": kaggle.url,
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "KAGGLE_CONFIG_DIR": str(folder),
            "HOME": str(folder),
        }
        with environment(**access):
            url = kaggle.storage.link(NAME, ModelFile.of(published[NAME]))
            yield Match("Kaggle (loopback)", f"kaggle://{version}", "kagglehub", version, url)
