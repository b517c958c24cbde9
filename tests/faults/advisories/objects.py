"""Objects of Keras that run code, read files or send requests when a config that names them is loaded."""

import base64
import json
import marshal
import pickle
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from faults.advisories.payload import Operations, Payload, Site

Config = dict[str, Any]

FIELDS: dict[str, tuple[str, Callable[[Config, Any], object]]] = {
    "native backbone": ("native", lambda config, value: config.update(backbone=value)),
    "native activation": ("native", lambda config, value: config["config"].update(activation=value)),
    "native dtype": ("native", lambda config, value: config["config"].update(dtype=value)),
    "native lora": ("native", lambda config, value: config["config"].update(lora=value)),
    "KerasHub envelope": ("kerashub", lambda config, value: config.update(value)),
    "KerasHub argument": ("kerashub", lambda config, value: config["config"].update(num_heads=value)),
    "transformers activation": ("transformers", lambda config, value: config.update(hidden_act=value)),
    "transformers type": ("transformers", lambda config, value: config.update(model_type=value)),
}
"""Fields that matter, by format: a value there is refused."""


class Opens:
    """Makes a file when it is unpickled."""

    def __init__(self, path: object) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")


# === Objects by the file that they would make, or by the URL that they would ask ===


def layer(name: str, config: object, module: str = "keras.layers") -> Config:
    return {"module": module, "class_name": name, "config": config, "registered_name": None}


def model(*layers: Config) -> Config:
    return layer("Sequential", {"name": "payload", "layers": list(layers)}, "keras")


def function(module: str, name: str) -> Config:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def bytecode(flag: Path) -> str:
    return base64.b64encode(marshal.dumps(compile(f"open({str(flag)!r}, 'w')", "payload", "exec"))).decode()


def pickled(flag: Path) -> Config:
    return {"class_name": "__bytes__", "config": {"value": base64.b64encode(pickle.dumps(Opens(flag))).decode()}}


def code(flag: Path) -> Config:
    return {"class_name": "__lambda__", "config": {"code": bytecode(flag), "defaults": None, "closure": None}}


def lambda_layer(value: object, **arguments: object) -> Config:
    return layer("Lambda", {"function": value, "arguments": arguments})


def with_bytecode(site: Site) -> dict[str, Any]:
    return {
        "Lambda": layer("Lambda", {"function": code(site.flag)}),
        "Lambda without module": {"class_name": "Lambda", "config": {"function": [bytecode(site.flag), None, None]}},
        "__lambda__": code(site.flag),
        "Lambda in a model": model(lambda_layer(code(site.flag))),
    }


def of_modules(site: Site) -> dict[str, Any]:
    flag = str(site.flag)
    return {
        "os.system": {**function("os", "system"), "args": [f"touch '{flag}'"]},
        "builtins.open": layer("open", {"file": flag, "mode": "w"}, "builtins"),
        "functools.partial": layer("partial", {"func": "open", "args": [flag, "w"]}, "functools"),
        "subprocess.Popen": layer("Popen", {"args": ["touch", flag]}, "subprocess"),
        "a private module": function("keras.src.utils.file_utils", "get_file"),
    }


def of_public_functions(site: Site) -> dict[str, Any]:
    get_file = function("keras.utils", "get_file")
    return {
        "get_file of a URL": lambda_layer(get_file, origin=site.url, cache_dir=str(site.folder)),
        "get_file of a file": lambda_layer(get_file, origin=f"file://{site.secret}", cache_dir=str(site.folder)),
        "load_model": lambda_layer(function("keras.saving", "load_model"), safe_mode=False),
    }


def of_safe_mode(site: Site) -> dict[str, Any]:
    switch = function("keras.config", "enable_unsafe_deserialization")
    layers = [lambda_layer(switch), lambda_layer(code(site.flag))]
    return {
        "the function": switch,
        "in a Lambda": lambda_layer(switch),
        "two layers": model(*layers),
    }


def of_pickled_modules(site: Site) -> dict[str, Any]:
    config = {"module": pickled(site.flag), "name": "payload"}
    return {
        "TorchModuleWrapper": layer("TorchModuleWrapper", config),
        "its private name": layer("TorchModuleWrapper", config, "keras.src.utils.torch_utils"),
        "in a model": model(layer("TorchModuleWrapper", config)),
    }


def of_vocabularies(site: Site) -> dict[str, Any]:
    text = {"max_tokens": None, "standardize": "lower_and_strip_punctuation", "split": "whitespace", "ngrams": None}
    return {
        "StringLookup of a path": layer("StringLookup", {"vocabulary": str(site.secret)}),
        "StringLookup of a URL": layer("StringLookup", {"vocabulary": site.url}),
        "IntegerLookup": layer("IntegerLookup", {"vocabulary": f"file://{site.secret}"}),
        "TextVectorization": layer("TextVectorization", {**text, "vocabulary": site.up(site.secret)}),
    }


