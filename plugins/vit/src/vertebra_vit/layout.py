"""The roles of the layers of vision transformers, and how their weights are divided for tensor parallelism."""

from vertebra import LayoutRule, layout_rules

ROLES = {
    "attention.query": ("transformer_layer_*/self_attention/query",),
    "attention.key": ("transformer_layer_*/self_attention/key",),
    "attention.value": ("transformer_layer_*/self_attention/value",),
    "attention.output": ("transformer_layer_*/self_attention/attention_output",),
    "mlp.up": ("transformer_layer_*/feedforward_intermediate_dense",),
    "mlp.down": ("transformer_layer_*/feedforward_output_dense",),
    "embedding.patch": ("patch_embedding",),
}
GATED = {"mlp.gate": ("transformer_layer_*/feedforward_gate_dense",)}
"""The role of the layers that only gated feed-forward networks have."""


def _layout(width: str) -> tuple[LayoutRule, ...]:
    """Returns the layout of a class, by the name of its argument for the width of the feed-forward network."""
    return layout_rules(
        ROLES | GATED,
        {
            "attention.query": ("columns", "num_heads"),
            "attention.key": ("columns", "num_heads"),
            "attention.value": ("columns", "num_heads"),
            "attention.output": ("rows", "num_heads"),
            "mlp.gate": ("columns", width),
            "mlp.up": ("columns", width),
            "mlp.down": ("rows", width),
        },
    )


VIT, DINOV2 = _layout("mlp_dim"), _layout("intermediate_dim")
