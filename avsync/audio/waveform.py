"""Audio: decode to 16 kHz mono on the common clock, and MFCC for SyncNet.

Long files stay on disk: a waveform is memory-mapped, and every pass over it goes block by block.
"""

from __future__ import annotations

import math
import mmap
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr
from av.audio.frame import format_dtypes
from av.audio.plane import AudioPlane
from av.error import FFmpegError

from avsync.audio.steady import EDGE_S, steady
from avsync.core.constants import SAMPLE_RATE
from avsync.core.errors import MediaError, UsageError
from avsync.core.files import cannot_store
from avsync.core.records import Span, Waveform
from avsync.core.report import Reason
from avsync.core.streams import AudioStream, Media, Recording
from avsync.media.decode import Damage, decoded, undecodable
from avsync.media.probe import probe

Samples = npt.NDArray[np.float32]

SILENT_PEAK = 1e-4
"""Amplitude (-80 dB) under which a whole track counts as digital silence."""
CANCELLED = 0.1
"""Power of the mono sum over that of the louder channel, under which the channels cancel each other."""
CLIPPED_SHARE = 0.05
"""Share of samples near the peak that only clipping causes (speech: under 0.001)."""
WHOLE = (-math.inf, math.inf)
"""A span without ends."""
SEEK_EARLY_S = 5.0
"""Seconds before a span at which reading begins: a seek may land late, and decoders need a few packets."""
EMPTY_S = 0.1
"""A gap of this length, half a model window, is no audio; a shorter one counts as silence."""
CENTRE, SURROUND = 1.414, 0.25
"""Gains of the centre and of the channels behind when more than two channels are mixed to two."""
UNNAMED = {
    3: ("FL", "FR", "FC"),
    5: ("FL", "FR", "FC", "SL", "SR"),
    6: ("FL", "FR", "FC", "LFE", "SL", "SR"),
    7: ("FL", "FR", "FC", "LFE", "BC", "SL", "SR"),
    8: ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
}
"""What so many channels usually are where a file does not name them, as PCM in Matroska and MXF often is.
Four are two pairs, of which broadcast puts the programme first."""

DTYPES = {**format_dtypes, "s64": "i8", "s64p": "i8"}
"""Of samples by FFmpeg's name of their format."""


# --- Waveforms ---------------------------------------------------------------------------


def waveform(media: Media, track: int | None = None, span: Span = WHOLE) -> Waveform:
    """One audio track as 16 kHz mono on the common clock, gaps filled with silence.

    `track` counts the audio tracks from 0; None takes the one marked as default, else the first. Only what
    sounds in `span` is read.

    Raises:
        MediaError: there is no audio, or none of it can be decoded.
        UsageError: there is no such track.
    """
    stream = audio_track(media, track)
    damage = Damage(media.holes)
    try:
        timed = _in_memory(media.recording, span) if media.recording else _timed(media, stream, damage, span)
        begins_s = [piece.start_s for piece in media.pieces]
        result = _stored(_runs(timed, begins_s[1:]), span)
    except FFmpegError as error:
        damage.errors.append(error.strerror or str(error))
        result = Waveform(np.zeros(0, np.float32), stream.start_s)
    if not len(result.samples):
        raise undecodable(f"Audio track {stream.track} of {media.path}", damage, "no audio was found in it")
    end_s = result.start_s + len(result.samples) / SAMPLE_RATE
    undecoded = tuple(damage.spans(end_s=end_s))
    lost = [span for span in undecoded if span[1] - span[0] >= EMPTY_S]
    return replace(result, undecoded=undecoded, gaps=tuple(sorted({*result.gaps, *lost})))


def audio_track(media: Media, track: int | None) -> AudioStream:
    """The track of that number; without a number the one marked as default, else the first.

    Raises:
        MediaError: there is no audio.
        UsageError: there is no such track.
    """
    if not media.audio:
        raise MediaError(f"{media.path} has no audio track; give a file that has one, or add --audio FILE.")
    if track is None:
        return next((stream for stream in media.audio if stream.default), media.audio[0])
    if not 0 <= track < len(media.audio):
        count = len(media.audio)
        raise UsageError(f"{media.path} has no audio track {track}; it has {count}, numbered from 0.")
    return media.audio[track]


def load_audio(path: Path | str, span: Span = WHOLE) -> Waveform:
    """A separate audio file (or the audio of a video file) as 16 kHz mono; audio alone starts at its own
    first moment. Only what sounds in `span` is read.

    Raises:
        MediaError: the file is missing or holds no audio that can be read.
    """
    found = probe(path)
    if found.video:
        return waveform(found, None, span)
    begins_s = audio_track(found, None).start_s
    return moved(waveform(found, None, (span[0] + begins_s, span[1] + begins_s)), -begins_s)


