"""Made programmes: scenes of real clips joined to a few minutes with known defects, and how they are judged.

A programme is composed of the embeddings of its clips (`programme_clips`), so that hundreds cost minutes:
cuts, listeners, shots without a face under a voice, two faces, and wrong, dubbed, drifting or jumping
scenes, from fixed seeds. Only networks that compare embeddings can be tried so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from avsync.bench.programme_clips import Floats, Material
from avsync.core.constants import FRAME_RATE, FRAME_S, SPEECH_PROBABILITY
from avsync.core.records import FaceTrack, Report, Scores, Speech
from avsync.core.tolerance import excess
from avsync.estimate.calibration import Calibration
from avsync.pipeline import conclude
from avsync.pipeline.stretch import Looked

Kind = Literal["clean", "offset", "scene", "dubbed", "mostly-dubbed", "jump", "drift"]

SHIFTS = np.arange(-15, 16)
QUIET = 1.0
"""Motion below which a face is taken for that of a listener."""
LISTENER_FRAMES = 40
LENGTH_S = (45.0, 150.0)
ERRORS_MS = (120.0, 500.0)
DRIFTS_MS_PER_MIN = (45.0, 150.0)
SHARES: Mapping[Kind, float] = {
    "clean": 0.4, "offset": 0.1, "scene": 0.15, "dubbed": 0.1, "mostly-dubbed": 0.05, "jump": 0.1, "drift":
    0.1,
}  # fmt: skip
CLEAR = 2.0
"""A defect counts from this multiple of the tolerance on."""
LEAST_S = 2.0
"""Seconds of speech over visible faces in a defect for it to count."""
LOCATED_S = 3.0
"""The same for it to have to be found and located."""


@dataclass(frozen=True)
class Defect:
    """What is wrong in [start_s, end_s): an offset in ms, None for speech that these lips do not say.
    `speech_s`: seconds of speech over visible talking faces in it."""

    start_s: float
    end_s: float
    offset_ms: float | None
    speech_s: float


@dataclass(frozen=True)
class Programme:
    """What is seen and heard in a composed programme, and what is wrong with it."""

    seed: int
    kind: Kind
    looked: Looked
    speech: Speech
    duration_s: float
    defects: tuple[Defect, ...]


@dataclass(frozen=True)
class Scene:
    """`frames` frames from `begin` on. `face` and its first window, `beside` (a listener) the same; None:
    nobody is seen. The audio of `voice` is heard as if its video began at `voice_s`."""

    begin: int
    frames: int
    face: tuple[Material, int] | None
    beside: tuple[Material, int] | None
    voice: Material
    voice_s: float

    @property
    def talks(self) -> bool:
        """Whether the face that is seen is the one that is heard."""
        return self.face is not None and self.face[0] is self.voice

    @property
    def end(self) -> int:
        return self.begin + self.frames


# --- Composing ---------------------------------------------------------------------------


def compose(clips: Sequence[Material], seed: int) -> Programme:
    """The programme of a seed."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(list(SHARES), p=list(SHARES.values()))
    scenes = _scenes(clips, rng)
    talking = [i for i, scene in enumerate(scenes) if scene.talks]
    total_s = scenes[-1].end * FRAME_S
    error = np.zeros(scenes[-1].end)
    dubbed: list[int] = []
    size = float(rng.uniform(*ERRORS_MS) * rng.choice([-1, 1]))
    if kind == "offset":
        error[:] = size
    elif kind == "jump":
        begin = scenes[int(rng.choice(talking))].begin + int(rng.integers(0, 25))
        error[begin:] = size
    elif kind == "drift":
        slope = float(rng.uniform(*DRIFTS_MS_PER_MIN) * rng.choice([-1, 1]))
        error = slope * (np.arange(len(error)) * FRAME_S - total_s / 2) / 60
    elif kind == "scene":
        scene = scenes[int(rng.choice(talking))]
        error[scene.begin : scene.end] = size
    elif kind in ("dubbed", "mostly-dubbed"):
        count = 1 if kind == "dubbed" else math.ceil(0.8 * len(talking))
        dubbed = sorted(rng.choice(talking, count, replace=False).tolist())
        for i in dubbed:
            scenes[i] = _dubbed(scenes[i], clips, rng)
    audio, speech = _soundtrack(scenes, error, clips, rng)
    looked = _faces(scenes, audio)
    return Programme(
        seed, kind, looked, Speech(0.0, FRAME_S, speech), total_s, _defects(scenes, error, dubbed, speech)
    )


