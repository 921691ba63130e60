"""Clips as made programmes need them: one embedding for each visual and each audio window, motion, and
speech."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from avsync.core.constants import FRAME_RATE, FRAME_S, SAMPLE_RATE, WINDOW_FRAMES
from avsync.core.errors import UsageError
from avsync.core.records import Clip, FaceTrack, Waveform

if TYPE_CHECKING:
    from avsync.networks.checkpoint import Loaded
    from avsync.networks.vocalist import ContrastHead

Floats = npt.NDArray[np.float32]

MIN_FRAMES = 40
"""Shorter clips make no scene."""
PHASES = (0.0, FRAME_S / 2)
"""Audio windows are embedded twice a frame, so that offsets are known to a quarter of a frame."""


@dataclass(frozen=True)
class Material:
    """One clip: embeddings `visual` (n, d) of the windows that begin at `frames` (n,), and `audio` (m, d)
    of those that begin at `audio_s` (m,); motion of the mouth; probability of speech. `delay_ms`: by how
    much its audio is early as stored."""

    name: str
    visual: Floats
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


def material(path: Path, name: str, loaded: Loaded, delay_ms: float) -> Material | None:
    """The longest face of a clip, with its audio; None where no face is found."""
    from avsync.audio import vad
    from avsync.audio.waveform import waveform
    from avsync.faces import follow, motion
    from avsync.media.probe import probe

    media = probe(path)
    audio = waveform(media)
    tracks: list[FaceTrack] = []
    looks: dict[int, motion.Pieces] = {}
    clips = list(motion.watched(follow.face_clips(media, lambda found, _: tracks.append(found)), looks))
    if not tracks:
        return None
    longest = max(tracks, key=lambda found: int(found.seen.sum())).track
    own = [clip for clip in clips if clip.track == longest and len(clip.mouths) >= WINDOW_FRAMES]
    seen = [_embedded(loaded, clip) for clip in own]
    if not seen:
        return None
    embedded, audio_s = _heard(loaded, audio)
    chunks = np.concatenate([np.zeros(0, np.float32), *vad.listen(audio)])
    times, moved = (np.concatenate(part) for part in zip(*looks[longest], strict=True))
    return Material(
        name,
        np.concatenate([visual for visual, _ in seen]),
        np.concatenate([frames for _, frames in seen]),
        *(embedded, audio_s, times, moved),
        np.asarray(audio.start_s + (np.arange(len(chunks)) + 0.5) * vad.CHUNK_S, np.float64),
        chunks,
        delay_ms,
    )


def _embedded(loaded: Loaded, clip: Clip) -> tuple[Floats, npt.NDArray[np.int64]]:
    import torch

    from avsync.networks import scoring

    starts = scoring.window_starts(clip, 1)
    with torch.inference_mode():
        visual = _head(loaded).embed_visual(scoring.visual_tokens(loaded, clip.mouths, starts))
    return visual.cpu().numpy(), round(clip.start_s * FRAME_RATE) + starts


def _heard(loaded: Loaded, audio: Waveform) -> tuple[Floats, npt.NDArray[np.float64]]:
    """Embeddings of the audio windows of a clip in order of time, and when they begin."""
    import torch

    from avsync.networks import scoring

    length = int(len(audio.samples) / SAMPLE_RATE * FRAME_RATE)
    parts, times = [], []
    for phase in PHASES:
        begin = round(audio.start_s * FRAME_RATE) / FRAME_RATE + phase
        clip = Clip(0, begin, np.zeros((length, 1, 1, 3), np.uint8))
        inside = np.flatnonzero(scoring.audio_exists(clip, audio, 0))
        with torch.inference_mode():
            tokens = scoring.clip_audio_tokens(loaded, clip, audio, 0, inside)
            parts.append(_head(loaded).embed_audio(tokens).cpu().numpy())
        times.append(begin + inside * FRAME_S)
    order = np.argsort(np.concatenate(times))
    return np.concatenate(parts)[order], np.concatenate(times)[order]


def _head(loaded: Loaded) -> ContrastHead:
    """The part of the network that embeds windows. Raises UsageError where it has none."""
    from avsync.networks.vocalist import VocaLiST

    model = loaded.model
    if not isinstance(model, VocaLiST) or model.contrast is None or model.dims.layers:
        raise UsageError(
            f"{loaded.name} does not compare embeddings, so no programmes can be composed for it."
        )
    return model.contrast


def save(found: Material, path: Path) -> None:
    """Keep what was made of a clip, for the next run."""
    arrays: dict[str, Any] = {f.name: np.asarray(getattr(found, f.name)) for f in fields(Material)}
    np.savez(path, **arrays)


def load(path: Path) -> Material:
    """What `save` kept."""
    with np.load(path) as kept:
        values = {f.name: kept[f.name] for f in fields(Material)}
    return Material(**{**values, "name": str(values["name"]), "delay_ms": float(values["delay_ms"])})


def collect(folder: Path, delays: Mapping[str, float], cache: Path, loaded: Loaded) -> list[Material]:
    """The clips below `folder` whose delay is known, by "speaker/clip"; each is computed once and kept in
    `cache`."""
    cache.mkdir(parents=True, exist_ok=True)
    found = []
    for path in sorted(folder.rglob("*.mp4")):
        name = f"{path.parent.name}/{path.stem}"
        if name not in delays:
            continue
        kept = cache / f"{loaded.name}-{name.replace('/', '_')}.npz"
        if not kept.is_file():
            made = material(path, name, loaded, delays[name])
            if made is None:
                continue
            save(made, kept)
        clip = load(kept)
        if len(clip.frames) >= MIN_FRAMES:
            found.append(clip)
    return found
