"""Re-time an audio track: resample to remove drift, and cut or pad where the offset jumps.

The frame at time t belongs to the audio at t - offset(t), so the repaired audio has that at t. Samples are
kept on disk.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from avsync.audio import full
from avsync.core.errors import CannotTell
from avsync.core.files import cannot_store
from avsync.core.records import Span
from avsync.core.report import Report
from avsync.core.streams import AudioStream, Media
from avsync.core.tolerance import within
from avsync.repair.codecs import Encoding
from avsync.repair.remux import Retimed

Samples = npt.NDArray[np.float32]
Scratch = tuple[IO[bytes], Path]
"""A temporary file, and a path that opens it."""

FADE_S = 0.01
"""Half a cross-fade: long enough to avoid a click, too short to be noticed."""
SEEK_S = 0.25
"""A jump is placed at the quietest moment within this distance of where it was measured, or further where it
is known less precisely."""
MAX_SEEK_S = 1.5
QUIET_S = 0.03
CONTEXT = 4096
"""Samples before a stretch that settle the resampler."""


@dataclass(frozen=True)
class Stretch:
    """A part [start_s, end_s) of the video whose offset is `offset_ms` at `at_s` and changes by `slope` ms a
    second. The first starts at -inf, the last ends at inf. `begins`: within which it starts, in seconds."""

    start_s: float
    end_s: float
    at_s: float
    offset_ms: float
    slope: float = 0.0
    begins: Span | None = None

    def offset_s(self, time_s: float) -> float:
        """How early the audio is at a time of the video, in seconds."""
        return (self.offset_ms + self.slope * (time_s - self.at_s)) / 1000


@dataclass(frozen=True)
class Part:
    """Samples [first, past) of the repaired audio, taken from sample `source` on at `speed` source samples
    each. `fade_in` and `fade_out` are numbers of samples."""

    first: int
    past: int
    source: float
    speed: float
    fade_in: int = 0
    fade_out: int = 0


# --- From the report to what is cut ------------------------------------------------------


def stretches(report: Report) -> tuple[Stretch, ...]:
    """The offset along the video, as measured: a line, and the local faults.

    Raises CannotTell when the report has no offset.
    """
    if report.offset_ms is None:
        raise CannotTell(f"The offset of {report.path} is not known, so it cannot be re-timed.")
    slope = (report.drift_ms_per_min or 0.0) / 60
    seen = [(t.start_s, t.end_s) for t in report.tracks] or [(s.start_s, s.end_s) for s in report.segments]
    first_s, last_s = min((s for s, _ in seen), default=0.0), max((e for _, e in seen), default=math.inf)
    steady = [s for s in report.segments if s.offset_ms is not None and not s.fault]
    at_s = (steady[0].start_s + steady[0].end_s) / 2 if steady else 0.0
    offset_ms = steady[0].offset_ms if steady else None
    line = Stretch(-math.inf, math.inf, at_s, report.offset_ms if offset_ms is None else offset_ms, slope)
    found: list[Stretch] = []
    begun, line_begins = -math.inf, None
    for fault in report.faults:
        if fault.offset_ms is None:  # no offset repairs a mismatch
            continue
        middle_s = (fault.start_s + fault.end_s) / 2
        if within(fault.offset_ms - 1000 * line.offset_s(middle_s), report.tolerance_ms):
            continue  # in tolerance once the rest is repaired
        start = -math.inf if fault.start_s <= first_s else fault.start_s
        end = math.inf if fault.end_s >= last_s else fault.end_s
        if start > begun:
            found.append(replace(line, start_s=begun, end_s=start, begins=line_begins))
        found.append(Stretch(start, end, middle_s, fault.offset_ms, slope, fault.start_between_s))
        begun, line_begins = end, fault.end_between_s
    last = replace(line, start_s=begun, begins=line_begins)
    return (*found, last) if begun < math.inf else tuple(found)


def parts(found: Sequence[Stretch], audio: Samples, rate: int, start_s: float) -> tuple[Part, ...]:
    """The parts of audio (n, channels) starting at `start_s` that make it fit the video.

    Where the audio becomes earlier, some of it was lost and silence takes its place; where it becomes later,
    something was inserted and is cut out.
    """
    fade = round(FADE_S * rate)
    done: list[Part] = []
    fade_in, begin = 0, 0.0
    for here, after in zip(found, [*found[1:], None], strict=True):
        speed = 1 - here.slope / 1000
        place = (start_s + begin / rate - here.offset_s(start_s + begin / rate) - start_s) * rate
        if after is None:
            end = begin + (len(audio) - place) / speed
            done += _part(begin, end, place, speed, fade_in, 0)
            break
        jump_s = after.offset_s(here.end_s) - here.offset_s(here.end_s)
        heard_s = here.end_s - here.offset_s(here.end_s) - start_s - max(0.0, jump_s) / 2
        moved = _quietest(audio, rate, heard_s, _room(here.end_s, after.begins))
        edge = (here.end_s - start_s + moved) * rate
        half = abs(jump_s) * rate / 2
        if jump_s > 0:
            done += _part(begin, edge - half, place, speed, fade_in, fade)
            begin, fade_in = edge + half, fade
        else:
            done += _part(begin, edge + fade, place, speed, fade_in, 2 * fade)
            begin, fade_in = edge - fade, 2 * fade
    return tuple(done)


def _part(begin: float, end: float, place: float, speed: float, fade_in: int, fade_out: int) -> list[Part]:
    first, past = max(0, round(begin)), round(end)
    if past - first <= max(fade_in, fade_out):
        return []
    return [Part(first, past, place + (first - begin) * speed, speed, fade_in, fade_out)]


def _room(at_s: float, between: Span | None) -> Span:
    """How far before and after a jump that was measured at `at_s` its quiet moment is looked for, in seconds:
    half the way to the ends of the interval that holds it, or a little if that is short, but not far into
    what nobody is seen to say."""
    start_s, end_s = between or (at_s, at_s)
    before_s, after_s = (min(half, MAX_SEEK_S) for half in ((at_s - start_s) / 2, (end_s - at_s) / 2))
    return max(SEEK_S, before_s), max(SEEK_S, after_s)


def _quietest(audio: Samples, rate: int, at_s: float, room: Span) -> float:
    """Seconds from `at_s` to the quietest moment of the audio nearby, at most the `room` before and after."""
    length = round(QUIET_S * rate)
    first = max(0, round((at_s - room[0]) * rate))
    near = np.asarray(audio[first : max(0, round((at_s + room[1]) * rate)) + length], np.float64)
    if len(near) <= length:
        return 0.0
    power = np.cumsum(np.concatenate([[0.0], (near**2).sum(axis=1)]))
    level = np.maximum(power[length:] - power[:-length], 0)
    away = (first + np.arange(len(level)) + length / 2) / rate - at_s
    quiet = away[level <= 2 * level.min() + 1e-9]
    return float(quiet[np.argmin(np.abs(quiet))])


def prepared(
    media: Media,
    stream: AudioStream,
    found: Sequence[Stretch],
    decoded_to: Scratch,
    retimed_to: Scratch,
    encoding: Encoding,
) -> Retimed:
    """A track re-timed according to the report on its file, as raw samples in `retimed_to`.

    Raises MediaError when the track cannot be decoded, OutputError when there is no room for it.
    """
    samples = full.decoded(media, stream, decoded_to[0])
    cuts = parts(found, samples, stream.rate_hz, stream.start_s)
    count = write_retimed(samples, stream.rate_hz, cuts, retimed_to[0])
    return Retimed(
        stream=stream.index,
        path=retimed_to[1],
        rate_hz=stream.rate_hz,
        channels=stream.channels,
        layout=full.layout(media, stream),
        start_s=stream.start_s + media.origin_s,
        length_s=count / stream.rate_hz,
        encoding=encoding,
    )


# --- Audio ------------------------------------------------------------------------------


def write_retimed(samples: Samples, rate: int, cuts: Sequence[Part], file: IO[bytes]) -> int:
    """Write the parts as raw float32 to `file`; returns the number of samples per channel.

    Raises OutputError when the disk is full.
    """
    count = max((part.past for part in cuts), default=0)
    size = 4 * count * samples.shape[1]
    try:
        file.truncate(0)
        file.truncate(size)
        if size and hasattr(os, "posix_fallocate"):
            # On a full disk, writing to the mapping would kill the process.
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        raise cannot_store("the decoded audio", error) from error
    out = np.memmap(file, np.float32, "r+", shape=(count, samples.shape[1])) if count else samples[:0]
    for part in cuts:
        at = part.first
        for block in taken(samples, rate, part):
            out[at : at + len(block)] += block * _gain(part, at, len(block))[:, None]
            at += len(block)
    return count


def _gain(part: Part, at: int, count: int) -> Samples:
    here = np.arange(at, at + count) + 0.5
    rise = (here - part.first) / part.fade_in if part.fade_in else np.ones(count)
    fall = (part.past - here) / part.fade_out if part.fade_out else np.ones(count)
    return np.clip(np.minimum(rise, fall), 0, 1).astype(np.float32)


def taken(audio: Samples, rate: int, part: Part) -> Iterator[Samples]:
    """The samples of a part, (n, channels), a second or so at a time; silence beyond the audio's ends."""
    left = part.past - part.first
    if part.speed == 1:
        place = round(part.source)
        while left > 0:
            count = min(rate, left)
            yield _padded(audio, place, count)
            place, left = place + count, left - count
        return
    import soxr

    stream = soxr.ResampleStream(rate * part.speed, rate, audio.shape[1], dtype="float32")
    place = math.floor(part.source) - CONTEXT
    skip = round((part.source - place) / part.speed)
    while left > 0:
        block = stream.resample_chunk(_padded(audio, place, rate))
        place += rate
        block, skip = block[skip:], max(0, skip - len(block))
        yield block[:left]
        left -= len(block)


def _padded(audio: Samples, first: int, count: int) -> Samples:
    inside = audio[min(max(first, 0), len(audio)) : max(0, first + count)]
    before = min(count, max(0, -first))
    return np.pad(inside, ((before, count - before - len(inside)), (0, 0)))
