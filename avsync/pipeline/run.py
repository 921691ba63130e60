"""Where the stages meet: one file in, one Report out."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from avsync.audio import vad, waveform
from avsync.core import resident
from avsync.core.constants import FRAME_RATE, TOLERANCES_MS, Precision
from avsync.core.errors import Interrupted, MediaError, ModelError, UsageError
from avsync.core.options import CheckOptions, plain
from avsync.core.records import Span, Speech, Waveform
from avsync.core.report import Cause, Reason, Report, Unjudged
from avsync.core.streams import Media, Recording
from avsync.core.timecode import Timebase, timebase
from avsync.core.timing import timed
from avsync.estimate.calibration import Calibration
from avsync.media import probe
from avsync.media.hardware import on_device
from avsync.media.memory import described
from avsync.networks import library, ready
from avsync.pipeline import conclude, notes, schedule, stretch

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from avsync.networks.checkpoint import Loaded
    from avsync.networks.ready import Ready

Progress = Callable[[str, float, float | None], None]
"""progress(stage, done, total): `total` is None where it is not known."""
QUIET_ROOM_S = 0.5
"""Seconds more than the largest offset around speech in which lips are read."""


# --- One file ----------------------------------------------------------------------------


def measure(
    source: Path | Recording,
    options: CheckOptions,
    progress: Progress | None = None,
    loaded: Loaded | None = None,
) -> Report:
    """`check` of a file, or of a recording in memory, with its options already made, and the model where the
    caller has it; the same errors."""
    path = Path(source.name) if isinstance(source, Recording) else source
    tell = progress or _silent
    timings: dict[str, float] = {}
    whole = probe.state(path)
    report = Report(
        str(path),
        "cannot-tell",
        standard="custom" if options.tolerance_ms else options.standard,
        tolerance_ms=tolerance(options, None),
        max_drift_ms_per_min=options.max_drift_ms_per_min,
        min_judged=options.min_judged,
        min_fault_s=options.min_fault_s,
        model=options.model,
        audio_track=options.audio_track,
        settings=plain(options),
    )
    with timed(timings, "total"):
        try:
            tell("probe", 0, None)
            with timed(timings, "probe"):
                found = described(source) if isinstance(source, Recording) else probe.probe(path)
            report = replace(
                report,
                duration_s=found.duration_s,
                timebase=_timebase(found),
                tolerance_ms=tolerance(options, found),
                audio_track=options.audio_track if options.audio is None else None,
            )
            report = _judge(found, report, options, loaded, tell, timings)
        except KeyboardInterrupt:
            report = replace(_nothing(report, Reason("stopped-at-once"), "stopped"), complete=False)
    report = replace(report, timings_s=timings)
    log.info("%s: %s after %.1f s", path, report.verdict, timings["total"])
    if probe.state(path) != whole:
        report = replace(report, reasons=(*report.reasons, Reason("file-changed")))
    if not report.complete:
        raise Interrupted(report)
    return report


def _nothing(report: Report, why: Reason, cause: Cause) -> Report:
    whole = Unjudged(0.0, report.duration_s or 0.0, cause)
    return replace(report, reasons=(why,), unjudged=(whole,))


def tolerance(options: CheckOptions, found: Media | None) -> tuple[float, float]:
    """(audio early, audio late) in ms; `netflix` is one frame of the video, 25 a second where unknown."""
    if options.tolerance_ms is not None:
        return options.tolerance_ms
    if options.standard in TOLERANCES_MS:
        return TOLERANCES_MS[options.standard]
    fps = found.video.fps if found and found.video and found.video.fps else FRAME_RATE
    return float(1000 / fps), float(1000 / fps)


def _timebase(found: Media) -> Timebase | None:
    video = found.video
    return None if video is None else timebase(video.fps, video.start_s, video.timecode)


def _judge(
    found: Media,
    report: Report,
    options: CheckOptions,
    loaded: Loaded | None,
    tell: Progress,
    timings: dict[str, float],
) -> Report:
    """The stages after probing, cheapest first, so that a hopeless file costs little."""
    if found.video is None:
        raise MediaError(f"{found.path} has no video, only audio; give a video file.")
    if loaded is None:
        library.require(options.model)
    tell("audio", 0, None)
    with timed(timings, "audio"):
        whole, found = found, probe.without_tail(found)
        span = _asked(found, options)
        around_s = options.max_offset_ms / 1000 + 1
        # Where the video lasts as long as the file, the length may be a false claim of the header.
        open_end = found is whole and span[1] >= found.duration_s and options.audio is None
        heard = (
            span[0] - around_s if span[0] > 0 else -math.inf,
            math.inf if open_end else span[1] + around_s,
        )
        track, audio = (
            (None, waveform.load_audio(options.audio, heard))
            if options.audio
            else vad.judged_track(found, options.audio_track, heard)
        )
        if waveform.is_silent(audio.samples):
            return _nothing(report, Reason("silent"), "silent")
        report = replace(report, audio_track=track if len(found.audio) > 1 else report.audio_track)
        known = notes.on_file(found, whole, audio, track, options, span[1])
    found = on_device(found, options.hwaccel)
    if options.hwaccel != "off" and found.video is not None and found.video.device is None:
        known = (*known, Reason("no-hardware-decoding", {"asked": options.hwaccel}))
    tell("model", 0, None)
    with timed(timings, "model"):
        model = prepared(loaded or options.model, options)
    report = replace(report, runtime=ready.runtime(model))
    tell("faces", 0, 1)
    with timed(timings, "audio"):
        heard, quiet = _heard(audio, span, model, options)
    job = stretch.Job(found, audio, heard, quiet, model, options, span, span[1] - span[0], tell, timings)
    return _look(job, partial(conclude.conclude, report, job, known))


def _heard(
    audio: Waveform, span: Span, model: Ready, options: CheckOptions
) -> tuple[Speech, tuple[Span, ...]]:
    """Where speech is in `span`, and the stretches in which lips need not be read, since nobody speaks within
    reach. SyncNet's own evaluation is of every frame."""
    pieces = list(vad.listen(audio))
    quiet = vad.quiet(vad.heard(pieces, audio.start_s), options.max_offset_ms / 1000 + QUIET_ROOM_S)
    return vad.heard(pieces, audio.start_s, span), () if model.family == "syncnet" else quiet


