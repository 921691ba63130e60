"""What turns frames and audio into tokens: the front-ends of VocaLiST's family, the paper's two and those
that windows share. The names of their parts are those of the public checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from avsync.audio.speech import FEATURE_RATE
from avsync.audio.speech import WIDTH as SPEECH_WIDTH
from avsync.core.constants import FRAME_RATE


class ConvBlock(nn.Module):
    """Convolution, batch norm, (+ input), ReLU."""

    def __init__(self, conv: nn.Module, norm: nn.Module, residual: bool = False) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(conv, norm)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv_block(x)
        return F.relu(y + x if self.residual else y, inplace=True)


def _block3d(
    c_in: int, c_out: int, kernel: int, stride: Any = 1, padding: Any = 0, residual: bool = False
) -> ConvBlock:
    return ConvBlock(nn.Conv3d(c_in, c_out, kernel, stride, padding), nn.BatchNorm3d(c_out), residual)


def _block2d(
    c_in: int, c_out: int, kernel: int, stride: Any = 1, padding: Any = 0, residual: bool = False
) -> ConvBlock:
    return ConvBlock(nn.Conv2d(c_in, c_out, kernel, stride, padding), nn.BatchNorm2d(c_out), residual)


def clip3d_front_end(c: Sequence[int]) -> nn.Sequential:
    """3-D convolutions over (height 48, width 96, time 5)."""
    half = (2, 2, 1)
    return nn.Sequential(
        _block3d(3, c[0], 7, 1, 3),
        _block3d(c[0], c[1], 5, (1, 2, 1), (1, 1, 2)),
        *[_block3d(c[1], c[1], 3, 1, 1, True) for _ in range(2)],
        _block3d(c[1], c[2], 3, half, 1),
        *[_block3d(c[2], c[2], 3, 1, 1, True) for _ in range(3)],
        _block3d(c[2], c[3], 3, half, 1),
        *[_block3d(c[3], c[3], 3, 1, 1, True) for _ in range(2)],
        _block3d(c[3], c[4], 3, half, 1),
        *[_block3d(c[4], c[4], 3, 1, 1, True) for _ in range(2)],
        _block3d(c[4], c[4], 3, half, 1),
        _block3d(c[4], c[4], 3, 1, (0, 0, 1)),
        _block3d(c[4], c[4], 1),
    )


def frame2d_front_end(c: Sequence[int]) -> nn.Sequential:
    """2-D convolutions over one frame (height 48, width 96) down to one token."""
    return nn.Sequential(
        _block2d(3, c[0], 5, 2, 2),
        _block2d(c[0], c[1], 3, (1, 2), 1),
        _block2d(c[1], c[1], 3, 1, 1, True),
        _block2d(c[1], c[2], 3, 2, 1),
        *[_block2d(c[2], c[2], 3, 1, 1, True) for _ in range(2)],
        _block2d(c[2], c[3], 3, 2, 1),
        *[_block2d(c[3], c[3], 3, 1, 1, True) for _ in range(2)],
        _block2d(c[3], c[4], 3, 2, 1),
        _block2d(c[4], c[4], 3, 1, 1, True),
        _block2d(c[4], c[4], 3),
    )


class WindowMixer(nn.Module):
    """Residual temporal convolutions among the five frame tokens of a window, so that the
    frame-shared front-end sees motion; the paper's 3-D convolutions have it built in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, 5, d) -> (batch, 5, d)."""
        x = tokens.transpose(1, 2)
        return (x + self.convs[1](F.relu(self.convs[0](x)))).transpose(1, 2)


FRAME_DILATIONS = (1, 3)
"""Gaps, in frames, between the three taps of the blocks of a `TemporalContext` along frame tokens."""
WIDE_FRAME_DILATIONS = (1, 3, 4)
"""The same of a network with `wide_context`."""
COLUMN_DILATIONS = (1, 3, 9)
"""Gaps, in mel columns, of the `TemporalContext` along audio tokens of a network with `wide_context`."""
DEEP_COLUMN_DILATIONS = (*COLUMN_DILATIONS, 1, 2, 4)
"""The same of a network with `deep_audio`."""
SHARED_CONTEXT = 13
"""Mel columns before and after a window that reach into its tokens when the paper's 2-D convolutions run
along the whole spectrogram: one for each convolution that is three columns wide."""


