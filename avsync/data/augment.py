"""Augmentation of frames, audio and mels, batched, on the device of the data.

Random parameters come from a numpy generator (one draw per clip, the same on every device); only the noise
itself is drawn by torch. Every function is a no-op for settings of zero.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from avsync.audio.mel import mel_centres_hz
from avsync.core.constants import FACE_SIZE, MOUTH_HEIGHT, SAMPLE_RATE
from avsync.data.shards import REGION

REPEAT_EVERY = (3, 8)
"""One frame in this many is repeated, as after frame-rate conversion."""
MORPH_GRID = (3, 5)
"""Rows and columns of the control points that deform a face's shape."""
LEAST_FRAMES = 12
"""Fewest frames that a clip keeps when it is sped up."""
OVERTONES = 5
"""Partials of a note of music."""


@dataclass(frozen=True)
class Augmentation:
    """Strength of each augmentation.

    Fields that end in _p are the share of clips affected; the others are standard deviations or, for gain,
    shift, speed and tempo, limits. All zero: no augmentation. `speed` (limit of its logarithm) changes the
    pitch too; `tempo` (greatest factor) preserves it, as players do. Both change video and audio together, up
    or down, uniformly in the logarithm. `beyond_p` is the share of the ends of runs (`beyond.py`).
    """

    flip_p: float = 0.5
    zoom: float = 0.06
    shift_px: float = 2.5
    turn_deg: float = 4.0
    walk_p: float = 0.5
    walk_px: float = 0.15
    shake_p: float = 0.3
    shake_px: float = 0.3
    morph_p: float = 0.5
    morph_px: float = 2.0
    face_mix_p: float = 0.3
    blur_p: float = 0.3
    colour_p: float = 0.8
    colour: float = 0.2
    grey_p: float = 0.15
    grain_p: float = 0.3
    erase_p: float = 0.15
    repeat_p: float = 0.1
    speed_p: float = 0.3
    speed: float = 0.12
    tempo_p: float = 0.0
    tempo: float = 2.0
    beyond_p: float = 0.0
    shift_ms: float = 20.0
    gain_db: tuple[float, float] = (-12.0, 6.0)
    reverb_p: float = 0.3
    noise_p: float = 0.5
    equaliser_p: float = 0.3
    overload_p: float = 0.1
    mel_mask_p: float = 0.3
    formant_p: float = 0.5
    formant: float = 0.15


_ZEROS: dict[str, Any] = {f.name: (0.0, 0.0) if f.name == "gain_db" else 0.0 for f in fields(Augmentation)}
NONE = Augmentation(**_ZEROS)
"""No augmentation: the authors' recipe."""


def _chance(rng: np.random.Generator, count: int, share: float) -> np.ndarray:
    return rng.random(count) < share


def _tensor(values: np.ndarray, like: Tensor, ndim: int) -> Tensor:
    """A value per clip, shaped to broadcast over `ndim` axes."""
    x = torch.as_tensor(np.asarray(values, np.float32), device=like.device)
    return x.reshape(x.shape + (1,) * (ndim - x.ndim))


def _noise_like(size: tuple[int, ...], rng: np.random.Generator, device: torch.device) -> Tensor:
    """Gaussian noise that depends on `rng` alone, not on torch's global state."""
    generator = torch.Generator(device).manual_seed(int(rng.integers(2**62)))
    return torch.randn(size, generator=generator, device=device)


def augment_frames(regions: Tensor, rng: np.random.Generator, amount: Augmentation) -> Tensor:
    """uint8 (clips, frames, 68, 116, 3) RGB -> float (clips, frames, 3, 48, 96) in 0..1."""
    x = _repeat_frames(regions, rng, amount).permute(0, 1, 4, 2, 3).float().mul_(1 / 255)
    x = _blur(_mix_faces(_warp(x, rng, amount), rng, amount), rng, amount)
    return _erase(_grain(_recolour(x, rng, amount), rng, amount), rng, amount).clamp_(0, 1)


