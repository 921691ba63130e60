"""Windows of lips and audio -> one embedding each, for networks that encode them independently."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch

from avsync.core.errors import ModelError
from avsync.core.records import Clip, Embeddings, Waveform
from avsync.networks.checkpoint import Loaded
from avsync.networks.scoring import clip_audio_tokens, visual_tokens
from avsync.networks.windows import audio_exists, embed_each

Floats = npt.NDArray[np.float32]


def embed_clips(
    loaded: Loaded, clips: Iterable[Clip], waveform: Waveform, *, stride: int = 1
) -> list[Embeddings]:
    """Embeddings of every track in `clips` that has at least one window, ordered by track number; `stride` in
    frames. Raises ModelError where the network has no embeddings."""
    if not loaded.model.has_embeddings:
        raise ModelError(
            f"{loaded.path} has no embeddings: it compares lips and audio only together; "
            "use score_matrix, or another model."
        )
    return embed_each(clips, lambda clip, starts: _embedded(loaded, clip, starts, waveform), stride=stride)


@torch.inference_mode()
def _embedded(
    loaded: Loaded, clip: Clip, starts: npt.NDArray[np.int64], waveform: Waveform
) -> tuple[Floats, Floats]:
    """(n, d) of the windows' lips, and of their audio, NaN where there is none."""
    model = loaded.model
    visual = model.visual_embeddings(visual_tokens(loaded, clip.mouths, starts)).float().cpu().numpy()
    audio = np.full_like(visual, np.nan)
    there = audio_exists(clip, waveform, 0)[starts]
    if there.any():
        tokens = clip_audio_tokens(loaded, clip, waveform, 0, starts[there])
        audio[there] = model.audio_embeddings(tokens).float().cpu().numpy()
    return visual, audio
