"""What a report notes about the file itself: damage, seams, missing ends, and how much was looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from avsync.audio import waveform
from avsync.core.constants import SAMPLE_RATE
from avsync.core.options import CheckOptions
from avsync.core.records import Span, Waveform
from avsync.core.report import Reason, ReasonKind
from avsync.core.streams import Media
from avsync.media import joints
from avsync.pipeline import schedule

BROKEN_OFF_S = 1.0
"""A file is called broken off when its audio is this much shorter than stored (and by 2 % of it)."""
LEAST_LOST_S = 0.1
"""A file is called damaged if at least this much could not be decoded."""


def on_file(
    found: Media,
    whole: Media,
    audio: Waveform,
    track: int | None,
    options: CheckOptions,
    until_s: float,
) -> tuple[Reason, ...]:
    """Notes on the audio that was judged: of which `track` (None: of a file of its own), and what is wrong
    with it. `found` is `whole` as far as there is video; the audio was read up to `until_s` at least."""
    return (
        *_which_track(found, track, options),
        *_unread(whole),
        *_jumps(whole),
        *_edited(whole),
        *_broken_off(found, whole, audio, track, until_s),
        *undecoded("damaged-audio", audio.undecoded),
        *_tail(found, whole),
        *waveform.audio_condition(audio),
    )


def _which_track(found: Media, track: int | None, options: CheckOptions) -> tuple[Reason, ...]:
    """A note where another audio track was judged than players take."""
    if track is None or options.audio_track is not None:
        return ()
    usual = waveform.audio_track(found, None).track
    return () if track == usual else (Reason("other-audio-track", {"judged": track, "default": usual}),)


def _unread(whole: Media) -> tuple[Reason, ...]:
    """A note where much of the file lies behind the last packet that can be read."""
    if not whole.unread_bytes:
        return ()
    return (Reason("unread-end", {"unread_bytes": whole.unread_bytes}),)


def _jumps(whole: Media) -> tuple[Reason, ...]:
    """A note where the timestamps start over or jump, as in recordings that were joined: and at which bytes
    the file is to be cut for repairs of its parts, of which a single shift is possible `in_place` in MPEG."""
    at_s = [piece.start_s for piece in whole.pieces[1:]]
    if not at_s and not whole.wild:
        return ()
    values: dict[str, Any] = {"jumps": len(at_s), "at_s": at_s, "stray": len(whole.wild)}
    if edges := joints.cuts(whole):
        values |= {"cut_at_bytes": edges, "in_place": whole.container in joints.MPEG}
    return (Reason("clock-jumps", values),)


def _edited(whole: Media) -> tuple[Reason, ...]:
    """A note where an edit list was followed that a repair cannot copy."""
    edited = any(stream.edits for stream in (whole.video, *whole.audio) if stream)
    return (Reason("edit-list"),) if edited else ()


def _broken_off(
    found: Media, whole: Media, audio: Waveform, track: int | None, until_s: float
) -> tuple[Reason, ...]:
    """A note where the file, or its audio, ends long before its header says so, as after a broken copy."""
    said_s = None if _jumps(whole) else whole.header_s  # a header that believes wild timestamps says nothing
    if said_s is not None and said_s - whole.duration_s > max(BROKEN_OFF_S, 0.02 * said_s):
        return (Reason("breaks-off", {"end_s": whole.duration_s, "stored_end_s": said_s}),)
    if track is None:
        return ()
    stream = waveform.audio_track(found, track)
    said_s = min(until_s, found.duration_s, stream.start_s + (stream.duration_s or 0.0))
    end_s = audio.start_s + len(audio.samples) / SAMPLE_RATE
    if said_s - end_s <= max(BROKEN_OFF_S, 0.02 * said_s):
        return ()
    return (Reason("audio-breaks-off", {"end_s": end_s, "stored_end_s": said_s}),)


def _tail(found: Media, whole: Media) -> tuple[Reason, ...]:
    """A note where the audio continues without video."""
    if found is whole:
        return ()
    return (Reason("no-video-at-end", {"end_s": found.duration_s, "duration_s": whole.duration_s}),)


def undecoded(kind: ReasonKind, spans: Sequence[Span]) -> tuple[Reason, ...]:
    """A note on the stretches of video or audio that could not be decoded."""
    lost_s = schedule.total(spans)
    if lost_s < LEAST_LOST_S:
        return ()
    first, past = min(start for start, _ in spans), max(end for _, end in spans)
    return (Reason(kind, {"lost_s": lost_s, "start_s": first, "end_s": past}),)


def sampled(spans: Sequence[Span], whole: Span, stopped: bool) -> tuple[Reason, ...]:
    """How much of `whole` was looked at, where that is not all."""
    whole_s = whole[1] - whole[0]
    looked = {"looked_s": schedule.total(spans), "duration_s": whole_s}
    if stopped:
        return (Reason("stopped", looked),)
    if whole_s - schedule.total(spans) < 1:
        return ()
    return (Reason("sampled", {**looked, "gap_s": schedule.longest_gap(spans, whole)}),)