def _warp(x: Tensor, rng: np.random.Generator, amount: Augmentation) -> Tensor:
    """Crop the mouth from the region: scaled, shifted, rotated, mirrored, deformed to another face's shape,
    and jittered from frame to frame as by a face tracker."""
    clips, frames = x.shape[:2]
    scale = np.exp(rng.normal(0, amount.zoom, (clips, 2)))
    scale[:, 0] *= np.where(_chance(rng, clips, amount.flip_p), -1, 1)
    angle = np.deg2rad(rng.normal(0, amount.turn_deg, clips))
    walk = np.cumsum(rng.normal(0, amount.walk_px, (clips, frames, 2)), 1)
    walk = (walk - walk.mean(1, keepdims=True)) * _chance(rng, clips, amount.walk_p)[:, None, None]
    shake = rng.normal(0, amount.shake_px, (clips, frames, 2))
    shift = walk + shake * _chance(rng, clips, amount.shake_p)[:, None, None]
    shift += rng.normal(0, amount.shift_px, (clips, 1, 2))

    # Both grids run from -1 to 1, so a pixel is 1/48 of the output's half width, 1/58 of the input's.
    half_out = np.array([FACE_SIZE, MOUTH_HEIGHT]) / 2
    half_in = np.array([REGION[1], REGION[0]]) / 2
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.stack([np.stack([cos, -sin], 1), np.stack([sin, cos], 1)], 1)
    theta = np.empty((clips, frames, 2, 3), np.float32)
    theta[..., :2] = (turn * (scale * half_out)[:, None, :] / half_in[:, None])[:, None]
    theta[..., 2] = shift / half_in
    size = [clips * frames, 3, MOUTH_HEIGHT, FACE_SIZE]
    grid = F.affine_grid(torch.from_numpy(theta).to(x.device).flatten(0, 1), size, align_corners=False)
    if amount.morph_p:
        bend = _morph(rng, clips, amount) / torch.from_numpy(half_in.astype(np.float32))
        grid = grid + bend.to(x.device).repeat_interleave(frames, 0)
    cut = F.grid_sample(x.flatten(0, 1), grid, padding_mode="border", align_corners=False)
    return cut.unflatten(0, (clips, frames))


def _morph(rng: np.random.Generator, clips: int, amount: Augmentation) -> Tensor:
    """Smooth displacements (clips, 48, 96, 2) in pixels, the same in every frame of a clip: wider lips, a
    longer chin."""
    points = rng.normal(0, amount.morph_px, (clips, 2, *MORPH_GRID)).astype(np.float32)
    points *= _chance(rng, clips, amount.morph_p)[:, None, None, None]
    size = (MOUTH_HEIGHT, FACE_SIZE)
    smooth = F.interpolate(torch.from_numpy(points), size, mode="bicubic", align_corners=True)
    return smooth.permute(0, 2, 3, 1)


def _mix_faces(x: Tensor, rng: np.random.Generator, amount: Augmentation) -> Tensor:
    """Blend the still part of the next clip's face into the clip and keep the clip's motion: what does not
    move says nothing about timing."""
    share = rng.uniform(0.2, 0.8, len(x)) * _chance(rng, len(x), amount.face_mix_p)
    if not share.any():
        return x
    still = x.mean(1, keepdim=True)
    change = _tensor(share, x, 5) * (still.roll(-1, 0) - still)
    for clip in np.flatnonzero(share):
        x[clip] += change[clip]
    return x


def _repeat_frames(x: Tensor, rng: np.random.Generator, amount: Augmentation) -> Tensor:
    clips, frames = x.shape[:2]
    order = np.tile(np.arange(frames), (clips, 1))
    for clip in np.flatnonzero(_chance(rng, clips, amount.repeat_p)):
        every = int(rng.integers(*REPEAT_EVERY))
        late = np.arange(int(rng.integers(every)), frames, every)
        order[clip, late] = np.maximum(late - 1, 0)
    rows = torch.arange(clips, device=x.device)[:, None]
    return x[rows, torch.from_numpy(order).to(x.device)]


def _blur(x: Tensor, rng: np.random.Generator, amount: Augmentation) -> Tensor:
    """Lower the resolution: scale down by a factor and up again."""
    for clip in np.flatnonzero(_chance(rng, len(x), amount.blur_p)):
        small = F.interpolate(x[clip], scale_factor=float(rng.uniform(0.25, 0.8)), mode="area")
        x[clip] = F.interpolate(small, x.shape[-2:], mode="bilinear")
    return x


def _recolour(x: Tensor, rng: np.random.Generator, amount: Augmentation) -> Tensor:
    """Change the gain of each channel, contrast, brightness, gamma and saturation."""
    clips, hit, c = len(x), _chance(rng, len(x), amount.colour_p), amount.colour
    gain = np.exp(rng.normal(0, c, (clips, 1)) + rng.normal(0, 0.4 * c, (clips, 3)))
    contrast, gamma = np.exp(rng.normal(0, c, clips)), np.exp(rng.normal(0, c, clips))
    brightness = rng.normal(0, 0.3 * c, clips)
    gain[~hit], contrast[~hit], gamma[~hit], brightness[~hit] = 1, 1, 1, 0
    saturation = rng.uniform(1 - 3 * c, 1 + 2 * c, clips)
    saturation[_chance(rng, clips, amount.grey_p)] = 0
    gains, contrasts = _tensor(gain[:, None], x, 5), _tensor(contrast, x, 5)
    mean = x.mean((1, 3, 4), keepdim=True) * gains
    # In place, with gain, contrast and brightness in one pass, as this is the most expensive augmentation.
    x.mul_(gains * contrasts).add_(mean * (1 - contrasts) + _tensor(brightness, x, 5))
    for clip in np.flatnonzero(hit):
        x[clip].clamp_(1e-6, 1).pow_(float(gamma[clip]))
    return torch.lerp(x.mean(2, keepdim=True), x, _tensor(saturation, x, 5))


