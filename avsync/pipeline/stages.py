"""The stages of a check one by one, for those who build on them: faces, mouth crops, scores, embeddings.

All of them number the faces of a file alike, in the order in which these have lasted 0.4 s. Times are seconds
of presentation time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from avsync.audio import vad
from avsync.core.constants import DEFAULT_MODEL, FRAME_MS, MAX_OFFSET_MS, Detector, Device
from avsync.core.errors import MediaError, OptionError
from avsync.core.options import CheckOptions, check_options
from avsync.core.records import Clip, Embeddings, FaceTrack, Scores, Waveform
from avsync.core.streams import Media
from avsync.estimate.calibration import Calibration
from avsync.estimate.moments import Moments
from avsync.estimate.moments import moments as of_track
from avsync.faces import follow
from avsync.media.images import Image
from avsync.media.probe import probe
from avsync.networks import ready
from avsync.pipeline.run import prepared
from avsync.pipeline.stretch import PIECE_FRAMES

if TYPE_CHECKING:
    from avsync.networks.checkpoint import Loaded
    from avsync.networks.ready import Ready

T = TypeVar("T")


def face_tracks(
    path: str | Path,
    *,
    face_detector: Detector | str = "centerface",
    start_s: float | None = None,
    end_s: float | None = None,
) -> tuple[FaceTrack, ...]:
    """Every face that lasts 0.4 s or more between `start_s` and `end_s`, each shot on its own; () where there
    is none.

    Raises:
        UsageError: an option is wrong.
        MediaError: the file cannot be read, or has no video.
        ModelError: the detector cannot be loaded.
    """
    tracks: list[FaceTrack] = []
    chosen = check_options(face_detector=face_detector)
    for _ in _crops(_video(path), chosen, (start_s, end_s), lambda track, _: tracks.append(track)):
        pass
    return tuple(sorted(tracks, key=lambda track: track.track))


def mouth_crops(
    path: str | Path,
    *,
    face_detector: Detector | str = "centerface",
    start_s: float | None = None,
    end_s: float | None = None,
) -> Iterator[Clip]:
    """The mouth crops of every such face as the models see them, while the video is read; a long track in
    pieces of 129 frames that overlap by 4. Raises as `face_tracks` does, for wrong options at once."""
    chosen = check_options(face_detector=face_detector)
    return _crops(_video(path), chosen, (start_s, end_s), lambda *_: None)


def score_matrix(
    path: str | Path,
    *,
    model: str | Path | Loaded = DEFAULT_MODEL,
    max_offset_ms: float = MAX_OFFSET_MS,
    stride: int = 1,
    audio_track: int | None = None,
    face_detector: Detector | str = "centerface",
    device: Device = "auto",
    start_s: float | None = None,
    end_s: float | None = None,
) -> tuple[Scores, ...]:
    """The logits of every window of five frames of each face against the audio at every offset up to
    `max_offset_ms` either way; one record a face, () where there is none.

    Args:
        path: the video.
        model: its name, the path of its checkpoint, or what `load_model` returned.
        max_offset_ms: largest offset, rounded up to whole frames of 40 ms.
        stride: frames from one window to the next.
        audio_track: as in `CheckOptions`, and so are face_detector and device.
        start_s: where to begin in the video, in seconds; None: at its start.
        end_s: where to end; None: at its end.

    Raises:
        UsageError: an option is wrong.
        MediaError: the file cannot be read, or has no video or no audio.
        ModelError: the model or the detector cannot be used.
    """
    chosen = check_options(
        max_offset_ms=max_offset_ms,
        stride=stride,
        audio_track=audio_track,
        face_detector=face_detector,
        device=device,
    )
    shifts = math.ceil(max_offset_ms / FRAME_MS)
    return _with_audio(
        path,
        prepared(model, chosen),
        chosen,
        (start_s, end_s),
        lambda scorer, clips, audio: ready.score_clips(scorer, clips, audio, max_shift=shifts, stride=stride),
    )


def moments(
    scores: Scores, *, model: str | Path | Loaded = DEFAULT_MODEL, every_s: float | None = 1.0
) -> Moments:
    """The likeliest offset of each `every_s` seconds of a track by themselves (None: of each window), and how
    probable it is if these lips say this speech. `model` is the one that gave the scores.

    Raises:
        UsageError: `every_s` is not above 0.
        ModelError: the model cannot be used.
    """
    if every_s is not None and not every_s > 0:
        raise OptionError("every_s", f"cannot be {every_s!r}; it is a number above 0, or None.")
    loaded = prepared(model, check_options())
    return of_track(scores, Calibration.from_dict(loaded.calibration), every_s)


def embed(
    path: str | Path,
    *,
    model: str | Path | Loaded = DEFAULT_MODEL,
    stride: int = 1,
    audio_track: int | None = None,
    face_detector: Detector | str = "centerface",
    device: Device = "auto",
    start_s: float | None = None,
    end_s: float | None = None,
) -> tuple[Embeddings, ...]:
    """What a model's independent encoders make of every window of lips, and of the audio of the same time.

    Arguments and errors are those of `score_matrix`; ModelError also for a model that compares lips and audio
    only together, as MTDVocaLiST does.
    """
    chosen = check_options(stride=stride, audio_track=audio_track, face_detector=face_detector, device=device)
    return _with_audio(
        path,
        prepared(model, chosen),
        chosen,
        (start_s, end_s),
        lambda scorer, clips, audio: ready.embed_clips(scorer, clips, audio, stride=stride),
    )


def _with_audio(
    path: str | Path,
    loaded: Ready,
    options: CheckOptions,
    limits: tuple[float | None, float | None],
    work: Callable[[Ready, Iterator[Clip], Waveform], list[T]],
) -> tuple[T, ...]:
    """What `work` makes of the crops of a file and its audio."""
    media = _video(path)
    _, audio = vad.judged_track(media, options.audio_track)
    with closing(_crops(media, options, limits, lambda *_: None)) as clips:
        return tuple(work(loaded, clips, audio))


def _video(path: str | Path) -> Media:
    media = probe(Path(path))
    if media.video is None:
        raise MediaError(f"{path} has no video, only audio; give a video file.")
    return media


def _crops(
    media: Media,
    options: CheckOptions,
    limits: tuple[float | None, float | None],
    found: Callable[[FaceTrack, Image], None],
) -> Generator[Clip, None, None]:
    start_s, end_s = limits
    if start_s is not None and end_s is not None and start_s >= end_s:
        raise OptionError("end_s", f"cannot be {end_s!r}; it should be after start_s, {start_s!r}.")
    return follow.face_clips(
        media,
        found,
        detector=options.face_detector,
        piece_frames=PIECE_FRAMES,
        start_s=start_s,
        end_s=end_s,
    )
