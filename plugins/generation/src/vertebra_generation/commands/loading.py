"""Loads the model of a command, or says why its answers would be of no use."""

from __future__ import annotations

import argparse
from typing import Any

from vertebra.errors import ArgumentError, WeightsMismatchError


def load(args: argparse.Namespace, command: str) -> Any:
    """Returns the causal language model of a preset, with its adapter.

    Args:
        args: The arguments: `preset`, and those of `add_model_options`.
        command: The name of the command.

    Raises:
        ArgumentError: the preset is of no decoder, or has no tokenizer.
        WeightsMismatchError: it has no head.
    """
    import vertebra

    options = {"dtype": args.dtype} if args.dtype else {}
    task = vertebra.models.CausalLM.from_preset(args.preset, runtime=args.runtime, **options)
    if task.tokenizer is None:
        expected = "a preset with a tokenizer, such as a folder with tokenizer.json next to the weights"
        raise ArgumentError(f"vertebra {command}", "PRESET", args.preset, expected)
    if task.random_weights:
        problem = "it has no trained head for CausalLM, so the answers would be random"
        remedy = "Take a preset of a causal language model, or train one with `fit` and save it with `save_to_preset`"
        raise WeightsMismatchError(args.preset, missing=task.random_weights, cause=problem, remedy=remedy)
    if args.adapter:
        task.load_lora_weights(args.adapter)
    return task
