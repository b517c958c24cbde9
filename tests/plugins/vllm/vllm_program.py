"""vLLM's real classes in a child process: the resolver in its registry, its reader of configs, and of tensors.

The engine needs a GPU; these classes do not. Prints a JSON object for the request on standard input.
"""

import asyncio
import inspect
import json
import logging
import sys
from types import SimpleNamespace

from vllm.config.lora import LoRAConfig
from vllm.entrypoints.openai.models.serving import OpenAIServingModels
from vllm.lora.lora_model import LoRAModel
from vllm.lora.peft_helper import PEFTHelper
from vllm.lora.request import LoRARequest
from vllm.lora.resolver import LoRAResolver, LoRAResolverRegistry
from vllm.plugins import load_general_plugins


class Engine:
    """The engine's part in loading an adapter: the steps of vLLM's worker that need no model."""

    def __init__(self, base, modules):
        self.model_config = SimpleNamespace(model=base, max_model_len=8)
        self.renderer = self.input_processor = None
        self.modules = modules
        self.loaded = {}

    async def add_lora(self, request):
        self.loaded[request.lora_name] = load(request, self.modules)


def load(request, modules, max_rank=16):
    """Reads an adapter as `WorkerLoRAManager._load_adapter` does; returns its modules and the scale of each."""
    helper = PEFTHelper.from_local_dir(request.lora_path, None)
    helper.validate_legal(LoRAConfig(max_lora_rank=max_rank))
    model = LoRAModel.from_local_checkpoint(
        request.lora_path, set(modules), helper, lora_model_id=request.lora_int_id, device="cpu"
    )
    return {name: [weights.rank, weights.scaling] for name, weights in model.loras.items()}


def serve(base, names, modules):
    """Resolves names as the server does for requests; returns its answers and lines of the log."""
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(f"{record.levelname} {record.getMessage()}")
    logging.getLogger("vllm.vertebra").addHandler(handler)
    load_general_plugins()
    resolver = LoRAResolverRegistry.get_resolver("vertebra")
    signatures = [str(inspect.signature(kind.resolve_lora)) for kind in (LoRAResolver, type(resolver))]
    engine = Engine(base, modules)
    server = OpenAIServingModels(engine, [])

    async def answers():
        return [await server.resolve_lora(name) for name in names]

    found = asyncio.run(answers())
    return {
        "is_resolver": isinstance(resolver, LoRAResolver),
        "signatures": signatures,
        "answers": [
            {"path": answer.lora_path, "id": answer.lora_int_id}
            if isinstance(answer, LoRARequest)
            else {"status": answer.error.code, "message": answer.error.message}
            for answer in found
        ],
        "loaded": engine.loaded,
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
