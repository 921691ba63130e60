"""A Report on the last seconds of a stream, updated with every piece."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from avsync.audio import vad, waveform
from avsync.core.options import CheckOptions, plain
from avsync.core.records import Span, Speech
from avsync.core.report import Reason, Report, Unjudged
from avsync.estimate.calibration import Calibration
from avsync.live.receive import Piece
from avsync.media.probe import probe
from avsync.pipeline import conclude, stretch
from avsync.pipeline.run import tolerance

if TYPE_CHECKING:
    from avsync.networks.ready import Ready


@dataclass(frozen=True)
class Heard:
    """The analysis of a piece, on the stream's clock: its `span`, the faces with their scores, the
    probability of speech, and the tolerance at its frame rate."""

    span: Span
    looked: stretch.Looked
    speech: Speech
    tolerance_ms: tuple[float, float]


class Rolling:
    """Analyses of the last `window_s` seconds of a stream; cleared on a new connection."""

    def __init__(self, name: str, loaded: Ready, options: CheckOptions, window_s: float) -> None:
        self._name, self._loaded, self._options, self._window_s = name, loaded, options, window_s
        self._calibration = Calibration.from_dict(loaded.calibration)
        self._parts: deque[Heard] = deque()

    def add(self, piece: Piece) -> Report:
        """Add a piece and return the updated report. Raises MediaError if the piece cannot be decoded."""
        self._parts.append(look(piece, self._loaded, self._options))
        end_s = self._parts[-1].span[1]
        while self._parts[0].span[0] < end_s - self._window_s - 1e-3 and len(self._parts) > 1:
            self._parts.popleft()
        return self._report()

    def clear(self) -> None:
        """Forget everything, since the stream's clock has restarted."""
        self._parts.clear()

    def _report(self) -> Report:
        start_s, end_s = self._parts[0].span[0], self._parts[-1].span[1]
        looked = joined([part.looked for part in self._parts], -start_s)
        speech = _spoken([part.speech for part in self._parts], start_s, end_s)
        report = Report(
            self._name,
            "cannot-tell",
            standard=self._options.standard,
            tolerance_ms=self._parts[-1].tolerance_ms,
            max_drift_ms_per_min=self._options.max_drift_ms_per_min,
            min_judged=self._options.min_judged,
            duration_s=end_s - start_s,
            model=self._options.model,
            stride=looked.stride,
            settings=plain(self._options),
        )
        if not looked.scores:
            why = Reason("no-face-with-audio" if looked.tracks else "no-face")
            return replace(report, reasons=(why,), unjudged=(Unjudged(0.0, end_s - start_s, "no-face"),))
        return conclude.judged(report, looked, speech, self._calibration, end_s - start_s, "not-needed")


def look(piece: Piece, loaded: Ready, options: CheckOptions) -> Heard:
    """Analyse a piece. Raises MediaError if it cannot be decoded."""
    media = probe(piece.path)
    audio = waveform.waveform(media)
    span = (piece.video_s, min(media.duration_s, piece.video_s + piece.length_s))
    speech = vad.heard(list(vad.listen(audio)), audio.start_s)
    # What is quiet here may be within reach of speech in the next piece, so all lips are read.
    job = stretch.Job(media, audio, speech, (), loaded, options, span, piece.length_s, lambda *_: None, {})
    looked = stretch.look(job, stretch.Looked(), span)
    by_s = piece.start_s - piece.video_s
    return Heard(
        (piece.start_s, piece.start_s + piece.length_s),
        moved(looked, by_s),
        replace(speech, start_s=speech.start_s + by_s),
        tolerance(options, media),
    )


def moved(looked: stretch.Looked, by_s: float, first: int = 0) -> stretch.Looked:
    """The same `by_s` seconds later, with tracks numbered from `first` on."""
    number = {track.track: first + i for i, track in enumerate(looked.tracks)}
    return replace(
        looked,
        spans=tuple((start + by_s, end + by_s) for start, end in looked.spans),
        tracks=tuple(replace(t, track=number[t.track], start_s=t.start_s + by_s) for t in looked.tracks),
        scores=tuple(replace(s, track=number[s.track], times_s=s.times_s + by_s) for s in looked.scores),
        portraits={number[track]: face for track, face in looked.portraits.items()},
        motion={
            number[track]: [(times + by_s, looks) for times, looks in pieces]
            for track, pieces in looked.motion.items()
            if track in number
        },
        gaps=tuple(replace(g, start_s=g.start_s + by_s, end_s=g.end_s + by_s) for g in looked.gaps),
        distances={number[track]: distance for track, distance in looked.distances.items()},
    )


def joined(parts: Sequence[stretch.Looked], by_s: float) -> stretch.Looked:
    """All parts merged, `by_s` seconds later."""
    whole = stretch.Looked()
    for part in parts:
        more = moved(part, by_s, first=len(whole.tracks))
        whole = replace(
            whole,
            spans=(*whole.spans, *more.spans),
            tracks=(*whole.tracks, *more.tracks),
            scores=(*whole.scores, *more.scores),
            portraits={**whole.portraits, **more.portraits},
            motion={**whole.motion, **more.motion},
            stride=whole.stride or more.stride,
            gaps=(*whole.gaps, *more.gaps),
            distances={**whole.distances, **more.distances},
        )
    return whole


def _spoken(parts: Sequence[Speech], start_s: float, end_s: float) -> Speech:
    """Speech from `start_s` to `end_s`, with times relative to `start_s`; NaN where there is no audio."""
    step = vad.CHUNK_S
    probability = np.full(max(1, round((end_s - start_s) / step)), np.nan, np.float32)
    times = start_s + (np.arange(len(probability)) + 0.5) * step
    for part in parts:
        at = np.floor((times - part.start_s) / part.step_s).astype(np.int64)
        inside = (at >= 0) & (at < len(part.probability))
        probability[inside] = part.probability[at[inside]]
    return Speech(0.0, step, probability)
