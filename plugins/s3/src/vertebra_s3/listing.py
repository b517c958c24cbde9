"""Lists objects within limits: the client library has none, and reads a list to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from vertebra import PresetHandle
from vertebra.errors import SourceUnavailableError

SECONDS = 30.0
"""How long a service may send pages without objects."""

Object = Mapping[str, Any]
"""An object as a list describes it: path, size and ETag."""


def first_objects(handle: PresetHandle, store: Any, prefix: str | None, most: int) -> Sequence[Object]:
    """Returns the first objects below a prefix; the library returns some dozens at a time.

    Args:
        handle: The preset, for messages.
        store: The client of the bucket.
        prefix: The prefix without a slash at its end, or None for the whole bucket.
        most: The number of objects after which no more are requested.

    Raises:
        SourceUnavailableError: no object and no end of the list came in time.
        Exception: of the client library.
    """
    return _run(_first_objects(handle, store, prefix, most))


def direct_objects(handle: PresetHandle, store: Any, prefix: str | None) -> Sequence[Object]:
    """Returns all objects directly below a prefix, and none in folders there; see `first_objects`.

    Raises:
        SourceUnavailableError: the list did not end in time.
        Exception: of the client library.
    """
    return _run(_direct_objects(handle, store, prefix))


def _run(listing: Coroutine[Any, Any, Sequence[Object]]) -> Sequence[Object]:
    with ThreadPoolExecutor(1) as pool:  # the caller's thread may have a running loop, as in a notebook
        return pool.submit(asyncio.run, listing).result()


async def _direct_objects(handle: PresetHandle, store: Any, prefix: str | None) -> Sequence[Object]:
    import obstore

    try:
        listed = await asyncio.wait_for(obstore.list_with_delimiter_async(store, prefix), SECONDS)
    except TimeoutError:
        problem = f"its list of objects has no end: it took more than {SECONDS:.0f} seconds"
        raise SourceUnavailableError(handle, problem) from None
    objects: Sequence[Object] = listed["objects"]
    return objects


async def _first_objects(handle: PresetHandle, store: Any, prefix: str | None, most: int) -> list[Object]:
    import obstore

    found: list[Object] = []
    pages = obstore.list(store, prefix)
    while len(found) < most:
        try:  # only the asynchronous interface can be interrupted
            found += await asyncio.wait_for(anext(pages), SECONDS)
        except StopAsyncIteration:
            break
        except TimeoutError:
            problem = f"its list of objects has no end: no object came in {SECONDS:.0f} seconds"
            raise SourceUnavailableError(handle, problem) from None
    return found[:most]
