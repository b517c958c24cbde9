"""Torch modules as users write them: a text encoder, and a network for images."""

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Attention and a feed-forward network."""

    def __init__(self, width: int):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x, mask):
        y = self.norm_1(x)
        y = functional.scaled_dot_product_attention(self.query(y), self.key(y), self.value(y), mask[:, None])
        x = x + self.dropout(y)
        return x + self.dropout(self.down(functional.gelu(self.up(self.norm_2(x)))))


class TextNet(nn.Module):
    """An encoder with two outputs, one of which uses the token table again."""

    vertebra_inputs = {"token_ids": ((None,), "int32"), "padding_mask": ((None,), "bool")}  # noqa: RUF012

    def __init__(self, vocabulary: int, width: int = 8, depth: int = 2):
        super().__init__()
        self.table = nn.Embedding(vocabulary, width)
        self.register_buffer("positions", torch.arange(64)[:, None] / torch.arange(1, width + 1), persistent=False)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.project = nn.Linear(width, width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.table.weight
        self.scale = nn.Parameter(torch.ones(width), requires_grad=False)

    def forward(self, token_ids, padding_mask):
        x = self.table(token_ids) + self.positions[: token_ids.shape[1]].sin()
        for block in self.blocks:
            x = block(x, padding_mask)
        x = functional.linear(x * self.scale, self.project.weight, self.project.bias)
        return {"hidden": x, "logits": self.head(x)}


def image_net(channels: int = 4):
    """Returns convolutions with statistics of batches, and a linear layer."""
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, padding=1),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, 5),
    )


image_net.vertebra_inputs = ((3, None, None), "float32")
