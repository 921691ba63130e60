r"""Does foreign audio that is answered say the same word? By audio alone, of the Arabic words of a split.

    python research/foreign/words.py CACHE --encoder encoder_model.ort \
        --delays research/labels/val-delays.json

The words have no labels. Two of them count as the same where their audio, as features of Moonshine's encoder
(`avsync.audio.speech`), can be warped onto each other at a mean cosine distance under SAME: the bulk of the
distances is a bell around 0.72, and a tail of its own begins below that. Each pair of different speakers that
says the same word, those up to NEAR and OTHERS of the rest are then paired, lips of one with the audio of the
other at a random offset, and what is answered is counted. Four minutes of one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avsync.audio.speech import SpeechEncoder, at_speech_level
from avsync.core.constants import FRAME_MS, FRAME_RATE, MIN_PROBABILITY, PROTOCOL_RADIUS, WINDOW_FRAMES
from avsync.core.records import Clip, Scores, Waveform
from avsync.data.labels import delay_of, read_delays, speaker
from avsync.data.shards import Store
from avsync.estimate import peak
from avsync.estimate.calibration import Calibration
from avsync.networks import checkpoint
from avsync.networks.scoring import score_clip

Floats = npt.NDArray[np.float32]

SAME, NEAR = 0.48, 0.56
OTHERS, MOST_NEAR = 700, 250
MAX_SHIFT = 10
PADDING = 10
"""Features at either end that hear the silence around a clip."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cache", type=Path)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--delays", type=Path, required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("--model", default="avsync-4")
    args = parser.parse_args()
    known = read_delays(str(args.delays))
    store = Store(args.cache, [args.split]).select(
        lambda clip: clip.id.startswith("ar") and delay_of(clip, known) is not None
    )
    names = np.array([speaker(clip) for clip in store.clips])
    distance = distances(features(store, SpeechEncoder(args.encoder), names))
    foreign = np.argwhere(names[:, None] != names[None, :])
    apart = distance[foreign[:, 0], foreign[:, 1]]
    print(f"{len(store)} words, {len(foreign)} pairs: {100 * np.mean(apart < SAME):.2f} % say the same")
    print("distances, from 0.3 in steps of 0.03:", np.histogram(apart, np.arange(0.3, 0.91, 0.03))[0])
    rng = np.random.default_rng(4)
    kinds = {
        "the same word": foreign[apart < SAME],
        "near": _some(foreign[(apart >= SAME) & (apart < NEAR)], MOST_NEAR, rng),
        "other": _some(foreign[apart >= NEAR], OTHERS, rng),
    }
    loaded = checkpoint.load(args.model)
    calibration = Calibration.from_dict(loaded.calibration)
    for kind, pairs in kinds.items():
        answered = 0
        for video, audio in pairs.tolist():
            shift_ms = FRAME_MS * rng.uniform(-MAX_SHIFT, MAX_SHIFT)
            delay_ms = delay_of(store.clips[audio], known) or 0.0
            heard = Waveform(store.samples(audio), (delay_ms - shift_ms) / 1000)
            seen = Clip(0, 0.0, np.array(store.mouths(video)))
            starts = np.arange(len(seen.mouths) - WINDOW_FRAMES + 1)
            logits = score_clip(loaded, seen, starts, heard, PROTOCOL_RADIUS)
            shifts = np.arange(-PROTOCOL_RADIUS, PROTOCOL_RADIUS + 1)
            found = peak.evidence(Scores(0, starts / FRAME_RATE, shifts, logits), calibration)
            answered += peak.measure(found, calibration).probability >= MIN_PROBABILITY
        print(f"{kind}: {answered} of {len(pairs)} answered")


def _some(pairs: npt.NDArray[np.int64], most: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    return pairs[rng.choice(len(pairs), min(most, len(pairs)), replace=False)]


def features(store: Store, encoder: SpeechEncoder, names: npt.NDArray) -> list[Floats]:
    """Of each clip (steps, width): Moonshine's features, normalised by speaker, of length 1."""
    raw = [
        encoder.encode(at_speech_level(store.samples(number)[None]))[0][PADDING:-PADDING]
        for number in range(len(store))
    ]
    normalised = list(raw)
    for name in np.unique(names):
        own = np.flatnonzero(names == name)
        together = np.concatenate([raw[k] for k in own])
        for k in own:
            found = (raw[k] - together.mean(0)) / together.std(0)
            normalised[k] = found / np.linalg.norm(found, axis=1, keepdims=True)
    return normalised


def distances(found: list[Floats]) -> npt.NDArray[np.float64]:
    """(n, n): mean cosine distance along the best path of dynamic time warping."""
    apart = np.zeros((len(found), len(found)))
    for i, one in enumerate(found):
        for j in range(i):
            apart[i, j] = apart[j, i] = _warped(1 - one @ found[j].T)
    return apart


def _warped(cost: Floats) -> float:
    """The mean along the path of least `cost` (n, m) from corner to corner; a diagonal step counts twice."""
    above = np.full(cost.shape[1] + 1, np.inf).tolist()
    above[0] = 0.0
    for row in cost.tolist():
        now = [np.inf]
        for j, here in enumerate(row, 1):
            now.append(min(above[j - 1] + 2 * here, above[j] + here, now[j - 1] + here))
        above = now
    return float(above[-1]) / sum(cost.shape)


if __name__ == "__main__":
    main()
