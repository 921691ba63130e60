"""The demo's speech as a track of phones, and the face that goes with it.

The same track drives `voice`, so audio and video agree by construction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

Signal = npt.NDArray[np.floating[Any]]

TAIL_S = 0.6
"""Extra length of a track, so that the next phone can shape the last one."""
CONTROL_HZ = 400
"""Steps per second of everything that speech moves."""
LEAD_S = 0.055
"""The mouth reaches a shape this long before the peak of its phone, as in people. Chosen such that networks
trained on real people find the clips in sync; their answers vary by 10 ms (one sigma)."""
PARTING_S = 0.035
"""Lips take this long to meet for m, b and p, and to part again."""


class Phone(NamedTuple):
    """One phone. Formants in Hz, `ms` of an unstressed one; loudness of `voice` and `hiss`
    0..1, hiss around `hiss_hz`; mouth: `jaw` and `lips` 0 shut .. 1 wide, `spread` -1 round .. 1 wide;
    `hold` is how firmly the mouth keeps to this shape against its neighbours."""

    f1: float
    f2: float
    f3: float
    ms: float
    voice: float
    hiss: float
    hiss_hz: float
    jaw: float
    lips: float
    spread: float
    hold: float


PHONES: dict[str, Phone] = {
    # vowels
    "iy": Phone(310, 2750, 3300, 110, 0.75, 0, 0, 0.25, 0.42, 0.8, 1),
    "ih": Phone(430, 2450, 3050, 75, 0.75, 0, 0, 0.38, 0.48, 0.3, 1),
    "eh": Phone(610, 2300, 2990, 95, 0.9, 0, 0, 0.62, 0.68, 0.3, 1),
    "ae": Phone(860, 2050, 2850, 130, 1.0, 0, 0, 0.9, 0.92, 0.4, 1),
    "aa": Phone(850, 1220, 2810, 135, 1.0, 0, 0, 1.0, 1.0, 0.0, 1),
    "ah": Phone(740, 1400, 2780, 80, 0.85, 0, 0, 0.62, 0.65, 0.05, 1),
    "ao": Phone(600, 930, 2710, 125, 0.95, 0, 0, 0.75, 0.7, -0.5, 1.2),
    "uh": Phone(470, 1160, 2680, 80, 0.75, 0, 0, 0.4, 0.38, -0.45, 1),
    "uw": Phone(370, 950, 2670, 110, 0.7, 0, 0, 0.25, 0.22, -0.95, 1.4),
    "er": Phone(500, 1600, 1960, 110, 0.8, 0, 0, 0.38, 0.4, -0.35, 1),
    "ax": Phone(550, 1600, 2750, 50, 0.6, 0, 0, 0.36, 0.4, 0.0, 0.5),
    # glides and liquids
    "w": Phone(320, 720, 2500, 65, 0.5, 0, 0, 0.2, 0.1, -1.0, 1.8),
    "y": Phone(290, 2650, 3300, 60, 0.5, 0, 0, 0.2, 0.36, 0.6, 0.8),
    "r": Phone(370, 1300, 1800, 65, 0.5, 0, 0, 0.26, 0.28, -0.55, 1.1),
    "l": Phone(380, 1250, 2900, 65, 0.5, 0, 0, 0.36, 0.45, 0.1, 0.8),
    # nasals
    "m": Phone(280, 1100, 2500, 75, 0.32, 0, 0, 0.15, 0.0, 0.0, 3),
    "n": Phone(280, 1850, 2850, 65, 0.32, 0, 0, 0.2, 0.34, 0.1, 0.9),
    "ng": Phone(280, 2150, 2800, 75, 0.3, 0, 0, 0.28, 0.36, 0.1, 0.6),
    # stops: the closure; the burst follows by itself
    "b": Phone(250, 1100, 2400, 65, 0.1, 0, 1200, 0.15, 0.0, 0.0, 3),
    "p": Phone(300, 1100, 2400, 85, 0.0, 0, 1400, 0.15, 0.0, 0.0, 3),
    "d": Phone(260, 1950, 2900, 55, 0.1, 0, 3800, 0.15, 0.3, 0.2, 0.9),
    "t": Phone(320, 1950, 2900, 75, 0.0, 0, 4600, 0.15, 0.3, 0.2, 0.9),
    "g": Phone(260, 2150, 2600, 60, 0.1, 0, 2200, 0.26, 0.36, 0.1, 0.6),
    "k": Phone(320, 2150, 2600, 80, 0.0, 0, 2400, 0.26, 0.36, 0.1, 0.6),
    # fricatives
    "s": Phone(320, 1900, 2900, 100, 0.0, 0.6, 6200, 0.1, 0.3, 0.35, 1.5),
    "z": Phone(280, 1900, 2900, 75, 0.2, 0.35, 6200, 0.1, 0.3, 0.3, 1.4),
    "sh": Phone(330, 2000, 2800, 105, 0.0, 0.6, 3200, 0.12, 0.36, -0.65, 1.6),
    "f": Phone(330, 1200, 2500, 95, 0.0, 0.16, 5200, 0.14, 0.06, 0.1, 2.4),
    "v": Phone(290, 1200, 2500, 60, 0.28, 0.07, 5200, 0.14, 0.06, 0.1, 2.2),
    "th": Phone(320, 1500, 2700, 85, 0.0, 0.13, 5600, 0.25, 0.36, 0.1, 1),
    "dh": Phone(290, 1500, 2700, 45, 0.3, 0.06, 5600, 0.22, 0.34, 0.1, 0.8),
    "hh": Phone(600, 1500, 2700, 60, 0.05, 0.18, 1800, 0.45, 0.5, 0.0, 0.3),
    # silence
    "_": Phone(500, 1500, 2700, 220, 0.0, 0.0, 0, 0.04, 0.03, 0.0, 1.2),
}

LIPS_SHUT = frozenset("mbp")
PLOSIVES = frozenset("pbtdkg")
ASPIRATED = frozenset("ptk")

# Words spelt in the phones above, ' before the stressed vowel, by their place in a phrase.
WORDS: dict[str, list[str]] = {
    place: words.split(", ")
    for place, words in {
        "start": "p 'uh t, b r 'ih ng, m 'uw v, k 'iy p, sh 'ow, f 'ay n d, w 'aa sh, hh 'ow l d",
        "article": "dh ax, ax, m ay, aw er, dh 'ae t",
        "colour": "b l 'uw, w 'ay t, b l 'ae k, p 'er p ax l, s 'ao f t, w 'ao r m",
        "thing": "b 'aa k s, w 'ih n d ow, m 'aw n t ax n, f 'aa dh er, t 'ey b ax l, p 'iy p ax l, "
        "m 'uw v iy, b 'ey b iy, f 'ae m ax l iy, p 'ow s t m ax n, s 'ah m er, v 'ao y s, b 'ah t er f l ay",
        "where": "b 'ay, f r 'ah m, b ax f 'ao r, ax b 'ah v, b ax l 'ow, b ax s 'ay d",
        "when": "n 'aw, p l 'iy z, t ax m 'aa r ow, m 'eh n iy t 'ay m z, f ax r 'eh v er",
    }.items()
}
DIPHTHONGS = {
    "ey": ("eh", "iy"),
    "ay": ("aa", "iy"),
    "aw": ("aa", "uw"),
    "ow": ("ao", "uw"),
}
DIPHTHONG_PART = 0.72
"""Length of each half of a diphthong, of the plain vowel's."""
PHRASES = (
    ("start", "article", "colour", "thing", "where", "article", "thing"),
    ("article", "thing", "where", "article", "colour", "thing"),
    ("start", "article", "thing", "when"),
    ("when", "start", "article", "colour", "thing"),
)


