"""The roles of the tiny backbone's layers, and how their weights are divided for tensor parallelism."""

from vertebra.specs import layout_rules

ROLES = {
    "mlp": ("dense_*",),
    "embedding.token": ("token_embedding",),
}
LAYOUT = layout_rules(
    ROLES,
    {
        "mlp": ("columns", "width"),
        "embedding.token": ("vocabulary", "vocabulary_size"),
    },
)
