"""Downloading one file in one process, onto an empty disk cache; what it prints, as JSON, is what that took.

usage: store.py vertebra HANDLE NAME FOLDER | obstore URL NAME FOLDER | huggingface_hub REPOSITORY NAME FOLDER
       store.py kagglehub VERSION NAME FOLDER | reading URL NAME FOLDER

Where the service is and as whom it is asked is in the environment. A small file of the same place, `config.json`, is
fetched before: what a process does once is not counted. `reading` keeps nothing: it shows what the server can give.
"""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import urlopen

SMALL = "config.json"
RANGE, THREADS = 8 * 2**20, 4


def vertebra(handle: str, folder: Path):
    """Vertebra's own download, with every byte checked, to a cache that has the file on its disk."""
    os.environ["VERTEBRA_CACHE"] = str(folder)
    from vertebra._resolve.open import open_folder

    return open_folder(handle).fetch


def obstore(url: str, folder: Path):
    """obstore at its best: ranges, several at once, written to their places in a file."""
    import obstore
    from obstore.store import from_url

    store = from_url(url, client_options={"allow_http": True})

    def fetch(name: str) -> None:
        size = obstore.head(store, name)["size"]
        with (folder / name).open("wb") as file, ThreadPoolExecutor(THREADS) as pool:

            def fetch_part(start: int) -> None:
                part = obstore.get_range(store, name, start=start, end=min(start + RANGE, size))
                os.pwrite(file.fileno(), part, start)

            list(pool.map(fetch_part, range(0, size, RANGE)))

    return fetch


def huggingface_hub(repository: str, folder: Path):
    """The hub's own client."""
    from huggingface_hub import hf_hub_download

    return lambda name: hf_hub_download(repository, name, cache_dir=folder)


def kagglehub(version: str, folder: Path):
    """Kaggle's own client, which compares with the MD5 that the storage tells."""
    os.environ["KAGGLEHUB_CACHE"] = str(folder)
    from kagglehub import model_download

    return lambda name: model_download(version, path=name)


def reading(url: str, folder: Path):
    """One answer, read and thrown away; the URL is that of the large file, whatever is asked for."""
    buffer = memoryview(bytearray(2**20))

    def fetch(name: str) -> None:
        with urlopen(url) as answer:
            while answer.readinto(buffer):
                pass

    return fetch


def find_kaggle() -> None:
    """Points Kaggle's client, which Vertebra uses, too, at a server: it has no setting for an address with a port."""
    if address := os.environ.get("KAGGLE_ADDRESS"):
        from kagglesdk import kaggle_env

        kaggle_env._env_to_endpoint[kaggle_env.KaggleEnv.LOCAL] = address


CLIENTS = {
    "vertebra": vertebra,
    "obstore": obstore,
    "huggingface_hub": huggingface_hub,
    "kagglehub": kagglehub,
    "reading": reading,
}


def main() -> None:
    client, place, name, folder = sys.argv[1:]
    Path(folder).mkdir()
    find_kaggle()
    fetch = CLIENTS[client](place, Path(folder))
    fetch(SMALL)
    start, processor = time.perf_counter(), time.process_time()
    fetch(name)
    print(json.dumps({"seconds": time.perf_counter() - start, "processor": time.process_time() - processor}))


if __name__ == "__main__":
    main()
