"""The roles of GPT-2's layers, and how their weights are divided for tensor parallelism."""

from vertebra import layout_rules

ROLES = {
    "attention.query": ("transformer_layer_*/self_attention/query",),
    "attention.key": ("transformer_layer_*/self_attention/key",),
    "attention.value": ("transformer_layer_*/self_attention/value",),
    "attention.output": ("transformer_layer_*/self_attention/attention_output",),
    "mlp.up": ("transformer_layer_*/feedforward_intermediate_dense",),
    "mlp.down": ("transformer_layer_*/feedforward_output_dense",),
    "embedding.token": ("token_embedding",),
}
LAYOUT = layout_rules(
    ROLES,
    {
        "attention.query": ("columns", "num_heads"),
        "attention.key": ("columns", "num_heads"),
        "attention.value": ("columns", "num_heads"),
        "attention.output": ("rows", "num_heads"),
        "mlp.up": ("columns", "intermediate_dim"),
        "mlp.down": ("rows", "intermediate_dim"),
        "embedding.token": ("vocabulary", "vocabulary_size"),
    },
)