@dataclass(frozen=True)
class Track:
    """Phones in order, (n,) each: `names`, start times in s (with the end as element n), and
    `stress` as a factor around 1."""

    names: tuple[str, ...]
    edges_s: Signal
    stress: Signal


@dataclass(frozen=True)
class Pose:
    """The face at given instants, (n,) float64 each: the mouth in portrait pixels (`opening` of the
    lower lip, `lift` of the upper, `jaw`), `spread` -1..1, `press` 0..1 of shut lips, `blink` 0..1, the
    head's `roll` in degrees, `zoom` as a factor, `sway` and `nod` in portrait pixels."""

    times_s: Signal
    opening: Signal
    lift: Signal
    jaw: Signal
    spread: Signal
    press: Signal
    blink: Signal
    roll: Signal
    zoom: Signal
    sway: Signal
    nod: Signal


def speak(seed: int, duration_s: float) -> Track:
    """Made-up sentences with pauses, at least `duration_s` long; all tracks of a seed start alike."""
    rng = np.random.default_rng((seed, 1))
    spoken = [("_", 0.35, 1.0)]
    while sum(length for _, length, _ in spoken) < duration_s + TAIL_S:
        spoken += _phrase(PHRASES[rng.integers(len(PHRASES))], rng)
        spoken.append(("_", rng.uniform(0.18, 0.5), 1.0))
    names, lengths, stress = zip(*spoken, strict=True)
    return Track(names, np.concatenate([[0.0], np.cumsum(lengths)]), np.array(stress))


