"""Loading a preset that is on this machine, in one process; what it prints, as JSON, is what that took.

usage: reopen.py once RUNTIME PLACE | again RUNTIME FOLDER HANDLE TIMES

`once` prints the seconds of the first load, with what it imports, and how many modules of a service's client that
brought. `again` loads from both places in turn, after one load from each, and prints the medians of their seconds and
of the difference. Without a framework (RUNTIME is `none`), files are found and not loaded.
"""

import gc
import json
import sys

from libraries import Vertebra, seconds
from measure import in_turn, median
from models import MODELS

CLIENTS = ("huggingface_hub", "httpx", "requests", "urllib3")


def loader(runtime: str):
    """Returns what loads from a place."""
    if runtime != "none":
        vertebra = Vertebra(runtime, MODELS["bert"])
        return lambda place: vertebra.load(place, {})
    from vertebra._resolve.open import open_folder

    def find(place: str) -> None:
        folder = open_folder(place)
        folder.fetch_all(sorted(folder.names))

    return find


def once(runtime: str, place: str) -> dict[str, float]:
    load = loader(runtime)
    before = client_modules()
    return {"seconds": seconds(load, place), "client_modules": len(client_modules() - before)}


def again(runtime: str, folder: str, handle: str, times: str) -> dict[str, float]:
    load = loader(runtime)

    def timed(place: str) -> float:
        gc.collect()  # what the load before has left
        return seconds(load, place)

    results = in_turn(1 + int(times), folder=lambda: timed(folder), cache=lambda: timed(handle))
    warm = {where: values[1:] for where, values in results.items()}
    more = [cached - here for here, cached in zip(warm["folder"], warm["cache"], strict=True)]
    return {"folder": median(warm["folder"]), "cache": median(warm["cache"]), "more": median(more)}


def client_modules() -> set[str]:
    return {name for name in sys.modules if name.partition(".")[0] in CLIENTS}


if __name__ == "__main__":
    action, *arguments = sys.argv[1:]
    print(json.dumps({"once": once, "again": again}[action](*arguments)))
