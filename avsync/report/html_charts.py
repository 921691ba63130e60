"""Layout of the charts on a page: time in percent of the width, offsets in pixels from the top.

The templates draw them. Percent and pixels, rather than one scaled drawing, keep letters readable on a phone.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avsync.core.records import Span
from avsync.core.report import Report, ScoreMap, Unjudged
from avsync.core.tolerance import own_offset, within
from avsync.report.geometry import Stretch, extent, judged, mismatches, stretches
from avsync.report.words import clock_time, offset_words

HEIGHT = 220
"""Pixels, without the time labels below."""
TIME_LABELS = 5
"""As many as fit on a phone."""
OFFSET_LABELS = 6
WIDE = 22.0
"""Percent of the width that a label inside a bar needs on a phone."""
LABELS_WIDE = 26.0
"""Percent of the width that three labels side by side need on a phone."""
MAP_LOW, MAP_HIGH = -1.5, 2.0
"""Log-likelihood ratios drawn darkest and lightest; fixed, so that a map of noise looks like noise."""
MAP_COLOURS = "cividis"
"""Lightness alone tells high from low, in print and for readers who do not see colours."""
MAP_ROWS = 200
MAX_SAID = 8
"""Stretches that the words of a chart name."""
_STEPS_S = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)


@dataclass(frozen=True)
class Tick:
    """A label; `at` is percent of the width, or pixels from the top."""

    at: float
    label: str


@dataclass(frozen=True)
class Bar:
    """A stretch of time, in percent. A measured one has its offset at `y` and its 95 % interval from `top`
    down `height`, in pixels. `label` is "" if there is no room for one."""

    left: float
    width: float
    label: str
    y: float = 0.0
    top: float = 0.0
    height: float = 0.0
    bad: bool = False
    own: bool = True
    """Measured in this stretch alone; otherwise it merely agrees with the rest."""


@dataclass(frozen=True)
class Gauge:
    """The offset beside the tolerance, in percent of the width, late on the left: the tolerance from `late`
    to `early`, the answer `at` with its 95 % interval, and the offsets of local faults. `narrow`: the
    tolerance is too small here for three labels under it."""

    late: float
    early: float
    zero: float
    at: float
    left: float
    width: float
    ticks: tuple[Tick, ...]
    faults: tuple[float, ...]
    narrow: bool


@dataclass(frozen=True)
class Axes:
    """Times [start_s, end_s] along the width, offsets in ms up the height; early is above."""

    start_s: float
    end_s: float
    low_ms: float
    high_ms: float

    def x(self, time_s: float) -> float:
        """Percent of the width."""
        return round(100 * (time_s - self.start_s) / max(1e-9, self.end_s - self.start_s), 3)

    def y(self, offset_ms: float) -> float:
        """Pixels from the top."""
        part = (self.high_ms - offset_ms) / max(1e-9, self.high_ms - self.low_ms)
        return round(HEIGHT * min(1.0, max(0.0, part)), 1)


@dataclass(frozen=True)
class Chart:
    """A chart: ticks, the tolerance band (from `early_y` to `late_y`), and what it shows."""

    times: tuple[Tick, ...]
    offsets: tuple[Tick, ...]
    early_y: float
    late_y: float
    zero_y: float
    bars: tuple[Bar, ...] = ()
    gaps: tuple[Bar, ...] = ()
    mismatches: tuple[Bar, ...] = ()
    image: str = ""
    """The score map's image as a data URL, if there is one."""
    image_left: float = 0.0
    image_width: float = 100.0
    answer_y: float | None = None


def offset_chart(report: Report) -> Chart:
    """The offset of each face along the video, and what was not judged."""
    shown = stretches(report)
    reach = extent(report, shown)
    axes = Axes(reach.start_s, reach.end_s, reach.low_ms, reach.high_ms)
    several = len({stretch.face for stretch in shown}) > 1
    foreign = mismatches(report)
    return _chart(
        axes,
        report,
        bars=tuple(_bar(axes, stretch, several) for stretch in shown),
        gaps=tuple(_gap(axes, (gap.start_s, gap.end_s), _why(gap, foreign)) for gap in report.unjudged),
        mismatches=tuple(_gap(axes, span, "✕ lips do not match") for span in foreign),
    )


def chart_words(report: Report) -> str:
    """What the chart shows, for screen readers."""
    shown = stretches(report)
    said = [
        f"{clock_time(s.start_s)} to {clock_time(s.end_s)} {offset_words(s.offset_ms)}, "
        f"{'outside' if s.bad else 'inside'} the tolerance"
        for s in sorted(shown, key=lambda s: not s.bad)[:MAX_SAID]
    ]
    foreign = [f"{clock_time(a)} to {clock_time(b)} lips that do not match" for a, b in mismatches(report)]
    said = [*foreign[:MAX_SAID], *said]
    if not said:
        return "No stretch has an offset."
    more = f"; and {len(shown) - MAX_SAID} more, which the table below has" if len(shown) > MAX_SAID else ""
    return f"Audio: {'; '.join(said)}{more}."


