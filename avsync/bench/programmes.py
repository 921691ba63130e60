"""Synthetic programmes: scenes from real clips, joined to minutes of video with known defects, from fixed
seeds.

A programme is composed from the embeddings of its clips (`programme_clips`), so that hundreds take minutes.
They have cuts, people listening, insets, narration without a face, two faces, and shifted, dubbed, drifting
or jumping scenes. `programme_outcomes` judges them. This works only for networks that compare embeddings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from avsync.bench.programme_clips import Floats, Material
from avsync.core.constants import FRAME_RATE, FRAME_S, MAX_DRIFT_MS_PER_MIN, SPEECH_PROBABILITY
from avsync.core.records import FaceTrack, Scores, Speech
from avsync.core.runs import runs
from avsync.core.tolerance import excess
from avsync.pipeline.stretch import Looked

Kind = Literal["clean", "offset", "scene", "scenes", "dubbed", "mostly-dubbed", "jump", "drift"]
Sort = Literal["talk", "two", "inset", "listener", "narrated"]

SHIFTS = np.arange(-15, 16)
QUIET = 1.0
"""Motion below which a face counts as listening."""
LISTENER_FRAMES = 40
PAUSE_FRAMES = 5
"""Shorter silences are not pauses."""
LEAST_FRAMES = 30
"""Shorter scenes are not used."""
LENGTH_S = (120.0, 600.0)
ERRORS_MS = (60.0, 500.0)
DRIFTS_MS_PER_MIN = (25.0, 150.0)
MAX_DRIFT_MS = 900.0
"""Largest change of the offset by drift from end to end, since the search range is limited."""
BASE_MS = 20.0
"""A whole programme may be this early or late, as if by production, which is within every tolerance."""
SHARES: Mapping[Kind, float] = {
    "clean": 0.3, "offset": 0.08, "scene": 0.2, "scenes": 0.06, "dubbed": 0.1, "mostly-dubbed": 0.05,
    "jump": 0.13, "drift": 0.08,
}  # fmt: skip
SORTS: Mapping[Sort, float] = {"talk": 0.55, "two": 0.12, "inset": 0.08, "listener": 0.12, "narrated": 0.13}
TOLERANCE_MS = (40.0, 60.0)
"""EBU R37, the limits that programmes are judged by."""
CLEAR = 2.0
"""An offset counts as a defect from this multiple of the tolerance, and a drift from this multiple of its
limit."""
LEAST_S = 2.0
"""Least speech over visible faces in a defect for it to count, in seconds."""


@dataclass(frozen=True)
class Defect:
    """A defect in [start_s, end_s): its offset in ms (with drift, that of its middle); None for a mismatch.
    `speech_s`: seconds of speech over visible talking faces in it; `counts`: it is large enough to be
    found."""

    start_s: float
    end_s: float
    offset_ms: float | None
    speech_s: float
    counts: bool


@dataclass(frozen=True)
class Programme:
    """The faces and audio of a composed programme, and its defects. By frame: `error_ms`, how early the audio
    is, and `talking`, whether there is speech while the face that says it, or should, is visible."""

    seed: int
    kind: Kind
    looked: Looked
    speech: Speech
    duration_s: float
    error_ms: npt.NDArray[np.float64]
    talking: npt.NDArray[np.bool_]
    defects: tuple[Defect, ...]
    drift_ms_per_min: float = 0.0

    @property
    def defective(self) -> bool:
        """Whether it has a defect that must be noticed."""
        return any(defect.counts for defect in self.defects)


@dataclass(frozen=True)
class Scene:
    """`frames` frames from `begin` on. `face` with its first window, and `beside` (someone listening, or an
    inset) likewise; None: nobody is visible. The audio is that of `voice`, as if its video began at
    `voice_s`."""

    begin: int
    frames: int
    face: tuple[Material, int] | None
    beside: tuple[Material, int] | None
    voice: Material
    voice_s: float

    @property
    def talks(self) -> bool:
        """Whether the visible face is the one that speaks."""
        return self.face is not None and self.face[0] is self.voice

    @property
    def end(self) -> int:
        return self.begin + self.frames


@dataclass(frozen=True)
class Script:
    """The scenes of a programme, their defects, and the error in ms by frame."""

    kind: Kind
    scenes: tuple[Scene, ...]
    dubbed: tuple[int, ...]
    error_ms: npt.NDArray[np.float64]
    drift_ms_per_min: float = 0.0


# --- What is shown, and what is done to it ----------------------------------------------------


def script(clips: Sequence[Material], seed: int) -> Script:
    """The scenes of a seed, and their defects."""
    rng = np.random.default_rng(seed)
    kind: Kind = rng.choice(list(SHARES), p=list(SHARES.values()))
    scenes = make_scenes(clips, rng)
    talking = [i for i, scene in enumerate(scenes) if scene.talks]
    length = scenes[-1].end
    error = np.full(length, float(rng.uniform(-BASE_MS, BASE_MS)))
    size = float(np.exp(rng.uniform(*np.log(ERRORS_MS))) * rng.choice([-1, 1]))
    slope = 0.0
    dubbed: list[int] = []
    if kind == "offset":
        error[:] = size
    elif kind == "jump":
        error[_jump(scenes[int(rng.choice(talking))], rng) :] = size
    elif kind == "drift":
        slope = float(rng.uniform(*DRIFTS_MS_PER_MIN) * rng.choice([-1, 1]))
        slope = float(np.clip(slope, *np.array([-1, 1]) * MAX_DRIFT_MS * 60 / (length * FRAME_S)))
        error = error + slope * (np.arange(length) - length / 2) * FRAME_S / 60
    elif kind in ("scene", "scenes"):
        first = int(rng.integers(len(talking)))
        count = 1 if kind == "scene" else int(rng.integers(2, 6))
        last = talking[min(first + count, len(talking)) - 1]
        error[scenes[talking[first]].begin : scenes[last].end] = size
    elif kind in ("dubbed", "mostly-dubbed"):
        count = 1 if kind == "dubbed" else math.ceil(0.8 * len(talking))
        dubbed = sorted(rng.choice(talking, count, replace=False).tolist())
        for i in dubbed:
            scenes[i] = _dubbed(scenes[i], clips, rng)
    return Script(kind, tuple(scenes), tuple(dubbed), error, slope)


def _jump(scene: Scene, rng: np.random.Generator) -> int:
    """The frame at which the audio jumps: at a cut or, equally often, in the midst of a scene; there as often
    in a pause of the speech, where an editor would cut it, as anywhere."""
    if rng.random() < 0.5:
        return scene.begin
    quarter = scene.frames // 4
    inside = int(rng.integers(quarter, max(quarter + 1, 3 * quarter)))
    within = [(first, past) for first, past in _pauses(scene) if quarter <= first and past <= 3 * quarter]
    pauses = [(first + past) // 2 for first, past in within]
    if pauses and rng.random() < 0.5:
        inside = min(pauses, key=lambda pause: abs(pause - inside))
    return scene.begin + inside


def _pauses(scene: Scene) -> list[tuple[int, int]]:
    """(first, past) frame of each pause of a scene's speech, counted from its begin."""
    heard_s = scene.voice_s + np.arange(scene.frames) * FRAME_S - scene.voice.delay_ms / 1000
    silent = np.interp(heard_s + FRAME_S / 2, scene.voice.speech_s, scene.voice.speech) < SPEECH_PROBABILITY
    return [(first, past) for first, past in runs(silent) if past - first >= PAUSE_FRAMES]


