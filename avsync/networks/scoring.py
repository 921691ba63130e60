"""Windows x candidate offsets -> score matrix, with everything encoded once.

The plain way runs the whole network on every (window, offset) pair. Here each frame (or window of
frames) and each audio window goes through its front-end once, and what the encoders derive from
one stream alone (embeddings, keys, values) is computed once per window; only the cross-modal
layers run per pair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from avsync.audio.mel import mel_span
from avsync.audio.speech import FEATURE_RATE, installed_features
from avsync.core.constants import (
    FRAME_RATE,
    FRAME_S,
    MEL_BANDS,
    MEL_RATE,
    SAMPLE_RATE,
    WINDOW_FRAMES,
    WINDOW_MELS,
)
from avsync.core.records import Clip, Scores, Waveform
from avsync.networks.base import AudioInput, Preprocessing, Scorer
from avsync.networks.blocks import FRAMES_PER_MEL_CYCLE
from avsync.networks.columns import Columns
from avsync.networks.frontends import SPEECH_CONTEXT, SPEECH_PER_FRAME
from avsync.networks.windows import (
    Progress,
    audio_starts,
    first_columns,
    frames_of_windows,
    mirrored,
    number,
    pairs,
    score_each,
)

Keep = Callable[[Clip, npt.NDArray[np.int64], Tensor, Tensor], None]
"""keep(clip, frames, video, audio): tokens of the windows of a clip for which there is audio."""

WINDOWS_AT_ONCE = 16
"""Windows or frames that go through a front-end together. What layers make of so few stays in memory that is
used again; for twice as many the system gives new memory each time, which takes a tenth of the work."""


def score_clips(
    scorer: Scorer,
    clips: Iterable[Clip],
    waveform: Waveform,
    *,
    max_shift: int = 15,
    stride: int = 1,
    progress: Progress | None = None,
    keep: Keep | None = None,
) -> list[Scores]:
    """Scores of every track in `clips`, against audio from `max_shift` frames before to as many after, as
    `score_each` joins them."""
    columns = Columns(scorer, waveform)

    def score(clip: Clip, starts: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        return score_clip(scorer, clip, starts, waveform, max_shift, keep, columns)

    with in_one_thread(scorer):
        return score_each(clips, score, max_shift=max_shift, stride=stride, progress=progress)


@contextmanager
def in_one_thread(scorer: Scorer) -> Iterator[None]:
    """The block with one thread of PyTorch where that is enough: a network that embeds keeps up with the
    search for faces, and more threads would only take the processor from the decoder."""
    before = torch.get_num_threads()
    if not (scorer.model.embeds and scorer.device.type == "cpu"):
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@torch.inference_mode()
def score_clip(
    scorer: Scorer,
    clip: Clip,
    starts: npt.NDArray[np.int64],
    waveform: Waveform,
    max_shift: int,
    keep: Keep | None = None,
    columns: Columns | None = None,
) -> npt.NDArray[np.float32]:
    """Logits (len(starts), 2 * max_shift + 1) of one clip, NaN where there is no audio for a pair. `keep` is
    given the tokens that they are made of; `columns` are shared by the clips of a file."""
    found = pairs(clip, starts, waveform, max_shift)
    logits = np.full((len(starts), 2 * max_shift + 1), np.nan, np.float32)
    if not len(found.needed):
        return logits
    visual = visual_tokens(scorer, clip.mouths, starts)
    audio = clip_audio_tokens(scorer, clip, waveform, max_shift, found.needed, columns)
    if keep is not None:
        heard = np.isin(starts + max_shift, found.needed)
        own = np.searchsorted(found.needed, starts[heard] + max_shift)
        keep(clip, starts[heard], visual[torch.from_numpy(heard)], audio[torch.from_numpy(own)])
    chosen = [torch.from_numpy(index).to(scorer.device) for index in (found.windows, found.places)]
    scores = scorer.model.score_pairs(visual, audio, *chosen)
    if sees_mirror(scorer) and (mirror := mirrored(clip)) is not None:
        other = visual_tokens(scorer, mirror, starts)
        scores = (scores + scorer.model.score_pairs(other, audio, *chosen)) / 2
    logits[found.windows, found.shifts] = scores.float().cpu().numpy()
    return logits


def sees_mirror(scorer: Scorer) -> bool:
    """Whether the network is shown short stretches in the mirror, too: the published ones, and those with
    cross-modal encoders, score as their authors' do."""
    return scorer.model.embeds and scorer.model.shares_frames


