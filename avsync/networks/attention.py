"""The cross-modal encoder of VocaLiST: layers in which the tokens of one stream attend to the other's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(NamedTuple):
    """What distillation needs of one layer: `name` (av1..4, va1..4, fusion1..4), `logits`
    (batch, heads, queries, keys) = QK^T / sqrt(d_head) with -inf where masked, and `values`
    (batch, heads, keys, d_head)."""

    name: str
    logits: Tensor
    values: Tensor


Maps = list[Attention]


def sinusoidal_positions(length: int, width: int, device: torch.device | None = None) -> Tensor:
    """(length, width) positions 1..length: a sine half, then a cosine half."""
    half = width // 2
    rates = torch.exp(torch.arange(half, device=device) * -(math.log(10000) / (half - 1)))
    angles = torch.arange(1, length + 1, device=device)[:, None] * rates[None]
    return torch.cat([angles.sin(), angles.cos()], 1)


def future_mask(queries: int, keys: int, device: torch.device | None = None) -> Tensor:
    """(queries, keys) bool, True where query i may not see key j: j - i >= 1 + |queries - keys|."""
    gap = torch.arange(keys, device=device)[None] - torch.arange(queries, device=device)[:, None]
    return gap >= 1 + abs(queries - keys)


class CrossAttention(nn.Module):
    """Multi-head attention with one packed projection for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.xavier_uniform_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)

    def queries(self, x: Tensor) -> Tensor:
        """(..., n, d) -> scaled queries (..., heads, n, d_head)."""
        width = x.shape[-1]
        q = F.linear(x, self.in_proj_weight[:width], self.in_proj_bias[:width])
        return self._split(q * (width // self.heads) ** -0.5)

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(..., n, d) -> keys and values, each (..., heads, n, d_head)."""
        width = x.shape[-1]
        k, v = F.linear(x, self.in_proj_weight[width:], self.in_proj_bias[width:]).chunk(2, -1)
        return self._split(k), self._split(v)


class EncoderLayer(nn.Module):
    """Pre-norm cross-attention and a feed-forward net of width 4d."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_attn = CrossAttention(width, heads)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.layer_norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        for linear in (self.fc1, self.fc2):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def keys_values(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the embedded source (..., n, d); they do not depend on the queries."""
        return self.self_attn.keys_values(self.layer_norms[0](source))

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor, maps: Maps | None = None, name: str = ""
    ) -> Tensor:
        """x (batch, n_query, d); keys, values (batch, heads, n_key, d_head); mask (n_query, n_key)."""
        logits = self.self_attn.queries(self.layer_norms[0](x)) @ keys.transpose(-2, -1)
        logits = logits.masked_fill(mask, -math.inf)
        if maps is not None:
            maps.append(Attention(name, logits, values))
        mixed = (logits.softmax(-1) @ values).transpose(-3, -2).flatten(-2)
        x = x + F.dropout(self.self_attn.out_proj(mixed), 0.1, self.training)
        hidden = F.dropout(F.relu(self.fc1(self.layer_norms[1](x))), 0.1, self.training)
        return x + F.dropout(self.fc2(hidden), 0.1, self.training)


class CrossEncoder(nn.Module):
    """Layers in which one token sequence queries another; keys and values are the same
    embeddings in every layer."""

    def __init__(self, width: int, heads: int, layers: int, name: str) -> None:
        super().__init__()
        self.name = name
        self.layers = nn.ModuleList(EncoderLayer(width, heads) for _ in range(layers))
        self.layer_norm = nn.LayerNorm(width)
        self.embed_positions = nn.Module()
        self.embed_positions.register_buffer("_float_tensor", torch.zeros(1))
        self.register_buffer("version", torch.tensor([2.0]))

    def embed(self, tokens: Tensor) -> Tensor:
        """(..., n, d) -> scaled tokens plus positions; a token whose first feature is exactly 0
        counts as padding and gets none."""
        length, width = tokens.shape[-2:]
        positions = sinusoidal_positions(length, width, tokens.device).to(tokens.dtype)
        present = (tokens[..., :1] != 0).to(tokens.dtype)
        return F.dropout(math.sqrt(width) * tokens + positions * present, 0.25, self.training)

    def forward(self, queries: Tensor, source: Tensor, maps: Maps | None = None) -> Tensor:
        """queries (batch, n_query, d), source (batch, n_key, d) -> (batch, n_query, d)."""
        embedded = self.embed(source)
        return self.run(self.embed(queries), [layer.keys_values(embedded) for layer in self.layers], maps)  # type: ignore[operator]

    def run(
        self, x: Tensor, keys_values: Sequence[tuple[Tensor, Tensor]], maps: Maps | None = None
    ) -> Tensor:
        """The layers over embedded queries x and each layer's ready keys and values."""
        mask = future_mask(x.shape[-2], keys_values[0][0].shape[-2], x.device)
        for number, (layer, (keys, values)) in enumerate(zip(self.layers, keys_values, strict=True), 1):
            x = layer(x, keys, values, mask, maps, f"{self.name}{number}")
        return self.layer_norm(x)
