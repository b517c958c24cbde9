"""The methods of PEFT that are not computed here, and how their adapters can be used all the same.

The tables hold for PEFT 0.21.2, on a BERT: which methods its `save_as_lora` converts to plain LoRA with the same
outputs, and which of them it merges into their base.
"""

from __future__ import annotations

CONVERTIBLE = {
    "C3A", "DELORA", "FOURIERFT", "GRALORA", "LOHA", "LOKR", "MISS", "PSOFT", "RANDLORA", "TINYLORA", "UNILORA",
    "VBLORA", "VERA", "WAVEFT",
}  # fmt: skip
"""Types of adapters that `save_as_lora` converts."""
UNMERGEABLE = {
    "ADAPTION_PROMPT", "CARTRIDGE", "CPT", "LILY", "MULTITASK_PROMPT_TUNING", "POLY", "PREFIX_TUNING", "PROMPT_TUNING",
    "P_TUNING", "SHADOW", "XLORA",
}  # fmt: skip
"""Types of adapters that PEFT cannot merge."""

FIELDS = {
    "alora_invocation_tokens": "activated LoRA (aLoRA)",
    "arrow_config": "Arrow routing",
    "enable_lora": "LoRA on some slices of a fused projection, of PEFT before 0.4,",
    "kasa_config": "KaSA",
    "layer_replication": "layer replication",
    "lora_bias": "LoRA with a bias",
    "megatron_config": "LoRA on the parallel layers of Megatron",
    "monteclora_config": "MonteCLoRA",
    "target_parameters": "LoRA on parameters that are not a layer's kernel",
    "trainable_token_indices": "training of single tokens",
    "use_bdlora": "BD-LoRA",
    "use_qalora": "QALoRA",
    "velora_config": "VeLoRA",
}
"""Fields of `LoraConfig` that change the computation in unsupported ways, with PEFT's name of the method."""
_CONVERTIBLE_FIELDS = {"monteclora_config", "use_bdlora", "velora_config"}
_UNMERGEABLE_FIELDS = {"alora_invocation_tokens", "arrow_config", "layer_replication", "use_qalora"}

MERGE = "Merge the adapter into its base with PEFT (merge_and_unload, then save_pretrained), and load that checkpoint"
_RUN = (
    "PEFT's save_as_lora cannot convert it, and PEFT cannot merge it into its base: run it with PEFT, or train a LoRA"
)
_AS_LORA = "Convert it to plain LoRA with PEFT's save_as_lora(path, model, rank), as exactly as the rank allows"
_NOT_AS_LORA = "PEFT's save_as_lora cannot convert it"


def type_remedy(method: str) -> str:
    """Returns what to do with an adapter of an unsupported `peft_type`."""
    return _remedy(method in CONVERTIBLE, method not in UNMERGEABLE)


def field_remedy(field: str) -> str:
    """Returns what to do with an adapter for which an unsupported field of `LoraConfig` is on."""
    return _remedy(field in _CONVERTIBLE_FIELDS, field not in _UNMERGEABLE_FIELDS)


def _remedy(convertible: bool, mergeable: bool) -> str:
    if convertible:
        return f"{_AS_LORA}. Or: {MERGE[0].lower()}{MERGE[1:]}"
    return f"{_NOT_AS_LORA}. {MERGE}" if mergeable else _RUN