def clip_audio_tokens(
    scorer: Scorer,
    clip: Clip,
    waveform: Waveform,
    max_shift: int,
    needed: npt.NDArray[np.int64],
    columns: Columns | None = None,
) -> Tensor:
    """Audio tokens of the windows `needed` (n,), numbers into `audio_starts`: columns that windows share
    are encoded once where the network allows it, those of several clips where all are given `columns`."""
    model = scorer.model
    if model.audio_context:
        columns = columns or Columns(scorer, waveform)
        heard = columns.windows(clip, audio_starts(clip, max_shift)[needed])
        if not model.hears_speech:
            return heard
        return torch.cat([heard, _speech_tokens(scorer, clip, waveform, max_shift, needed)], 1)
    return audio_tokens(scorer, audio_windows(clip, waveform, max_shift, model.audio_input)[needed])


def _speech_tokens(
    scorer: Scorer, clip: Clip, waveform: Waveform, max_shift: int, needed: npt.NDArray[np.int64]
) -> Tensor:
    """Speech tokens (n, 10, d) of the windows `needed`, as in `clip_audio_tokens`."""
    frames = audio_starts(clip, max_shift)
    first = SPEECH_PER_FRAME * (frames - frames[0]) + SPEECH_CONTEXT
    start_s = clip.start_s + frames[0] * FRAME_S - SPEECH_CONTEXT / FEATURE_RATE
    count = int(first[-1]) + SPEECH_PER_FRAME * WINDOW_FRAMES + SPEECH_CONTEXT
    features = installed_features().span(waveform, start_s, count)
    tokens = scorer.model.speech_tokens(torch.from_numpy(features)[None].to(scorer.device))[0]
    columns = first[needed][:, None] + np.arange(SPEECH_PER_FRAME * WINDOW_FRAMES)
    return tokens[torch.from_numpy(columns).to(scorer.device)]


def audio_windows(
    clip: Clip, waveform: Waveform, max_shift: int, audio_input: AudioInput = "mel", context: int = 0
) -> npt.NDArray[np.float32]:
    """Audio windows at `audio_starts`, as audio encoders take them one by one: mels (n, 80, 16 + 2 * context)
    or MFCCs (n, 13, 20)."""
    frames = audio_starts(clip, max_shift)
    if audio_input == "mfcc":
        return _mfcc_windows(clip, waveform, frames)
    mel, columns = _mel_of_frames(clip, waveform, frames, context)
    width = WINDOW_MELS + 2 * context
    return np.lib.stride_tricks.sliding_window_view(mel, width, axis=1)[:, columns].swapaxes(0, 1)


