"""The roles of Gemma's layers, and how their weights are divided for tensor parallelism."""

from vertebra import layout_rules

ROLES = {
    "attention.query": ("decoder_block_*/attention/query",),
    "attention.key": ("decoder_block_*/attention/key",),
    "attention.value": ("decoder_block_*/attention/value",),
    "attention.output": ("decoder_block_*/attention/attention_output",),
    "mlp.gate": ("decoder_block_*/ffw_gating",),
    "mlp.up": ("decoder_block_*/ffw_gating_2",),
    "mlp.down": ("decoder_block_*/ffw_linear",),
    "embedding.token": ("token_embedding",),
}
LAYOUT = layout_rules(
    ROLES,
    {
        "attention.query": ("columns", "num_query_heads"),
        "attention.key": ("columns", "num_key_value_heads"),
        "attention.value": ("columns", "num_key_value_heads"),
        "attention.output": ("rows", "num_query_heads"),
        "mlp.gate": ("columns", "intermediate_dim"),
        "mlp.up": ("columns", "intermediate_dim"),
        "mlp.down": ("rows", "intermediate_dim"),
        "embedding.token": ("vocabulary", "vocabulary_size"),
    },
)
