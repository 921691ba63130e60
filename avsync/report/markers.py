"""A Report as markers for editing suites: OpenTimelineIO, EDL (CMX 3600), Final Cut Pro XML, CSV.

The markers are made once, in frames of the file; each writer only formats them. OpenTimelineIO's own adapters
for EDL and FCPXML are not used for writing: version 1.0.0 of the first turns 29.97 non-drop into drop-frame
and omits the FCM line; that of the second writes no frame duration at 29.97 and omits elements that Apple's
DTD requires. A test reads these files back with both.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

from avsync.core.errors import SetupError, UsageError
from avsync.core.files import Kind, write_whole
from avsync.core.report import Fault, Report, Segment, Unjudged, Verdict
from avsync.core.text import printable, spreadsheet_text
from avsync.core.timecode import Timebase, frame_at, label
from avsync.core.tolerance import own_offset, within
from avsync.report.reasons import cause_words, fault_words, place_words
from avsync.report.summary import summary
from avsync.report.words import VERDICT_WORDS, offset_words, percent

SUFFIXES = (".otio", ".edl", ".fcpxml", ".csv")
COLUMNS = ("kind", "name", "start timecode", "end timecode", "start frame", "end frame", "offset ms", "note")
OPENING = "TITLE: avsync "
MARKERS = Kind(
    "marker file",
    lambda head: (
        head.startswith((OPENING.encode(), ",".join(COLUMNS).encode()))
        or b'"avsync"' in head[:400]
        or b'<event name="avsync">' in head
    ),
)
TITLE_LENGTH = 70
"""Longest title line that CMX 3600 allows."""
MOST_EVENTS = 999
"""As many as CMX 3600 can number."""
MIN_GAP_S = 1.0
"""Shortest unjudged stretch that gets a marker."""

MarkerKind = Literal["verdict", "fault", "judged", "not judged"]
Colour = Literal["RED", "ORANGE", "YELLOW", "GREEN"]
VERDICT_COLOURS: dict[Verdict, Colour] = {"in-sync": "GREEN", "out-of-sync": "RED", "mismatch": "RED"}
"""The other verdicts are YELLOW."""
SEVERITY: tuple[Colour, ...] = ("RED", "ORANGE", "YELLOW", "GREEN")
"""Worst first."""
RESOLVE = {"RED": "Red", "ORANGE": "Sand", "YELLOW": "Yellow", "GREEN": "Green"}
"""Names of the colours in DaVinci Resolve."""


@dataclass(frozen=True)
class Marker:
    """A marker over the frames [start, end) of the file, at least one."""

    kind: MarkerKind
    name: str
    start: int
    end: int
    colour: Colour
    offset_ms: float | None
    note: str


def save_markers(report: Report, path: str | Path) -> Path:
    """Write the markers of `report` in the format that the suffix of `path` names, replacing older ones.

    Raises:
        UsageError: the suffix is none of SUFFIXES, or the file has no video whose frames could be counted.
        SetupError: OpenTimelineIO, which writes .otio, is not installed.
        OutputError: the file cannot be written.
    """
    path = Path(path)
    write = writer(path)
    if report.timebase is None:
        raise UsageError(f"{report.path} has no video whose frames could be marked; give a video.")
    return write_whole(path, write(report, report.timebase).encode(), what="the markers")


def writer(path: Path) -> Callable[[Report, Timebase], str]:
    """The function that formats this kind of file. Raises UsageError for an unknown suffix, SetupError as
    above."""
    suffix = path.suffix.lower()
    if suffix not in WRITERS:
        raise UsageError(
            f"{path} is not a marker file; give --markers a name that ends in {', '.join(SUFFIXES)}."
        )
    if suffix == ".otio":
        _otio()
    return WRITERS[suffix]


def markers(report: Report, base: Timebase) -> list[Marker]:
    """The verdict over the whole file, then faults, judged stretches and gaps, in order of time."""
    whole = _frames(base, 0.0, report.duration_s or 0.0)
    colour = VERDICT_COLOURS.get(report.verdict, "YELLOW")
    words = VERDICT_WORDS[report.verdict].lower()
    first = Marker("verdict", words, *whole, colour, report.offset_ms, summary(report))
    rest = [
        *(_of_fault(fault, base) for fault in report.faults),
        *(_of_segment(part, base, report.tolerance_ms) for part in report.segments if _shown(part)),
        *(_of_gap(gap, base) for gap in report.unjudged if gap.end_s - gap.start_s >= MIN_GAP_S),
    ]
    return [first, *sorted(rest, key=lambda marker: (marker.start, marker.kind))]


def _shown(part: Segment) -> bool:
    return part.offset_ms is not None and not part.fault


def _of_fault(fault: Fault, base: Timebase) -> Marker:
    colour: Colour = "ORANGE" if fault.severity == "slight" else "RED"
    note = f"{fault.severity}, {percent(fault.probability)} sure{place_words(fault)}"
    frames = _frames(base, fault.start_s, fault.end_s)
    return Marker("fault", _named(fault), *frames, colour, fault.offset_ms, note)


def _named(fault: Fault) -> str:
    words = fault_words(fault)
    return words if fault.kind == "mismatch" else f"audio {words}"


def _of_segment(part: Segment, base: Timebase, tolerance_ms: tuple[float, float]) -> Marker:
    offset_ms = own_offset(part)
    inside = within(offset_ms, tolerance_ms)
    note = f"{'in' if inside else 'out of'} tolerance, {percent(part.probability)} sure"
    frames = _frames(base, part.start_s, part.end_s)
    return Marker(
        "judged", f"audio {offset_words(offset_ms)}", *frames, "GREEN" if inside else "RED", offset_ms, note
    )


def _of_gap(gap: Unjudged, base: Timebase) -> Marker:
    frames = _frames(base, gap.start_s, gap.end_s)
    return Marker("not judged", cause_words(gap), *frames, "YELLOW", gap.hint_ms, "")


def _frames(base: Timebase, start_s: float, end_s: float) -> tuple[int, int]:
    start = frame_at(base, start_s)
    return start, max(start + 1, frame_at(base, end_s))


# --- The formats -------------------------------------------------------------------------


def to_csv(report: Report, base: Timebase) -> str:
    """One row per marker, for spreadsheets and scripts."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\r\n")
    rows.writerow(COLUMNS)
    for marker in markers(report, base):
        offset = "" if marker.offset_ms is None else f"{marker.offset_ms:.0f}"
        codes = (label(base, marker.start), label(base, marker.end))
        row = (marker.kind, marker.name, *codes, marker.start, marker.end, offset, marker.note)
        rows.writerow([spreadsheet_text(v) if isinstance(v, str) else v for v in row])
    return text.getvalue()


