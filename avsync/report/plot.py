"""A plot of a Report: score against offset, and offset along the video."""

from __future__ import annotations

import io
import textwrap
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from avsync.core.constants import FRAME_MS, MIN_PROBABILITY, STANDARD_NAMES
from avsync.core.files import Kind, write_whole
from avsync.core.report import Offset, Report, TrackReport
from avsync.core.text import printable
from avsync.core.tolerance import within
from avsync.report.geometry import Stretch, extent, mismatches, stretches
from avsync.report.summary import summary
from avsync.report.words import VERDICT_WORDS, clock_time, offset_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SOFTWARE = "avsync"
PLOT = Kind("plot", lambda head: b"tEXtSoftware\0" + SOFTWARE.encode() in head)
_BAND = "#bfe3d0"
_EDGE = "#14633f"
_LINE = "#1f4e79"
_BAD = "#b3261e"
_GAP = "#8a8a8a"
_STYLES = ("-", "--", "-.", ":")
TITLE_CHARACTERS = 160


def save_plot(report: Report, path: Path) -> Path:
    """Draw `report` into a PNG at `path`, replacing it whole. Raises MediaError when it cannot be written."""
    image = io.BytesIO()
    with warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; the user need not be warned of that.
        warnings.filterwarnings("ignore", message="Glyph")
        plotted(report).savefig(image, format="png", dpi=120, metadata={"Software": SOFTWARE})
    return write_whole(path, image.getvalue(), what="the plot")


def plotted(report: Report) -> Figure:
    """The figure that `save_plot` writes: the scores above, the offset along the video below."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 8), layout="constrained")
    upper, lower = figure.subplots(2, 1)
    words = textwrap.shorten(f"{VERDICT_WORDS[report.verdict]}: {summary(report)}", TITLE_CHARACTERS)
    figure.suptitle(
        f"{_shorten(printable(Path(report.path).name))}\n{textwrap.fill(words, TITLE_CHARACTERS // 2)}",
        parse_math=False,
        fontweight="bold",
    )
    _draw_curves(upper, report)
    _draw_segments(lower, report)
    return figure


def _answer(report: Report) -> str:
    if report.offset_ms is None:
        return "no offset"
    guess = "" if report.verdict in ("in-sync", "out-of-sync") else "best guess: "
    return f"{guess}audio {offset_words(report.offset_ms)}"


def _shorten(name: str, length: int = 70) -> str:
    return name if len(name) <= length else f"{name[: length - 15]}...{name[-12:]}"


def _draw_curves(axes: Axes, report: Report) -> None:
    """Score against offset of the faces that speak, the tolerance band and the offset of the video."""
    axes.set_title("How well lips and speech agree at each offset (higher is better)", loc="left")
    axes.set_xlabel("audio late   <   offset in ms   >   audio early")
    axes.set_ylabel("score")
    early, late = report.tolerance_ms
    axes.axvspan(
        -late,
        early,
        facecolor=_BAND,
        edgecolor=_EDGE,
        zorder=0,
        label=f"in tolerance, {STANDARD_NAMES.get(report.standard, report.standard)}",
    )
    shown = _speakers(report)
    if not shown:
        _empty(axes, "no scores: no speaking face was found")
        return
    for number, (track, offset) in enumerate(shown):
        bad = offset.offset_ms is not None and not within(offset.offset_ms, report.tolerance_ms)
        axes.plot(
            -FRAME_MS * offset.shifts,
            offset.curve,
            color=_BAD if bad else _LINE,
            linestyle=_STYLES[number],
            marker="o",
            markersize=3.5,
            label=f"face {track.track}",
        )
    if report.offset_ms is not None:
        axes.axvline(report.offset_ms, color="black", linestyle="--", linewidth=1, label=_answer(report))
    axes.margins(y=0.15)
    axes.grid(alpha=0.3)
    _legend(axes)


def _speakers(report: Report) -> list[tuple[TrackReport, Offset]]:
    """The faces with the most evidence of an offset of their own, as many as can be told apart in a plot; the
    one with the most if none is sure."""
    scored = [(t, t.offset) for t in report.tracks if t.offset and np.isfinite(t.offset.curve).any()]
    sure = [both for both in scored if both[1].probability >= MIN_PROBABILITY]
    ranked = sorted(sure or [both for both in scored if both[0].speaking], key=lambda both: -both[1].evidence)
    return sorted(ranked[: len(_STYLES) if sure else 1], key=lambda both: both[0].track)


def _draw_segments(axes: Axes, report: Report) -> None:
    """Offset of each segment along the video; grey hatching where there was too little to judge."""
    axes.set_title("Offset along the video", loc="left")
    axes.set_xlabel("time in the video")
    axes.set_ylabel("late   <   ms   >   early")
    early, late = report.tolerance_ms
    axes.axhspan(-late, early, facecolor=_BAND, edgecolor=_EDGE, zorder=0, label="in tolerance")
    shown = stretches(report)
    for stretch in shown:
        _draw_stretch(axes, stretch)
    for gap in report.unjudged:
        span = (gap.start_s, gap.end_s)
        axes.axvspan(*span, facecolor="none", edgecolor=_GAP, hatch="//", linewidth=0, label="not judged")
    for span in mismatches(report):
        words = "lips do not match the speech"
        axes.axvspan(*span, facecolor="none", edgecolor=_BAD, hatch="xx", linewidth=0, label=words)
    if not (shown or report.unjudged or report.faults):
        _empty(axes, "no segments: nothing could be judged")
        return
    reach = extent(report, shown)
    axes.set_xlim(reach.start_s, reach.end_s)
    axes.set_ylim(reach.low_ms, reach.high_ms)
    axes.xaxis.set_major_formatter(lambda value, _position: clock_time(value))
    axes.grid(alpha=0.3)
    _legend(axes)


def _draw_stretch(axes: Axes, stretch: Stretch) -> None:
    span = (stretch.start_s, stretch.end_s)
    colour, width, marker = (_BAD, 4.0, "x") if stretch.bad else (_LINE, 2.0, "|")
    low, high = stretch.offset_ms - stretch.spread_ms, stretch.offset_ms + stretch.spread_ms
    axes.fill_between(span, low, high, color=colour, alpha=0.2, linewidth=0)
    if not stretch.own:
        label, width, style = "agrees with the rest", 1.0, ":"
    else:
        label, style = ("measured, out of tolerance" if stretch.bad else "measured"), "-"
    axes.plot(
        span,
        [stretch.offset_ms] * 2,
        color=colour,
        linewidth=width,
        marker=marker,
        linestyle=style,
        label=label,
    )


def _legend(axes: Axes) -> None:
    """Each label once, under the axes, where it hides no data."""
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    axes.legend(
        list(once.values()),
        list(once),
        loc="upper center",
        bbox_to_anchor=(0.5, -0.16),
        ncols=4,
        fontsize="small",
        frameon=False,
    )


def _empty(axes: Axes, words: str) -> None:
    axes.text(0.5, 0.5, words, ha="center", va="center", transform=axes.transAxes)
    axes.set_yticks([])
