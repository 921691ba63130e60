"""The sentences for the codes of `Reason.kind`, `Unjudged.cause` and `TrackReport.cause`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from avsync.core.report import Cause, Fault, Reason, ReasonKind, TrackReport, Unjudged
from avsync.report.words import clock_time, offset_words, percent

PLAIN_PLACE_S = 0.5
"""A place that is known this well is not said to be uncertain."""

# --- Reasons -----------------------------------------------------------------------------


def reason_words(reason: Reason) -> str:
    """The sentence of a reason, without a full stop unless it was written elsewhere."""
    return _WORDS[reason.kind](reason.values)


def _at_edge(v: Mapping[str, Any]) -> str:
    return (
        "the best offset lies at the edge of the search, so the true one may lie beyond; "
        f"try --max-offset-ms {2 * v['searched_ms']:.0f}"
    )


def _flat(v: Mapping[str, Any]) -> str:
    return (
        f"no offset up to {v['searched_ms']:.0f} ms stands out: the lips and the audio fit equally badly at "
        "all of them (--max-offset-ms searches further)"
    )


def _drift(v: Mapping[str, Any]) -> str:
    drift, limit = v["drift_ms_per_min"], v["limit_ms_per_min"]
    over = abs(drift) > limit
    allowed = f"more than the {limit:.0f} ms allowed" if over else f"{limit:.0f} ms are allowed"
    way = "earlier" if drift > 0 else "later"
    ends = ""
    if "from_s" in v:
        first, last = (
            f"{offset_words(v[f'{end}_ms'])} at {clock_time(v[f'{end}_s'])}" for end in ("from", "to")
        )
        ends = f": from {first} to {last}"
    return f"the audio drifts {way} by {abs(drift):.0f} ms a minute ({allowed}){ends}"


def _narrow_limits(v: Mapping[str, Any]) -> str:
    early, late, unsure = v["early_ms"], v["late_ms"], v["uncertainty_ms"]
    return (
        f"the offset is known to {unsure:.0f} ms only, too little to say whether it is within limits of "
        f"{early:g} ms early and {late:g} ms late"
    )


def _drift_near_limit(v: Mapping[str, Any]) -> str:
    limit, unsure = v["limit_ms_per_min"], v["uncertainty_ms_per_min"]
    return f"the limit of {limit:.0f} ms a minute lies within the drift's uncertainty of {unsure:.0f} ms"


def _near_limit(v: Mapping[str, Any]) -> str:
    limit, unsure = v["limit_ms"], v["uncertainty_ms"]
    return f"this is closer to the limit, {offset_words(limit)}, than its uncertainty of {unsure:.0f} ms"


def _partly(v: Mapping[str, Any]) -> str:
    judged, least = percent(v["judged_share"]), percent(v["min_judged"])
    return f"only {judged} of the speech over visible talking faces was judged (at least {least} must be)"


def _sampled(v: Mapping[str, Any]) -> str:
    return (
        f"looked at {_looked(v)}, spread over the video, until the answer was certain enough; a fault of "
        f"less than {clock_time(v['gap_s'])} may lie between (--sample exhaustive looks at all of it)"
    )


def _looked(v: Mapping[str, Any]) -> str:
    return f"{clock_time(v['looked_s'])} of {clock_time(v['duration_s'])}"


def _from_to(v: Mapping[str, Any]) -> str:
    return f"from {clock_time(v['start_s'])} to {clock_time(v['end_s'])}"


def _breaks_off(v: Mapping[str, Any]) -> str:
    end, stored = clock_time(v["end_s"]), clock_time(v["stored_end_s"])
    return f"the file breaks off: its audio ends at {end} instead of {stored}"


def _ends_early(v: Mapping[str, Any]) -> str:
    end, stored = clock_time(v["end_s"]), clock_time(v["stored_end_s"])
    return f"the file breaks off: it ends at {end}, where its header says {stored}"


def _unread(v: Mapping[str, Any]) -> str:
    return (
        f"the last {v['unread_bytes'] / 1e6:.1f} MB of the file could not be read, as happens when files are "
        "joined byte by byte; what they hold was not judged"
    )


def _jumps(v: Mapping[str, Any]) -> str:
    if not v["jumps"]:
        return "some packets have implausible timestamps and were left out"
    where = ", ".join(clock_time(at_s) for at_s in v["at_s"][:3]) + (" and later" if v["jumps"] > 3 else "")
    return f"the timestamps start over or jump at {where}; the parts were judged one after the other"


def _no_video(v: Mapping[str, Any]) -> str:
    end, lasts = clock_time(v["end_s"]), clock_time(v["duration_s"])
    return f"the video ends at {end}, though the file lasts {lasts}; the audio after that was not judged"


def _damaged(what: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda v: (
        f"the file is damaged: {v['lost_s']:.1f} s of its {what} could not be decoded, "
        f"between {clock_time(v['start_s'])} and {clock_time(v['end_s'])}"
    )


_WORDS: dict[ReasonKind, Callable[[Mapping[str, Any]], str]] = {
    "no-face": lambda _: "no face is seen for long enough",
    "no-face-with-audio": lambda _: "no face is seen with audio for long enough to judge",
    "no-face-judged": lambda _: "no talking face was judged",
    "too-brief": lambda v: f"only about {v['seconds']:.1f} s of talking face was judged, which is too little",
    "flat": _flat,
    "rival": lambda v: f"two offsets compete: {v['offset_ms']:+.0f} ms and {v['rival_ms']:+.0f} ms",
    "at-edge": _at_edge,
    "thin-evidence": lambda _: "the evidence is too thin",
    "mismatch": lambda _: (
        "the lips do not match this speech at any offset that was searched (--max-offset-ms searches further)"
    ),
    "silent": lambda _: "the audio is silent",
    "no-speech": lambda _: "no speech is heard",
    "partly-judged": _partly,
    "fault": lambda v: f"{_from_to(v)} the audio is {offset_words(v['offset_ms'])}",
    "mismatch-fault": lambda v: f"{_from_to(v)} the lips do not match the speech",
    "hint": lambda v: (
        f"{_from_to(v)} it seems to be {offset_words(v['offset_ms'])}, but the evidence is weak"
    ),
    "against": lambda v: f"{_from_to(v)} the lips do not confirm the offset of the rest",
    "drift": _drift,
    "drift-near-limit": _drift_near_limit,
    "near-limit": _near_limit,
    "narrow-limits": _narrow_limits,
    "stopped": lambda v: f"the check was stopped after {_looked(v)}",
    "stopped-at-once": lambda _: "the check was stopped before anything was judged",
    "sampled": _sampled,
    "other-audio-track": lambda v: (
        f"audio track {v['judged']} was judged: no speech is heard in track {v['default']}"
    ),
    "audio-breaks-off": _breaks_off,
    "breaks-off": _ends_early,
    "clock-jumps": _jumps,
    "edit-list": lambda _: (
        "the file shows parts of its tracks by an edit list, which was followed; export it as a plain video "
        "before a repair"
    ),
    "unread-end": _unread,
    "no-video-at-end": _no_video,
    "no-hardware-decoding": lambda v: (
        "the processor decoded the video, since "
        + ("no device was found that can" if v["asked"] == "auto" else f"{v['asked']} cannot")
    ),
    "damaged-video": _damaged("video"),
    "damaged-audio": _damaged("audio"),
    "empty-audio": lambda _: "The audio is empty.",
    "silent-audio": lambda _: "The audio is digital silence.",
    "clipped-audio": lambda _: "The audio is heavily clipped.",
    "not-numbers": lambda v: (
        f"The audio holds {v['values']} values that are not numbers; they were treated as silence."
    ),
    "file-changed": lambda _: "the file changed while it was checked; check it again when it is complete",
    "error": lambda v: v["message"],
}


def fault_words(fault: Fault) -> str:
    """ "274 ms late", or that the lips do not match the speech."""
    return "the lips do not match the speech" if fault.kind == "mismatch" else offset_words(fault.offset_ms)


def place_words(fault: Fault) -> str:
    """Between which times a fault begins and ends, where that is not known within PLAIN_PLACE_S: " (begins
    between 0:31.2 and 0:32.9)", or nothing."""
    edges = (("begins", fault.start_between_s), ("ends", fault.end_between_s))
    said = [
        f"{edge} between {clock_time(between[0])} and {clock_time(between[1])}"
        for edge, between in edges
        if between and between[1] - between[0] >= PLAIN_PLACE_S
    ]
    return f" ({', '.join(said)})" if said else ""


