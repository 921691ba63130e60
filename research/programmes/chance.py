"""What does speech say about the offset of a file by chance? By seconds of speech: the faces of clips with
their own speech, and with that of eight other speakers.

    python research/programmes/chance.py ../shared/lrs2-mini ../shared/wild --cache build/programmes \
        --known research/labels/val-delays.json

Prints, for each length, the share of stretches that support the offset; that contradict it; that do neither;
and whose likeliest offset is another one by CLEAR_RIVAL, and of these those that fit there, so that a shot
would be moved there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import given
import numpy as np

from avsync.audio import vad
from avsync.bench.programme_clips import Material
from avsync.bench.programmes import SHIFTS
from avsync.core.constants import FRAME_S, WINDOW_FRAMES
from avsync.core.records import Scores, Speech
from avsync.estimate import offset, peak, pieces, support
from avsync.estimate.calibration import Calibration
from avsync.estimate.speakers import summed
from avsync.faces import motion

SECONDS = (1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0)
OTHERS = 8
Flags = tuple[bool, bool, bool, bool, bool]
LEAST_SHARE = 0.8
"""Another's speech has to last for this share of the face."""


def main() -> None:
    options = given.parser(__doc__).parse_args()
    clips, calibration = given.material(options)
    rng = np.random.default_rng(1)
    told: dict[tuple[float, bool], list[Flags]] = defaultdict(list)
    for face in clips:
        others = [
            voice
            for voice in clips
            if voice.speaker != face.speaker
            and np.ptp(voice.audio_s) > LEAST_SHARE * len(face.frames) * FRAME_S
        ]
        picked = rng.choice(len(others), min(OTHERS, len(others)), replace=False)
        for voice in [face, *(others[i] for i in picked)]:
            for seconds, answer in answers(face, voice, calibration):
                told[seconds, voice is face].append(answer)
    print("seconds    whose     of  supports  contradicts  neither  elsewhere  would be moved")
    for seconds in SECONDS:
        for own in (True, False):
            found = np.array(told[seconds, own]).reshape(-1, 5)
            shares = "  ".join(f"{share:9.1%}" for share in found.mean(axis=0))
            print(f"{seconds:7g}  {'own' if own else 'foreign':>7}  {len(found):5d}  {shares}", flush=True)


def answers(face: Material, voice: Material, calibration: Calibration) -> Iterator[tuple[float, Flags]]:
    """For each stretch of a length of SECONDS: that length, and what it says about an offset of 0."""
    scores, speech = scored(face, voice)
    moving = motion.moves([(face.motion_s - face.frames[0] * FRAME_S, face.motion)], scores.times_s)
    talking = np.flatnonzero(moving & vad.spoken(speech, scores.times_s, WINDOW_FRAMES * FRAME_S))
    for seconds in SECONDS:
        length = round(seconds / FRAME_S)
        for first in range(0, len(talking) - length + 1, length):
            total = summed(scores, talking[first : first + length], calibration)
            fits = support.supports(total, SHIFTS, calibration.bias_ms, seconds, calibration)
            there = offset.near(total, SHIFTS, calibration.bias_ms)
            against = not fits and there <= calibration.contradiction * seconds
            inner = total[1:-1]
            elsewhere = -support.lead_at(total, SHIFTS, calibration.bias_ms) >= pieces.CLEAR_RIVAL
            moved = elsewhere and bool(inner.max() >= peak.least_fit(seconds, calibration))
            yield seconds, (fits, against, not fits and not against, elsewhere, moved)


def scored(face: Material, voice: Material) -> tuple[Scores, Speech]:
    """The scores of a face with a voice, its own in sync or another's from its beginning on, and where that
    speaks; both begin at 0 s."""
    own_s, others_s = float(face.frames[0]) * FRAME_S, float(voice.audio_s[0]) + voice.delay_ms / 1000
    first_s = own_s if voice is face else others_s
    times = np.asarray(np.arange(len(face.frames)) * FRAME_S, np.float64)
    heard_s = first_s + times - voice.delay_ms / 1000
    wanted = heard_s[:, None] + SHIFTS * FRAME_S
    nearest, missing = voice.nearest(wanted)
    logits = np.einsum("td,tkd->tk", face.seen(0, len(face.frames)), voice.audio[nearest]).astype(np.float32)
    logits[missing] = np.nan
    speech = np.interp(heard_s + FRAME_S / 2, voice.speech_s, voice.speech).astype(np.float32)
    return Scores(0, times, SHIFTS, logits), Speech(0.0, FRAME_S, speech)


if __name__ == "__main__":
    main()