def _grain(x: Tensor, rng: np.random.Generator, amount: Augmentation) -> Tensor:
    sigma = rng.uniform(0.005, 0.04, len(x)) * _chance(rng, len(x), amount.grain_p)
    for clip in np.flatnonzero(sigma):
        x[clip] += _noise_like(tuple(x[clip].shape), rng, x.device) * float(sigma[clip])
    return x


def _erase(x: Tensor, rng: np.random.Generator, amount: Augmentation) -> Tensor:
    """Fill one rectangle of a clip with a flat colour, like a microphone or a caption."""
    for clip in np.flatnonzero(_chance(rng, len(x), amount.erase_p)):
        h, w = int(rng.integers(6, 18)), int(rng.integers(10, 40))
        top, left = int(rng.integers(MOUTH_HEIGHT - h)), int(rng.integers(FACE_SIZE - w))
        x[clip, ..., top : top + h, left : left + w] = float(rng.random())
    return x


def augment_waves(x: Tensor, rng: np.random.Generator, amount: Augmentation) -> Tensor:
    """Float waves (clips, samples) in -1..1 -> the same with changed gain, reverberation, noise or another
    clip's voice, equalisation and overload."""
    x = x * _tensor(10 ** (rng.uniform(*amount.gain_db, len(x)) / 20), x, 2)
    for change in (_reverb, _noise, _equaliser, _overload):
        x = change(x, rng, amount)
    return x.clamp(-1, 1)


def loudness(x: Tensor) -> Tensor:
    """Root mean square (..., 1) of waves (..., samples)."""
    return x.square().mean(-1, keepdim=True).sqrt()