def to_edl(report: Report, base: Timebase) -> str:
    """A CMX 3600 list with a one-frame event for each marker, like those that DaVinci Resolve exports.
    Resolve reads the line with |C: |M: |D: (the length in frames), Avid and OpenTimelineIO read `* LOC:`. The
    verdict goes into the title: as an event it would push the first marker off its frame. Of more than
    MOST_EVENTS markers, those in tolerance are left out first."""
    name = printable(Path(report.path).name)
    verdict, *rest = markers(report, base)
    kept = _worst(rest, MOST_EVENTS) or [verdict]
    title = f"{OPENING}{verdict.name}, {name}"[:TITLE_LENGTH]
    lines = [title, f"FCM: {'DROP FRAME' if base.drop else 'NON-DROP FRAME'}", ""]
    last = -1
    for number, marker in enumerate(kept, 1):
        # Events may not overlap, so the second of two markers on one frame moves by a frame.
        last = max(marker.start, last + 1)
        first, past = label(base, last), label(base, last + 1)
        words = _plain(f"{marker.kind}: {marker.name}")
        note = f"avsync: {_plain(marker.note)}" if marker.note else ""
        colour = f"|C:ResolveColor{RESOLVE[marker.colour]}"
        lines += [
            f"{number:03d}  AX       V     C        {first} {past} {first} {past}",
            f"{note} {colour} |M:{words} |D:{marker.end - marker.start}",
            f"* FROM CLIP NAME: {name}",
            f"* LOC: {first} {marker.colour:<7} {words}",
            "",
        ]
    if (left_out := len(rest) - MOST_EVENTS) > 0:
        lines.insert(-1, f"* {left_out} MARKERS LEFT OUT: CMX 3600 HAS AT MOST {MOST_EVENTS} EVENTS")
    return "\n".join(lines)


def _worst(marked: list[Marker], most: int) -> list[Marker]:
    """At most so many markers, the worst colours first, in order of time."""
    worst = sorted(range(len(marked)), key=lambda place: SEVERITY.index(marked[place].colour))[:most]
    return [marked[place] for place in sorted(worst)]