def _asked(found: Media, options: CheckOptions) -> Span:
    """The stretch (start, end) of the video that is to be checked, in seconds."""
    if options.start_s >= found.duration_s > 0:
        raise UsageError(
            f"{found.path} lasts only {found.duration_s:.1f} s, so nothing begins at {options.start_s:g} s; "
            "choose an earlier start."
        )
    length_s = math.inf if options.duration_s is None else options.duration_s
    return options.start_s, min(found.duration_s, options.start_s + length_s)


def _look(job: stretch.Job, conclude: Callable[..., Report]) -> Report:
    """Look until the answer is certain, or nothing is left, or Ctrl-C, which leaves what there is by then."""
    looked = stretch.Looked()
    report = conclude(looked)
    try:
        for spans in schedule.rounds(job.span, adaptive=_adaptive(job)):
            planned = replace(job, planned_s=looked.seconds + schedule.total(spans))
            for span in spans:
                looked = stretch.look(planned, looked, span)
                resident.give_back()
            with timed(job.timings, "offset"):
                report = conclude(looked)
            if schedule.certain(report):
                return report
    except KeyboardInterrupt as stop:
        looked = stop.so_far if isinstance(stop, Interrupted) else looked
        return conclude(looked, stopped=True)
    return report


def _adaptive(job: stretch.Job) -> bool:
    if job.options.sample == "auto":
        return job.loaded.on_cpu
    return job.options.sample == "adaptive"


@lru_cache(maxsize=2)
def load_model(name: str, device: str, precision: Precision = "auto") -> Ready:
    """The model, loaded once per process and name; in its fastest form unless `precision` is "float32".
    Raises ModelError."""
    loaded = _usable(ready.load(name, device, precision))
    resident.give_back()
    return loaded


def _usable(loaded: Ready) -> Ready:
    """The same; raises ModelError where its card cannot be used."""
    try:
        Calibration.from_dict(loaded.calibration)
    except ValueError as error:
        raise ModelError(f"The card of {loaded.path} cannot be used: {error}.") from error
    return loaded


def prepared(model: str | Path | Loaded, options: CheckOptions) -> Ready:
    """A model given by name or path, or as it was loaded, ready to score with the device and precision
    of `options` (a loaded one stays on its device). Raises ModelError where it cannot be used."""
    if isinstance(model, str | Path):
        return load_model(str(model), options.device, options.precision)
    return _usable(ready.fastest(model, options.precision))


def _silent(stage: str, done: float, total: float | None) -> None:
    """Progress that is ignored."""