class TemporalContext(nn.Module):
    """Residual temporal convolutions along the tokens of a whole clip; begins as the identity. The sum of
    the `dilations` is how many tokens before and after a token reach into it."""

    def __init__(self, width: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.reach = nn.ModuleList(nn.Conv1d(width, width, 3, padding=d, dilation=d) for d in dilations)
        mix = [nn.Conv1d(width, width, 1) for _ in dilations]
        for parameter in (p for conv in mix for p in conv.parameters()):
            nn.init.zeros_(parameter)
        self.mix = nn.ModuleList(mix)

    def forward(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        """(batch, n, d) -> the same; `present` (batch, n) is False where a row has no token, which then
        counts as the end of the clip does."""
        x = tokens.transpose(1, 2)
        here = None if present is None else present[:, None].to(x.dtype)
        for reach, mix in zip(self.reach, self.mix, strict=True):
            x = x if here is None else x * here
            x = x + mix(F.relu(reach(x)))
        return x.transpose(1, 2)


def audio_front_end(c: Sequence[int]) -> nn.Sequential:
    """2-D convolutions over (80 mel bands, 16 columns)."""
    third = (3, 1)
    blocks = [_block2d(1, c[0], 3, 1, 1)]
    for i in range(4):
        blocks += [_block2d(c[i], c[i], 3, 1, 1, True) for _ in range(2)]
        blocks.append(_block2d(c[i], c[i + 1], 3, *((third, 1) if i < 3 else (1, (0, 1)))))
    return nn.Sequential(*blocks, _block2d(c[4], c[4], 1))


SPEECH_DILATIONS = (1, 2)
"""Gaps between the three taps of the blocks of `SpeechTokens`."""
SPEECH_PER_FRAME = FEATURE_RATE // FRAME_RATE
SPEECH_CONTEXT = sum(SPEECH_DILATIONS)
"""Features of the recogniser before and after a window that reach into its tokens, besides all that the
recogniser itself has heard."""


class SpeechTokens(nn.Module):
    """Features of a speech recogniser, normalised and narrowed, with residual temporal convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(SPEECH_WIDTH, affine=False)
        self.first = nn.Linear(SPEECH_WIDTH, width)
        self.reach = nn.ModuleList(
            nn.Conv1d(width, width, 3, padding=d, dilation=d) for d in SPEECH_DILATIONS
        )
        self.mix = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in SPEECH_DILATIONS)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, n, 288) -> (batch, n, d)."""
        x = self.first(self.norm(features.transpose(1, 2)).transpose(1, 2)).transpose(1, 2)
        for reach, mix in zip(self.reach, self.mix, strict=True):
            x = x + mix(F.relu(reach(x)))
        return x.transpose(1, 2)


DILATIONS = (1, 2, 4, 8, 1, 2)
"""Gaps between the five taps of the residual blocks of `ColumnFrontEnd`."""
AUDIO_CONTEXT = 2 * (1 + sum(DILATIONS)) + 2
"""Mel columns before and after a window that reach into its tokens, and two to make half a second."""
GROUPS = 8


class ColumnBlock(nn.Module):
    """Residual: a dilated convolution within groups of channels, then a mixing of all of them."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.reach = nn.Conv1d(width, width, 5, padding=2 * dilation, dilation=dilation, groups=GROUPS)
        self.mix = nn.Conv1d(width, width, 1)
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norms[1](self.mix(F.relu(self.norms[0](self.reach(x))))))


class ColumnFrontEnd(nn.Module):
    """1-D convolutions along the mel columns of a whole clip: one token a column."""

    def __init__(self, width: int, tokens: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv1d(80, width, 5, padding=2), nn.BatchNorm1d(width), nn.ReLU())
        self.blocks = nn.Sequential(*(ColumnBlock(width, dilation) for dilation in DILATIONS))
        self.last = nn.Conv1d(width, tokens, 1)

    def forward(self, mels: Tensor) -> Tensor:
        """(batch, 80, columns) -> (batch, columns, d)."""
        return self.last(self.blocks(self.first(mels))).transpose(1, 2)
