"""AVST, "Audio-Visual Synchronisation with Transformers": two convolutional encoders, one Transformer.

Neither weights nor evaluation code are public, so what the paper leaves open was chosen here:
the encoders are VocaLiST's front-ends (5 visual and 16 audio tokens of width 512), the Transformer has
three pre-norm layers of 8 heads and width 2048 with GELU, positions and modalities are learned, and the
class token is read by a layer norm and a linear layer. That makes 42.8 M parameters; the
published count is 42.4 M.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from avsync.core.constants import WINDOW_FRAMES, WINDOW_MELS
from avsync.networks.base import Network
from avsync.networks.frontends import audio_front_end, clip3d_front_end


@dataclass(frozen=True)
class AvstDims:
    """`channels` are the widths of both front-ends; the last is the Transformer's."""

    family: str = "avst"
    channels: tuple[int, ...] = (16, 32, 64, 128, 512)
    heads: int = 8
    layers: int = 3

    def __post_init__(self) -> None:
        if len(self.channels) != 5 or self.channels[-1] % self.heads:
            raise ValueError(
                f"front-ends have five widths, the last a multiple of heads, not {self.channels}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML."""
        return {**asdict(self), "channels": list(self.channels)}


class Avst(Network):
    """The whole network; see the module's docstring."""

    def __init__(self, dims: AvstDims = AvstDims()) -> None:
        super().__init__()
        self.dims: AvstDims = dims
        width = dims.channels[-1]
        self.visual, self.audio = clip3d_front_end(dims.channels), audio_front_end(dims.channels)
        self.class_token = nn.Parameter(0.02 * torch.randn(width))
        self.modalities = nn.Parameter(0.02 * torch.randn(2, width))
        self.positions = nn.Parameter(0.02 * torch.randn(WINDOW_FRAMES + WINDOW_MELS, width))
        layer = nn.TransformerEncoderLayer(
            width, dims.heads, 4 * width, 0.1, "gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(
            layer, dims.layers, nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.classifier = nn.Linear(width, 1)

    def visual_tokens(self, frames: Tensor) -> Tensor:
        """(n, 15, 48, 96) -> (n, 5, d), with positions and modality."""
        volume = frames.unflatten(1, (WINDOW_FRAMES, 3)).permute(0, 2, 3, 4, 1)
        tokens = self.visual(volume).flatten(2).transpose(1, 2)
        return tokens + self.positions[:WINDOW_FRAMES] + self.modalities[0]

    def audio_tokens(self, audio: Tensor) -> Tensor:
        """(n, 1, 80, 16) -> (n, 16, d), with positions and modality."""
        tokens = self.audio(audio).squeeze(2).transpose(1, 2)
        return tokens + self.positions[WINDOW_FRAMES:] + self.modalities[1]

    def pair_logits(self, visual: Tensor, audio: Tensor) -> Tensor:
        """Tokens (n, 5, d) and (n, 16, d) -> logits (n,)."""
        first = self.class_token.expand(len(visual), 1, -1)
        mixed = self.encoder(torch.cat([first, visual, audio], 1))
        return self.classifier(mixed[:, 0]).squeeze(-1)