def make_scenes(
    clips: Sequence[Material],
    rng: np.random.Generator,
    length_s: tuple[float, float] = LENGTH_S,
    sorts: Mapping[Sort, float] = SORTS,
) -> list[Scene]:
    """A sequence of scenes of different lengths and sorts (with their shares), at least three of them with a
    talking face, which together last a little over a length between the two `length_s`."""
    quiet = [(clip, *still(clip)) for clip in clips]
    quiet = [(clip, first, length) for clip, first, length in quiet if length >= LISTENER_FRAMES]
    wanted = np.exp(rng.uniform(*np.log(length_s))) * FRAME_RATE
    scenes: list[Scene] = []
    while not scenes or scenes[-1].end < wanted or sum(scene.talks for scene in scenes) < 3:
        begin = scenes[-1].end if scenes else 0
        voice = clips[int(rng.integers(len(clips)))]
        start, past = _usable(voice)
        frames = past - start
        sort: Sort = rng.choice(list(sorts), p=list(sorts.values()))
        other = quiet[int(rng.integers(len(quiet)))] if quiet and sort in ("two", "listener") else None
        if sort == "inset":
            shown = clips[int(rng.integers(len(clips)))]
            other = (shown, 0, len(shown.frames))
        face: tuple[Material, int] | None = (voice, start)
        beside = None
        if sort == "narrated":
            face = None
        elif other and other[0].speaker != voice.speaker:
            frames = min(frames, other[2])
            face, beside = (other[:2], None) if sort == "listener" else (face, other[:2])
        if frames >= LEAST_FRAMES:
            scenes.append(Scene(begin, frames, face, beside, voice, float(voice.frames[start]) * FRAME_S))
    return scenes


