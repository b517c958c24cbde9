"""Built-in presets of MPNet.

Sizes are from `config.json`, poolings from `1_Pooling/config.json`, and licences from the model card, all in the
repository that the handle names; parameters are those of the backbone. KerasHub 0.32 has no MPNet.
"""

from vertebra import PresetSpec

# Id, repository on Hugging Face, parameters, layers, width, language, purpose and licence.
_TABLE = (
    ("mpnet_base", "microsoft/mpnet-base", 109_486_464, 12, 768, "English"),
    (
        "all_mpnet_base_v2",
        "sentence-transformers/all-mpnet-base-v2",
        109_486_464,
        12,
        768,
        "English; sentence embeddings, mean pooling; Apache-2.0",
    ),
)

PRESETS = tuple(
    PresetSpec(name, f"hf://{repository}", parameters, f"{layers} layers of width {width}; {text}")
    for name, repository, parameters, layers, width, text in _TABLE
)