def _phrase(slots: tuple[str, ...], rng: np.random.Generator) -> list[tuple[str, float, float]]:
    """Name, seconds and stress of every phone of one phrase, its last word drawn out."""
    spoken, tempo = [], rng.uniform(0.9, 1.15)
    for place, slot in enumerate(slots, 1):
        weight = rng.uniform(0.85, 1.2)
        drawl = 1.3 if place == len(slots) else 1.0
        for spelt in WORDS[slot][rng.integers(len(WORDS[slot]))].split():
            stress = weight * (1.12 if spelt.startswith("'") else 0.85)
            name = spelt.lstrip("'")
            share = DIPHTHONG_PART if name in DIPHTHONGS else 1.0
            for part in DIPHTHONGS.get(name, (name,)):
                stretch = stress * drawl if is_vowel(part) else 1.0
                length = PHONES[part].ms / 1000 * tempo * stretch * share * rng.uniform(0.9, 1.1)
                spoken.append((part, length, stress))
    return spoken


def is_vowel(name: str) -> bool:
    """Whether stress makes the phone longer, louder and wider."""
    return PHONES[name].voice >= 0.6


def pose(track: Track, times_s: Signal, seed: int) -> Pose:
    """The face of someone who says `track`, at instants within it."""
    grid = np.arange(0, track.edges_s[-1], 1 / CONTROL_HZ)
    jaw, lips, spread, shut = _mouth(track, grid)
    blink, roll, zoom, sway, nod = _head(grid, seed)
    nod = nod + 0.8 * gaussian_filter1d(jaw, 0.12 * CONTROL_HZ)
    curves = (9.0 * lips, 2.4 * lips**0.8, 7.5 * jaw, spread, shut, blink, roll, zoom, sway, nod)
    return Pose(times_s, *(np.interp(times_s, grid, curve) for curve in curves))


def _mouth(track: Track, grid: Signal) -> tuple[Signal, Signal, Signal, Signal]:
    """Jaw, lips, spread and press on `grid`. Every phone pulls the mouth towards its own shape, more strongly
    when near in time; for m, b and p the lips are closed exactly as long as the phone lasts."""
    start, end = track.edges_s[:-1], track.edges_s[1:]
    phones = np.array([PHONES[name] for name in track.names])
    jaw, lips, spread, hold = phones[:, 7:11].T
    flex = np.where([is_vowel(name) for name in track.names], track.stress, 1.0)
    distance = np.abs(grid[:, None] + LEAD_S - (start + end) / 2) - 0.3 * (end - start)
    pull = hold * np.exp(-((np.clip(distance, 0, None) / 0.055) ** 2))
    pull /= pull.sum(axis=1, keepdims=True)
    soft = 0.012 * CONTROL_HZ
    curves = [gaussian_filter1d(pull @ target, soft) for target in (jaw * flex, lips * flex, spread)]
    shut = np.zeros_like(grid)
    for name, a, b in zip(track.names, start, end, strict=True):
        if name in LIPS_SHUT:
            outside = np.maximum(a - grid, grid - b)
            shut = np.maximum(shut, 1 - ease(outside / PARTING_S))
    return curves[0], np.clip(curves[1], 0, None) * (1 - shut), curves[2], shut


def ease(v: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
    """A smooth step from 0 to 1 as v goes from 0 to 1."""
    v = np.clip(v, 0, 1)
    return v * v * (3 - 2 * v)


def _head(grid: Signal, seed: int) -> tuple[Signal, Signal, Signal, Signal, Signal]:
    """Blinks, and slow motion of the head: sums of a few slow waves with phases of the seed."""
    rng = np.random.default_rng((seed, 2))
    hz = np.array([[0.13], [0.31], [0.57]])
    waves = [
        (np.sin(2 * np.pi * (hz * grid + rng.uniform(size=hz.shape))) / (1 + 2 * hz)).sum(axis=0)
        for _ in range(4)
    ]
    blink, moment = np.zeros_like(grid), rng.uniform(0.8, 2.5)
    while moment < grid[-1]:
        blink = np.maximum(blink, 1 - ease(np.abs(grid - moment) / 0.11))
        moment += rng.uniform(2.2, 4.5)
    return blink, 1.1 * waves[0], 1 + 0.010 * waves[1], 1.8 * waves[2], 1.3 * waves[3]
