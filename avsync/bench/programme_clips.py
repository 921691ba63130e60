"""Clips for synthetic programmes: mouth crops, audio, motion and speech, which do not depend on a network,
and an embedding for each visual and each audio window.

Both are cached in a folder, so that another checkpoint costs only its embeddings, and other decisions cost
nothing.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from avsync.core.constants import FACE_SIZE, FRAME_RATE, FRAME_S, MOUTH_HEIGHT, SAMPLE_RATE, WINDOW_FRAMES
from avsync.core.errors import UsageError
from avsync.core.files import replacing
from avsync.core.records import Clip, FaceTrack, Waveform
from avsync.networks.windows import in_mirror, is_short

if TYPE_CHECKING:
    from avsync.networks.checkpoint import Loaded
    from avsync.networks.vocalist import ContrastHead

Floats = npt.NDArray[np.float32]

MIN_FRAMES = 40
"""Shorter clips are not used as scenes."""
LAYOUT = 2
"""Of the files that keep a `Material`; another number for other fields."""
PHASES = (0.0, FRAME_S / 2)
"""Audio windows are embedded twice per frame, so that offsets are exact to a quarter of a frame."""


@dataclass(frozen=True)
class Footage:
    """The longest face of a clip and its audio: `mouths` (n, 48, 96, 3), whose frame i is shown at
    (first_frame + i) / 25 s; `samples` at 16 kHz from `audio_start_s` on; motion of the mouth at `motion_s`;
    probability of speech at `speech_s`."""

    mouths: npt.NDArray[np.uint8]
    first_frame: int
    samples: Floats
    audio_start_s: float
    motion_s: npt.NDArray[np.float64]
    motion: npt.NDArray[np.float64]
    speech_s: npt.NDArray[np.float64]
    speech: Floats


NO_MOUTHS = np.zeros((0, MOUTH_HEIGHT, FACE_SIZE, 3), np.uint8)
NO_TIMES, NO_VALUES = np.zeros(0), np.zeros(0, np.float32)
NOTHING = Footage(NO_MOUTHS, 0, NO_VALUES, 0.0, NO_TIMES, NO_TIMES, NO_TIMES, NO_VALUES)


@dataclass(frozen=True)
class Material:
    """One clip: embeddings `visual` (n, d) of the windows that begin at `frames` (n,), `mirror` of the same
    in the mirror ((0, d) for a network that is not shown them), and `audio` (m, d) of the windows that begin
    at `audio_s` (m,); motion of the mouth; probability of speech. `delay_ms`: by how much its audio is early
    as stored."""

    name: str
    visual: Floats
    mirror: Floats
    frames: npt.NDArray[np.int64]
    audio: Floats
    audio_s: npt.NDArray[np.float64]
    motion_s: npt.NDArray[np.float64]
    motion: npt.NDArray[np.float64]
    speech_s: npt.NDArray[np.float64]
    speech: Floats
    delay_ms: float

    @property
    def speaker(self) -> str:
        return self.name.split("/")[0]

    def seen(self, first: int, count: int) -> Floats:
        """Embeddings (n, d) of up to `count` windows from number `first` on, as in a video that shows these
        alone."""
        own, other = (embedded[first : first + count] for embedded in (self.visual, self.mirror))
        both = len(other) and is_short(len(own) + WINDOW_FRAMES - 1)
        return (own + other) / np.float32(2) if both else own

    def nearest(self, at_s: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Numbers of the windows of audio that begin nearest to times of any shape, and for which of these
        none does within a frame."""
        number = np.searchsorted(self.audio_s, at_s).clip(1, len(self.audio_s) - 1)
        number -= np.abs(self.audio_s[number - 1] - at_s) < np.abs(self.audio_s[number] - at_s)
        return number, np.abs(self.audio_s[number] - at_s) > FRAME_S


def footage(path: Path) -> Footage:
    """The longest unbroken stretch of the longest face of a clip; without frames if it is too short for a
    scene."""
    from avsync.audio import vad
    from avsync.audio.waveform import waveform
    from avsync.faces import follow, motion
    from avsync.media.probe import probe

    media = probe(path)
    if media.duration_s < (MIN_FRAMES + WINDOW_FRAMES - 1) * FRAME_S:
        return NOTHING
    audio = waveform(media)
    tracks: list[FaceTrack] = []
    looks: dict[int, motion.Pieces] = {}
    found = follow.face_clips(media, lambda track, _: tracks.append(track), piece_frames=100_000)
    clips = list(motion.watched(found, looks))
    if not tracks:
        return NOTHING
    longest = max(tracks, key=lambda track: int(track.seen.sum())).track
    own = max(
        (clip for clip in clips if clip.track == longest), key=lambda clip: len(clip.mouths), default=None
    )
    if own is None or len(own.mouths) < MIN_FRAMES + WINDOW_FRAMES - 1:
        return NOTHING
    chunks = np.concatenate([np.zeros(0, np.float32), *vad.listen(audio)])
    times, moved = (np.concatenate(part) for part in zip(*looks[longest], strict=True))
    heard_s = audio.start_s + (np.arange(len(chunks)) + 0.5) * vad.CHUNK_S
    return Footage(
        own.mouths,
        round(own.start_s * FRAME_RATE),
        *(np.asarray(audio.samples), audio.start_s, times, moved),
        *(np.asarray(heard_s, np.float64), chunks),
    )