def _scenes(clips: Sequence[Material], rng: np.random.Generator) -> list[Scene]:
    """Scenes of different lengths and sorts in a row, at least three of which talk."""
    quiet = [
        (clip, first, length)
        for clip in clips
        for first, length in [still(clip)]
        if length >= LISTENER_FRAMES
    ]
    wanted = rng.uniform(*LENGTH_S) * FRAME_RATE
    scenes: list[Scene] = []
    while not scenes or scenes[-1].end < wanted or sum(scene.talks for scene in scenes) < 3:
        begin = scenes[-1].end if scenes else 0
        voice = clips[int(rng.integers(len(clips)))]
        start, past = _usable(voice)
        frames = past - start
        sort = rng.choice(["talk", "two", "listener", "nobody"], p=[0.6, 0.15, 0.15, 0.1])
        listener = quiet[int(rng.integers(len(quiet)))] if quiet else None
        face = (voice, start)
        beside = None
        if sort == "two" and listener and listener[0].speaker != voice.speaker:
            frames = min(frames, listener[2])
            beside = listener[:2]
        elif sort == "listener" and listener and listener[0].speaker != voice.speaker:
            frames = min(frames, listener[2])
            face = listener[:2]
        elif sort == "nobody":
            face = None
        if frames < 30:
            continue
        voice_s = float(voice.frames[start]) * FRAME_S
        scenes.append(Scene(begin, frames, face, beside, voice, voice_s))
    return scenes


