"""`config.json` of a preset in each format, read as `from_preset` does before it opens the weights."""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from fuzz.mutations import of_json
from fuzz.target import Read, Target

GOLDEN = Path(__file__).parents[2] / "golden"
CLASSES = ("bert", "gpt2", "gemma", "gemma2", "gemma3")
WORDS = (
    *("vertebra_format", "backbone", "config", "backbone_version", "BertBackbone", "GPT2Backbone", "GemmaBackbone"),
    *("vocabulary_size", "num_layers", "hidden_dim", "dropout", "dtype", "name", "trainable", "quantized", "lora"),
    *("model_type", "architectures", "hidden_act", "gelu", "torch_dtype", "auto_map", "rope_scaling", "layer_types"),
    *("module", "class_name", "registered_name", "keras_hub>BertBackbone", "build_config", "quantization_config"),
    *("__lambda__", "builtins", "keras.layers", "Lambda", "os", "system", "mixed_bfloat16", "DTypePolicy", "pickle"),
)


def of_folder() -> Callable[[Path], contextlib.AbstractContextManager[Read]]:
    """Returns what opens the target: a preset without weights, whose `config.json` is the input."""

    @contextlib.contextmanager
    def opened(folder: Path) -> Iterator[Read]:
        from vertebra._discovery import runtimes
        from vertebra._presets.load import prepare
        from vertebra._resolve.consistent_read import read_consistently

        runtimes.bind()
        from vertebra.backbone import Backbone

        preset = folder / "preset"
        preset.mkdir()
        shutil.copy(GOLDEN / "bert" / "kerashub" / "metadata.json", preset)
        (preset / "model.safetensors").touch()
        prepared = partial(prepare, asked=Backbone, overrides={}, load_weights=False)

        def read(data: bytes) -> None:
            (preset / "config.json").write_bytes(data)
            read_consistently(str(preset), prepared)

        yield read

    return opened


def golden(*names: str) -> Callable[[], list[bytes]]:
    """Returns a function that returns the configs of these presets of each class."""
    paths = [GOLDEN / cls / name / "config.json" for cls in CLASSES for name in names]
    return lambda: [path.read_bytes() for path in paths if path.exists()]


def native_seeds() -> list[bytes]:
    bert = {
        "vocabulary_size": 101,
        "num_layers": 2,
        "num_heads": 2,
        "hidden_dim": 16,
        "intermediate_dim": 32,
        "max_sequence_length": 16,
        "dropout": 0.1,
        "dtype": "float32",
        "name": "bert",
        "trainable": True,
    }
    gpt2 = {**bert, "name": "gpt2"}
    kernels = {"layers": {"encoder_layer_0/attention/query": {"mode": "int8"}}}
    return [
        json.dumps({"vertebra_format": 1, "backbone": "BertBackbone", "config": bert}).encode(),
        json.dumps(
            {"vertebra_format": 1, "backbone": "BertBackbone", "config": {**bert, "quantized": kernels}}
        ).encode(),
        json.dumps({"vertebra_format": 1, "backbone": "GPT2Backbone", "backbone_version": 1, "config": gpt2}).encode(),
    ]


TARGETS = [
    Target("config-native", of_folder(), native_seeds, of_json, WORDS, needs=("keras",)),
    Target("config-kerashub", of_folder(), golden("kerashub", "kerashub_int4"), of_json, WORDS, needs=("keras",)),
    Target(
        "config-transformers",
        of_folder(),
        golden("transformers", "transformers_head"),
        of_json,
        WORDS,
        needs=("keras",),
    ),
]
