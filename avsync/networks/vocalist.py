"""The VocaLiST family in one implementation: teacher, student and frame-shared variants.

Two front-ends turn five mouth crops into 5 visual tokens and sixteen mel columns into 16 audio
tokens; three cross-modal encoders (audio queries video, video queries audio, fusion of the two)
and a small head turn the tokens into one synchrony logit. State-dict keys are those of the public
VocaLiST and MTDVocaLiST checkpoints.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avsync.core.constants import WINDOW_FRAMES, WINDOW_MELS
from avsync.core.errors import ModelError
from avsync.networks.attention import CrossEncoder, Maps
from avsync.networks.base import DENSE_SHARE, DOTS_AT_ONCE, PAIRS_AT_ONCE, Network
from avsync.networks.dims import STUDENT, Dims
from avsync.networks.frontends import (
    AUDIO_CONTEXT,
    COLUMN_DILATIONS,
    DEEP_COLUMN_DILATIONS,
    FRAME_DILATIONS,
    SHARED_CONTEXT,
    SPEECH_PER_FRAME,
    WIDE_FRAME_DILATIONS,
    ColumnFrontEnd,
    SpeechTokens,
    TemporalContext,
    WindowMixer,
    audio_front_end,
    clip3d_front_end,
    frame2d_front_end,
)

KeysValues = list[tuple[Tensor, Tensor]]
SPEECH_WINDOW = WINDOW_FRAMES * SPEECH_PER_FRAME
"""Speech tokens of a window."""


class Shared(NamedTuple):
    """Of all windows of two streams: embedded queries (n, tokens, d), and each layer's keys and values
    (n, heads, tokens, d_head)."""

    audio_queries: Tensor
    from_visual: KeysValues
    visual_queries: Tensor
    from_audio: KeysValues


class PairOutputs(NamedTuple):
    """`logits` (batch,), and what the fusion (batch, 16, d), AV (batch, 16, d) and VA (batch, 5, d) encoders
    end with."""

    logits: Tensor
    fused: Tensor
    av: Tensor
    va: Tensor


class ContrastHead(nn.Module):
    """One embedding per visual window and one per audio window; their scaled cosine scores a pair for
    the price of a dot product. The encoders then only have to correct that score."""

    HIDDEN = 512
    MAX_SCALE = 50.0

    def __init__(self, tokens_width: int, width: int, *, speech: bool = False) -> None:
        super().__init__()
        self.visual = self._projection(WINDOW_FRAMES * tokens_width, width)
        self.audio = self._projection(WINDOW_MELS * tokens_width, width)
        self.speech = self._projection(SPEECH_WINDOW * tokens_width, width) if speech else None
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))

    def _projection(self, inputs: int, width: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Flatten(), nn.Linear(inputs, self.HIDDEN), nn.ReLU(), nn.Linear(self.HIDDEN, width)
        )

    def embed_visual(self, tokens: Tensor) -> Tensor:
        """(batch, 5, d) -> (batch, width) of length sqrt(scale)."""
        return self.scaled(F.normalize(self.visual(tokens), dim=-1))

    def embed_audio(self, tokens: Tensor) -> Tensor:
        """(batch, 16, d), or (batch, 26, d) with speech tokens at the end -> (batch, width) of length
        sqrt(scale)."""
        embedded = F.normalize(self.audio(tokens[:, :WINDOW_MELS]), dim=-1)
        if self.speech is not None:
            embedded = F.normalize(embedded + self.speech(tokens[:, WINDOW_MELS:]), dim=-1)
        return self.scaled(embedded)

    def scaled(self, directions: Tensor) -> Tensor:
        """Embeddings of length 1 -> the same of length sqrt(scale)."""
        return directions * self.log_scale.exp().clamp(max=self.MAX_SCALE).sqrt()


class VocaLiST(Network):
    """The whole network; see the module's docstring."""

    def __init__(self, dims: Dims = STUDENT) -> None:
        super().__init__()
        self.dims: Dims = dims
        shared = dims.front_end == "frame2d"
        self.vid_prenet = (frame2d_front_end if shared else clip3d_front_end)(dims.channels)
        self.vid_mixer = WindowMixer(dims.d_model) if shared else None
        reach = WIDE_FRAME_DILATIONS if dims.wide_context else FRAME_DILATIONS
        self.vid_context = TemporalContext(dims.d_model, reach) if dims.frame_context else None
        audio = dims.audio_channels or dims.channels
        self.aud_prenet = (
            ColumnFrontEnd(*audio) if dims.audio_front_end == "column1d" else audio_front_end(audio)
        )
        self.aud_context = (
            TemporalContext(dims.d_model, self._column_dilations) if dims.wide_context else None
        )
        if dims.layers:
            shape = (dims.d_model, dims.heads, dims.layers)
            self.av_transformer = CrossEncoder(*shape, name="av")
            self.va_transformer = CrossEncoder(*shape, name="va")
            self.mem_transformer = CrossEncoder(*shape, name="fusion")
            self.fc = nn.Linear(dims.d_model, dims.d_model)
            self.classifier = nn.Linear(dims.d_model, 1)
        self.speech = SpeechTokens(dims.d_model) if dims.speech else None
        self.contrast = (
            ContrastHead(dims.d_model, dims.contrast, speech=dims.speech) if dims.contrast else None
        )
        if dims.layers and self.contrast is not None:  # the encoders begin by correcting nothing
            nn.init.zeros_(self.classifier.weight)
            nn.init.zeros_(self.classifier.bias)

    @property
    def hears_speech(self) -> bool:
        return self.speech is not None

    def speech_tokens(self, features: Tensor) -> Tensor:
        assert self.speech is not None  # noqa: S101 (hears_speech)
        return self.speech(features)

    @property
    def embeds(self) -> bool:
        return not self.dims.layers

    @property
    def has_embeddings(self) -> bool:
        return self.contrast is not None

    def visual_embeddings(self, visual: Tensor) -> Tensor:
        """(n, 5, d) -> (n, contrast)."""
        assert self.contrast is not None  # noqa: S101 (has_embeddings)
        return self.contrast.embed_visual(visual)

    def audio_embeddings(self, audio: Tensor) -> Tensor:
        """(n, 16, d), or (n, 26, d) with speech tokens -> (n, contrast)."""
        assert self.contrast is not None  # noqa: S101 (has_embeddings)
        return self.contrast.embed_audio(audio)

    @property
    def _column_dilations(self) -> tuple[int, ...]:
        return DEEP_COLUMN_DILATIONS if self.dims.deep_audio else COLUMN_DILATIONS

    @property
    def audio_context(self) -> int:
        contexts = {"window2d": 0, "column1d": AUDIO_CONTEXT, "column2d": SHARED_CONTEXT}
        more = sum(self._column_dilations) if self.aud_context is not None else 0
        return contexts[self.dims.audio_front_end] + more

    @property
    def frame_context(self) -> int:
        """Frames before and after a window that reach into its visual tokens."""
        if self.vid_context is None:
            return 0
        return sum(WIDE_FRAME_DILATIONS if self.dims.wide_context else FRAME_DILATIONS)

    @property
    def shares_frames(self) -> bool:
        return self.vid_mixer is not None

    def frame_tokens(self, mouths: Tensor) -> Tensor:
        """(n, 3, 48, 96) single frames -> (n, d), for the frame-shared front-end only."""
        return self.vid_prenet(mouths).flatten(1)

    def mix_window(self, tokens: Tensor) -> Tensor:
        """(batch, 5, d) frame tokens of each window -> (batch, 5, d) visual tokens."""
        return tokens if self.vid_mixer is None else self.vid_mixer(tokens)

    def in_context(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        """(batch, frames, d) tokens of consecutive frames -> the same with their temporal context;
        `present` (batch, frames) is False where a row has no frame."""
        return tokens if self.vid_context is None else self.vid_context(tokens, present)

    def visual_tokens(self, frames: Tensor) -> Tensor:
        """(batch, 15, 48, 96), five frames of three channels stacked, and `frame_context` more on either side
        -> (batch, 5, d), of the five frames in the middle."""
        clips = frames.unflatten(1, (-1, 3))
        if self.vid_mixer is not None:
            tokens = self.in_context(self.frame_tokens(clips.flatten(0, 1)).unflatten(0, clips.shape[:2]))
            edge = (clips.shape[1] - WINDOW_FRAMES) // 2
            return self.mix_window(tokens[:, edge : edge + WINDOW_FRAMES])
        volume = clips.permute(0, 2, 3, 4, 1)
        return self.vid_prenet(volume).flatten(2).transpose(1, 2)

    def column_tokens(self, mels: Tensor) -> Tensor:
        """Mels of whole clips (batch, 80, columns) -> (batch, columns, d), for the shared front-ends only;
        of the columns within `audio_context` of either end the tokens are not those of a longer clip."""
        if isinstance(self.aud_prenet, ColumnFrontEnd):
            return self.aud_prenet(mels)
        tokens = self.aud_prenet(mels[:, None]).squeeze(2).transpose(1, 2)
        return tokens if self.aud_context is None else self.aud_context(tokens)

    def audio_tokens(self, audio: Tensor) -> Tensor:
        """(batch, 1, 80, 16 + 2 * audio_context) -> (batch, 16, d), of the sixteen columns in the middle.

        Raises ModelError for a network that also takes a speech recogniser's features."""
        if self.speech is not None:
            raise ModelError(
                "This model takes the features of a speech recogniser too, so it scores whole clips "
                "(check, bench accuracy), not single pairs; choose another --model."
            )
        if self.audio_context:
            edge = (audio.shape[-1] - WINDOW_MELS) // 2
            return self.column_tokens(audio[:, 0])[:, edge : edge + WINDOW_MELS]
        return self.aud_prenet(audio).squeeze(2).transpose(1, 2)

    def fuse(self, av: Tensor, va: Tensor, maps: Maps | None = None) -> Tensor:
        """AV output (batch, 16, d) and VA output (batch, 5, d) -> fused tokens (batch, 16, d)."""
        return self.mem_transformer(av, va, maps)

    def head(self, fused: Tensor) -> Tensor:
        """(batch, 16, d) -> logits (batch,): max over tokens, tanh(fc), classifier."""
        return self.classifier(torch.tanh(self.fc(fused.amax(1)))).squeeze(-1)

    def pair_logits(self, visual: Tensor, audio: Tensor, maps: Maps | None = None) -> Tensor:
        """Visual tokens (batch, 5, d) and audio tokens (batch, 16, d) -> logits (batch,)."""
        if not self.dims.layers:
            assert self.contrast is not None  # noqa: S101 (Dims: without encoders there is a contrast head)
            return (self.contrast.embed_visual(visual) * self.contrast.embed_audio(audio)).sum(-1)
        return self.pair_outputs(visual, audio, maps).logits

    def pair_outputs(self, visual: Tensor, audio: Tensor, maps: Maps | None = None) -> PairOutputs:
        """As `pair_logits`, with what each encoder ends with; needs encoders."""
        every = slice(None)
        outputs = self._encode_pairs(self._shared(visual, audio), every, every, maps)
        if self.contrast is None:
            return outputs
        similarity = (self.contrast.embed_visual(visual) * self.contrast.embed_audio(audio)).sum(-1)
        return outputs._replace(logits=outputs.logits + similarity)

    def score_pairs(self, visual: Tensor, audio: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        similar = self._similarities(visual, audio, rows, columns)
        if not self.dims.layers:
            assert similar is not None  # noqa: S101 (Dims: without encoders there is a contrast head)
            return similar
        shared = self._shared(visual, audio)
        parts = zip(rows.split(PAIRS_AT_ONCE), columns.split(PAIRS_AT_ONCE), strict=True)
        logits = torch.cat([self._encode_pairs(shared, row, column).logits for row, column in parts])
        return logits if similar is None else similar + logits

    def _similarities(self, visual: Tensor, audio: Tensor, rows: Tensor, columns: Tensor) -> Tensor | None:
        """Scaled cosines (n,) of the pairs' embeddings, where there is a contrast head."""
        if self.contrast is None:
            return None
        seen, heard = self.contrast.embed_visual(visual), self.contrast.embed_audio(audio)
        if len(seen) * len(heard) <= DENSE_SHARE * len(rows):
            return (seen @ heard.T)[rows, columns]
        parts = zip(rows.split(DOTS_AT_ONCE), columns.split(DOTS_AT_ONCE), strict=True)
        return torch.cat([(seen[row] * heard[column]).sum(-1) for row, column in parts])

    def _shared(self, visual: Tensor, audio: Tensor) -> Shared:
        """What the AV and VA encoders derive from one stream alone, once per window."""
        av, va = self.av_transformer, self.va_transformer
        visual_source, audio_queries = av.embed(visual), av.embed(audio)
        audio_source, visual_queries = va.embed(audio), va.embed(visual)
        return Shared(
            audio_queries,
            [layer.keys_values(visual_source) for layer in av.layers],  # type: ignore[operator]
            visual_queries,
            [layer.keys_values(audio_source) for layer in va.layers],  # type: ignore[operator]
        )

    def _encode_pairs(
        self, shared: Shared, rows: Tensor | slice, columns: Tensor | slice, maps: Maps | None = None
    ) -> PairOutputs:
        """The cross-modal layers on the pairs (visual window rows[i], audio window columns[i])."""
        from_visual = [(keys[rows], values[rows]) for keys, values in shared.from_visual]
        from_audio = [(keys[columns], values[columns]) for keys, values in shared.from_audio]
        av = self.av_transformer.run(shared.audio_queries[columns], from_visual, maps)
        va = self.va_transformer.run(shared.visual_queries[rows], from_audio, maps)
        fused = self.fuse(av, va, maps)
        return PairOutputs(self.head(fused), fused, av, va)

    def forward(self, frames: Tensor, audio: Tensor, maps: Maps | None = None) -> Tensor:
        """frames (batch, 15, 48, 96) as the checkpoint's preprocessing gives them, audio
        (batch, 1, 80, 16 + 2 * audio_context) mels -> logits (batch,). A list passed as `maps` receives one
        `Attention` a layer, in the order av1.., va1.., fusion1..; without it nothing is kept."""
        return self.pair_logits(self.visual_tokens(frames), self.audio_tokens(audio), maps)