def coloured_noise(
    size: tuple[int, int], slope: np.ndarray, rng: np.random.Generator, device: torch.device
) -> Tensor:
    """Noise (clips, samples) whose amplitude falls with frequency ** `slope` (clips,)."""
    white = torch.fft.rfft(_noise_like(size, rng, device))
    pitch = torch.arange(size[1] // 2 + 1, device=device) + 1.0
    return torch.fft.irfft(white / pitch ** _tensor(slope, white.real, 2), size[1])


def _reverb(x: Tensor, rng: np.random.Generator, amount: Augmentation) -> Tensor:
    hit = np.flatnonzero(_chance(rng, len(x), amount.reverb_p))
    if not len(hit):
        return x
    n = x.shape[-1]
    seconds, wet = rng.uniform(0.05, 0.3, len(hit)), rng.uniform(0.1, 0.7, len(hit))
    t = torch.arange(min(n, 4800), device=x.device) / 16_000
    room = _noise_like((len(hit), len(t)), rng, x.device) * torch.exp(-6.9 * t / _tensor(seconds, x, 2))
    room = room / room.norm(dim=-1, keepdim=True)
    dry = x[hit]
    echo = torch.fft.irfft(torch.fft.rfft(dry, 2 * n) * torch.fft.rfft(room, 2 * n), 2 * n)[:, :n]
    x[hit] = dry + _tensor(wet, x, 2) * echo
    return x


def _noise(x: Tensor, rng: np.random.Generator, amount: Augmentation) -> Tensor:
    """White or coloured noise, music, or the voice of the next clip in the batch, 0..25 dB below."""
    hit = np.flatnonzero(_chance(rng, len(x), amount.noise_p))
    if not len(hit):
        return x
    n = x.shape[-1]
    kind = rng.integers(4, size=len(hit))
    slope = np.where(kind == 1, rng.uniform(0.3, 1.2, len(hit)), 0.0)
    level = 10 ** (-rng.uniform(np.where(kind == 0, 5, 0), 25) / 20)
    noise = coloured_noise((len(hit), n), slope, rng, x.device)
    voices = x[(hit + 1) % len(x)]
    noise = torch.where(_tensor(kind == 2, x, 2) > 0, voices, noise)
    if (kind == 3).any():
        tunes = np.stack([_music(rng, n) for _ in range(int((kind == 3).sum()))])
        noise[torch.from_numpy(kind == 3)] = torch.from_numpy(tunes).to(x.device)
    noise = noise / (loudness(noise) + 1e-9)
    x = x.clone()
    x[hit] = x[hit] + noise * (loudness(x[hit]) + 1e-5) * _tensor(level, x, 2)
    return x


def _music(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Chords of decaying notes at a steady beat, float32 (samples,)."""
    beat = int(rng.uniform(0.15, 0.6) * SAMPLE_RATE)
    partials = np.arange(1, OVERTONES + 1)
    weights = partials ** -rng.uniform(0.5, 2.0)
    t = np.arange(beat) / SAMPLE_RATE
    decay = np.exp(-t * rng.uniform(1, 12))
    beats = -(-samples // beat) + 1
    pitches = rng.uniform(80, 300) * 2 ** (rng.integers(0, 25, (beats, 3)) / 12)
    hz = (pitches[..., None] * partials).reshape(beats, -1)
    notes = np.einsum("bpt,p->bt", np.sin(2 * np.pi * hz[..., None] * t), np.tile(weights, 3)) * decay
    first = int(rng.integers(beat))
    return notes.reshape(-1)[first : first + samples].astype(np.float32)


def _equaliser(x: Tensor, rng: np.random.Generator, amount: Augmentation) -> Tensor:
    hit = np.flatnonzero(_chance(rng, len(x), amount.equaliser_p))
    if not len(hit):
        return x
    n = x.shape[-1]
    pitch = np.linspace(0, 1, n // 2 + 1)
    curves = [
        (pitch < rng.uniform(0.35, 1)).astype(float)  # a telephone or a low bit rate
        if rng.integers(3) == 0
        else 10 ** (np.interp(pitch, np.linspace(0, 1, 5), rng.uniform(-10, 10, 5)) / 20)
        for _ in hit
    ]
    x[hit] = torch.fft.irfft(torch.fft.rfft(x[hit]) * _tensor(np.stack(curves), x, 2), n)
    return x


def _overload(x: Tensor, rng: np.random.Generator, amount: Augmentation) -> Tensor:
    """Clip at a share of the peak."""
    share = np.where(_chance(rng, len(x), amount.overload_p), rng.uniform(0.3, 0.9, len(x)), 1.0)
    limit = x.abs().amax(-1, keepdim=True) * _tensor(share, x, 2) + 1e-6
    return torch.maximum(torch.minimum(x, limit), -limit)


def augment_mels(mels: Tensor, rng: np.random.Generator, amount: Augmentation) -> Tensor:
    """(clips, 80, columns) -> the same with another vocal tract length, and a run of bands replaced by the
    clip's mean."""
    return _mask(_formants(mels, rng, amount), rng, amount)


def _formants(mels: Tensor, rng: np.random.Generator, amount: Augmentation) -> Tensor:
    """Stretch the frequency axis of a clip by a factor."""
    hit = _chance(rng, len(mels), amount.formant_p)
    if not hit.any():
        return mels
    factors = np.where(hit, np.exp(rng.uniform(-amount.formant, amount.formant, len(mels))), 1.0)
    centres = mel_centres_hz()
    place = np.stack([np.interp(centres * f, centres, np.arange(len(centres))) for f in factors])
    below = np.minimum(place.astype(np.int64), len(centres) - 2)
    index = torch.from_numpy(below).to(mels.device)[..., None].expand_as(mels)
    part = torch.from_numpy((place - below).astype(np.float32)).to(mels.device)[..., None]
    return torch.lerp(mels.gather(1, index), mels.gather(1, index + 1), part)


def _mask(mels: Tensor, rng: np.random.Generator, amount: Augmentation) -> Tensor:
    for clip in np.flatnonzero(_chance(rng, len(mels), amount.mel_mask_p)):
        bands = int(rng.integers(1, 12))
        low = int(rng.integers(mels.shape[1] - bands))
        mels[clip, low : low + bands] = mels[clip, low : low + bands].mean()
    return mels


def speeds(rng: np.random.Generator, count: int, amount: Augmentation) -> np.ndarray:
    """Playback speed of each clip: 1, or a little slower or faster, for video and audio alike."""
    changed = np.exp(rng.uniform(-amount.speed, amount.speed, count))
    return np.where(_chance(rng, count, amount.speed_p), changed, 1.0)


def tempos(rng: np.random.Generator, frames: npt.NDArray[np.int64], amount: Augmentation) -> np.ndarray:
    """Tempo of clips with these numbers of frames (n,): 1, or up to `amount.tempo` times slower or faster,
    but leaving a clip at least `LEAST_FRAMES`."""
    if not amount.tempo_p:
        return np.ones(len(frames))
    most = np.log(amount.tempo)
    changed = np.exp(rng.uniform(-most, most, len(frames)))
    changed = np.minimum(changed, np.maximum((frames - 1) / (LEAST_FRAMES - 1), 1.0))
    return np.where(_chance(rng, len(frames), amount.tempo_p), changed, 1.0)


def shifts_ms(rng: np.random.Generator, count: int, amount: Augmentation) -> np.ndarray:
    """Delay of each clip's audio in ms; the loss knows it, so fractions of a frame count too."""
    return rng.uniform(-amount.shift_ms, amount.shift_ms, count)
