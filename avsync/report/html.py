"""Reports as one self-contained HTML page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avsync import __version__
from avsync.core.constants import FRAME_MS
from avsync.core.files import Kind, protect, write_whole
from avsync.core.report import Fault, Report, Segment, TrackReport, Unjudged, Verdict
from avsync.core.text import printable, shell_word
from avsync.core.timecode import frame_at, label
from avsync.core.tolerance import defects, own_offset, unmendable, within
from avsync.estimate.repairable import joint, repair_shift
from avsync.report.html_charts import chart_words, coverage_bar, data_address, gauge, map_chart, offset_chart
from avsync.report.html_table import SCRIPT, SCRIPT_HASH, batch_row
from avsync.report.reasons import cause_words, face_words, fault_words, place_words
from avsync.report.repaired import bytes_words
from avsync.report.summary import limits_words, no_drift_words, notes, speech_words, summary
from avsync.report.thumbnails import thumbnails
from avsync.report.words import (
    VERDICT_WORDS,
    certainty_words,
    clock_time,
    drift_words,
    offset_words,
    percent,
)

if TYPE_CHECKING:
    from jinja2 import Environment

MAX_SECTIONS = 100
"""Files of a batch that are shown in full; no browser would open a page of thousands."""
SORTABLE_ROWS = 3
"""Fewest files for which the table can be sorted and the page has a script; smaller pages have none."""
MAX_FACES = 24
GENERATOR = '<meta name="generator" content="avsync">'
PAGE = Kind("page", lambda head: GENERATOR.encode() in head)
MAX_ROWS = 40
"""Most rows in a table of stretches; the JSON lists them all."""

MIN_JUDGED_S = 0.1

MARKS: dict[Verdict, str] = {
    "in-sync": "✓",
    "out-of-sync": "✕",
    "mismatch": "≠",
    "partly-judged": "◐",
    "cannot-tell": "?",
    "error": "!",
}
"""Marks that distinguish the verdicts without colour."""

SETTINGS = {
    "model": "Model",
    "max_offset_ms": "Largest error searched",
    "audio": "Audio from",
    "audio_track": "Audio track",
    "face_detector": "Face detector",
    "device": "Device",
    "stride": "Looked at",
    "sample": "Of a long video",
}


def save_page(reports: Report | Sequence[Report], path: str | Path) -> Path:
    """Write the page of one report, or of several, to `path`, replacing an older page atomically.

    Raises UsageError if that would overwrite a file of another kind, OutputError if the page cannot be
    written.
    """
    path = Path(path)
    protect(path, PAGE, "the report")
    chosen = [reports] if isinstance(reports, Report) else list(reports)
    frames = {number: thumbnails(chosen[number]) for number in sections(chosen)}
    return write_whole(path, render(chosen, datetime.now(UTC), frames).encode(), what="the report")


def render(
    reports: Sequence[Report], made: datetime, frames: Mapping[int, Mapping[int, bytes]] | None = None
) -> str:
    """The page as text. `made` is the time shown in its footer; `frames[report][fault]` is a frame of that
    fault as a JPEG image."""
    shown = sections(reports)
    return (
        _environment()
        .get_template("page.html")
        .render(
            reports=reports,
            shown=shown,
            frames=frames or {},
            sortable=len(reports) >= SORTABLE_ROWS,
            script=SCRIPT,
            script_hash=SCRIPT_HASH,
            made=f"{made:%Y-%m-%d %H:%M} UTC",
            version=__version__,
            counts=[(verdict, number) for verdict in MARKS if (number := _count(reports)[verdict])],
        )
    )


def sections(reports: Sequence[Report]) -> list[int]:
    """Numbers of the reports shown in full: all of them if they are few, otherwise those not in sync."""
    numbers = [n for n, report in enumerate(reports) if len(reports) <= MAX_SECTIONS or _wanting(report)]
    return numbers[:MAX_SECTIONS]


def _wanting(report: Report) -> bool:
    return report.verdict != "in-sync"


def keeper(files: int) -> Callable[[Report], Report]:
    """A function that strips a report of the images that a page of this many files will not show, so that a
    batch need not hold the images of a whole library in memory."""
    kept = 0

    def keep(report: Report) -> Report:
        nonlocal kept
        if kept < MAX_SECTIONS and (files <= MAX_SECTIONS or _wanting(report)):
            kept += 1
            return report
        return without_portraits(report)

    return keep


def without_portraits(report: Report) -> Report:
    """The report without its score map and the portraits of its faces."""
    tracks = tuple(replace(track, portrait=None) for track in report.tracks)
    return replace(report, tracks=tracks, score_map=None)


def _count(reports: Sequence[Report]) -> Counter[Verdict]:
    return Counter(report.verdict for report in reports)


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("avsync.report", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "clock": clock_time,
        "offset": offset_words,
        "percent": percent,
        "safe_name": printable,
    }
    environment.globals |= {
        "MARKS": MARKS,
        "MAX_ROWS": MAX_ROWS,
        "words": lambda verdict: _sentence(VERDICT_WORDS[verdict].lower()),
        "name": lambda report: printable(Path(report.path).name),
        "headline": headline,
        "advice": advice,
        "limits": limits_words,
        "notes": notes,
        "measured": measured,
        "certainty_words": certainty_words,
        "drift": drift,
        "speech": speech_words,
        "chart": offset_chart,
        "chart_words": chart_words,
        "gauge": gauge,
        "coverage_bar": coverage_bar,
        "batch_row": batch_row,
        "codes": time_codes,
        "jpeg": lambda image: data_address(image, "image/jpeg"),
        "score_chart": lambda report: report.score_map and map_chart(report, report.score_map),
        "parts": parts,
        "faces": faces,
        "coverage": coverage_words,
        "longest": longest,
        "spared": spared,
        "settings": settings,
        "within": within,
        "own_offset": own_offset,
        "cause": cause_words,
        "fault_words": fault_words,
        "place_words": place_words,
    }
    return environment


# --- What the page says ------------------------------------------------------------------


NO_FILES = (".m3u8", ".m3u", "standard input")
"""How reports on what cannot be repaired where it is end their paths; addresses are others."""


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}"


def headline(report: Report) -> str:
    """The summary as a sentence. An error's begins with a file name, which keeps its case."""
    said = summary(report)
    return said if report.verdict == "error" else _sentence(said)