def of_saved_models(site: Site) -> dict[str, Any]:
    return {
        "a path": layer("TFSMLayer", {"filepath": str(site.outside)}),
        "a URL": layer("TFSMLayer", {"filepath": site.url}),
    }


# === Presets whose config has such an object ===


def sound(site: Site, name: str) -> Path:
    """Copies a sound preset into the payload's folder."""
    return Path(shutil.copytree(site.presets[name], site.folder / "preset"))


def reading(preset: Path, target: Path) -> Operations:
    """Returns operations that read a preset: a load, an inspection, and a conversion."""
    from vertebra._presets.convert import convert_preset
    from vertebra._presets.inspect import inspect_preset

    return (
        partial(load, preset),
        partial(inspect_preset, str(preset)),
        partial(convert_preset, preset, target, "transformers"),
    )


def load(preset: Path) -> None:
    """Loads a preset, which must be the sound one if it is accepted."""
    import vertebra

    assert vertebra.Backbone.from_preset(preset).count_params() == 6656


def changing(format: str, change: Callable[[Config, Site], object], site: Site) -> Operations:
    preset = sound(site, format)
    config = json.loads((preset / "config.json").read_bytes())
    change(config, site)
    (preset / "config.json").write_text(json.dumps(config))
    return reading(preset, site.folder / "target")


def in_fields(objects: Callable[[Site], Mapping[str, Any]], names: tuple[str, ...]) -> Iterator[Payload]:
    """Yields a payload for each field and each object of these names."""
    for field, (format, put) in FIELDS.items():
        for name in names:

            def change(config: Config, site: Site, name: str = name, put: Any = put) -> None:
                put(config, objects(site)[name])

            yield Payload(f"{name} as {field}", partial(changing, format, change))


def in_ignored_blocks(objects: Callable[[Site], Mapping[str, Any]], *blocks: str) -> Iterator[Payload]:
    """Yields payloads in fields of foreign configs that no format of Vertebra reads."""
    for format in ("kerashub", "transformers"):
        for block in blocks:

            def change(config: Config, site: Site, block: str = block) -> None:
                config[block] = objects(site)

            yield Payload(f"{block} of {format}", partial(changing, format, change), ignored=True)


def from_arguments(name: str, argument: str, site: Site) -> Operations:
    """Returns a call of `from_config`, which is made in no scope of Keras, with an object as an argument."""
    import vertebra

    arguments = json.loads((site.presets["native"] / "config.json").read_bytes())["config"]
    return [partial(vertebra.models.BertBackbone.from_config, arguments | {argument: with_bytecode(site)[name]})]


# === Advisories ===

ARGUMENTS = ("activation", "dtype", "name", "lora", "num_layers", "quantized", "kernel_initializer")
NAMES = {"../../flag": False, "/flag": False, "a/../../flag": False, "a\0b": False, "..": True, "..\\flag": True}
"""Names of models, and whether each is accepted as a text: no path is made of it."""


def with_name(format: str, name: str) -> Payload:
    def put(config: Config, _: Site) -> None:
        config["config"]["name"] = name

    return Payload(f"{name!r} as the name of a model, {format}", partial(changing, format, put), ignored=NAMES[name])


def advisories() -> dict[str, list[Payload]]:
    """Returns the payloads by advisory."""
    forms = ("Lambda", "Lambda without module", "__lambda__", "Lambda in a model")
    return {
        "CVE-2024-3660": [
            *in_fields(with_bytecode, forms),
            *in_ignored_blocks(with_bytecode, "compile_config", "build_config"),
        ],
        "CVE-2025-1550": [
            *in_fields(
                of_modules,
                ("os.system", "builtins.open", "functools.partial", "subprocess.Popen", "a private module"),
            ),
            *in_ignored_blocks(of_modules, "optimizer_config", "build_config"),
        ],
        "CVE-2025-8747": [*in_fields(of_public_functions, ("get_file of a URL", "get_file of a file", "load_model"))],
        "CVE-2025-9906": [*in_fields(of_safe_mode, ("the function", "in a Lambda", "two layers"))],
        "CVE-2025-49655": [*in_fields(of_pickled_modules, ("TorchModuleWrapper", "its private name", "in a model"))],
        "CVE-2025-12058": [
            *in_fields(
                of_vocabularies,
                ("StringLookup of a path", "StringLookup of a URL", "IntegerLookup", "TextVectorization"),
            )
        ],
        "CVE-2026-1462": [*in_fields(of_saved_models, ("a path", "a URL"))],
        "CVE-2026-12481": [
            Payload(f"{form} as {argument}", partial(from_arguments, form, argument), refusals=(TypeError, ValueError))
            for form in forms
            for argument in ARGUMENTS
        ],
        "CVE-2026-12479": [with_name(format, name) for format in ("native", "kerashub") for name in NAMES],
    }
