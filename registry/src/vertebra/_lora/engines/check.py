"""Checks an adapter for an engine: what of it the engine would refuse, ignore or compute in another way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vertebra._formats import transformers
from vertebra._formats.registry import read_description
from vertebra._lora.engines.findings import Adapter, Finding, of_base, of_settings, of_tensors
from vertebra._lora.engines.table import Engine, engines
from vertebra._lora.files.adapter_files import PEFT, AdapterFiles, read_files
from vertebra._resolve.consistent_read import read_consistently
from vertebra._resolve.preset_folder import PresetFolder
from vertebra._system.foreign_json import parse_foreign_json
from vertebra._system.regular_files import problem_of, read_limited
from vertebra._system.strict_json import MOST_BYTES
from vertebra._weights.safetensors.format import header_end, open_header
from vertebra.errors import LoraConfigError, LoraStateError
from vertebra.file_names import ADAPTER_CONFIG, CONFIG

_FORMS = {"short": "Vertebra's short form", "kerashub": "KerasHub's form"}


def check_adapter(
    adapter: str | Path, engine: str, base: str | None = None, max_rank: int | None = None
) -> dict[str, Any]:
    """Returns what an engine would not use of an adapter, as plain data, from its config and the header of its tensors.

    Args:
        adapter: A path or handle.
        engine: Name of the engine.
        base: The base model, a preset in transformers' format, or None to check the adapter alone.
        max_rank: The largest rank that the server accepts; None means the engine's default.

    Raises:
        AdapterNotFoundError: there is no adapter at the path or handle.
        LoraConfigError: the config is not a JSON object.
        LoraStateError: the base is in another format.
        WeightsFileError: a file is corrupt.
    """
    chosen = engines()[engine]
    source, form, content = read_files(adapter, _read)
    found = _findings(chosen, form, content, base, max_rank)
    tensors = {name for finding in found for name in finding.tensors}
    refused = any(finding.effect == "refused" for finding in found)
    return {
        "adapter": source,
        "form": form,
        "engine": engine,
        "version": chosen.version,
        "base": base,
        "used": not found,
        "refused": refused,
        "tensors": len(content.tensors),
        "unused_tensors": sorted(content.tensors) if refused else sorted(tensors),
        "findings": [asdict(finding) | {"tensors": list(finding.tensors)} for finding in found],
    }


def _read(files: AdapterFiles) -> tuple[str, str, Adapter]:
    if files.format != PEFT:
        return files.source, files.format, Adapter({}, {})
    paths = files.fetch_headers(header_end)
    content = Adapter(_config(f"{files.source}/{ADAPTER_CONFIG}", paths[0]), open_header(paths[1]).entries)
    files.check_read(paths)
    return files.source, PEFT, content


def _config(subject: str, path: Path) -> Mapping[str, Any]:
    def failure(problem: str) -> LoraConfigError:
        return LoraConfigError(subject, "file", problem, "a JSON object that PEFT wrote")

    try:
        return parse_foreign_json(read_limited(path, MOST_BYTES), failure).read(lambda value: value, json.dumps)
    except OSError as error:
        raise failure(problem_of(error)) from error


def _findings(engine: Engine, form: str, adapter: Adapter, base: str | None, max_rank: int | None) -> list[Finding]:
    if form != PEFT:
        remedy = "write it in PEFT's layout with vertebra lora convert ADAPTER FOLDER --base PRESET"
        reason = f"it is in {_FORMS[form]}: {remedy}"
        return [Finding("refused", None, None, (), reason, "its files")]
    found = [*of_settings(engine, adapter, max_rank), *of_tensors(engine, adapter)]
    if base is not None:
        found += of_base(engine, adapter, *read_consistently(base, _read_base))
    return found


def _read_base(folder: PresetFolder) -> tuple[str, list[str]]:
    """Returns the model type of a base and the names of its tensors."""
    description = read_description(folder)
    if description.format != transformers.NAME:
        remedy = f"Convert it with: vertebra convert {folder.requested} FOLDER --format {transformers.NAME}"
        raise LoraStateError(f"The base {folder.requested} is in the format {description.format}", remedy)
    config = parse_foreign_json(folder.fetch(CONFIG).read_bytes(), lambda problem: LoraStateError(problem, "")).value
    return str(config.get("model_type", "")), list(description.open_headers().entries)