# --- Causes ------------------------------------------------------------------------------

_CAUSES: dict[Cause, str] = {
    "stopped": "the check was stopped before reaching it",
    "not-needed": "skipped, as the answer was certain enough without it",
    "excluded": "outside the part to be checked",
    "no-video": "the video has ended",
    "no-frames": "the video has no frames there",
    "damaged": "the video cannot be decoded there",
    "no-face": "no face is seen",
    "seen-too-briefly": "a face is seen too briefly to be compared",
    "no-audio": "there is no audio to compare the face with",
    "not-speaking": "the lips hardly fit the audio at any offset: a listener, a dub, or too brief to tell",
    "too-little-evidence": "too little evidence to tell the offset",
    "silent": "the audio is silent",
}


def cause_words(stretch: Unjudged) -> str:
    """Why a stretch was not judged."""
    words = _CAUSES[stretch.cause]
    if stretch.hint_ms is None:
        return words
    return f"{words}; it may be {offset_words(stretch.hint_ms)}"


def face_words(track: TrackReport) -> str:
    """Why a face was not judged; "" when it was."""
    length_s = track.end_s - track.start_s
    if track.cause is None:
        return ""
    if track.cause == "seen-too-briefly":
        return f"not compared: {length_s:.1f} s in which it is too briefly seen or has no audio"
    if track.cause == "no-audio":
        return "not compared: there is no audio with it"
    if track.cause == "too-little-evidence":
        return f"seen for only {length_s:.1f} s, which is too little to tell"
    evidence = f" (evidence {track.offset.evidence:.1f})" if track.offset else ""
    return f"its lips hardly fit the audio at any offset{evidence}"