def _mel_of_frames(
    clip: Clip, waveform: Waveform, frames: npt.NDArray[np.int64], context: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Mel (80, columns) round the consecutive `frames` (n,), and the columns (n,) of it at which their
    windows, `context` columns early, begin."""
    numbers = number(clip) + frames
    cycle = int(numbers[0]) // FRAMES_PER_MEL_CYCLE * FRAMES_PER_MEL_CYCLE
    columns = first_columns(numbers - cycle)
    start_s = clip.start_s + (cycle - number(clip)) * FRAME_S - context / MEL_RATE
    return mel_span(waveform, start_s, int(columns[-1]) + WINDOW_MELS + 2 * context), columns


def _mfcc_windows(clip: Clip, waveform: Waveform, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """(n, 13, 20), one window for each of the consecutive `frames`; silence beyond the waveform's ends."""
    from avsync.audio.mfcc import COLUMNS_PER_FRAME, WINDOW_COLUMNS, WINDOW_SAMPLES, mfcc

    first = round((clip.start_s + frames[0] * FRAME_S - waveform.start_s) * SAMPLE_RATE) - 1
    index = first + np.arange((len(frames) - 1) * SAMPLE_RATE // FRAME_RATE + WINDOW_SAMPLES)
    inside = (index >= 0) & (index < len(waveform.samples))
    span = np.zeros(len(index), np.float32)
    span[inside] = waveform.samples[index[inside]]
    columns = mfcc(torch.from_numpy(span)[None])[0].numpy()
    windows = np.lib.stride_tricks.sliding_window_view(columns, WINDOW_COLUMNS, axis=1)
    return windows[:, ::COLUMNS_PER_FRAME].swapaxes(0, 1)


def to_input(mouths: npt.NDArray[np.uint8], preprocessing: Preprocessing, device: torch.device) -> Tensor:
    """uint8 RGB crops (n, 48, 96, 3) -> float (n, 3, 48, 96) as the checkpoint wants them."""
    pixels = torch.from_numpy(np.ascontiguousarray(mouths)).to(device).permute(0, 3, 1, 2).float()
    if preprocessing.channels == "bgr":
        pixels = pixels.flip(1)
    return pixels * preprocessing.scale


def batches(n: int) -> Iterator[slice]:
    """Slices of WINDOWS_AT_ONCE, then of halves of that: PyTorch prepares its convolutions anew, and keeps
    what it prepared, for each size of a batch, of which there are five instead of sixteen."""
    first, size = 0, WINDOWS_AT_ONCE
    while first < n:
        if first + size <= n:
            yield slice(first, first + size)
            first += size
        else:
            size //= 2


def visual_tokens(scorer: Scorer, mouths: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64]) -> Tensor:
    """Visual tokens (len(starts), 5, d) of the windows that start at `starts`."""
    model = scorer.model
    of_window = starts[:, None] + np.arange(WINDOW_FRAMES)[None]
    if model.shares_frames:
        used, distinct, places = frames_of_windows(mouths, starts, model.frame_context)
        frames = (
            to_input(mouths[distinct[part]], scorer.preprocessing, scorer.device)
            for part in batches(len(distinct))
        )
        tokens = torch.cat(
            [model.frame_tokens(f.contiguous(memory_format=torch.channels_last)) for f in frames]
        )[torch.from_numpy(places).to(scorer.device)]
        # Frames that no window needs stay zero; by their context they are too far from any window to matter.
        whole = tokens.new_zeros(len(mouths), tokens.shape[1])
        whole[torch.from_numpy(used).to(scorer.device)] = tokens
        row = model.in_context(whole[None])[0]
        return model.mix_window(row[torch.from_numpy(of_window).to(scorer.device)])
    parts = []
    for part in batches(len(starts)):
        window = mouths[of_window[part]]
        pixels = to_input(window.reshape(-1, *window.shape[2:]), scorer.preprocessing, scorer.device)
        parts.append(model.visual_tokens(pixels.unflatten(0, (-1, WINDOW_FRAMES)).flatten(1, 2)))
    return torch.cat(parts)


def audio_tokens(scorer: Scorer, audio: npt.NDArray[np.float32]) -> Tensor:
    """Audio tokens (n, 16, d) of mel windows (n, 80, 16), or what another network makes of its audio."""
    parts = [
        torch.from_numpy(np.ascontiguousarray(audio[part])).to(scorer.device) for part in batches(len(audio))
    ]
    return torch.cat([scorer.model.audio_tokens(part[:, None]) for part in parts])


@torch.inference_mode()
def blank_logits(
    scorer: Scorer, mouths: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Logits (len(starts),) of the windows that start at `starts` with an audio input of zeros, which is what
    the authors' evaluation pads a clip with."""
    model = scorer.model
    bands, columns = (13, 20) if model.audio_input == "mfcc" else (MEL_BANDS, WINDOW_MELS)
    blank = np.zeros((1, bands, columns + 2 * model.audio_context), np.float32)
    if model.audio_context:
        tokens = model.column_tokens(torch.from_numpy(blank).to(scorer.device))
        audio = tokens[:, model.audio_context : model.audio_context + WINDOW_MELS]
    else:
        audio = audio_tokens(scorer, blank)
    visual = visual_tokens(scorer, mouths, starts)
    rows = torch.arange(len(starts), device=scorer.device)
    return model.score_pairs(visual, audio, rows, torch.zeros_like(rows)).float().cpu().numpy()
