"""The names of tensors in PEFT's files, taken apart.

PEFT writes `base_model.model.MODULE.lora_A.weight`. Files of other programs, and parts of a state dict, may also have
the name of the adapter, or modules that torch puts around others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

PREFIX = "base_model.model."
WRAPPED = ".base_layer."
"""Infix of the weights of adapted modules."""
_WRAPPED_TABLE = ".token_adapter.base_layer."
"""Infix of the weights of tables of which LoRA trains single rows, too."""
_SAVED = re.compile(r"\.modules_to_save\.(?P<adapter>[^.]+)\.")
"""Infix of the weights of fully trained modules."""
FORMER = ".original_module."
"""Infix of the original weights of such modules; they are ignored."""
LORA = "lora_"
"""Start of the names of LoRA's matrices, after the module's name; other methods of PEFT have starts of their own."""
_MATRIX = r"(?P<module>.+)\.{}(?P<matrix>\w+)(?P<rest>(?:\.[^.]+){{0,2}})"
_WITHOUT_SUFFIX = ("embedding_A", "embedding_B", "magnitude_vector")
"""Matrices that PEFT writes without `.weight`."""
WRAPPERS = re.compile(r"(?<![^.])(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""Modules that torch puts around others, at any depth."""


@dataclass(frozen=True, slots=True)
class PeftTensor:
    """The name of one tensor, taken apart."""

    module: str
    """The module of an adapter's matrix, or the whole name of another tensor; with the file's prefix."""
    matrix: str | None = None
    """PEFT's name of the matrix, or None if it is not an adapter's."""
    adapter: str | None = None
    """The name of the adapter, if it was left in."""


def rows_of(tensors: Iterable[str], prefix: str, infix: str) -> dict[str, tuple[str, str]]:
    """Returns the module and the own name of each tensor that a field of LoRA's config adds, by its name in the file.

    Args:
        tensors: The names in the file.
        prefix: The beginning of names that is not in the model's.
        infix: What comes before the tensors' own names.
    """
    rows = {}
    for name in tensors:
        module, found, tensor = WRAPPERS.sub("", name).removeprefix(prefix).partition(f".{infix}")
        if found and not tensor.startswith("base_layer."):
            rows[name] = module, tensor.partition(".")[0]  # the adapter's name may follow
    return rows


def parse_name(name: str, prefix: str = LORA) -> PeftTensor:
    """Returns the parts of a tensor's name.

    Args:
        name: The name.
        prefix: The start of the names of matrices in the adapter's method.
    """
    plain = WRAPPERS.sub("", name)
    matrix = re.fullmatch(_MATRIX.format(re.escape(prefix)), plain)
    if matrix is None:
        saved = _SAVED.search(plain)
        plain = _SAVED.sub(".", plain).replace(_WRAPPED_TABLE, ".").replace(WRAPPED, ".")
        return PeftTensor(plain, None, saved["adapter"] if saved else None)
    parts = matrix["rest"].split(".")[1:]
    suffix = f".{parts.pop()}" if parts and parts[-1] in ("weight", "bias") else ""
    if matrix["matrix"] in _WITHOUT_SUFFIX and suffix == ".weight":
        suffix = ""
    return PeftTensor(matrix["module"], f"{prefix}{matrix['matrix']}{suffix}", ".".join(parts) or None)
