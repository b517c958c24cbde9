"""Handles for the URLs of Kaggle's pages and files, and for the names of variations, for messages."""

from __future__ import annotations

import re

from vertebra import PresetHandle

_HOST = re.compile(r"(https?://)?(www\.)?kaggle\.com/(api/v1/)?models/")
_FRAMEWORKS = (
    "tensorFlow1", "tensorFlow2", "tfLite", "tfJs", "pyTorch", "jax", "flax", "pax", "maxText", "gemmaCpp", "ggml",
    "gguf", "coral", "scikitLearn", "mxnet", "onnx", "keras", "transformers", "api", "other", "tensorRtLlm", "triton",
    "vllm",
)  # fmt: skip
_SPELLING = {name.lower(): name for name in _FRAMEWORKS}
"""The spelling of each framework in a handle, by its lower-case name; pages spell them in several ways."""
_LABELS = {2: "frameworks", 4: "variations", 6: "versions"}
"""Labels of the long form `OWNER/MODEL/frameworks/FRAMEWORK/variations/VARIATION/versions/VERSION`."""


def handle_of(text: str) -> PresetHandle | None:
    """Returns the handle for the URL of a variation's page or file, or for `owner/model/framework/variation`.

    Raises:
        HandleError: there cannot be such a handle.
    """
    names = re.split(r"[?#]", _HOST.sub("", text, count=1))[0].strip("/").split("/")
    if names[2:3] == [_LABELS[2]]:
        if any(names[index : index + 1] not in ([], [label]) for index, label in _LABELS.items()):
            return None
        names = [name for index, name in enumerate(names) if index not in _LABELS]
    is_variation = len(names) >= 4 and names[2].lower() in _SPELLING
    if not is_variation or (len(names) > 5 and not _HOST.match(text)):
        return None
    version = names[4:5] if names[4:5] and names[4].isdecimal() else []
    if names[4:5] and not version and not _HOST.match(text):
        return None
    return PresetHandle("kaggle", "/".join([*names[:2], _SPELLING[names[2].lower()], names[3], *version]))
