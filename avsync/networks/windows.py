"""Which windows of frames and of audio are compared, and how the scores of pieces are joined; numpy alone,
for every way to run a network."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from avsync.core.constants import FRAME_RATE, FRAME_S, MEL_RATE, SAMPLE_RATE, WINDOW_FRAMES
from avsync.core.errors import Interrupted
from avsync.core.records import Clip, Embeddings, Scores, Waveform

Progress = Callable[[str, float, float | None], None]
EmbedClip = Callable[[Clip, npt.NDArray[np.int64]], tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]
"""embed(clip, starts): embeddings (len(starts), d) of the lips in the windows of a clip that begin at
`starts`, and of their audio, NaN where there is none."""
ScoreClip = Callable[[Clip, npt.NDArray[np.int64]], npt.NDArray[np.float32]]
"""score(clip, starts): logits (len(starts), shifts) of the windows of a clip that begin at `starts`."""

MIRRORED_FRAMES = 75
"""A whole stretch of a face that is no longer than this is seen in the mirror, too, by networks that embed
windows of frames: the mean of both scores tells more, which matters where little is seen, and costs little
there."""
MEAN_FRAME = 2
"""Of the five frames after which mel columns are cut alike, the one whose columns are rounded by as much, 0.4
of a column, as those of all five on average."""


def score_each(
    clips: Iterable[Clip],
    score: ScoreClip,
    *,
    max_shift: int,
    stride: int,
    progress: Progress | None,
) -> list[Scores]:
    """Scores of every track in `clips` that has at least one window, ordered by track number; `stride` is in
    frames, counted on one grid along the video so that pieces of a track fit together. Ctrl-C raises
    Interrupted with those of the clips that were scored."""
    rows: dict[int, list[tuple[npt.NDArray, npt.NDArray]]] = {}
    shifts = np.arange(-max_shift, max_shift + 1)

    def joined() -> list[Scores]:
        return [_join(track, shifts, parts) for track, parts in sorted(rows.items())]

    try:
        for clip in clips:
            starts = window_starts(clip, stride)
            if not len(starts):
                continue
            logits = score(clip, starts)  # before the track has an entry, since Ctrl-C may strike in here
            rows.setdefault(clip.track, []).append((clip.start_s + starts * FRAME_S, logits))
            if progress:
                progress("scores", clip.start_s + len(clip.mouths) * FRAME_S, None)
    except KeyboardInterrupt as stop:
        raise Interrupted(joined()) from stop
    return joined()


def _join(
    track: int, shifts: npt.NDArray[np.int64], parts: Sequence[tuple[npt.NDArray, npt.NDArray]]
) -> Scores:
    times = np.concatenate([times for times, _ in parts])
    return Scores(track, times, shifts, np.concatenate([logits for _, logits in parts]))


def embed_each(clips: Iterable[Clip], embed: EmbedClip, *, stride: int) -> list[Embeddings]:
    """Embeddings of every track in `clips` that has at least one window, ordered by track number; `stride` as
    in `score_each`."""
    rows: dict[int, list[tuple[npt.NDArray, npt.NDArray, npt.NDArray]]] = {}
    for clip in clips:
        starts = window_starts(clip, stride)
        if len(starts):
            rows.setdefault(clip.track, []).append((clip.start_s + starts * FRAME_S, *embed(clip, starts)))
    return [
        Embeddings(track, *(np.concatenate(part) for part in zip(*parts, strict=True)))
        for track, parts in sorted(rows.items())
    ]


def number(clip: Clip) -> int:
    """The number of a clip's first frame on the clock, 25 a second."""
    return round(clip.start_s * FRAME_RATE)


def first_columns(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The mel column at which the window of each frame begins, both counted from time 0."""
    return numbers * MEL_RATE // FRAME_RATE


def window_starts(clip: Clip, stride: int) -> npt.NDArray[np.int64]:
    """First frames of the windows of a clip that lie on the stride's grid."""
    first = (MEAN_FRAME - number(clip)) % stride
    return np.arange(first, len(clip.mouths) - WINDOW_FRAMES + 1, stride)


def mirrored(clip: Clip) -> npt.NDArray[np.uint8] | None:
    """The crops of a clip in the mirror, if it is to be seen so too."""
    return in_mirror(clip.mouths) if clip.whole and is_short(len(clip.mouths)) else None


def is_short(frames: int) -> bool:
    """Whether a whole stretch of so many frames is seen in the mirror, too."""
    return frames <= MIRRORED_FRAMES


def in_mirror(mouths: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Crops (n, height, width, 3) as a mirror shows them."""
    return np.ascontiguousarray(mouths[:, :, ::-1])


def audio_starts(clip: Clip, max_shift: int) -> npt.NDArray[np.int64]:
    """Frames at which audio windows may begin: those of the clip's windows, and `max_shift` more each way."""
    return np.arange(-max_shift, len(clip.mouths) - WINDOW_FRAMES + 1 + max_shift)


def audio_exists(clip: Clip, waveform: Waveform, max_shift: int) -> npt.NDArray[np.bool_]:
    """Whether the audio window at every frame from `max_shift` before the clip to as many after it lies
    wholly within the waveform, and in none of its gaps."""
    begins = clip.start_s + audio_starts(clip, max_shift) * FRAME_S
    end = waveform.start_s + len(waveform.samples) / SAMPLE_RATE
    tolerance = FRAME_S / 4
    ends = begins + WINDOW_FRAMES * FRAME_S
    exists = (begins >= waveform.start_s - tolerance) & (ends <= end + tolerance)
    for first_s, past_s in waveform.gaps:
        exists &= (ends <= first_s + tolerance) | (begins >= past_s - tolerance)
    return exists


class Pairs(NamedTuple):
    """The pairs of a clip for which there is audio. `needed` (m,): numbers into `audio_starts` of the audio
    windows that occur in them; of each pair (n,): its window, its shift, and the place of its audio window
    in `needed`."""

    needed: npt.NDArray[np.int64]
    windows: npt.NDArray[np.int64]
    shifts: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]


def pairs(clip: Clip, starts: npt.NDArray[np.int64], waveform: Waveform, max_shift: int) -> Pairs:
    """The windows of a clip that begin at `starts`, each with the audio at every shift up to `max_shift`."""
    wanted = starts[:, None] + np.arange(2 * max_shift + 1)[None]
    there = audio_exists(clip, waveform, max_shift)[wanted]
    needed = np.unique(wanted[there])
    windows, shifts = np.nonzero(there)
    return Pairs(needed, windows, shifts, np.searchsorted(needed, wanted[windows, shifts]))


class Frames(NamedTuple):
    """The frames of a clip that have to be encoded, and how they are spread over all that windows need:
    `used` (n,), ascending; of each the place (n,) of its `distinct` frame (m,), which may be shown for
    long."""

    used: npt.NDArray[np.int64]
    distinct: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]


def frames_of_windows(mouths: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], context: int) -> Frames:
    """The frames of `mouths` (frames, h, w, 3) within `context` of the windows that begin at `starts`."""
    reach = starts[:, None] + np.arange(-context, WINDOW_FRAMES + context)
    used = np.unique(reach[(reach >= 0) & (reach < len(mouths))])
    fresh = _differ(mouths[used])
    return Frames(used, used[fresh], np.cumsum(fresh) - 1)


def _differ(mouths: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Whether each crop (n, h, w, 3) differs from the one before it, (n,)."""
    same = (a.tobytes() == b.tobytes() for a, b in itertools.pairwise(mouths))
    return np.array([True, *(not each for each in same)])[: len(mouths)]