def _plain(text: str) -> str:
    """Text for one field of an EDL line; `|` would end the field."""
    return " ".join(printable(text).replace("|", "/").split())


def to_fcpxml(report: Report, base: Timebase) -> str:
    """FCPXML 1.9, valid by its DTD: an event with a project that holds the clip and its markers."""
    source = Path(report.path).absolute()
    whole = max(marker.end for marker in markers(report, base))
    start, length = _seconds(base, base.start_frame), _seconds(base, whole)
    tc = {"tcStart": start, "tcFormat": "DF" if base.drop else "NDF"}
    root = ElementTree.Element("fcpxml", version="1.9")
    resources = ElementTree.SubElement(root, "resources")
    ElementTree.SubElement(resources, "format", id="r1", frameDuration=_seconds(base, 1))
    name = printable(source.name)
    held = {"id": "r2", "name": name, "start": start, "duration": length, "format": "r1"}
    asset = ElementTree.SubElement(resources, "asset", {**held, "hasVideo": "1", "hasAudio": "1"})
    ElementTree.SubElement(asset, "media-rep", kind="original-media", src=source.as_uri())
    event = ElementTree.SubElement(root, "event", name="avsync")
    project = ElementTree.SubElement(event, "project", name=name)
    sequence = ElementTree.SubElement(project, "sequence", {"format": "r1", "duration": length, **tc})
    spine = ElementTree.SubElement(sequence, "spine")
    placed = {"ref": "r2", "name": name, "offset": start, "start": start, "duration": length}
    clip = ElementTree.SubElement(spine, "asset-clip", {**placed, "format": "r1", "tcFormat": tc["tcFormat"]})
    for marker in markers(report, base):
        ElementTree.SubElement(
            clip,
            "marker",
            start=_seconds(base, base.start_frame + marker.start),
            duration=_seconds(base, marker.end - marker.start),
            value=printable(f"{marker.kind}: {marker.name}"),
            note=printable(marker.note),
        )
    ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE fcpxml>\n{body}\n'


def _seconds(base: Timebase, frames: int) -> str:
    """A number of frames as an FCPXML time: "1001/30000s"."""
    time = Fraction(frames) / base.rate
    return f"{time.numerator}s" if time.denominator == 1 else f"{time.numerator}/{time.denominator}s"


def to_otio(report: Report, base: Timebase) -> str:
    """A timeline with one clip that carries the markers. Raises SetupError without OpenTimelineIO."""
    otio = _otio()
    rate = float(base.rate)

    def time(frames: int) -> object:
        return otio.opentime.RationalTime(frames, rate)

    def span(start: int, frames: int) -> object:
        return otio.opentime.TimeRange(time(base.start_frame + start), time(frames))

    chosen = markers(report, base)
    whole = span(0, max(marker.end for marker in chosen))
    name = printable(Path(report.path).name)
    reference = otio.schema.ExternalReference(Path(report.path).absolute().as_uri(), whole)
    clip = otio.schema.Clip(name, reference, whole)
    for marker in chosen:
        clip.markers.append(
            otio.schema.Marker(
                name=printable(f"{marker.kind}: {marker.name}"),
                marked_range=span(marker.start, marker.end - marker.start),
                color=marker.colour,
                comment=printable(marker.note),
                metadata={"avsync": {"kind": marker.kind, "offset_ms": marker.offset_ms}},
            )
        )
    timeline = otio.schema.Timeline(
        name, global_start_time=time(base.start_frame), metadata={"avsync": {"drop_frame": base.drop}}
    )
    timeline.tracks.append(otio.schema.Track("V1", [clip], kind=otio.schema.TrackKind.Video))
    return otio.adapters.write_to_string(timeline, "otio_json")


def _otio() -> Any:
    try:
        import opentimelineio
    except ImportError as error:
        raise SetupError(
            "OpenTimelineIO, which writes .otio files, is not installed; get it with: "
            "pip install 'avsync[editors]' - or choose .edl, .fcpxml or .csv."
        ) from error
    return opentimelineio


WRITERS: dict[str, Callable[[Report, Timebase], str]] = {
    ".otio": to_otio,
    ".edl": to_edl,
    ".fcpxml": to_fcpxml,
    ".csv": to_csv,
}
