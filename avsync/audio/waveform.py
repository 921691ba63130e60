"""Sound: decode to 16 kHz mono on the common clock, log-mel for the models, MFCC for SyncNet.

Long files stay on disk: a waveform is memory-mapped, and every pass over it goes block by block.
scipy.signal takes half a second to import, so only what needs it does that.
"""

from __future__ import annotations

import itertools
import math
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ffmpeg
import numpy as np
import numpy.typing as npt
import soundfile

from avsync.core.constants import (
    SAMPLE_RATE,
)
from avsync.core.errors import MediaError, UsageError
from avsync.core.records import AudioStream, Media, Reason, Waveform
from avsync.media.damage import undecoded
from avsync.media.ffmpeg import decoding, source
from avsync.media.probe import probe, require_file

Samples = npt.NDArray[np.float32]

SILENT_PEAK = 1e-4
"""Amplitude (-80 dB) under which a whole track counts as digital silence."""
CANCELLED = 0.1
"""Power of the mono sum over that of the louder channel, under which the channels cancel each other."""
CLIPPED_SHARE = 0.05
"""Share of all samples near the peak that only clipping brings about (speech: under 0.001)."""
GAP_S = 0.02
"""Timestamps that disagree by more than this with the samples so far are a gap or an overlap."""


# --- Waveforms ---------------------------------------------------------------------------


def waveform(media: Media, track: int | None = None, until_s: float = math.inf) -> Waveform:
    """One audio track as 16 kHz mono on the common clock, gaps filled with silence.

    `track` counts the audio tracks from 0; None takes the one marked as default, else the first. What begins
    more than `until_s` seconds after the track does is not read.

    Raises:
        MediaError: there is no audio, or none of it can be decoded.
        UsageError: there is no such track.
    """
    stream = audio_track(media, track)
    sound = ffmpeg.input(source(media.path), copyts=None)[str(stream.index)]
    if stream.channels > 8:
        # Beyond 7.1 the channels have no common names to mix by; broadcast puts the programme first.
        sound = sound.filter("channelmap", map="0|1", channel_layout="stereo")
    elif stream.channels > 2:
        # Dialogue comes from the centre: 6 dB more of it than in a mix for listening, and less from behind.
        levels = {"center_mix_level": 1.414, "surround_mix_level": 0.25}
        sound = sound.filter("aresample", ochl="stereo", osf="fltp", **levels)
    channels = min(2, stream.channels)
    resampling = {"async": 1, "min_hard_comp": GAP_S}
    output = sound.filter("aresample", SAMPLE_RATE, **resampling).output("pipe:", format="f32le")
    with decoding(output) as (pipe, complaint):
        blocks = iter(lambda: pipe.read(SAMPLE_RATE * channels * 4), b"")
        result = _stored(_usable(_frames(blocks, channels)), stream.start_s, until_s=until_s)
        if not len(result.samples):
            why = complaint() or "ffmpeg found no sound in it"
            name = f"Audio track {stream.track} of {media.path}"
            raise MediaError(f"{name} cannot be decoded ({why}); copy or convert it again.")
        if complaint():
            end_s = result.start_s + len(result.samples) / SAMPLE_RATE
            result = replace(result, undecoded=undecoded(media, stream.index, end_s=end_s))
    return result


def audio_track(media: Media, track: int | None) -> AudioStream:
    """The track of that number; without a number the one marked as default, else the first.

    Raises:
        MediaError: there is no audio.
        UsageError: there is no such track.
    """
    if not media.audio:
        raise MediaError(f"{media.path} has no audio track; give a file with sound, or add --audio FILE.")
    if track is None:
        return next((stream for stream in media.audio if stream.default), media.audio[0])
    if not 0 <= track < len(media.audio):
        count = len(media.audio)
        raise UsageError(f"{media.path} has no audio track {track}; it has {count}, numbered from 0.")
    return media.audio[track]


def load_audio(path: Path | str, until_s: float = math.inf) -> Waveform:
    """A separate audio file (or the sound of a video file) as 16 kHz mono; it starts at its own first moment.
    What lies more than `until_s` seconds after that is not read.

    Raises:
        MediaError: the file is missing or holds no sound that can be read.
    """
    path = Path(path)
    require_file(path)  # opening a pipe may wait for ever
    try:
        with path.open("rb") as file, soundfile.SoundFile(file) as sound:
            if 0 < sound.channels <= 2:
                blocks: Any = sound.blocks(blocksize=sound.samplerate, dtype="float32", always_2d=True)
                result = _stored(_usable(blocks), 0.0, sound.samplerate, until_s)
                if len(result.samples):
                    return result
    except (OSError, soundfile.LibsndfileError):
        pass  # What soundfile does not know goes to ffmpeg, which also says what is wrong with it.
    return waveform(probe(path), until_s=until_s)


