"""A speaking voice made by code, and the mouth that goes with it, from one track of speech sounds.

Formant synthesis: a pulse train or noise through resonators whose frequencies follow the sounds.
The same track moves the lips and the jaw, so sound and picture agree by construction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d
from scipy.signal import fftconvolve, lfilter

Signal = npt.NDArray[np.float64]

RATE_HZ = 16_000
CONTROL_HZ = 400
"""Steps per second of the formants, loudness and mouth shape."""
LEAD_S = 0.02
"""The mouth takes a shape this long before its sound is at its fullest, as people's do."""


class Sound(NamedTuple):
    """One speech sound. Formants in Hz, `ms` of an unstressed one; loudness of `voice` and `hiss`
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


SOUNDS: dict[str, Sound] = {
    # vowels
    "iy": Sound(310, 2750, 3300, 110, 0.75, 0, 0, 0.25, 0.42, 0.8, 1),
    "ih": Sound(430, 2450, 3050, 75, 0.75, 0, 0, 0.38, 0.48, 0.3, 1),
    "eh": Sound(610, 2300, 2990, 95, 0.9, 0, 0, 0.62, 0.68, 0.3, 1),
    "ae": Sound(860, 2050, 2850, 130, 1.0, 0, 0, 0.9, 0.92, 0.4, 1),
    "aa": Sound(850, 1220, 2810, 135, 1.0, 0, 0, 1.0, 1.0, 0.0, 1),
    "ah": Sound(740, 1400, 2780, 80, 0.85, 0, 0, 0.62, 0.65, 0.05, 1),
    "ao": Sound(600, 930, 2710, 125, 0.95, 0, 0, 0.75, 0.7, -0.5, 1.2),
    "uh": Sound(470, 1160, 2680, 80, 0.75, 0, 0, 0.4, 0.38, -0.45, 1),
    "uw": Sound(370, 950, 2670, 110, 0.7, 0, 0, 0.25, 0.22, -0.95, 1.4),
    "er": Sound(500, 1600, 1960, 110, 0.8, 0, 0, 0.38, 0.4, -0.35, 1),
    "ax": Sound(550, 1600, 2750, 50, 0.6, 0, 0, 0.36, 0.4, 0.0, 0.5),
    # glides and liquids
    "w": Sound(320, 720, 2500, 65, 0.5, 0, 0, 0.2, 0.1, -1.0, 1.8),
    "y": Sound(290, 2650, 3300, 60, 0.5, 0, 0, 0.2, 0.36, 0.6, 0.8),
    "r": Sound(370, 1300, 1800, 65, 0.5, 0, 0, 0.26, 0.28, -0.55, 1.1),
    "l": Sound(380, 1250, 2900, 65, 0.5, 0, 0, 0.36, 0.45, 0.1, 0.8),
    # nasals
    "m": Sound(280, 1100, 2500, 75, 0.32, 0, 0, 0.15, 0.0, 0.0, 3),
    "n": Sound(280, 1850, 2850, 65, 0.32, 0, 0, 0.2, 0.34, 0.1, 0.9),
    "ng": Sound(280, 2150, 2800, 75, 0.3, 0, 0, 0.28, 0.36, 0.1, 0.6),
    # stops: the closure; the burst follows by itself
    "b": Sound(250, 1100, 2400, 65, 0.1, 0, 1200, 0.15, 0.0, 0.0, 3),
    "p": Sound(300, 1100, 2400, 85, 0.0, 0, 1400, 0.15, 0.0, 0.0, 3),
    "d": Sound(260, 1950, 2900, 55, 0.1, 0, 3800, 0.15, 0.3, 0.2, 0.9),
    "t": Sound(320, 1950, 2900, 75, 0.0, 0, 4600, 0.15, 0.3, 0.2, 0.9),
    "g": Sound(260, 2150, 2600, 60, 0.1, 0, 2200, 0.26, 0.36, 0.1, 0.6),
    "k": Sound(320, 2150, 2600, 80, 0.0, 0, 2400, 0.26, 0.36, 0.1, 0.6),
    # fricatives
    "s": Sound(320, 1900, 2900, 100, 0.0, 0.6, 6200, 0.1, 0.3, 0.35, 1.5),
    "z": Sound(280, 1900, 2900, 75, 0.2, 0.35, 6200, 0.1, 0.3, 0.3, 1.4),
    "sh": Sound(330, 2000, 2800, 105, 0.0, 0.6, 3200, 0.12, 0.36, -0.65, 1.6),
    "f": Sound(330, 1200, 2500, 95, 0.0, 0.16, 5200, 0.14, 0.06, 0.1, 2.4),
    "v": Sound(290, 1200, 2500, 60, 0.28, 0.07, 5200, 0.14, 0.06, 0.1, 2.2),
    "th": Sound(320, 1500, 2700, 85, 0.0, 0.13, 5600, 0.25, 0.36, 0.1, 1),
    "dh": Sound(290, 1500, 2700, 45, 0.3, 0.06, 5600, 0.22, 0.34, 0.1, 0.8),
    "hh": Sound(600, 1500, 2700, 60, 0.05, 0.18, 1800, 0.45, 0.5, 0.0, 0.3),
    # silence
    "_": Sound(500, 1500, 2700, 220, 0.0, 0.0, 0, 0.04, 0.03, 0.0, 1.2),
}

LIPS_SHUT = frozenset("mbp")
PLOSIVES = frozenset("pbtdkg")
ASPIRATED = frozenset("ptk")

# Phrases: slots filled at random, words spelt in the sounds above; ' marks the stressed vowel.
WORDS: dict[str, tuple[str, ...]] = {
    "start": ("p 'uh t", "b r 'ih ng", "m 'uw v", "k 'iy p", "sh 'ow", "f 'ay n d", "w 'aa sh", "hh 'ow l d", "p 'ey n t"),
    "article": ("dh ax", "ax", "m ay", "aw er", "dh 'ae t"),
    "colour": ("b l 'uw", "y 'eh l ow", "w 'ay t", "b l 'ae k", "b r 'aw n", "p 'er p ax l", "s 'ao f t", "w 'ao r m"),
    "thing": (
        "b 'aa k s", "w 'ih n d ow", "m 'aw n t ax n", "f 'aa dh er", "t 'ey b ax l", "p 'iy p ax l", "m 'uw v iy",
        "b 'ey b iy", "f 'ae m ax l iy", "p 'ow s t m ax n", "s 'ah m er", "v 'ao y s", "b 'ah t er f l ay",
    ),
    "where": ("b 'ay", "f r 'ah m", "b ax f 'ao r", "ax b 'ah v", "b ax l 'ow", "b ax s 'ay d"),
    "when": ("n 'aw", "p l 'iy z", "t ax m 'aa r ow", "m 'eh n iy t 'ay m z", "f ax r 'eh v er", "b ax f 'ao r m 'iy"),
}  # fmt: skip
DIPHTHONGS = {
    "ey": ("eh", "iy"), "ay": ("aa", "iy"), "oy": ("ao", "iy"), "aw": ("aa", "uw"), "ow": ("ao", "uw"),
}  # fmt: skip
PHRASES = (
    ("start", "article", "colour", "thing", "where", "article", "thing"),
    ("article", "thing", "where", "article", "colour", "thing"),
    ("start", "article", "thing", "when"),
    ("when", "start", "article", "colour", "thing"),
)


@dataclass(frozen=True)
class Track:
    """Speech sounds in order, (n,) each: `names`, start times in s (with the end as element n), and
    `stress` as a factor around 1."""

    names: tuple[str, ...]
    edges_s: Signal
    stress: Signal


@dataclass(frozen=True)
class Pose:
    """The face at given instants, (n,) float64 each: mouth in portrait pixels (`opening` of the lower
    lip, `lift` of the upper, `jaw`), `spread` -1..1, `press` 0..1 of shut lips, `blink` 0..1, the head's `roll` in
    degrees, `zoom` as a factor, `sway` and `nod` in portrait pixels."""

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
    """A track of made-up sentences of at least `duration_s`, with pauses. Longer tracks of one seed start alike."""
    rng = np.random.default_rng((seed, 1))
    names, lengths, stress = ["_"], [0.35], [1.0]
    while sum(lengths) < duration_s + 0.3:
        phrase = PHRASES[rng.integers(len(PHRASES))]
        tempo = rng.uniform(0.9, 1.15)
        for place, slot in enumerate(phrase):
            last = place == len(phrase) - 1
            word = WORDS[slot][rng.integers(len(WORDS[slot]))]
            weight = rng.uniform(0.85, 1.2)
            for spelt in word.split():
                strong = weight * (1.12 if spelt[0] == "'" else 0.85)
                parts = DIPHTHONGS.get(spelt.lstrip("'"), (spelt.lstrip("'"),))
                for part in parts:
                    vowel = SOUNDS[part].voice >= 0.6
                    stretch = (strong if vowel else 1.0) * (1.3 if last and vowel else 1.0)
                    share = 0.72 if len(parts) == 2 else 1.0
                    names.append(part)
                    lengths.append(SOUNDS[part].ms / 1000 * tempo * stretch * share * rng.uniform(0.9, 1.1))
                    stress.append(strong)
        names.append("_")
        lengths.append(rng.uniform(0.18, 0.5))
        stress.append(1.0)
    return Track(tuple(names), np.concatenate([[0.0], np.cumsum(lengths)]), np.array(stress))


def pose(track: Track, times_s: Signal, seed: int) -> Pose:
    """The face of someone who says `track`, at the given instants."""
    grid = np.arange(0, times_s[-1] + 0.1, 1 / CONTROL_HZ)
    jaw, lips, spread, shut = _mouth(track, grid)
    blink, roll, zoom, sway, nod = _head(grid, seed)
    nod = nod + 0.8 * gaussian_filter1d(jaw, 0.12 * CONTROL_HZ)
    at = lambda curve: np.interp(times_s, grid, curve)  # noqa: E731
    return Pose(
        times_s=times_s,
        opening=at(9.0 * lips),
        lift=at(2.4 * lips**0.8),
        jaw=at(7.5 * jaw),
        spread=at(spread),
        press=at(shut),
        blink=at(blink),
        roll=at(roll),
        zoom=at(zoom),
        sway=at(sway),
        nod=at(nod),
    )


def _mouth(track: Track, grid: Signal) -> tuple[Signal, Signal, Signal, Signal]:
    """Jaw, lips, spread and pressed-shut on `grid`: every sound pulls the mouth to its own shape, the more
    the nearer in time; lips that shut a sound off are shut for exactly as long as it lasts."""
    start, end = track.edges_s[:-1], track.edges_s[1:]
    sounds = np.array([SOUNDS[name] for name in track.names])
    jaw, lips, spread, hold = sounds[:, 7:11].T
    flex = np.where(sounds[:, 4] >= 0.6, track.stress, 1.0)
    distance = np.abs(grid[:, None] + LEAD_S - (start + end) / 2) - 0.3 * (end - start)
    pull = hold * np.exp(-((np.clip(distance, 0, None) / 0.055) ** 2))
    pull /= pull.sum(axis=1, keepdims=True)
    soft = 0.012 * CONTROL_HZ
    curves = [gaussian_filter1d(pull @ target, soft) for target in (jaw * flex, lips * flex, spread)]
    shut = np.zeros_like(grid)
    for name, a, b in zip(track.names, start, end, strict=True):
        if name in LIPS_SHUT:
            outside = np.maximum(a - grid, grid - b)
            shut = np.maximum(shut, 1 - _ease(outside / 0.05))
    return curves[0], np.clip(curves[1], 0, None) * (1 - shut), curves[2], shut


def _ease(v: Signal) -> Signal:
    v = np.clip(v, 0, 1)
    return v * v * (3 - 2 * v)


def _head(grid: Signal, seed: int) -> tuple[Signal, Signal, Signal, Signal, Signal]:
    """Blinks, and slow motion of the head: sums of a few slow waves with phases of the seed."""
    rng = np.random.default_rng((seed, 2))
    waves = [
        sum(np.sin(2 * np.pi * f * grid + rng.uniform(0, 6.28)) / (1 + 2 * f) for f in (0.13, 0.31, 0.57))
        for _ in range(4)
    ]
    blink, moment = np.zeros_like(grid), rng.uniform(0.8, 2.5)
    while moment < grid[-1]:
        blink = np.maximum(blink, 1 - _ease(np.abs(grid - moment) / 0.11))
        moment += rng.uniform(2.2, 4.5)
    return blink, 1.1 * waves[0], 1 + 0.010 * waves[1], 1.8 * waves[2], 1.3 * waves[3]


def voice(track: Track, duration_s: float, seed: int) -> npt.NDArray[np.float32]:
    """What `track` sounds like: float32 (n,) at RATE_HZ, peak about 0.6, with the noise of a quiet room."""
    rng = np.random.default_rng((seed, 3))
    n = round(duration_s * RATE_HZ)
    grid = np.arange(0, duration_s, 1 / CONTROL_HZ)
    formants, voiced, breath, hiss, hiss_hz = _controls(track, grid)
    clock = np.arange(n) / RATE_HZ
    up = lambda curve: np.interp(clock, grid, curve)  # noqa: E731
    source = up(voiced) * _glottis(_pitch(track, grid, rng), clock, grid, rng)
    source += 0.05 * up(breath + 0.03 * voiced) * rng.standard_normal(n)
    speech = _resonate(source, formants) + 0.12 * up(hiss) * _colour(rng.standard_normal(n), hiss_hz)
    tail = np.arange(int(0.15 * RATE_HZ)) / RATE_HZ
    echo = 0.02 * rng.standard_normal(len(tail)) * np.exp(-tail / 0.035)
    echo[0] = 1.0
    speech = fftconvolve(speech, echo)[:n]
    room = lfilter([1.0], [1.0, -0.9], rng.standard_normal(n))
    return (0.6 * speech / max(float(np.abs(speech).max()), 1e-9) + 4e-4 * room).astype(np.float32)


def _controls(track: Track, grid: Signal) -> tuple[Signal, Signal, Signal, Signal, Signal]:
    """Formants (m, 3) in Hz, loudness of voice, breath and hiss, and the hiss's frequency, on `grid`."""
    index = np.clip(np.searchsorted(track.edges_s, grid, side="right") - 1, 0, len(track.names) - 1)
    sounds = np.array([SOUNDS[name] for name in track.names])
    loud = np.where(sounds[:, 4] >= 0.6, track.stress**1.5, 1.0)
    formants = gaussian_filter1d(sounds[index, :3], 0.016 * CONTROL_HZ, axis=0)
    voiced, hiss = (sounds[:, 4] * loud)[index], sounds[index, 5].copy()
    breath = np.where(np.array([name == "hh" for name in track.names])[index], 1.0, 0.0)
    hiss_hz = sounds[index, 6].copy()
    for i, name in enumerate(track.names[:-1]):
        if name in PLOSIVES:
            release = track.edges_s[i + 1]
            burst = (grid > release - 0.01) & (grid <= release)
            hiss[burst] = 0.6
            if name in ASPIRATED:
                puff = (grid > release) & (grid < release + 0.03)
                voiced[puff] *= 0.15
                breath[puff] = 0.8
    hiss_hz = np.where(hiss_hz > 0, hiss_hz, 4000.0)
    smooth = [gaussian_filter1d(curve, 0.006 * CONTROL_HZ) for curve in (voiced, breath, hiss)]
    return formants, smooth[0], smooth[1], smooth[2], hiss_hz


