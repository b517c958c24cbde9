"""The attributes of spans for backbones, adapters and published presets."""

from __future__ import annotations

from typing import Any

from vertebra._discovery.runtimes import bound_backend
from vertebra._system.spans import Value, public_handle
from vertebra.specs import LoraReceipt

Attributes = dict[str, Value | None]


def attributes_of_load(backbone: Any) -> Attributes:
    """Returns the attributes for a backbone that was loaded."""
    folder = backbone._origin
    return attributes_of_backbone(backbone) | {"preset": public_handle(folder.handle), "signed": folder.is_signed}


def attributes_of_backbone(backbone: Any) -> Attributes:
    """Returns the attributes for any backbone."""
    return {
        "architecture": type(backbone).__name__,
        "dtype": str(backbone.dtype_policy.name),
        "runtime": bound_backend(),
        "parameters": int(backbone.count_params()),
    }


def attributes_of_adapter(receipt: LoraReceipt) -> Attributes:
    """Returns the attributes for an adapter that was added to a model."""
    return {
        "strategy": receipt.config.strategy,
        "rank": receipt.config.rank,
        "layers": len(receipt.layers),
        "parameters": receipt.parameters_added,
        "runtime": bound_backend(),
    }


def attributes_of_push(result: Any) -> Attributes:
    """Returns the attributes for a published preset."""
    return {"preset": public_handle(result.handle), "files": len(result.files), "bytes": result.size}
