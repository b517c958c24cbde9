"""`GenerationConfig`: transformers' `generation_config.json`, read as options and written with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from vertebra import PresetFiles
from vertebra.errors import ArgumentError, PresetConfigError
from vertebra_generation.sampling.options import GenerationOptions

FILE = "generation_config.json"
_NAMES = {"n": "num_return_sequences", "stop_tokens": "eos_token_id", "bad_words": "bad_words_ids"}
"""Options that have another name in the file."""
_OURS = ("presence_penalty", "frequency_penalty", "seed")
"""Options that transformers does not have: it keeps such fields, and ignores them."""
_KEYS = {_NAMES.get(option.name, option.name): option.name for option in fields(GenerationOptions)}
"""The option of each field of the file."""
_IGNORED = {
    "assistant_early_exit": None,
    "begin_suppress_tokens": None,
    "constraints": None,
    "diversity_penalty": 0,
    "dola_layers": None,
    "encoder_repetition_penalty": 1,
    "epsilon_cutoff": 0,
    "eta_cutoff": 0,
    "exponential_decay_length_penalty": None,
    "force_words_ids": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "guidance_scale": 1,
    "min_length": 0,
    "num_beam_groups": 1,
    "prompt_lookup_num_tokens": None,
    "sequence_bias": None,
    "suppress_tokens": None,
    "token_healing": False,
    "top_h": None,
    "typical_p": 1,
    "watermarking_config": None,
}
"""Fields by which transformers changes answers and Vertebra does not, with the value that changes nothing."""


@dataclass(frozen=True, slots=True)
class GenerationConfig:
    """The content of a `generation_config.json`."""

    options: GenerationOptions = field(default_factory=GenerationOptions)
    """The options."""
    document: Mapping[str, Any] = field(default_factory=dict)
    """All fields of the file, those that are no options included."""
    notes: tuple[str, ...] = ()
    """Sentences on fields that have no effect."""

    @property
    def bos_token(self) -> int | None:
        """The id of the token that begins a text."""
        return self._token("bos_token_id")

    @classmethod
    def read(cls, files: PresetFiles) -> GenerationConfig:
        """Reads the config of a preset; a preset without one has the defaults.

        Raises:
            PresetConfigError: a field of the file has a wrong value, or contradicts another one.
        """
        return files.json(FILE).read(cls.of, lambda config: config.options) if FILE in files.names else cls()

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> GenerationConfig:
        """Returns the config of a file's content; raises the errors of `read`."""
        given = {option: document[key] for key, option in _KEYS.items() if document.get(key) is not None}
        notes = [*_unsupported(document), *_repaired(given)]
        try:
            options = GenerationOptions.of(given)
        except ArgumentError as error:
            key = _NAMES.get(error.argument, error.argument)
            remedy = "Correct the file, or give all options in the call and delete the file"
            raise PresetConfigError(FILE, f"{key}={error.value!r}, expected {error.expected}", remedy) from None
        return cls(options, dict(document), (*notes, *_without_effect(document, options)))

    def with_options(self, options: GenerationOptions) -> GenerationConfig:
        """Returns a config with other options, and the same other fields."""
        return GenerationConfig(options, self.document, self.notes)

    def to_json(self) -> dict[str, Any]:
        """Returns the content of the file: all former fields, and options that differ from them or from the defaults.

        transformers ignores `presence_penalty`, `frequency_penalty` and `seed`.
        """
        written, defaults = dict(self.document), GenerationOptions()
        former = GenerationConfig.of(self.document).options
        for key, option in _KEYS.items():
            value = getattr(self.options, option)
            if value == getattr(former, option):
                continue
            if value == getattr(defaults, option) and option not in _OURS:
                written.pop(key, None)
            else:
                written[key] = _as_json(option, value)
        return written

    def _token(self, key: str) -> int | None:
        value = self.document.get(key)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            raise PresetConfigError(FILE, f"{key}={value!r}, expected a token id")
        return value if value >= 0 else None


def _as_json(option: str, value: Any) -> Any:
    if option == "stop_tokens":
        return value[0] if len(value) == 1 else list(value)
    if option == "bad_words":
        return [list(word) for word in value]
    return list(value) if isinstance(value, tuple) else value


def _unsupported(document: Mapping[str, Any]) -> list[str]:
    return [
        f"{FILE}: {key}={document[key]!r} has no effect in Vertebra, and changes the answers of transformers"
        for key, neutral in _IGNORED.items()
        if document.get(key) not in (None, neutral, [])
    ]


def _repaired(given: dict[str, Any]) -> list[str]:
    """Removes values that transformers ignores, too, and returns the notes."""
    notes = []
    if not given.get("do_sample") and given.get("temperature") == 0:
        notes.append(f"{FILE}: temperature=0 means that nothing is drawn, as do_sample=false says")
        del given["temperature"]
    if given.get("stop_tokens") == -1:
        del given["stop_tokens"]
    if not given.get("penalty_alpha"):
        given.pop("penalty_alpha", None)
    return notes


def _without_effect(document: Mapping[str, Any], options: GenerationOptions) -> list[str]:
    """Returns notes on fields that the method does not use."""
    users = {
        "sampling": ("temperature", "top_p", "min_p"),
        "beam search": ("length_penalty", "early_stopping"),
    }
    needed = {"sampling": "do_sample=true", "beam search": "num_beams above 1"}
    defaults = GenerationOptions()
    return [
        f"{FILE}: {key}={document[key]!r} has no effect without {needed[method]}"
        for method, keys in users.items()
        if options.method != method
        for key in keys
        if document.get(key) is not None and getattr(options, key) != getattr(defaults, key)
    ]