def _pitch(track: Track, grid: Signal, rng: np.random.Generator) -> Signal:
    """Hz on `grid`: falls along each phrase, rises on stress, never quite steady."""
    index = np.clip(np.searchsorted(track.edges_s, grid, side="right") - 1, 0, len(track.names) - 1)
    fall, since = np.empty(len(track.names)), 0.0
    for i, name in enumerate(track.names):
        since = track.edges_s[i + 1] if name == "_" else since
        fall[i] = max(0.78, 1.12 - 0.13 * (track.edges_s[i] - since))
    accent = 1 + 0.35 * (track.stress - 1)
    drift = gaussian_filter1d(rng.standard_normal(len(grid)), 0.1 * CONTROL_HZ)
    return 195 * gaussian_filter1d((fall * accent)[index], 0.04 * CONTROL_HZ) * (1 + 0.15 * drift)


def _glottis(pitch: Signal, clock: Signal, grid: Signal, rng: np.random.Generator) -> Signal:
    """Derivative of the flow through the vocal folds (Rosenberg's pulse), with jitter and shimmer."""
    jitter = gaussian_filter1d(rng.standard_normal(len(clock)), 40) * 0.08
    phase = np.cumsum(np.interp(clock, grid, pitch) * (1 + jitter)) / RATE_HZ
    p = phase % 1.0
    rise, close = 0.42, 0.16
    flow = np.where(p < rise, 0.5 - 0.5 * np.cos(np.pi * p / rise), np.cos(0.5 * np.pi * (p - rise) / close))
    flow[p > rise + close] = 0.0
    shimmer = 1 + 0.06 * rng.standard_normal(int(phase[-1]) + 2)
    return np.diff(flow, prepend=0.0) * shimmer[phase.astype(int)]


