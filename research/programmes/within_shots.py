"""How often is a defect within one shot found? One person talks in sync but for some seconds, with no cut.

    python research/programmes/within_shots.py ../shared/lrs2-mini ../shared/wild --cache build/programmes \
        --known research/labels/val-delays.json --seed 11 --times 3

Made of the faces of 11 s or more, each alone and, as often, between two other speakers in sync. The defect
is the speaker's own speech, early or late by 150 to 300 ms, or somebody else's, from a random moment on. For
each kind and length: how often a fault is named there, how often the file is at least not called in sync, how
often it is, and how often something else is called out of sync.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import given
import numpy as np
import numpy.typing as npt

from avsync.audio import vad
from avsync.bench.programme_clips import Material
from avsync.bench.programmes import Scene, faces
from avsync.core.constants import FRAME_S
from avsync.core.records import Speech
from avsync.core.report import Report
from avsync.estimate.calibration import Calibration
from avsync.estimate.peak import Seams
from avsync.pipeline import conclude

LENGTHS: dict[str, tuple[int, ...]] = {"shifted": (3, 4, 5, 6), "dubbed": (4, 6, 8), "in sync": (0,)}
OFFSETS_MS = (-300.0, -200.0, -150.0, 200.0, 300.0)
LONG, BESIDE = 275, 150
"""Fewest frames of a face with a defect, and of one beside it."""
MARGIN = 50
"""Frames in sync before and after a defect, at least."""
SAID = 0.6
"""Share of a defect that has to be speech."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Shot:
    """A face, with an embedding of audio (n_frames, d) and the probability of speech for each frame."""

    face: Material
    audio: Floats
    speech: Floats


def main() -> None:
    parser = given.parser(__doc__)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--times", type=int, default=3)
    options = parser.parse_args()
    clips, calibration = given.material(options)
    rng = np.random.default_rng(options.seed)
    told: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    for face in [clip for clip in clips if len(clip.frames) >= LONG] * options.times:
        for kind, seconds in [(kind, s) for kind, lengths in LENGTHS.items() for s in lengths]:
            length = round(seconds / FRAME_S)
            if len(face.frames) < length + 2 * MARGIN:
                continue
            first = int(rng.integers(MARGIN, len(face.frames) - length - MARGIN + 1))
            shot = defective(face, kind, first, first + length, clips, rng)
            if shot.speech[first : first + length].sum() >= SAID * length:
                told[kind, seconds][answer(shot, first, length, clips, calibration, rng)] += 1
    for (kind, seconds), counts in told.items():
        said = ", ".join(f"{name} {number}" for name, number in counts.most_common())
        print(f"{kind}, {seconds} s: {said} of {counts.total()}")


def heard(voice: Material, at_s: npt.NDArray[np.float64]) -> tuple[Floats, Floats]:
    """The embedding of a voice's audio nearest to each time, and how probably it speaks there."""
    nearest, missing = voice.nearest(at_s)
    speech = np.interp(at_s + FRAME_S / 2, voice.speech_s, voice.speech)
    return voice.audio[nearest].astype(np.float32), np.where(missing, 0, speech).astype(np.float32)


def in_sync(face: Material, error_ms: npt.NDArray[np.float64] | float = 0.0) -> Shot:
    """A face with its own audio, early by so much at each frame."""
    at_s = np.asarray(face.frames * FRAME_S + (error_ms - face.delay_ms) / 1000, np.float64)
    return Shot(face, *heard(face, at_s))


def defective(
    face: Material, kind: str, first: int, past: int, clips: Sequence[Material], rng: np.random.Generator
) -> Shot:
    """The shot with a defect of a kind from one frame to another."""
    if kind == "shifted":
        error_ms = np.zeros(len(face.frames))
        error_ms[first:past] = rng.choice(OFFSETS_MS)
        return in_sync(face, error_ms)
    shot = in_sync(face)
    if kind == "dubbed":
        seconds = (past - first) * FRAME_S
        voices = [v for v in clips if v.speaker != face.speaker and np.ptp(v.audio_s) > seconds - FRAME_S]
        voice = voices[int(rng.integers(len(voices)))]
        begins_s = float(voice.audio_s[0])
        dub = heard(voice, np.asarray(begins_s + np.arange(past - first) * FRAME_S, np.float64))
        shot.audio[first:past], shot.speech[first:past] = dub
    return shot


def answer(
    shot: Shot,
    first: int,
    length: int,
    clips: Sequence[Material],
    calibration: Calibration,
    rng: np.random.Generator,
) -> str:
    """How a file is judged that is the shot alone or, as often, between two others."""
    beside = [clip for clip in clips if clip.speaker != shot.face.speaker and len(clip.frames) >= BESIDE]
    before, after = (in_sync(beside[i]) for i in rng.integers(len(beside), size=2))
    alone = rng.random() < 0.5
    report = judged([shot] if alone else [before, shot, after], calibration)
    begins_s = (first + (0 if alone else len(before.audio))) * FRAME_S
    ends_s = begins_s + length * FRAME_S
    if any(fault.start_s < ends_s - 0.5 and fault.end_s > begins_s + 0.5 for fault in report.faults):
        return "named"
    return {"in-sync": "in sync", "out-of-sync": "elsewhere"}.get(report.verdict, "left open")


def judged(shots: Sequence[Shot], calibration: Calibration) -> Report:
    """The report of shots in a row, as `check` would give it."""
    begins = np.cumsum([0, *(len(shot.audio) for shot in shots)])
    scenes = [
        Scene(int(begin), len(shot.audio), (shot.face, 0), None, shot.face, 0.0)
        for begin, shot in zip(begins, shots, strict=False)
    ]
    looked = faces(scenes, np.concatenate([shot.audio for shot in shots]))
    speech = Speech(0.0, FRAME_S, np.concatenate([shot.speech for shot in shots]))
    duration_s = float(begins[-1]) * FRAME_S
    report = Report("shots", "cannot-tell", duration_s=duration_s)
    seams = Seams(pauses=vad.pauses(speech))
    return conclude.judged(report, looked, speech, calibration, duration_s, "stopped", seams=seams)


if __name__ == "__main__":
    main()