def moved(audio: Waveform, by_s: float) -> Waveform:
    """The same audio, heard `by_s` seconds later."""
    undecoded, gaps = (
        tuple((a + by_s, b + by_s) for a, b in spans) for spans in (audio.undecoded, audio.gaps)
    )
    return replace(audio, start_s=audio.start_s + by_s, undecoded=undecoded, gaps=gaps)


@dataclass
class _Run:
    """Consecutive audio of one rate: when its first sample is heard, and blocks (n, 1 or 2) of a second."""

    time_s: float
    rate: int
    blocks: Iterator[Samples]


def _timed(
    media: Media, stream: AudioStream, damage: Damage, span: Span
) -> Iterator[tuple[float, int, Samples]]:
    """(time_s, rate, samples) of each frame, with one or two channels."""
    early_s = span[0] - SEEK_EARLY_S
    seek_s = early_s + media.origin_s if early_s > stream.start_s else None
    for time_s, _, frame in decoded(media, stream.index, damage, seek_s=seek_s, until_s=span[1]):
        if frame.samples and frame.sample_rate and time_s >= span[0]:
            yield time_s, frame.sample_rate, _front(_channels(frame), [c.name for c in frame.layout.channels])


def _in_memory(recording: Recording, span: Span) -> Iterator[tuple[float, int, Samples]]:
    """The same of a recording, a second at a time."""
    rate = recording.rate_hz
    values = np.asarray(recording.samples).reshape(len(recording.samples), -1)
    early = math.floor(max(0.0, span[0] - recording.audio_start_s))
    for first in range(early * rate, len(values), rate):
        block = _floats(values[first : first + rate])
        yield recording.audio_start_s + first / rate, rate, _front(block, ())


def _channels(frame: Any) -> Samples:
    """The samples of a PyAV frame, (n, channels) in [-1, 1]."""
    count, kind = frame.layout.nb_channels, np.dtype(DTYPES[frame.format.name])
    # PyAV's own `planes`, and so to_ndarray(), read beyond their end from 8 planar channels on.
    planes = [
        np.frombuffer(memoryview(AudioPlane(frame, number)), kind)
        for number in range(count if frame.format.is_planar else 1)
    ]
    if frame.format.is_planar:
        return _floats(np.stack([plane[: frame.samples] for plane in planes], axis=1))
    return _floats(planes[0][: frame.samples * count].reshape(-1, count))


def _floats(values: npt.NDArray[Any]) -> Samples:
    """Samples as numbers in [-1, 1], whatever they are stored as."""
    if values.dtype == np.uint8:
        return np.asarray((values.astype(np.float32) - 128) / 128, np.float32)
    scale = 1.0 if values.dtype.kind == "f" else 1 / -float(np.iinfo(values.dtype).min)
    return np.asarray(values * scale, np.float32)


def _front(values: Samples, names: Sequence[str]) -> Samples:
    """Mono or stereo (n, 1 or 2) from samples (n, channels) with channels of those names."""
    count = values.shape[1]
    if count <= 2:
        return values
    for known in (names, UNNAMED.get(count, ())):
        gains = np.array([[_gain(name, side) for name in known] for side in "LR"], np.float32)
        if count <= 8 and gains.any():
            return values @ gains.T
    # Beyond 7.1 the channels have no common names to mix by; broadcast puts the programme first.
    return values[:, :2]


def _gain(name: str, side: str) -> float:
    """Gain of a channel in the left or right of two, chosen for dialogue: that is in the centre, which gets 6
    dB more than in a mix for listening; the surround channels get less, the bass nothing."""
    if name == "FC":
        return CENTRE
    if name.startswith("LFE") or not name.endswith((side, "C")):
        return 0.0
    return 1.0 if name.startswith("F") or name.startswith("D") else SURROUND


def _runs(frames: Iterable[tuple[float, int, Samples]], begins_s: Sequence[float] = ()) -> Iterator[_Run]:
    """The frames as runs, each to be used up before the next. A gap or an overlap in the timestamps, another
    rate, another number of channels, or one of the times `begins_s` begins a new run."""
    coming = steady(
        ((time_s, len(samples) / rate, (rate, samples)) for time_s, rate, samples in frames), begins_s
    )
    ahead = next(coming, None)

    def blocks(time_s: float, rate: int, channels: int) -> Iterator[Samples]:
        nonlocal ahead
        count, held = 0, []
        while ahead is not None:
            begin_s, (its_rate, samples) = ahead
            if its_rate != rate or samples.shape[1] != channels:
                break
            if abs(begin_s - time_s - count / rate) > EDGE_S:
                break
            held.append(samples)
            count += len(samples)
            ahead = next(coming, None)
            if sum(map(len, held)) >= rate:
                yield np.concatenate(held)
                held = []
        if held:
            yield np.concatenate(held)

    while ahead is not None:
        time_s, (rate, samples) = ahead
        yield _Run(time_s, rate, blocks(time_s, rate, samples.shape[1]))