def _usable(clip: Material) -> tuple[int, int]:
    """(first, past) of the windows that have audio."""
    audio_s = clip.frames * FRAME_S - clip.delay_ms / 1000
    inside = np.flatnonzero((audio_s >= clip.audio_s[0]) & (audio_s <= clip.audio_s[-1]))
    return (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (0, 0)


def still(clip: Material) -> tuple[int, int]:
    """First window and length in windows of the longest run in which the mouth hardly moves."""
    if len(clip.motion) < 12:
        return 0, 0
    smooth = np.convolve(clip.motion, np.ones(12) / 12, "same")
    calm = np.interp(clip.frames * FRAME_S + 0.1, clip.motion_s, smooth) < QUIET
    length, first = max(((past - first, first) for first, past in runs(calm)), default=(0, 0))
    return first, length


def _dubbed(scene: Scene, clips: Sequence[Material], rng: np.random.Generator) -> Scene:
    """The scene with someone else's speech."""
    assert scene.face is not None  # noqa: S101 - only talking scenes are dubbed
    others = [clip for clip in clips if clip.speaker != scene.face[0].speaker]
    fitting = [clip for clip in others if len(clip.audio) >= 2 * scene.frames] or others
    voice = fitting[int(rng.integers(len(fitting)))]
    return replace(scene, voice=voice, voice_s=float(voice.audio_s[0]) + voice.delay_ms / 1000)


# --- From the script to scores ----------------------------------------------------------------


def compose(clips: Sequence[Material], seed: int) -> Programme:
    """The programme of a seed, as the stages after scoring would see it."""
    return composed(clips, script(clips, seed), seed)


def composed(clips: Sequence[Material], written: Script, seed: int) -> Programme:
    """The programme of a script, as the stages after scoring would see it; the seed picks the silences."""
    scenes, error = written.scenes, written.error_ms
    audio, speech = _soundtrack(scenes, error, clips, np.random.default_rng(seed))
    talking = np.zeros(len(error), bool)
    for i, scene in enumerate(scenes):
        talking[scene.begin : scene.end] = scene.talks or i in written.dubbed
    talking &= speech >= SPEECH_PROBABILITY
    return Programme(
        *(seed, written.kind, faces(scenes, audio), Speech(0.0, FRAME_S, speech), len(error) * FRAME_S),
        *(error, talking, _defects(written, talking), written.drift_ms_per_min),
    )


def _soundtrack(
    scenes: Sequence[Scene],
    error_ms: npt.NDArray[np.float64],
    clips: Sequence[Material],
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Embedding of the audio window at every frame, and the probability of speech there; after the end of a
    clip's audio, silence from some clip continues."""
    hush = _silences(clips)
    audio, speech = [], []
    for scene in scenes:
        clip = scene.voice
        frame = np.arange(scene.frames)
        # The audio that fits the video at t comes at t minus the error.
        at = scene.voice_s + frame * FRAME_S + (error_ms[scene.begin : scene.end] - clip.delay_ms) / 1000
        nearest, missing = clip.nearest(at)
        picked = clip.audio[nearest].copy()
        picked[missing] = hush[rng.integers(len(hush), size=int(missing.sum()))]
        audio.append(picked)
        probability = np.interp(at + FRAME_S / 2, clip.speech_s, clip.speech)
        speech.append(np.where(missing, 0.0, probability).astype(np.float32))
    return np.concatenate(audio), np.concatenate(speech)


def _silences(clips: Sequence[Material]) -> Floats:
    found = []
    for clip in clips:
        quiet = np.interp(clip.audio_s + 0.1, clip.speech_s, clip.speech) < 0.05
        found.append(clip.audio[quiet][:20])
    return np.concatenate(
        [*found, np.zeros((0 if any(map(len, found)) else 1, clips[0].audio.shape[1]), np.float32)]
    )


def faces(scenes: Sequence[Scene], audio: Floats) -> Looked:
    """The faces of scenes, scored with an embedding of audio (n, d) for each frame."""
    tracks: list[FaceTrack] = []
    scores: list[Scores] = []
    motion = {}
    padded = np.pad(audio, ((15, 15), (0, 0)), constant_values=np.nan)
    for shot, scene in enumerate(scenes):
        for clip, first in filter(None, (scene.face, scene.beside)):
            number = len(tracks)
            visual = clip.seen(first, scene.frames)
            frames = scene.begin + np.arange(len(visual))
            heard = padded[frames[:, None] + 15 + SHIFTS]
            logits = np.einsum("td,tkd->tk", visual, heard, optimize=True).astype(np.float32)
            scores.append(Scores(number, np.asarray(frames * FRAME_S, np.float64), SHIFTS, logits))
            start_s = scene.begin * FRAME_S
            moved_s = start_s + clip.motion_s - clip.frames[first] * FRAME_S
            inside = (moved_s >= start_s) & (moved_s < scene.end * FRAME_S)
            motion[number] = [(moved_s[inside], clip.motion[inside])]
            seen = np.ones(scene.frames, bool)
            tracks.append(
                FaceTrack(number, shot, start_s, np.zeros((scene.frames, 4), np.float32), seen, 0.9)
            )
    whole = (0.0, scenes[-1].end * FRAME_S)
    return Looked((whole,), tuple(tracks), tuple(scores), {}, motion, 1)


def _defects(written: Script, talking: npt.NDArray[np.bool_]) -> tuple[Defect, ...]:
    """Dubbed scenes, runs of frames out of tolerance, and a drift over the whole programme."""

    def defect(first: int, past: int, offset_ms: float | None, large: bool) -> Defect:
        speech_s = float(talking[first:past].sum()) * FRAME_S
        return Defect(first * FRAME_S, past * FRAME_S, offset_ms, speech_s, large and speech_s >= LEAST_S)

    scenes, error = written.scenes, written.error_ms
    found = [defect(scenes[i].begin, scenes[i].end, None, True) for i in written.dubbed]
    if written.drift_ms_per_min:
        large = abs(written.drift_ms_per_min) >= CLEAR * MAX_DRIFT_MS_PER_MIN
        return (*found, defect(0, len(error), float(np.median(error)), large))
    edges = [0, *(np.flatnonzero(np.diff(error)) + 1).tolist(), len(error)]
    for first, past in pairwise(edges):
        size = float(error[first])
        if excess(size, TOLERANCE_MS) > 1:
            found.append(defect(first, past, size, excess(size, TOLERANCE_MS) >= CLEAR))
    return tuple(found)
