"""Settings of adapters that name modules, repositories and patterns."""

import functools
import json
import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from faults.advisories.payload import GOLDEN, Operations, Payload, Site


def sound_adapter(site: Site) -> Path:
    """Copies a sound adapter of PEFT into the payload's folder."""
    return Path(shutil.copytree(GOLDEN / "peft_lora", site.folder / "adapter"))


@functools.cache
def model_of(preset: Path) -> tuple[Any, list[Any]]:
    """Returns a model, and its values."""
    import vertebra

    model = vertebra.Backbone.from_preset(preset)
    return model, [weight.numpy().copy() for weight in model.weights]


def loading(adapter: Path, site: Site) -> Operations:
    """Returns operations that read an adapter: a load into a model, which is then as it was, and a description."""
    import vertebra
    from vertebra._lora.files.describe import describe_adapter

    model, before = model_of(site.presets["transformers"])

    def load() -> None:
        try:
            vertebra.lora.load(model, adapter)
            vertebra.lora.unload(model)
        finally:
            assert len(model.weights) == len(before)
            assert all((weight.numpy() == old).all() for weight, old in zip(model.weights, before, strict=True))

    return load, partial(describe_adapter, adapter)


def with_settings(fields: Mapping[str, Any], site: Site) -> Operations:
    adapter = sound_adapter(site)
    config = json.loads((adapter / "adapter_config.json").read_bytes())
    text = json.dumps(config | dict(fields)).replace("SECRET", str(site.secret)).replace("URL", site.url)
    (adapter / "adapter_config.json").write_text(text)
    (site.folder / "colorsys.py").write_text(f"open({str(site.flag)!r}, 'w')")
    return loading(adapter, site)


def settings(*fields: Mapping[str, Any], ignored: bool = False) -> Iterator[Payload]:
    for each in fields:
        yield Payload(f"{json.dumps(each)} of an adapter", partial(with_settings, each), ignored)


IMPORTS: tuple[dict[str, Any], ...] = (
    {"auto_mapping": {"parent_library": "colorsys", "base_model_class": "Model"}},
    {"auto_mapping": {"parent_library": "os", "base_model_class": "system"}},
    {"base_model_name_or_path": "URL"},
    {"base_model_name_or_path": "SECRET"},
    {"base_model_name_or_path": "hf://nowhere/nothing", "revision": "main"},
)
REFUSED_IMPORTS: tuple[dict[str, Any], ...] = (
    {"megatron_core": "colorsys", "megatron_config": {"a": 1}},
    {"tokenizer_kwargs": {"trust_remote_code": True}},
    {"_target_": "os.system", "_args_": ["touch flag"]},
)
PATTERNS: tuple[dict[str, Any], ...] = (
    {"target_modules": "(a+)+$"},
    {"target_modules": "(?:a|a)*b"},
    {"rank_pattern": {"(a+)+$": 4}},
    {"alpha_pattern": {"(a|aa)+$": 4}},
)


def advisories() -> dict[str, list[Payload]]:
    """Returns the payloads by advisory."""
    return {
        "CVE-2026-4372": [*settings(*IMPORTS, ignored=True), *settings(*REFUSED_IMPORTS)],
        "CVE-2025-6921": [*settings(*PATTERNS, ignored=True)],
    }
