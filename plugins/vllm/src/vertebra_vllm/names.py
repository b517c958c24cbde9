"""Which names of adapters a server accepts. They come from clients, so only those pass that the operator allows."""

from __future__ import annotations

from vertebra import PresetHandle
from vertebra.errors import HandleError, LoraError
from vertebra_vllm.settings import Settings

_MOST_CHARACTERS = 500


class UnknownAdapterError(LoraError):
    """A name is not one that the settings allow."""


def adapter_of(name: str, settings: Settings) -> str:
    """Returns the handle or path of the adapter that a name means.

    A name of the file of names means its entry. Another one must be a handle below an allowed prefix, without a
    revision: any user may add one to a repository, such as a pull request, so only the operator chooses revisions.

    Raises:
        UnknownAdapterError: the name is not allowed.
    """
    if name in settings.names:
        return settings.names[name]
    try:
        handle = PresetHandle.parse(name) if len(name) <= _MOST_CHARACTERS else None
    except HandleError:
        handle = None
    if handle is None or handle.revision is not None or not any(_begins(name, each) for each in settings.allowed):
        shown = ascii(name[:_MOST_CHARACTERS])
        raise UnknownAdapterError(f"The settings of vertebra-vllm allow no adapter that is called {shown}")
    return name


def _begins(name: str, prefix: str) -> bool:
    return name == prefix.rstrip("/") or name.startswith(prefix.rstrip("/") + "/")
