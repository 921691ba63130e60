"""Cut one training clip out of its source: mouth crops of its main face, and the audio of the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avsync.audio import waveform
from avsync.core.constants import (
    DECODE_LONG_SIDE,
    FACE_SIZE,
    MOUTH_HEIGHT,
    SAMPLE_RATE,
    WHOLE_FACE_SIZE,
    WINDOW_FRAMES,
)
from avsync.core.constants import FRAME_RATE as FPS
from avsync.core.errors import MediaError
from avsync.core.records import FaceTrack, Gap, Span
from avsync.core.runs import runs
from avsync.core.streams import Media
from avsync.data.shards import MARGIN, SAMPLES_PER_FRAME, StoredClip
from avsync.data.sources import is_prepared
from avsync.faces import crop
from avsync.faces.track import find_tracks
from avsync.media import frames
from avsync.media.images import Image, cv2, resize
from avsync.media.probe import probe

CutFace = Callable[[Image, npt.NDArray[np.float32]], Image]
MIN_FRAMES = 2 * WINDOW_FRAMES
SILENT = 1e-4
"""Audio whose largest amplitude is below this is silent: -80 dB, a few steps of 16-bit audio."""
MAX_LOST_S = 0.1
"""How much of a clip may be damaged: as many frames as augmentation repeats."""
JPEG_BEGIN, JPEG_END, JPEG_TAIL = b"\xff\xd8", b"\xff\xd9", 64
"""Markers at the start and end of a JPEG image; a few bytes after the last one do no harm."""


@dataclass(frozen=True)
class Cut:
    """One clip as stored: `frames` uint8 (n, 68, 116, 3) RGB at 25 a second, `wave` int16 at 16 kHz whose
    first sample coincides with the first frame, and the source's `fps`."""

    frames: npt.NDArray[np.uint8]
    wave: npt.NDArray[np.int16]
    fps: float


def cut_video(path: Path) -> Cut:
    """The mouth of the main face of a video, and its audio, by the same stages as a check.

    Raises:
        AvsyncError: the video cannot be read, shows no face for long enough, or is damaged there.
    """
    found = _with_video(path)
    track, first, stop = main_face(path, find_tracks(found))
    gaps: list[Gap] = []
    images = list(_frames(found, track, first, stop, _region, gaps.append))
    audio = waveform.waveform(found)
    start_s = track.start_s + first / FPS
    lost = [(gap.start_s, gap.end_s) for gap in gaps if gap.damaged]
    _refuse_damage(path, [*lost, *audio.undecoded], (start_s, track.start_s + stop / FPS))
    wave = _aligned(audio.samples, round((start_s - audio.start_s) * SAMPLE_RATE), len(images))
    return Cut(np.stack(images), wave, float(found.video.fps if found.video else FPS))


def main_face_frames(path: Path, cut: CutFace) -> Iterator[Image]:
    """The frames that `cut_video` takes from a video, each passed with its face box through `cut`.

    Raises:
        AvsyncError: the video cannot be read, or shows no face for long enough.
    """
    found = _with_video(path)
    yield from _frames(found, *main_face(path, find_tracks(found)), cut)


def _with_video(path: Path) -> Media:
    found = probe(path)
    if found.video is None:
        raise MediaError(f"{path} has no video.")
    return found


def _refuse_damage(path: Path, lost: Sequence[Span], used: Span) -> None:
    """Raises MediaError if more than MAX_LOST_S of the stretch `used` could not be decoded."""
    inside = [min(end, used[1]) - max(start, used[0]) for start, end in lost]
    lost_s = sum(seconds for seconds in inside if seconds > 0)
    if lost_s > MAX_LOST_S:
        raise MediaError(f"{path} is damaged: {lost_s:.1f} s of it cannot be decoded.")


def _frames(
    found: Media,
    track: FaceTrack,
    first: int,
    stop: int,
    cut: CutFace,
    on_gap: Callable[[Gap], None] | None = None,
) -> Iterator[Image]:
    start_s, end_s = track.start_s + first / FPS, track.start_s + stop / FPS
    shown = frames.frames(found, long_side=DECODE_LONG_SIDE, start_s=start_s, end_s=end_s, on_gap=on_gap)
    for frame in shown:
        number = round((frame.time_s - track.start_s) * FPS)
        if first <= number < stop:
            yield cut(frame.image, track.boxes[number])