def advice(report: Report) -> tuple[str, str]:
    """What to do about the verdict, and the command for it ("" if there is none)."""
    if report.verdict == "in-sync":
        return "Nothing needs to be done.", ""
    if report.verdict == "error":
        return "The file was not judged. Fix the problem named above, then check it again.", ""
    if report.verdict == "mismatch":
        return (
            "No shift fixes this. Check whether the right audio track was taken, or the speech is a dub.",
            "",
        )
    if report.verdict == "partly-judged":
        return (
            "Look at the stretches named below yourself. This does not mean that they are in sync; "
            "--min-judged says how much of the speech must be judged.",
            "",
        )
    if report.verdict == "cannot-tell":
        return (
            "Look at it yourself, or check a longer part in which a talking face is seen. "
            "This does not mean that the video is in sync.",
            "",
        )
    if unmendable(report):
        return (
            "No repair is proposed: a shift of the audio does not mend speech that the lips do not match. "
            "Look at the stretches named below, and check whether they are dubbed.",
            "",
        )
    if "://" in report.path or report.path.endswith(NO_FILES):
        return "Save it as one file; then check and repair that.", ""
    single = {"offset", "local"} >= set(defects(report)) and repair_shift(report) is not None
    joined = joint(report)
    if joined and not (single and joined["in_place"]):
        return (
            "The file consists of recordings that were joined: cut it after "
            f"{bytes_words(joined['cut_at_bytes'])}, then check and repair each part.",
            "",
        )
    if any(reason.kind == "edit-list" for reason in report.reasons):
        return (
            "The file shows parts of its tracks by an edit list; export a plain video and repair that.",
            "",
        )
    target = Path(report.path).with_stem(f"{Path(report.path).stem}-fixed")
    names = " ".join(_argument(str(path)) for path in (report.path, target))
    if not single:
        return (
            "No single shift fixes this: see below where, and by how much, the audio is off. "
            "This command re-times the audio, and encodes that track again:",
            f"avsync fix-offset {names} --method retime",
        )
    return "This command moves the audio, without encoding anything again:", f"avsync fix-offset {names}"


def _argument(path: str) -> str:
    """A file name as an argument of a command; none that begins like an option."""
    return shell_word(f"./{path}" if path.startswith("-") else path)


def measured(report: Report) -> str:
    """The offset with its uncertainty and probability; "" if none was measured."""
    if report.offset_ms is None:
        return ""
    guess = "best guess: " if report.verdict == "cannot-tell" else ""
    spread = "" if report.uncertainty_ms is None else f" ± {report.uncertainty_ms:.0f} ms"
    sure = f"{certainty_words(report.probability)} sure to within {FRAME_MS:.0f} ms"
    return f"{guess}audio {offset_words(report.offset_ms)}{spread}; {sure}"


