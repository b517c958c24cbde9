"""Handles for the URLs of a hub's pages and files, and for the names of repositories, for messages."""

from __future__ import annotations

import re
from urllib.parse import unquote

from vertebra import PresetHandle

_HOST = re.compile(r"(https?://)?(www\.)?(huggingface\.co|hf\.co)/|(ssh://)?git@(huggingface\.co|hf\.co)[:/]")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_OF_FILES = ("blob", "resolve", "raw")
_OF_FOLDERS = ("tree", "commit", "commits", "revision")
_LEGACY = (
    (re.compile(r"gpt2(-(medium|large|xl))?"), "openai-community"),
    (re.compile(r"bert-(base|large)-[a-z-]+"), "google-bert"),
)
"""Names of models from before the hub had organisations, and the organisations to which the hub has moved them."""
_MAIN = "main"


def handle_of(text: str, endpoint: str) -> PresetHandle | None:
    """Returns the handle for the URL of a model's page or file, or for a name such as `org/name@revision`.

    Args:
        text: The text that the user wrote.
        endpoint: The URL of the user's hub.

    Raises:
        HandleError: there cannot be such a handle.
    """
    name = _HOST.sub("", text.removeprefix(f"{endpoint}/"), count=1)
    if name == text:
        repo, _, revision = text.partition("@")
        return _handle(repo.split("/"), revision or None)
    segments = [unquote(segment) for segment in re.split(r"[?#]", name)[0].strip("/").split("/")]
    if segments[:2] == ["api", "models"]:
        segments = segments[2:]
    of_repo = 1 if _organisation(segments[0]) or segments[1:2] in ([kind] for kind in _OF_FILES + _OF_FOLDERS) else 2
    kind, revision, *path = [*segments[of_repo : of_repo + 2], "", ""][:2] + segments[of_repo + 2 :]
    folder = path[:-1] if kind in _OF_FILES else path if kind in _OF_FOLDERS else []
    known = revision if kind in _OF_FILES + _OF_FOLDERS and revision != _MAIN else None
    return _handle(segments[:of_repo], known or None, folder)


def _handle(repo: list[str], revision: str | None, folder: list[str] | None = None) -> PresetHandle | None:
    """Returns the handle of a repository, or None if the names cannot be those of one."""
    if len(repo) == 1 and (organisation := _organisation(repo[0])):
        repo = [organisation, *repo]
    if len(repo) != 2 or not all(map(_NAME.fullmatch, repo)):
        return None
    return PresetHandle("hf", "/".join([repo[0], repo[1].removesuffix(".git"), *(folder or [])]), revision)


def _organisation(name: str) -> str | None:
    """Returns the organisation to which the hub has moved a model without one, or None."""
    return next((organisation for names, organisation in _LEGACY if names.fullmatch(name)), None)