def jittered(found: Footage, pixels: float, seed: int = 0) -> Footage:
    """The footage as if each edge of the face boxes, here FACE_SIZE pixels wide, were off by up to `pixels`:
    by a new random amount each second, interpolated in between. Beyond the crop its edge is repeated."""
    count = len(found.mouths)
    seconds = np.arange(count) / FRAME_RATE
    knots = np.random.default_rng(seed).uniform(-pixels, pixels, (4, int(seconds[-1]) + 2))
    left, top, right, bottom = (np.interp(seconds, np.arange(len(k)), k) for k in knots)
    # The crop is rows 48.. of the face, whose top edge is a mouth's height above it.
    across, down = (1 + (far - near) / FACE_SIZE for near, far in ((left, right), (top, bottom)))
    moved = [
        np.array([[x, 0.0, dx], [0.0, y, dy]], np.float64)
        for x, y, dx, dy in zip(
            across, down, left, top + (down - 1) * (FACE_SIZE - MOUTH_HEIGHT), strict=True
        )
    ]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    mouths = [
        cv2.warpAffine(mouth, where, (FACE_SIZE, MOUTH_HEIGHT), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        for mouth, where in zip(found.mouths, moved, strict=True)
    ]
    return replace(found, mouths=np.array(mouths, np.uint8))


def material(found: Footage, name: str, loaded: Loaded, delay_ms: float) -> Material:
    """A clip with the embeddings of a checkpoint. Raises UsageError if the network has none."""
    from avsync.networks import scoring

    visual = _embedded(loaded, found.mouths)
    mirror = _embedded(loaded, in_mirror(found.mouths)) if scoring.sees_mirror(loaded) else visual[:0]
    frames = found.first_frame + np.arange(len(visual))
    audio, audio_s = _heard(loaded, Waveform(found.samples, found.audio_start_s))
    speech = found.motion_s, found.motion, found.speech_s, found.speech
    return Material(name, visual, mirror, frames, audio, audio_s, *speech, delay_ms)


def _embedded(loaded: Loaded, mouths: npt.NDArray[np.uint8]) -> Floats:
    """Embeddings of all windows of crops."""
    import torch

    from avsync.networks import scoring

    starts = np.arange(len(mouths) - WINDOW_FRAMES + 1)
    with torch.inference_mode():
        return _head(loaded).embed_visual(scoring.visual_tokens(loaded, mouths, starts)).cpu().numpy()


def _heard(loaded: Loaded, audio: Waveform) -> tuple[Floats, npt.NDArray[np.float64]]:
    """Embeddings of a clip's audio windows in order of time, and their start times."""
    import torch

    from avsync.networks import scoring, windows

    length = int(len(audio.samples) / SAMPLE_RATE * FRAME_RATE)
    parts, times = [], []
    for phase in PHASES:
        begin = round(audio.start_s * FRAME_RATE) / FRAME_RATE + phase
        clip = Clip(0, begin, np.zeros((length, 1, 1, 3), np.uint8))
        inside = np.flatnonzero(windows.audio_exists(clip, audio, 0))
        with torch.inference_mode():
            tokens = scoring.clip_audio_tokens(loaded, clip, audio, 0, inside)
            parts.append(_head(loaded).embed_audio(tokens).cpu().numpy())
        times.append(begin + inside * FRAME_S)
    order = np.argsort(np.concatenate(times))
    return np.concatenate(parts)[order], np.concatenate(times)[order]


def _head(loaded: Loaded) -> ContrastHead:
    """The part of the network that embeds windows. Raises UsageError if there is none."""
    from avsync.networks.vocalist import VocaLiST

    model = loaded.model
    if not isinstance(model, VocaLiST) or model.contrast is None or model.dims.layers:
        raise UsageError(
            f"{loaded.name} does not compare embeddings, so no programmes can be composed for it."
        )
    return model.contrast


def save(found: Footage | Material, path: Path) -> None:
    """Cache what was computed from a clip."""
    arrays: dict[str, Any] = {f.name: np.asarray(getattr(found, f.name)) for f in fields(found)}
    with replacing(path) as stream:
        np.savez(stream, **arrays)


def _kept(path: Path) -> dict[str, Any]:
    """The values written by `save`, with scalars as plain numbers and text."""
    with np.load(path) as kept:
        arrays = {name: kept[name] for name in kept.files}
    return {name: value if value.ndim else value.item() for name, value in arrays.items()}


def load_material(path: Path) -> Material:
    """A clip with its embeddings, as written by `save`."""
    return Material(**_kept(path))


def load_footage(path: Path) -> Footage:
    """A clip without embeddings, as written by `save`."""
    return Footage(**_kept(path))


def collect(
    folders: Iterable[Path],
    delays: Mapping[str, float],
    cache: Path,
    loaded: Loaded,
    jitter: float = 0.0,
) -> list[Material]:
    """The clips below `folders` whose delay is known, as "speaker/clip", with face boxes `jittered` by
    `jitter`. What is computed from each is kept in `cache`, under the checkpoint's SHA-256 and LAYOUT if it
    depends on the network."""
    with loaded.path.open("rb") as weights:
        embeddings = cache / f"{hashlib.file_digest(weights, 'sha256').hexdigest()[:16]}-{LAYOUT}"
    if jitter:
        embeddings = embeddings.with_name(f"{embeddings.name}-jitter-{jitter:g}")
    found = []
    for path in sorted(path for folder in folders for path in folder.rglob("*.mp4")):
        name = f"{path.parent.name}/{path.stem}"
        if name not in delays:
            continue
        file = f"{name.replace('/', '_')}.npz"
        if not (cache / file).is_file():
            save(footage(path), cache / file)
        if not (embeddings / file).is_file():
            seen = load_footage(cache / file)
            if not len(seen.mouths):
                continue
            seen = jittered(seen, jitter, zlib.crc32(name.encode())) if jitter else seen
            save(material(seen, name, loaded, delays[name]), embeddings / file)
        found.append(replace(load_material(embeddings / file), delay_ms=delays[name]))
    return found