def write_wav(path: Path | str, samples: Samples, rate: int = SAMPLE_RATE, subtype: str = "PCM_16") -> None:
    """Write samples (n,) or (n, channels) as WAV; an existing file is replaced only by a whole one.

    Raises:
        MediaError: the file cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        soundfile.write(partial, samples, rate, subtype=subtype, format="WAV")
        partial.replace(path)
    except (OSError, soundfile.LibsndfileError) as error:
        raise MediaError(
            f"{path} cannot be written ({error}); check the folder and the space on disk."
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _frames(blocks: Iterable[bytes], channels: int) -> Iterator[Samples]:
    """Raw float32 bytes as (n, channels); a broken last frame is dropped."""
    for block in blocks:
        whole = len(block) // (4 * channels) * channels
        yield np.frombuffer(block, "<f4", whole).reshape(-1, channels)


def _usable(blocks: Iterable[Samples]) -> Iterator[tuple[Samples, int]]:
    """Mono (n,) and the count of values that were no finite number, for blocks (n, 1 or 2) of a second."""
    power = np.zeros(2)
    for block in blocks:
        finite = np.isfinite(block)
        clean = np.where(finite, block, np.float32(0))
        if clean.shape[1] == 1:
            mono = clean[:, 0]
        else:
            power += np.square(clean, dtype=np.float64).sum(axis=0)
            mono = mix(clean, louder=int(power[1] > power[0]))
        yield mono, int(finite.size - finite.sum())


def mix(block: Samples, louder: int) -> Samples:
    """Stereo (n, 2) to mono (n,): the mean, or channel `louder` alone where they cancel each other."""
    mean = block.mean(axis=1)
    loudest = np.square(block).mean(axis=0).max(initial=0)
    return block[:, louder] if np.square(mean).mean() < CANCELLED * loudest else mean


def _stored(
    blocks: Iterable[tuple[Samples, int]], start_s: float, rate: int = SAMPLE_RATE, until_s: float = math.inf
) -> Waveform:
    """Blocks on disk, in a file that goes away with the last reference to the waveform; no more of them than
    begin within `until_s` seconds."""
    damaged = 0

    def mono() -> Iterator[Samples]:
        nonlocal damaged
        for block, bad in blocks:
            damaged += bad
            yield block

    try:
        with tempfile.TemporaryFile(prefix="avsync-") as file:
            for block in resampled(mono(), rate):
                file.write(block.astype(np.float32, copy=False).tobytes())
                if file.tell() >= 4 * SAMPLE_RATE * until_s:
                    break
            file.flush()
            count = file.tell() // 4
            samples = np.memmap(file, np.float32, "r", shape=(count,)) if count else np.zeros(0, np.float32)
    except OSError as error:
        raise MediaError(
            f"The decoded sound cannot be kept in {tempfile.gettempdir()} ({error}); free some space there."
        ) from error
    return Waveform(samples, start_s, damaged)


def resampled(blocks: Iterable[Samples], rate: int) -> Iterator[Samples]:
    """Mono blocks at `rate` Hz as blocks at 16 kHz: the same as resampling all of it at once."""
    if rate == SAMPLE_RATE:
        yield from blocks
        return
    import scipy.signal

    common = math.gcd(rate, SAMPLE_RATE)
    up, down = SAMPLE_RATE // common, rate // common
    reach = 10 * max(up, down)
    kaiser: Any = ("kaiser", 5.0)
    taps = np.asarray(scipy.signal.firwin(2 * reach + 1, 1 / max(up, down), window=kaiser), np.float32)
    # Context on either side that the filter reaches into, in whole steps of the output grid.
    context = math.ceil((reach / up + 1) / down) * down
    tail = np.zeros(context + down, np.float32)
    pending = np.zeros(context, np.float32)
    taken = given = 0
    for block in itertools.chain(blocks, [tail]):
        taken += 0 if block is tail else len(block)
        pending = np.concatenate([pending, block])
        whole = (len(pending) - 2 * context) // down * down
        if whole > 0:
            part = scipy.signal.resample_poly(pending[: whole + 2 * context], up, down, window=taps)
            # The tail only pushes the rest out: stop at the last sample of the sound itself.
            count = min(whole * up // down, math.ceil(taken * up / down) - given)
            yield part[context * up // down :][:count].astype(np.float32, copy=False)
            given, pending = given + count, pending[whole:]


def audio_condition(sound: Waveform) -> tuple[Reason, ...]:
    """What is wrong with the audio as a whole; empty when nothing is."""
    if not len(sound.samples):
        return (Reason("empty-audio"),)
    peak = float(max(np.abs(block).max() for block in _seconds(sound.samples)))
    reasons = []
    if peak < SILENT_PEAK:
        reasons.append(Reason("silent-audio"))
    elif peak > 0.9:
        high = sum(int(np.count_nonzero(np.abs(block) > 0.75 * peak)) for block in _seconds(sound.samples))
        if high > CLIPPED_SHARE * len(sound.samples):
            reasons.append(Reason("clipped-audio"))
    if sound.damaged:
        reasons.append(Reason("not-numbers", {"values": sound.damaged}))
    return tuple(reasons)


def is_silent(samples: Samples) -> bool:
    """Whether nothing in it could be heard at all (-80 dB or less)."""
    return all(np.abs(block).max() < SILENT_PEAK for block in _seconds(samples))


def _seconds(samples: Samples) -> Iterator[Samples]:
    return (samples[i : i + 60 * SAMPLE_RATE] for i in range(0, len(samples), 60 * SAMPLE_RATE))


# --- Features ----------------------------------------------------------------------------


# Slaney's scale: linear up to 1000 Hz (15 mel), then 27 mel for a factor of 6.4.


def mfcc(samples: Samples) -> npt.NDArray[np.float64]:
    """SyncNet's audio features, (13, n), 100 columns a second, from 16-bit samples as its authors use."""
    import python_speech_features

    whole = (np.clip(samples, -1, 1) * 32767).astype(np.int16)
    return np.asarray(python_speech_features.mfcc(whole, SAMPLE_RATE), np.float64).T
