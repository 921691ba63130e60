"""A synthetic voice: formant synthesis of a track of phones.

A pulse train or noise goes through resonators whose frequencies follow the phones.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d
from scipy.signal import fftconvolve, lfilter, sosfilt

from avsync.demo.speech import ASPIRATED, CONTROL_HZ, PHONES, PLOSIVES, Signal, Track, is_vowel

RATE_HZ = 16_000


def voice(track: Track, duration_s: float, seed: int) -> npt.NDArray[np.float32]:
    """The audio of `track`: float32 (n,) at RATE_HZ, peak about 0.6, with the noise of a quiet room."""
    rng = np.random.default_rng((seed, 3))
    n = round(duration_s * RATE_HZ)
    grid = np.arange(0, duration_s, 1 / CONTROL_HZ)
    formants, voiced, breath, hiss, hiss_hz = _controls(track, grid)
    clock = np.arange(n) / RATE_HZ
    pitch, voiced, breath, hiss = (
        np.interp(clock, grid, curve)
        for curve in (_pitch(track, grid, rng), voiced, breath + 0.03 * voiced, hiss)
    )
    source = voiced * _glottis(pitch, rng) + 0.05 * breath * rng.standard_normal(n)
    speech = _resonate(source, formants) + 0.12 * hiss * _colour(rng.standard_normal(n), hiss_hz)
    tail = np.arange(int(0.15 * RATE_HZ)) / RATE_HZ
    echo = 0.02 * rng.standard_normal(len(tail)) * np.exp(-tail / 0.035)
    echo[0] = 1.0
    speech = np.asarray(fftconvolve(speech, echo))[:n]
    room = np.asarray(lfilter([1.0], [1.0, -0.9], rng.standard_normal(n)))
    return (0.6 * speech / max(float(np.abs(speech).max()), 1e-9) + 4e-4 * room).astype(np.float32)


def _controls(track: Track, grid: Signal) -> tuple[Signal, Signal, Signal, Signal, Signal]:
    """Formants (m, 3) in Hz, loudness of voice, breath and hiss, and the hiss's frequency, on `grid`."""
    index = np.clip(np.searchsorted(track.edges_s, grid, side="right") - 1, 0, len(track.names) - 1)
    phones = np.array([PHONES[name] for name in track.names])
    loud = np.where([is_vowel(name) for name in track.names], track.stress**1.5, 1.0)
    formants = gaussian_filter1d(phones[index, :3], 0.016 * CONTROL_HZ, axis=0)
    voiced, hiss = (phones[:, 4] * loud)[index], phones[index, 5].copy()
    breath = np.where(np.array([name == "hh" for name in track.names])[index], 1.0, 0.0)
    hiss_hz = phones[index, 6].copy()
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
    """Hz on `grid`: falls along each phrase, rises with stress, and wavers."""
    index = np.clip(np.searchsorted(track.edges_s, grid, side="right") - 1, 0, len(track.names) - 1)
    fall, since = np.empty(len(track.names)), 0.0
    for i, name in enumerate(track.names):
        since = track.edges_s[i + 1] if name == "_" else since
        fall[i] = max(0.78, 1.12 - 0.13 * (track.edges_s[i] - since))
    accent = 1 + 0.35 * (track.stress - 1)
    drift = gaussian_filter1d(rng.standard_normal(len(grid)), 0.1 * CONTROL_HZ)
    return 195 * gaussian_filter1d((fall * accent)[index], 0.04 * CONTROL_HZ) * (1 + 0.15 * drift)


def _glottis(pitch: Signal, rng: np.random.Generator) -> Signal:
    """Derivative of the flow through the vocal folds (Rosenberg's pulse), with jitter and shimmer."""
    jitter = gaussian_filter1d(rng.standard_normal(len(pitch)), 40) * 0.08
    phase = np.cumsum(pitch * (1 + jitter)) / RATE_HZ
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
    step = RATE_HZ // CONTROL_HZ
    out, state = np.empty_like(signal), np.zeros((sections.shape[1], 2))
    for k in range(0, len(signal), step):
        block = sections[min(k // step, len(sections) - 1)]
        out[k : k + step], state = sosfilt(block, signal[k : k + step], zi=state)
    return out
