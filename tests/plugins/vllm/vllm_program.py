"""vLLM's real classes in a child process: the resolver in its registry, its reader of configs, and of tensors.

The engine needs a GPU; these classes do not. Prints a JSON object for the request on standard input.
"""

import asyncio
import inspect
import json
import logging
import sys

from vllm.config.lora import LoRAConfig
from vllm.lora.lora_model import LoRAModel
from vllm.lora.peft_helper import PEFTHelper
from vllm.lora.request import LoRARequest
from vllm.lora.resolver import LoRAResolver, LoRAResolverRegistry
from vllm.plugins import load_general_plugins


def load(request, modules, max_rank=16):
    """Reads an adapter as `WorkerLoRAManager._load_adapter` does; returns its modules and the scale of each."""
    helper = PEFTHelper.from_local_dir(request.lora_path, None)
    helper.validate_legal(LoRAConfig(max_lora_rank=max_rank))
    model = LoRAModel.from_local_checkpoint(
        request.lora_path, set(modules), helper, lora_model_id=request.lora_int_id, device="cpu"
    )
    return {name: [weights.rank, weights.scaling] for name, weights in model.loras.items()}


def serve(base, names, modules):
    """Resolves names by the registry, as vLLM's server does, and loads the adapters; returns both, and the log."""
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(f"{record.levelname} {record.getMessage()}")
    logging.getLogger("vllm.vertebra").addHandler(handler)
    load_general_plugins()
    resolver = LoRAResolverRegistry.get_resolver("vertebra")
    signatures = [str(inspect.signature(kind.resolve_lora)) for kind in (LoRAResolver, type(resolver))]

    async def resolved():
        return [await resolver.resolve_lora(base, name) for name in names]

    found = {name: request for name, request in zip(names, asyncio.run(resolved()), strict=True) if request}
    return {
        "is_resolver": isinstance(resolver, LoRAResolver),
        "signatures": signatures,
        "ids": {name: request.lora_int_id for name, request in found.items()},
        "loaded": {name: load(request, modules) for name, request in found.items()},
        "log": lines,
    }


def check(folder, modules, max_rank=16):
    """Returns vLLM's error for an adapter; an empty text if it accepts all of it."""
    try:
        load(LoRARequest("name", 1, folder), modules, max_rank)
    except (ValueError, RuntimeError) as error:
        return str(error)
    return ""


if __name__ == "__main__":
    request = json.load(sys.stdin)
    result = {"serve": serve, "check": check}[request.pop("function")](**request)
    print(f"\n{json.dumps(result)}")
