"""SMPTE time codes (HH:MM:SS:FF, drop-frame too) and frame numbers of moments in a file.

A frame number counts the frames of the file from its first one, 0, at a rate that editing suites have. A
time code is the label of a frame, counted from midnight. Drop-frame leaves out the first two labels (four at
59.94) of every minute that is no multiple of ten, so that the labels keep to the clock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

RATES = tuple(
    Fraction(*rate)
    for rate in (
        *((24000, 1001), (24, 1), (25, 1), (30000, 1001), (30, 1), (48000, 1001), (48, 1), (50, 1)),
        *((60000, 1001), (60, 1), (100, 1), (120000, 1001), (120, 1)),
    )
)
"""Frame rates of SMPTE ST 12 and its extensions, which editing suites offer."""
NEAR = 0.01
"""A rate nearer than this to one of RATES is meant to be it, as those of phones are."""
WRITTEN = re.compile(r"(\d{1,2}):(\d{2}):(\d{2})([:;.,])(\d{1,3})")
DAY_S = 86_400


@dataclass(frozen=True)
class Timebase:
    """How moments of a file are numbered: `rate` in frames a second, the presentation time `first_s` of frame
    0 in seconds, `start_frame`, its label as a count from midnight, and whether labels are drop-frame."""

    rate: Fraction
    first_s: float = 0.0
    start_frame: int = 0
    drop: bool = False

    @property
    def nominal(self) -> int:
        """Labels a second: 30 at 29.97."""
        return round(self.rate)


def timebase(fps: Fraction, first_s: float = 0.0, start: str | None = None) -> Timebase:
    """The timebase of a video of `fps` frames a second whose first frame is shown at `first_s`. `start`: the
    time code of that frame as the file stores it; one that cannot be read counts as 00:00:00:00."""
    rate, first_s = standard_rate(fps), round(first_s, 6)
    written = WRITTEN.fullmatch(start.strip()) if start else None
    if written is None:
        return Timebase(rate, first_s)
    hours, minutes, seconds, frames = (int(written[group]) for group in (1, 2, 3, 5))
    drop = written[4] != ":" and _can_drop(rate)
    base = Timebase(rate, first_s, 0, drop)
    if hours > 23 or minutes > 59 or seconds > 59 or frames >= base.nominal:
        return Timebase(rate, first_s)
    labels = ((hours * 60 + minutes) * 60 + seconds) * base.nominal + frames
    return Timebase(rate, first_s, labels - _left_out(base, hours * 60 + minutes), drop)


def standard_rate(fps: Fraction) -> Fraction:
    """The rate of RATES that `fps` is meant to be; else `fps` rounded to whole frames a second."""
    nearest = min(RATES, key=lambda rate: abs(rate - fps))
    return nearest if abs(nearest - fps) <= NEAR * fps else Fraction(max(1, round(fps)))


def frame_at(base: Timebase, time_s: float) -> int:
    """Number of the frame nearest to a presentation time; 0 before the first."""
    return max(0, round((time_s - base.first_s) * base.rate))


def label(base: Timebase, frame: int) -> str:
    """The time code of a frame: "01:00:00:00", or "01:00:00;00" where it is drop-frame. After a day it starts
    over."""
    count = (base.start_frame + frame) % _frames_a_day(base)
    if base.drop:
        count = _with_left_out(base, count)
    seconds, frames = divmod(count, base.nominal)
    minutes, seconds = divmod(seconds, 60)
    mark = ";" if base.drop else ":"
    width = len(str(base.nominal - 1))
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}{mark}{frames:0{max(2, width)}d}"


def timecode_at(base: Timebase, time_s: float) -> str:
    """The time code of the frame nearest to a presentation time."""
    return label(base, frame_at(base, time_s))


def _can_drop(rate: Fraction) -> bool:
    """Drop-frame is defined for 29.97 and its multiples."""
    return rate.denominator == 1001 and round(rate) % 30 == 0


def _left_out(base: Timebase, minutes: int) -> int:
    """Number of labels that drop-frame skips in that many minutes."""
    return base.nominal // 15 * (minutes - minutes // 10) if base.drop else 0


def _frames_a_day(base: Timebase) -> int:
    return DAY_S * base.nominal - _left_out(base, DAY_S // 60)


def _with_left_out(base: Timebase, count: int) -> int:
    """A count of frames as the count of labels, those that are left out included."""
    dropped = base.nominal // 15
    ten_minutes = 600 * base.nominal - 9 * dropped
    tens, rest = divmod(count, ten_minutes)
    whole_minute = 60 * base.nominal
    # The first minute of ten is whole; each of the others is shorter by what it leaves out.
    minutes = 0 if rest < whole_minute else 1 + (rest - whole_minute) // (whole_minute - dropped)
    return count + dropped * (9 * tens + minutes)
