"""`GenerationDefaults`: the options of `CausalLM.generate` that a call does not give."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vertebra import PresetFiles
from vertebra.errors import ArgumentError, printable
from vertebra_generation.generation_config import FILE, GenerationConfig
from vertebra_generation.sampling.options import GenerationOptions

log = logging.getLogger("vertebra")


class GenerationDefaults:
    """Keeps the generation config of a preset, with a task that has a tokenizer."""

    tokenizer: Any
    _generation_config: GenerationConfig
    _has_own_options: bool

    @property
    def generation_options(self) -> GenerationOptions:
        """The options of `generate` that a call does not give: those of the preset's `generation_config.json`.

        If these name no stop token, the tokenizer's end token is one. They can be set; `save_to_preset` writes them.
        """
        options, end = self._generation_config.options, getattr(self.tokenizer, "end_token_id", None)
        return options if options.stop_tokens or end is None else replace(options, stop_tokens=(end,))

    @generation_options.setter
    def generation_options(self, options: GenerationOptions) -> None:
        if not isinstance(options, GenerationOptions):
            raise ArgumentError("CausalLM", "generation_options", options, "a GenerationOptions")
        config = self._generation_config.with_options(options)
        self.__dict__.update(_generation_config=config, _has_own_options=True)

    @property
    def start_token_id(self) -> int | None:
        """The id of the token that an empty prompt begins with: the generation config's, or the tokenizer's.

        It is the tokenizer's end token if there is no other, as of GPT-2, whose one special token is both.
        """
        found = (self._generation_config.bos_token, *(_id(self.tokenizer, role) for role in ("start", "end")))
        return next((token for token in found if token is not None), None)

    def read_files(self, files: PresetFiles) -> None:
        """Reads the generation config of a preset."""
        super().read_files(files)  # type: ignore[misc]
        config = GenerationConfig.read(files)
        for note in config.notes:
            log.warning("%s", printable(note))
        self.__dict__.update(_generation_config=config, _has_own_options=False)

    def further_files(self) -> Mapping[str, bytes]:
        """Returns the generation config if the user has set options; that of the preset is kept with its files."""
        files: Mapping[str, bytes] = super().further_files()  # type: ignore[misc]
        if not self._has_own_options:
            return files
        return {**files, FILE: json.dumps(self._generation_config.to_json(), indent=2).encode()}


def _id(tokenizer: Any, role: str) -> int | None:
    found: int | None = getattr(tokenizer, f"{role}_token_id", None)
    return found