def _resonate(source: Signal, formants: Signal) -> Signal:
    """The vocal tract: five resonators in a row, the lowest three moving."""
    widths = np.array([90.0, 110.0, 170.0, 250.0, 320.0])
    upper = np.tile([4150.0, 5100.0], (len(formants), 1))
    centres = np.concatenate([formants, upper], axis=1)
    radius = np.exp(-np.pi * widths / RATE_HZ)
    a1 = -2 * radius * np.cos(2 * np.pi * centres / RATE_HZ)
    a2 = np.broadcast_to(radius**2, a1.shape)
    gain = 1 + a1 + a2
    zero = np.zeros_like(a1)
    return _moving_filter(source, np.stack([gain, zero, zero, zero + 1, a1, a2], axis=2))


def _colour(noise: Signal, hz: Signal) -> Signal:
    """Noise around a moving frequency, about a third of it wide."""
    radius = np.exp(-np.pi * 0.3 * hz / RATE_HZ)
    a1 = -2 * radius * np.cos(2 * np.pi * hz / RATE_HZ)
    zero = np.zeros_like(hz)
    sections = np.stack([1 - radius, zero, radius - 1, zero + 1, a1, radius**2], axis=1)
    return _moving_filter(noise, sections[:, None])


def _moving_filter(signal: Signal, sections: Signal) -> Signal:
    """Filters step by step of the control clock; `sections` (steps, n, 6) as scipy's sosfilt takes them."""
    from scipy.signal import sosfilt

    step = RATE_HZ // CONTROL_HZ
    out, state = np.empty_like(signal), np.zeros((sections.shape[1], 2))
    for k in range(0, len(signal), step):
        block = sections[min(k // step, len(sections) - 1)]
        out[k : k + step], state = sosfilt(block, signal[k : k + step], zi=state)
    return out