def drift(report: Report) -> str:
    """The drift with its uncertainty; "" if it is unknown, or the lips do not match the speech."""
    known, spread = report.drift_ms_per_min, report.drift_uncertainty_ms_per_min
    if report.verdict == "mismatch" or (known is None and report.drift_possible_ms_per_min is None):
        return ""
    if known:
        return drift_words(known) + ("" if spread is None else f" ± {spread:.0f} ms")
    return no_drift_words(report)


def coverage_words(report: Report) -> str:
    """How much of the video the verdict covers."""
    if not report.duration_s or not report.tracks:
        return "None of it was judged."
    whole_s = report.duration_s
    judged_s = whole_s - sum(stretch.end_s - stretch.start_s for stretch in report.unjudged)
    if report.verdict == "mismatch" and not report.segments:
        return f"In none of its {whole_s:.1f} s do the lips fit the speech."
    if judged_s < MIN_JUDGED_S:
        return f"None of its {whole_s:.1f} s could be judged."
    if not report.unjudged:
        return f"All of its {whole_s:.1f} s were judged."
    return f"{judged_s:.1f} s of {whole_s:.1f} s were judged ({percent(judged_s / whole_s)})."


def time_codes(report: Report, stretch: Segment | Fault | Unjudged) -> str:
    """Time codes and frame numbers of a stretch; "" if the file's frame rate is unknown."""
    base = report.timebase
    if base is None:
        return ""
    first, past = frame_at(base, stretch.start_s), frame_at(base, stretch.end_s)
    return f"{label(base, first)} to {label(base, past)}, frames {first} to {past}"


def parts(report: Report) -> list[dict[str, Any]]:
    """Rows of the table beside the chart: the judged stretches; if there are more than MAX_ROWS, those out of
    tolerance come first."""
    judged = [segment for segment in report.segments if segment.offset_ms is not None]
    bad = [s for s in judged if not within(own_offset(s), report.tolerance_ms)]
    chosen = judged if len(judged) <= MAX_ROWS else (bad or judged)[:MAX_ROWS]
    return [{"segment": s, "bad": s in bad} for s in chosen]


def spared(report: Report) -> float:
    """Seconds skipped because the answer was already certain enough."""
    return sum(
        stretch.end_s - stretch.start_s for stretch in report.unjudged if stretch.cause == "not-needed"
    )


def longest(stretches: Sequence[Unjudged]) -> list[Unjudged]:
    """The MAX_ROWS longest stretches that were examined but not judged, in order of time."""
    looked_at = [stretch for stretch in stretches if stretch.cause != "not-needed"]
    by_length = sorted(looked_at, key=lambda s: s.start_s - s.end_s)
    return sorted(by_length[:MAX_ROWS], key=lambda s: s.start_s)


def faces(report: Report) -> list[dict[str, Any]]:
    """The faces that matter most, the speaker first and then by weight, with words and images."""
    ranked = sorted(report.tracks, key=lambda t: (not t.speaking, -t.weight * t.windows, t.start_s))
    return [_face(track) for track in ranked[:MAX_FACES]]


def _face(track: TrackReport) -> dict[str, Any]:
    if track.cause is not None:
        role = "not judged"
    elif track.speaking:
        role = "speaks"
    else:
        role = "counted"
    offset = track.offset if track.cause is None else None
    return {
        "track": track,
        "role": role,
        "said": face_words(track),
        "alt": f"Face {track.track}, {role}, {clock_time(track.start_s)} to {clock_time(track.end_s)}",
        "offset": offset,
        "portrait": data_address(track.portrait, "image/jpeg") if track.portrait else "",
    }


def settings(report: Report) -> list[tuple[str, str]]:
    """Names and values of the check's options."""
    chosen = report.settings or {"model": report.model, "audio_track": report.audio_track}
    rows = [("Judged by", limits_words(report))]
    for name, words in SETTINGS.items():
        if name in chosen and (name != "audio" or chosen["audio"]):
            rows.append((words, _setting(name, chosen[name], report)))
    if report.runtime:
        rows.append(("Model run by", printable(report.runtime)))
    if total := report.timings_s.get("total"):
        rows.append(("Took", f"{total:.0f} s"))
    return rows


def _setting(name: str, value: Any, report: Report) -> str:
    if name == "max_offset_ms":
        return f"{value:.0f} ms, early or late"
    if name == "audio_track":
        return "the default track" if value is None else f"{value} (0 is the first)"
    if name == "stride":
        step = report.stride or value
        every = {None: "no frame", 1: "every frame", 2: "every second frame"}
        return every.get(step, f"every {step}th frame")
    return printable(str(value))
