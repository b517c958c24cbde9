"""The kinds of contributions: for each, the hook that contributes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vertebra.interfaces import PresetFormat, PresetSource, Runtime, SignatureScheme
from vertebra.specs import BackboneSpec, CommandOptionSpec, CommandSpec, PresetSpec, TaskSpec, TokenizerSpec
from vertebra.strategies import LoraStrategy


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of contribution: its hook, the type of the items that the hook returns, and the name of an item."""

    title: str
    plural: str
    hook: str
    contribution: type
    name: Callable[[Any], str]


BACKBONES = Kind("backbone", "backbones", "vertebra_backbones", BackboneSpec, lambda spec: spec.name)
SOURCES = Kind("preset source", "preset sources", "vertebra_preset_sources", PresetSource, lambda source: source.scheme)
STRATEGIES = Kind("LoRA strategy", "LoRA strategies", "vertebra_lora_strategies", LoraStrategy, lambda item: item.name)
RUNTIMES = Kind("runtime", "runtimes", "vertebra_runtimes", Runtime, lambda runtime: runtime.name)
FORMATS = Kind("preset format", "preset formats", "vertebra_formats", PresetFormat, lambda item: item.name)
PRESETS = Kind("preset", "presets", "vertebra_presets", PresetSpec, lambda preset: preset.name)
TASKS = Kind("task", "tasks", "vertebra_tasks", TaskSpec, lambda spec: spec.name)
TOKENIZERS = Kind("tokenizer", "tokenizers", "vertebra_tokenizers", TokenizerSpec, lambda spec: spec.name)
COMMANDS = Kind("command", "commands", "vertebra_commands", CommandSpec, lambda spec: spec.name)
COMMAND_OPTIONS = Kind(
    "command option", "command options", "vertebra_command_options", CommandOptionSpec, lambda spec: spec.name
)
SIGNATURES = Kind(
    "signature scheme", "signature schemes", "vertebra_signatures", SignatureScheme, lambda item: item.name
)
KINDS: tuple[Kind, ...] = (
    *(BACKBONES, PRESETS, FORMATS, SOURCES, STRATEGIES, RUNTIMES, TASKS, TOKENIZERS, COMMANDS, COMMAND_OPTIONS),
    SIGNATURES,
)