def gauge(report: Report) -> Gauge | None:
    """The offset of the file beside the tolerance, with those of its faults; None if the file has none."""
    if report.offset_ms is None:
        return None
    early, late = report.tolerance_ms
    spread = report.uncertainty_ms or 0.0
    elsewhere = [fault.offset_ms for fault in report.faults if fault.offset_ms is not None]
    reach = 1.35 * max(early, late, abs(report.offset_ms) + spread, *map(abs, elsewhere))
    axes = Axes(-reach, reach, 0.0, 1.0)
    left, right = axes.x(report.offset_ms - spread), axes.x(report.offset_ms + spread)
    narrow = axes.x(early) - axes.x(-late) < LABELS_WIDE
    labels = {-late: f"-{late:.0f}", early: f"+{early:.0f}"} | ({} if narrow else {0.0: "0"})
    return Gauge(
        late=axes.x(-late),
        early=axes.x(early),
        zero=axes.x(0.0),
        at=axes.x(report.offset_ms),
        left=left,
        width=round(right - left, 3),
        ticks=tuple(Tick(axes.x(offset), label) for offset, label in sorted(labels.items())),
        faults=tuple(axes.x(offset_ms) for offset_ms in elsewhere),
        narrow=narrow,
    )


def coverage_bar(report: Report) -> tuple[Bar, ...]:
    """The judged stretches along the video; the gaps between them were not judged."""
    axes = Axes(0.0, extent(report, ()).end_s, 0.0, 1.0)
    return tuple(
        Bar(
            axes.x(part.start_s),
            round(axes.x(part.end_s) - axes.x(part.start_s), 3),
            "",
            bad=not within(own_offset(part), report.tolerance_ms),
        )
        for part in judged(report)
    )


def map_chart(report: Report, scores: ScoreMap) -> Chart:
    """The score of each offset at each time, as an image behind the same axes."""
    low, high = float(scores.offsets_ms.min()), float(scores.offsets_ms.max())
    half = (high - low) / max(1, len(scores.offsets_ms) - 1) / 2
    end = scores.start_s + scores.step_s * len(scores.values)
    axes = Axes(0.0, max(end, report.duration_s or 0.0), low - half, high + half)
    answer = report.offset_ms
    return _chart(
        axes,
        report,
        image=data_address(map_image(scores.values), "image/png"),
        image_left=axes.x(scores.start_s),
        image_width=round(axes.x(end) - axes.x(scores.start_s), 3),
        answer_y=None if answer is None else axes.y(answer),
    )


def _chart(axes: Axes, report: Report, **shown: object) -> Chart:
    early, late = report.tolerance_ms
    return Chart(
        times=time_ticks(axes),
        offsets=offset_ticks(axes),
        early_y=axes.y(early),
        late_y=axes.y(-late),
        zero_y=axes.y(0.0),
        **shown,  # pyright: ignore[reportArgumentType]
    )


def _bar(axes: Axes, stretch: Stretch, several: bool) -> Bar:
    left, right = axes.x(stretch.start_s), axes.x(stretch.end_s)
    top = axes.y(stretch.offset_ms + stretch.spread_ms)
    bottom = axes.y(stretch.offset_ms - stretch.spread_ms)
    face = f"face {stretch.face}: " if several else ""
    label = f"{face}{offset_words(stretch.offset_ms)}" if right - left >= WIDE else ""
    width, height = round(right - left, 3), round(bottom - top, 1)
    return Bar(left, width, label, axes.y(stretch.offset_ms), top, height, stretch.bad, stretch.own)


def _why(gap: Unjudged, foreign: Sequence[Span]) -> str:
    """The label of a gap; none where a mismatch says more."""
    middle = (gap.start_s + gap.end_s) / 2
    return "" if any(start_s <= middle < end_s for start_s, end_s in foreign) else "not judged"


def _gap(axes: Axes, span: Span, words: str) -> Bar:
    left, right = axes.x(span[0]), axes.x(span[1])
    return Bar(left, round(right - left, 3), words if right - left >= WIDE else "")


def time_ticks(axes: Axes) -> tuple[Tick, ...]:
    """At most TIME_LABELS round times."""
    span = axes.end_s - axes.start_s
    step = next((s for s in _STEPS_S if span / s <= TIME_LABELS - 0.5), span)
    first = math.ceil(axes.start_s / step)
    times = [step * i for i in range(first, first + TIME_LABELS) if step * i <= axes.end_s]
    return tuple(Tick(axes.x(time), clock_time(time)) for time in times)


def offset_ticks(axes: Axes) -> tuple[Tick, ...]:
    """At most about OFFSET_LABELS round offsets, 0 among them."""
    span = axes.high_ms - axes.low_ms
    unit = 10.0 ** math.floor(math.log10(span / OFFSET_LABELS))
    step = next(unit * factor for factor in (1, 2, 5, 10) if span / (unit * factor) <= OFFSET_LABELS)
    first, last = math.ceil(axes.low_ms / step), math.floor(axes.high_ms / step)
    return tuple(Tick(axes.y(step * i), f"{step * i:+.0f}" if i else "0") for i in range(first, last + 1))


def map_image(values: npt.NDArray[np.float32]) -> bytes:
    """PNG of scores (n_spans, n_offsets): one column per span, the first offset on top, NaN transparent."""
    from matplotlib import colormaps

    from avsync.media.images import encoded

    rows = values.T
    block = -(-len(rows) // MAP_ROWS)
    if block > 1:
        rows = np.pad(rows, ((0, -len(rows) % block), (0, 0)), constant_values=np.nan)
        rows = np.fmax.reduce(rows.reshape(-1, block, rows.shape[1]), axis=1)
    share = np.clip((rows - MAP_LOW) / (MAP_HIGH - MAP_LOW), 0, 1)
    image = colormaps[MAP_COLOURS](np.nan_to_num(share), bytes=True)
    image[..., 3] = np.where(np.isfinite(rows), 255, 0)
    return encoded(np.ascontiguousarray(image), ".png")


def data_address(content: bytes, kind: str) -> str:
    """The content as a data URL, so that the page needs no other file."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