def _usable(clip: Material) -> tuple[int, int]:
    """(first, past) of the windows whose own audio exists, with consecutive frames."""
    ends = np.flatnonzero(np.diff(clip.frames) != 1)
    past = int(ends[0]) + 1 if len(ends) else len(clip.frames)
    audio_s = clip.frames[:past] * FRAME_S - clip.delay_ms / 1000
    inside = np.flatnonzero((audio_s >= clip.audio_s[0]) & (audio_s <= clip.audio_s[-1]))
    return (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (0, 0)


def still(clip: Material) -> tuple[int, int]:
    """First window and number of windows of the longest run in which the mouth hardly moves."""
    if len(clip.motion) < 12:
        return 0, 0
    smooth = np.convolve(clip.motion, np.ones(12) / 12, "same")
    calm = np.interp(clip.frames * FRAME_S + 0.1, clip.motion_s, smooth) < QUIET
    edges = np.flatnonzero(np.diff(np.concatenate([[0], calm, [0]])))
    runs = [(int(past - first), int(first)) for first, past in zip(edges[::2], edges[1::2], strict=True)]
    length, first = max(runs, default=(0, 0))
    return first, length


def _dubbed(scene: Scene, clips: Sequence[Material], rng: np.random.Generator) -> Scene:
    """The scene with the speech of somebody else."""
    assert scene.face is not None  # noqa: S101 - only talking scenes are dubbed
    others = [clip for clip in clips if clip.speaker != scene.face[0].speaker]
    fitting = [clip for clip in others if len(clip.audio) >= 2 * scene.frames] or others
    voice = fitting[int(rng.integers(len(fitting)))]
    return replace(scene, voice=voice, voice_s=float(voice.audio_s[0]) + voice.delay_ms / 1000)


def _soundtrack(
    scenes: Sequence[Scene],
    error_ms: npt.NDArray[np.float64],
    clips: Sequence[Material],
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Embedding of the audio window at every frame, and the probability of speech there; where a clip's
    audio is at its end, somebody's silence goes on."""
    hush = _silences(clips)
    audio, speech = [], []
    for scene in scenes:
        clip = scene.voice
        frame = np.arange(scene.frames)
        # What fits the video at t is heard at t less the error.
        at = scene.voice_s + frame * FRAME_S + (error_ms[scene.begin : scene.end] - clip.delay_ms) / 1000
        nearest = np.abs(clip.audio_s[:, None] - at[None]).argmin(axis=0)
        missing = np.abs(clip.audio_s[nearest] - at) > FRAME_S
        picked = clip.audio[nearest].copy()
        picked[missing] = hush[rng.integers(len(hush), size=int(missing.sum()))]
        audio.append(picked)
        probability = np.interp(at + 0.1, clip.speech_s, clip.speech)
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


def _faces(scenes: Sequence[Scene], audio: Floats) -> Looked:
    tracks: list[FaceTrack] = []
    scores: list[Scores] = []
    motion = {}
    padded = np.pad(audio, ((15, 15), (0, 0)), constant_values=np.nan)
    for shot, scene in enumerate(scenes):
        for clip, first in filter(None, (scene.face, scene.beside)):
            number = len(tracks)
            visual = clip.visual[first : first + scene.frames]
            frames = scene.begin + np.arange(len(visual))
            heard = padded[frames[:, None] + 15 + SHIFTS]
            logits = np.einsum("td,tkd->tk", visual, heard, dtype=np.float32)
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


def _defects(
    scenes: Sequence[Scene], error_ms: npt.NDArray[np.float64], dubbed: Sequence[int], speech: Floats
) -> tuple[Defect, ...]:
    """Runs of frames with an offset, and dubbed scenes."""
    talking = np.zeros(len(error_ms), bool)
    for i, scene in enumerate(scenes):
        talking[scene.begin : scene.end] = scene.talks or i in dubbed
    talking &= speech >= SPEECH_PROBABILITY
    found = [
        Defect(s.begin * FRAME_S, s.end * FRAME_S, None, float(talking[s.begin : s.end].sum()) * FRAME_S)
        for s in (scenes[i] for i in dubbed)
    ]
    wrong = np.concatenate([[0], np.abs(error_ms) > 0, [0]]).astype(int)
    edges = np.flatnonzero(np.diff(wrong))
    for first, past in zip(edges[::2], edges[1::2], strict=True):
        seconds = float(talking[first:past].sum()) * FRAME_S
        found.append(Defect(first * FRAME_S, past * FRAME_S, float(np.median(error_ms[first:past])), seconds))
    return tuple(found)


# --- Judging -----------------------------------------------------------------------------


def judged(programme: Programme, calibration: Calibration) -> Report:
    """The report of a programme, as a check would make it."""
    report = Report(f"programme {programme.seed}", "cannot-tell", duration_s=programme.duration_s)
    return conclude.judged(
        report, programme.looked, programme.speech, calibration, programme.duration_s, "stopped"
    )


@dataclass(frozen=True)
class Outcome:
    """How a programme was judged. `found` and `error_s`: of each defect that has to be located, whether a
    fault says so, and how far off its start or end lies."""

    programme: Programme
    report: Report
    found: tuple[bool, ...]
    error_s: tuple[float, ...]

    @property
    def defective(self) -> bool:
        """Whether it holds a defect that has to be noticed."""
        return any(_counts(defect, self.programme.kind) for defect in self.programme.defects)


def outcome(programme: Programme, report: Report) -> Outcome:
    """Compare a report with what is wrong with its programme."""
    located = [
        _located(defect, report)
        for defect in programme.defects
        if programme.kind in ("scene", "dubbed") and defect.speech_s >= LOCATED_S
    ]
    found = tuple(error is not None for error in located)
    return Outcome(programme, report, found, tuple(error for error in located if error is not None))


def _counts(defect: Defect, kind: Kind) -> bool:
    if defect.speech_s < LEAST_S:
        return False
    return defect.offset_ms is None or kind == "drift" or excess(defect.offset_ms, (40.0, 60.0)) > CLEAR


def _located(defect: Defect, report: Report) -> float | None:
    """How far the fault that says a defect lies off, in seconds; None where there is no such fault."""
    for fault in report.faults:
        common = min(fault.end_s, defect.end_s) - max(fault.start_s, defect.start_s)
        if common < 0.3 * (defect.end_s - defect.start_s):
            continue
        if defect.offset_ms is None or fault.offset_ms is None:
            same = defect.offset_ms is None and fault.offset_ms is None
        else:
            same = abs(fault.offset_ms - defect.offset_ms) <= 60
        if same:
            return max(abs(fault.start_s - defect.start_s), abs(fault.end_s - defect.end_s))
    return None


def summarise(outcomes: Sequence[Outcome]) -> dict[str, float | int | None]:
    """The figures of issue and page: rates are shares 0..1, None where there is nothing to count."""
    bad = [o for o in outcomes if o.defective]
    clean = [o for o in outcomes if o.programme.kind == "clean"]
    found = [each for o in outcomes for each in o.found]
    errors = [each for o in outcomes for each in o.error_s]
    judged = [
        (o.report.speech_judged_s or 0.0) / o.report.speech_seen_s for o in clean if o.report.speech_seen_s
    ]
    return {
        "programmes": len(outcomes),
        "defective": len(bad),
        "false_in_sync": _share([o.report.verdict == "in-sync" for o in bad]),
        "clean": len(clean),
        "false_alarms": _share([o.report.verdict in ("out-of-sync", "mismatch") for o in clean]),
        "clean_undecided": _share([o.report.verdict in ("partly-judged", "cannot-tell") for o in clean]),
        "scenes_found": _share(found),
        "located_within_300_ms": _share([error <= 0.3 for error in errors]),
        "clean_judged_share": float(np.median(judged)) if judged else None,
    }


def _share(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None


def run(clips: Sequence[Material], calibration: Calibration, count: int, seed: int = 0) -> Iterator[Outcome]:
    """Compose and judge programmes of consecutive seeds."""
    for number in range(seed, seed + count):
        programme = compose(clips, number)
        yield outcome(programme, judged(programme, calibration))
