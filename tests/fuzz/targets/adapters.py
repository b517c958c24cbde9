"""Adapters: PEFT's config, and the header of an adapter of Vertebra's, read for a small model as a load does."""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fuzz.mutations import of_json, of_safetensors
from fuzz.target import Read, Target

GOLDEN = Path(__file__).parents[2] / "golden" / "bert"
WORDS = (
    *(
        "peft_type",
        "LORA",
        "r",
        "lora_alpha",
        "lora_dropout",
        "rank_pattern",
        "alpha_pattern",
        "target_modules",
        "bias",
    ),
    *(
        "use_dora",
        "use_rslora",
        "init_lora_weights",
        "pissa",
        "modules_to_save",
        "fan_in_fan_out",
        "task_type",
        "query",
    ),
    *("auto_mapping", "parent_library", "base_model_class", "megatron_core", "trainable_token_indices", "LOHA", "OFT"),
    *("(a|a)*b", "^encoder\\.layer\\.0", "[", "layers_to_transform", "target_parameters", "revision", "QUESTION_ANS"),
    *("vertebra.adapter", "vertebra.base", "vertebra.model", "strategy", "dora", "layers", "rank", "alpha", "options"),
)


def model():
    """Returns a tiny BERT."""
    import vertebra

    return vertebra.Backbone.from_preset(GOLDEN / "transformers")


@contextlib.contextmanager
def open_config(folder: Path) -> Iterator[Read]:
    from vertebra._lora.files.describe import describe_adapter
    from vertebra._lora.files.dispatch import read_adapter

    base = model()
    adapter = shutil.copytree(GOLDEN / "peft_lora", folder / "adapter")

    def read(data: bytes) -> None:
        (adapter / "adapter_config.json").write_bytes(data)
        read_adapter(base, adapter)
        describe_adapter(adapter)

    yield read


@contextlib.contextmanager
def open_header(folder: Path) -> Iterator[Read]:
    from vertebra._lora.files.describe import describe_adapter
    from vertebra._lora.files.dispatch import read_adapter

    base = model()
    path = folder / "adapter.safetensors"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        read_adapter(base, path)
        describe_adapter(path)

    yield read


def config_seeds() -> list[bytes]:
    config = json.loads((GOLDEN / "peft_lora" / "adapter_config.json").read_bytes())
    short = {
        name: config[name] for name in ("peft_type", "r", "lora_alpha", "target_modules", "base_model_name_or_path")
    }
    patterns = {"rank_pattern": {"^a": 3}, "alpha_pattern": {"query": 5}, "modules_to_save": ["classifier"]}
    return [json.dumps(each).encode() for each in (config, {**config, "use_rslora": True}, {**short, **patterns})]


def header_seeds() -> list[bytes]:
    """Returns saved adapters on one layer, of two strategies, with co-trained weights and a pattern."""
    base = model()
    seeds = []
    with tempfile.TemporaryDirectory() as folder:
        for strategy in ("lora", "dora"):
            base.enable_lora(2, target_names=["query"], strategy=strategy, name=strategy)
            path = Path(folder, f"{strategy}.safetensors")
            base.save_lora_weights(path)
            seeds.append(path.read_bytes())
    return seeds


def of_plan(data: bytes, random, words) -> bytes:
    """Changes the plan, which is JSON in a text of the header's metadata, or anything else of the file."""
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
        name = random.choice(sorted(header["__metadata__"]))
        value = header["__metadata__"][name]
        is_document = isinstance(value, str) and value[:1] in ("{", "[")
    except (ValueError, LookupError, TypeError, RecursionError):
        return of_safetensors(data, random, words)
    if not is_document or not random.randint(0, 3):
        return of_safetensors(data, random, words)
    header["__metadata__"][name] = of_json(value.encode("utf-8", "surrogatepass"), random, words).decode(
        "utf-8", "replace"
    )
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


TARGETS = [
    Target("adapter-config", open_config, config_seeds, of_json, WORDS, needs=("keras",)),
    Target("adapter-header", open_header, header_seeds, of_plan, WORDS, needs=("keras",)),
]