def mix(block: Samples, louder: int) -> Samples:
    """Stereo (n, 2) to mono (n,): the mean, or channel `louder` alone where they cancel each other."""
    mean = block.mean(axis=1)
    loudest = np.square(block).mean(axis=0).max(initial=0)
    return block[:, louder] if np.square(mean).mean() < CANCELLED * loudest else mean


def _stored(runs: Iterable[_Run], span: Span) -> Waveform:
    """The runs at 16 kHz on disk, in a file that goes away with the last reference to the waveform; the gaps
    between them take no space. Only what sounds in `span` is kept."""
    damaged = 0
    start_s: float | None = None
    power = np.zeros(2)

    def mono(blocks: Iterable[Samples]) -> Iterator[Samples]:
        nonlocal damaged, power
        for block in blocks:
            finite = np.isfinite(block)
            damaged += int(finite.size - finite.sum())
            clean = np.where(finite, block, np.float32(0))
            if clean.shape[1] == 1:
                yield clean[:, 0]
            else:
                power += np.square(clean, dtype=np.float64).sum(axis=0)
                yield mix(clean, louder=int(power[1] > power[0]))

    end, limit = 0, math.inf
    gaps: list[tuple[int, int]] = []
    try:
        with tempfile.TemporaryFile(prefix="avsync-") as file:
            for run in runs:
                start_s = run.time_s if start_s is None else start_s
                limit = SAMPLE_RATE * (span[1] - start_s)
                place = round((run.time_s - start_s) * SAMPLE_RATE)
                for block in resampled(mono(run.blocks), run.rate):
                    # What overlaps with what is there already is left out.
                    fresh = block[max(0, end - place) :] if place < end else block
                    if len(fresh) and end < limit:
                        if place - end >= EMPTY_S * SAMPLE_RATE:
                            gaps.append((end, place))
                        end = max(place, end) + len(fresh)
                        file.seek(4 * (end - len(fresh)))
                        file.write(fresh.astype(np.float32, copy=False).tobytes())
                    place += len(block)
                if end >= limit:
                    break
            file.flush()
            samples = np.memmap(file, np.float32, "r", shape=(end,)) if end else np.zeros(0, np.float32)
    except OSError as error:
        if isinstance(error, FFmpegError):
            raise
        raise cannot_store("the decoded audio", error) from error
    first_s = start_s or 0.0
    return Waveform(
        samples,
        first_s,
        damaged,
        gaps=tuple((first_s + a / SAMPLE_RATE, first_s + b / SAMPLE_RATE) for a, b in gaps),
    )


def resampled(blocks: Iterable[Samples], rate: int) -> Iterator[Samples]:
    """Mono blocks at `rate` Hz as blocks at 16 kHz: the same as resampling all of it at once."""
    if rate == SAMPLE_RATE:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")
    for block in blocks:
        if len(done := stream.resample_chunk(np.ascontiguousarray(block, np.float32))):
            yield done
    if len(done := stream.resample_chunk(np.zeros(0, np.float32), last=True)):
        yield done


def audio_condition(audio: Waveform) -> tuple[Reason, ...]:
    """Reasons for what is wrong with the audio as a whole; empty when nothing is."""
    if not len(audio.samples):
        return (Reason("empty-audio"),)
    peak = float(max(np.abs(block).max() for block in _seconds(audio.samples)))
    reasons = []
    if peak < SILENT_PEAK:
        reasons.append(Reason("silent-audio"))
    elif peak > 0.9:
        high = sum(int(np.count_nonzero(np.abs(block) > 0.75 * peak)) for block in _seconds(audio.samples))
        if high > CLIPPED_SHARE * len(audio.samples):
            reasons.append(Reason("clipped-audio"))
    if audio.damaged:
        reasons.append(Reason("not-numbers", {"values": audio.damaged}))
    return tuple(reasons)


def is_silent(samples: Samples) -> bool:
    """Whether it is digital silence (-80 dB or less)."""
    return all(np.abs(block).max() < SILENT_PEAK for block in _seconds(samples))


def _seconds(samples: Samples) -> Iterator[Samples]:
    for first in range(0, len(samples), 60 * SAMPLE_RATE):
        yield samples[first : first + 60 * SAMPLE_RATE]
        let_go(samples)


def let_go(samples: Samples) -> None:
    """Gives back the memory that a waveform on disk takes once it was read; it is read again where needed."""
    mapped = getattr(samples, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def mfcc(samples: Samples) -> npt.NDArray[np.float64]:
    """SyncNet's audio features, (13, n), 100 columns a second, from 16-bit samples as its authors use."""
    import python_speech_features

    whole = (np.clip(samples, -1, 1) * 32767).astype(np.int16)
    return np.asarray(python_speech_features.mfcc(whole, SAMPLE_RATE), np.float64).T