def _region(image: Image, box: npt.NDArray[np.float32]) -> Image:
    return crop.crop(image, box, top=FACE_SIZE - MOUTH_HEIGHT, margin=MARGIN)


def main_face(path: Path, tracks: Sequence[FaceTrack]) -> tuple[FaceTrack, int, int]:
    """The most prominent face by time on screen times size, and its longest unbroken stretch, [first, stop)
    in frames."""
    best: tuple[float, FaceTrack, int, int] | None = None
    for track in tracks:
        for first, stop in runs(track.seen):
            sizes = track.boxes[first:stop, 3] - track.boxes[first:stop, 1]
            weight = (stop - first) * float(sizes.mean())
            if best is None or weight > best[0]:
                best = (weight, track, first, stop)
    if best is None or best[3] - best[2] < MIN_FRAMES:
        raise MediaError(f"{path} shows no face for {MIN_FRAMES / FPS:.1f} s.")
    return best[1:]


def _aligned(samples: npt.NDArray[np.float32], first: int, frames: int) -> npt.NDArray[np.int16]:
    """int16 samples from number `first` on, for at most `frames` frames; silence before the audio begins,
    nothing after it ends."""
    lead = min(max(0, -first), frames * SAMPLES_PER_FRAME)
    part = np.asarray(samples[max(0, first) : max(0, first + frames * SAMPLES_PER_FRAME)])
    wave = np.concatenate([np.zeros(lead, np.float32), part])
    if len(wave) < MIN_FRAMES * SAMPLES_PER_FRAME:
        raise MediaError("Its audio is too short.")
    if np.abs(wave).max() < SILENT:
        raise MediaError("Its audio is silent.")
    return np.round(np.clip(wave, -1, 1) * 32767).astype(np.int16)


def cut_prepared(folder: Path) -> Cut:
    """A clip prepared by Wav2Lip's scripts: images of the face, numbered from 0, at 25 a second, and
    audio.wav. The margin beyond an image's edge repeats the edge.

    Raises:
        MediaError: an image or the audio cannot be read.
    """
    whole = np.array([0, 0, 1, 1], np.float32)
    images = [_region(face, whole) for face in prepared_faces(folder)]
    if len(images) < MIN_FRAMES:
        raise MediaError(f"{folder} holds only {len(images)} images; at least {MIN_FRAMES} are needed.")
    wave = _aligned(waveform.load_audio(folder / "audio.wav").samples, 0, len(images))
    return Cut(np.stack(images), wave, float(FPS))


def prepared_faces(folder: Path) -> Iterator[Image]:
    """The numbered images of a prepared clip, RGB. Raises MediaError if one cannot be read or is truncated:
    decoders fill the missing part, which in a face is the mouth, with grey."""
    for path in numbered_images(folder):
        content = np.fromfile(path, np.uint8)
        image = cv2.imdecode(content, cv2.IMREAD_COLOR) if len(content) else None
        if image is None:
            raise MediaError(f"{path} is not a readable image.")
        if content[:2].tobytes() == JPEG_BEGIN and JPEG_END not in content[-JPEG_TAIL:].tobytes():
            raise MediaError(f"{path} is cut short.")
        yield np.ascontiguousarray(image[:, :, ::-1]).astype(np.uint8, copy=False)


def numbered_images(folder: Path) -> Iterator[Path]:
    """0.jpg, 1.jpg ... up to the first missing number."""
    return takewhile(Path.is_file, (folder / f"{number}.jpg" for number in count()))


def face_frames(clip: StoredClip) -> npt.NDArray[np.uint8]:
    """The frames of a prepared clip as (n, 224, 224, 3) RGB.

    Raises:
        MediaError: its file is gone, or has changed since it was prepared.
    """
    path = Path(clip.source)
    if not path.exists():
        raise MediaError(f"{path} is gone, and the prepared cache holds no whole faces of it.")
    if is_prepared(path):
        images = [resize(face, WHOLE_FACE_SIZE, WHOLE_FACE_SIZE) for face in prepared_faces(path)]
    else:
        images = list(main_face_frames(path, crop.padded_face))
    if len(images) != clip.frames:
        raise MediaError(f"{path} has changed since it was prepared; prepare it again.")
    return np.stack(images)
