"""The interface of every network, VocaLiST's family and those it is compared with, and how its frames are
prepared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from avsync.core.constants import CropKind

AudioInput = Literal["mel", "mfcc"]


PAIRS_AT_ONCE = 248
"""Pairs that go through the encoders together; bounds memory and keeps the work in cache."""
DOTS_AT_ONCE = 1 << 14
"""Pairs whose embeddings are multiplied in one batch."""
DENSE_SHARE = 32
"""Where at least one in this many of all pairs is wanted, multiplying all embeddings with each other is
faster."""
EMBEDDED_AT_ONCE = 1 << 12
"""Pairs in a batch of networks with embeddings of a thousand numbers."""


class Network(nn.Module):
    """Two encoders, and a logit for every pair of what they give.

    `dims` fixes the shape, and `dims.to_dict()` is stored in a checkpoint's card. `audio_input` is what
    the audio encoder takes: "mel" (n, 1, 80, 16) or "mfcc" (n, 1, 13, 20), both of 0.2 s. `audio_context` is
    how many more mel columns before and after it takes; `frame_context` is the same in frames. `crop` is
    "mouth" (48 x 96) or "face" (224 x 224).
    """

    audio_input: ClassVar[AudioInput] = "mel"
    dims: Any

    @property
    def family(self) -> str:
        """The kind of network; `dims` without a family are VocaLiST's."""
        return getattr(self.dims, "family", "vocalist")

    @property
    def crop(self) -> CropKind:
        """Which crops the network was trained on."""
        return "mouth"

    @property
    def audio_context(self) -> int:
        """Mel columns before and after a window that its audio encoder takes too."""
        return 0

    @property
    def frame_context(self) -> int:
        """Frames before and after a window that its visual encoder sees too."""
        return 0

    @property
    def hears_speech(self) -> bool:
        """Whether its audio tokens end with those of a speech recogniser's features (`speech_tokens`)."""
        return False

    def speech_tokens(self, features: Tensor) -> Tensor:
        """(batch, n, 288) features of `audio.speech` -> (batch, n, d), where `hears_speech`."""
        raise NotImplementedError

    @property
    def embeds(self) -> bool:
        """Whether a pair costs no more than comparing two vectors."""
        return False

    def visual_tokens(self, frames: Tensor) -> Tensor:
        """(n, 15, height, width), five frames of three channels stacked -> (n, ...)."""
        raise NotImplementedError

    def audio_tokens(self, audio: Tensor) -> Tensor:
        """(n, 1, bands, columns) -> (n, ...)."""
        raise NotImplementedError

    @property
    def shares_frames(self) -> bool:
        """Whether each frame is encoded once for all windows that it is in."""
        return False

    def frame_tokens(self, mouths: Tensor) -> Tensor:
        """(n, 3, 48, 96) single frames -> (n, d), where `shares_frames`."""
        raise NotImplementedError

    def in_context(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """(batch, frames, d) tokens of consecutive frames -> the same with their temporal context."""
        return tokens

    def mix_window(self, tokens: Tensor) -> Tensor:
        """(n, 5, d) frame tokens of windows -> visual tokens, where `shares_frames`."""
        raise NotImplementedError

    def column_tokens(self, mels: Tensor) -> Tensor:
        """(batch, 80, columns) mels of whole clips -> (batch, columns, d), where there is `audio_context`."""
        raise NotImplementedError

    @property
    def has_embeddings(self) -> bool:
        """Whether lips and audio have an embedding each, whatever else is compared."""
        return self.embeds

    def visual_embeddings(self, visual: Tensor) -> Tensor:
        """What `visual_tokens` gives -> (n, d), where `has_embeddings`."""
        return visual

    def audio_embeddings(self, audio: Tensor) -> Tensor:
        """What `audio_tokens` gives -> (n, d), where `has_embeddings`."""
        return audio

    def pair_logits(self, visual: Tensor, audio: Tensor) -> Tensor:
        """n visual and n audio encodings -> logits (n,)."""
        raise NotImplementedError

    def score_pairs(self, visual: Tensor, audio: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Logits (n,) of the pairs (visual window rows[i], audio window columns[i]), the same numbers as
        `pair_logits(visual[rows], audio[columns])`; a network computes what pairs share only once."""
        at_once = EMBEDDED_AT_ONCE if self.embeds else PAIRS_AT_ONCE
        parts = zip(rows.split(at_once), columns.split(at_once), strict=True)
        return torch.cat([self.pair_logits(visual[row], audio[column]) for row, column in parts])

    def forward(self, frames: Tensor, audio: Tensor) -> Tensor:
        """The whole network on n pairs -> logits (n,)."""
        return self.pair_logits(self.visual_tokens(frames), self.audio_tokens(audio))


@dataclass(frozen=True)
class Preprocessing:
    """How a checkpoint wants its mouth crops: `channels` "rgb" or "bgr"; bytes are multiplied by `scale`."""

    channels: Literal["rgb", "bgr"] = "rgb"
    scale: float = 1 / 255


@dataclass(frozen=True)
class Scorer:
    """A network and how its frames are prepared: all that scoring needs."""

    model: Network
    preprocessing: Preprocessing

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.model.parameters()).device


def count_parameters(model: nn.Module) -> int:
    """Trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
