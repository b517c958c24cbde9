"""The roles of the layers, and how their weights are divided among devices."""

from vertebra import layout_rules

# Names for the layers that LoRA may adapt, each with globs of their paths.
ROLES = {
    "attention.query": ("block_*/attention/query",),
    "attention.key": ("block_*/attention/key",),
    "attention.value": ("block_*/attention/value",),
    "attention.output": ("block_*/attention/output",),
    "mlp.gate": ("block_*/gate",),
    "mlp.up": ("block_*/up",),
    "mlp.down": ("block_*/down",),
    "embedding.token": ("token_embedding",),
}
# Which weights of a role are divided, and the argument that counts the units which stay whole, such as heads.
LAYOUT = layout_rules(
    ROLES,
    {
        "attention.query": ("columns", "num_heads"),
        "attention.key": ("columns", "num_key_value_heads"),
        "attention.value": ("columns", "num_key_value_heads"),
        "attention.output": ("rows", "num_heads"),
        "mlp.gate": ("columns", "intermediate_dim"),
        "mlp.up": ("columns", "intermediate_dim"),
        "mlp.down": ("rows", "intermediate_dim"),
        "embedding.token": ("vocabulary", "vocabulary_size"),
    },
)
