"""vLLM's real classes in a child process: the resolver in its registry, and its reader of configs.

The engine needs a GPU; these classes do not. Prints a JSON object for the request on standard input.
"""

import asyncio
import inspect
import json
import logging
import sys
from types import SimpleNamespace

from vllm.lora.peft_helper import PEFTHelper
from vllm.lora.resolver import LoRAResolver, LoRAResolverRegistry
from vllm.plugins import load_general_plugins


def load(folder, max_rank=16):
    """Reads and validates the config of an adapter as vLLM's worker does; returns rank and scale."""
    helper = PEFTHelper.from_local_dir(folder, None)
    helper.validate_legal(SimpleNamespace(max_lora_rank=max_rank))  # the only field that it reads
    return list(helper.get_rank_and_scaling("q_proj"))


def serve(base, names):
    """Resolves names by the registry, as vLLM's server does, and loads the adapters; returns both, and the log."""
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(f"{record.levelname} {record.getMessage()}")
    logging.getLogger("vllm.vertebra").addHandler(handler)
    load_general_plugins()
    resolver = LoRAResolverRegistry.get_resolver("vertebra")
    kinds = LoRAResolver, type(resolver)
    signatures = [
        str(inspect.signature(kind.resolve_lora)).replace("vllm.lora.request.", "").replace("'", "") for kind in kinds
    ]

    async def resolved():
        return [await resolver.resolve_lora(base, name) for name in names]

    found = {name: request for name, request in zip(names, asyncio.run(resolved()), strict=True) if request}
    return {
        "is_resolver": isinstance(resolver, LoRAResolver),
        "signatures": signatures,
        "ids": {name: request.lora_int_id for name, request in found.items()},
        "loaded": {name: load(request.lora_path) for name, request in found.items()},
        "log": lines,
    }


def check(folders):
    """Returns vLLM's error for the config of each adapter; an empty text if it accepts it."""
    return [_error(folder) for folder in folders]


def _error(folder):
    try:
        load(folder)
    except ValueError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    request = json.load(sys.stdin)
    result = {"serve": serve, "check": check}[request.pop("function")](**request)
    print(f"\n{json.dumps(result)}")
