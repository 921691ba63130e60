"""Augmentation of the audio before and after a run of frames.

A clip of one word is a whole file, whose audio begins and ends where its frames do. From such clips alone a
network may learn that ends meet, whoever speaks. Here the audio goes on with something else, or breaks off,
at a place that says nothing about the frames. What it gained is in the card of avsync-4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from avsync.core.constants import SAMPLE_RATE
from avsync.data.augment import Augmentation, coloured_noise, loudness

Floats = npt.NDArray[np.float64]

INSIDE_S, OUTSIDE_S = 0.1, 0.4
"""How far inside a run its own audio may end, and how far outside; a window sees less than that."""
FADE_S = (0.002, 0.03)
KINDS = ("voice", "noise", "silence", "mirror")
SHARES = (0.4, 0.25, 0.2, 0.15)
"""What takes the place of a run's own audio, and how often: another clip's voice, coloured noise, digital
silence, or its own audio in reverse."""
VOICE_DB, NOISE_DB = (-15.0, 6.0), (-40.0, -5.0)
"""Their levels relative to the run's own audio."""


@dataclass(frozen=True)
class Spans:
    """Samples at which each row of a batch of waves begins and ends, both (n, 2): `clip`, the audio of the
    whole clip, which may reach beyond the row, and `run`, that of the run's frames."""

    clip: Floats
    run: Floats


def replace_beyond(waves: Tensor, spans: Spans, rng: np.random.Generator, amount: Augmentation) -> Tensor:
    """Waves (n, samples) in -1..1 -> the same, with something else in the place of the audio around the ends
    of the runs, at `beyond_p` of the ends."""
    if not amount.beyond_p:
        return waves
    out = waves.clone()
    for row, side in np.argwhere(rng.random((len(waves), 2)) < amount.beyond_p):
        fade = rng.uniform(*FADE_S) * SAMPLE_RATE
        joint = _joint(spans, row, side, fade, rng)
        outwards = (torch.arange(waves.shape[1], device=waves.device) - joint) * (1 if side else -1)
        share = (outwards / fade).clamp_(0, 1)
        out[row] = torch.lerp(out[row], _filling(waves, spans, row, joint, rng), share)
    return out


def _joint(spans: Spans, row: int, side: int, fade: float, rng: np.random.Generator) -> float:
    """The sample at which a run's own audio begins (side 0) or ends (side 1) to be replaced."""
    sign = 1 if side else -1
    outside = rng.uniform(-INSIDE_S, OUTSIDE_S) * SAMPLE_RATE
    beyond_clip = sign * (spans.run[row, side] - spans.clip[row, side]) + outside
    if beyond_clip > -fade:  # not where the clip ends, which would tell as much as silence does
        outside -= beyond_clip + rng.uniform(fade, INSIDE_S * SAMPLE_RATE)
    return float(spans.run[row, side] + sign * outside)


def _filling(waves: Tensor, spans: Spans, row: int, joint: float, rng: np.random.Generator) -> Tensor:
    """A wave (samples,) of one of the KINDS."""
    samples = waves.shape[1]
    kind = rng.choice(KINDS, p=SHARES)
    if kind == "silence":
        return torch.zeros_like(waves[row])
    if kind == "mirror":
        return waves[row, _place(2 * joint - np.arange(samples), spans, row, samples)]
    level = loudness(waves[row, _place(np.arange(samples), spans, row, samples)])
    if kind == "voice":
        other = int(row + rng.integers(1, max(2, len(waves)))) % len(waves)
        filling = waves[other, _place(np.arange(samples) - joint, spans, other, samples)]
        decibels = rng.uniform(*VOICE_DB)
    else:
        filling = coloured_noise((1, samples), rng.uniform(0, 1.2, 1), rng, waves.device)[0]
        decibels = rng.uniform(*NOISE_DB)
    return filling * (level * 10 ** (decibels / 20) / (loudness(filling) + 1e-9))


def _place(wanted: npt.NDArray, spans: Spans, row: int, samples: int) -> Tensor:
    """Indices (n,) of samples of a run's own audio, which repeats as often as `wanted` (n,) needs."""
    first = int(np.clip(np.ceil(spans.run[row, 0]), 0, samples - 1))
    stop = int(np.clip(spans.run[row, 1], first + 1, samples))
    return torch.from_numpy(first + (np.round(wanted).astype(np.int64) - first) % (stop - first))
