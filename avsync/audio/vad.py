"""Where speech is heard in audio (Silero's voice activity detector)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from avsync.audio import waveform
from avsync.audio.silero import CHUNK, Detector
from avsync.core.constants import MIN_SPEECH_S, SAMPLE_RATE, SPEECH_PROBABILITY
from avsync.core.records import Span, Speech, Waveform
from avsync.core.runs import runs
from avsync.core.streams import Media

CHUNK_S = CHUNK / SAMPLE_RATE
PIECE = 312
"""Chunks in a piece of ten seconds, which is analysed or skipped as a whole."""
LISTENED_S = 4 * 3600.0
"""Seconds of an audio track that are analysed at most, in pieces spread over it evenly: a second of audio
takes some 2 ms."""
TASTED_S = 60.0
"""Seconds analysed of each track, to find the one with speech."""
QUIET = 0.1
"""Probability of speech below which nobody can be taken to speak, however softly."""
LEAST_QUIET_S = 1.0
"""A shorter stretch is not worth leaving out."""
ENOUGH_S = 10.0
"""Of speech that is heard too little, as of singing and whispering, nothing is left out."""

Floats = npt.NDArray[np.float32]


def judged_track(media: Media, track: int | None, span: Span = waveform.WHOLE) -> tuple[int, Waveform]:
    """The audio track of that number; without one the first in which speech is heard, beginning with the
    track that players take; else the first that is not silent, else that of the players. Only what is heard
    in `span` is read.

    Raises MediaError and UsageError as `waveform.waveform` does.
    """
    default = waveform.audio_track(media, track)
    if track is not None or len(media.audio) == 1:
        return default.track, waveform.waveform(media, default.track, span)
    found: list[tuple[int, Waveform]] = []
    for stream in sorted(media.audio, key=lambda stream: stream is not default):
        audio = waveform.waveform(media, stream.track, span)
        if seconds(heard(listen(audio, TASTED_S), 0.0)) >= MIN_SPEECH_S:
            return stream.track, audio
        found.append((stream.track, audio))
    return next((each for each in found if not waveform.is_silent(each[1].samples)), found[0])


def listen(audio: Waveform, limit_s: float = LISTENED_S) -> Iterator[Floats]:
    """Probability (0..1) of speech in each chunk of 32 ms, a piece (n,) at a time; NaN in skipped pieces.

    Of longer audio, `limit_s` seconds in pieces are analysed.
    """
    detector = Detector()
    whole = len(audio.samples) // CHUNK
    step = max(1, math.ceil(whole * CHUNK_S / limit_s))
    for number, first in enumerate(range(0, whole, PIECE)):
        count = min(PIECE, whole - first)
        if number % step:
            yield np.full(count, np.nan, np.float32)
            continue
        if step > 1:
            detector.reset()
        samples = np.asarray(audio.samples[first * CHUNK : (first + count) * CHUNK])
        if np.abs(samples).max() < waveform.SILENT_PEAK:
            yield np.zeros(count, np.float32)
            continue
        found = detector.probabilities(samples)
        waveform.let_go(audio.samples)
        yield found


def heard(pieces: Iterable[Floats], start_s: float, span: Span = waveform.WHOLE) -> Speech:
    """The pieces of `listen` as one record, for audio that starts at `start_s`; nothing outside `span`."""
    probability = np.concatenate([np.zeros(0, np.float32), *pieces])
    first, past = (min(len(probability), max(0.0, (edge - start_s) / CHUNK_S)) for edge in span)
    return Speech(start_s + int(first) * CHUNK_S, CHUNK_S, probability[int(first) : math.ceil(past)])


def seconds(speech: Speech, without: Iterable[tuple[float, float]] = ()) -> float:
    """Seconds of speech outside the stretches `without`; skipped parts count as having the same share."""
    times = speech.start_s + (np.arange(len(speech.probability)) + 0.5) * speech.step_s
    known = np.isfinite(speech.probability)
    counted = known & (speech.probability >= SPEECH_PROBABILITY)
    for start_s, end_s in without:
        counted &= (times < start_s) | (times >= end_s)
    return float(counted.sum() * speech.step_s * len(known) / max(1, known.sum()))


def spans(speech: Speech, pause_s: float = 0.5) -> list[Span]:
    """The stretches [start, end) of speech, in seconds; shorter pauses are part of them."""
    heard = np.nan_to_num(speech.probability) >= SPEECH_PROBABILITY
    found: list[Span] = []
    for run in runs(heard):
        start, end = (speech.start_s + edge * speech.step_s for edge in run)
        if found and start - found[-1][1] < pause_s:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def pauses(speech: Speech, least_s: float = 0.2) -> list[Span]:
    """The stretches [start, end) without speech of `least_s` seconds or longer."""
    silent = speech.probability < SPEECH_PROBABILITY  # not where it is unknown
    spans = [
        (speech.start_s + first * speech.step_s, speech.start_s + past * speech.step_s)
        for first, past in runs(silent)
    ]
    return [(start, end) for start, end in spans if end - start >= least_s]


def quiet(speech: Speech, reach_s: float) -> tuple[Span, ...]:
    """The stretches [start, end), in seconds, with no trace of speech in them nor within `reach_s` of them:
    what lips do there says nothing. None where hardly any speech is heard at all."""
    if seconds(speech) < ENOUGH_S:
        return ()
    reach = math.ceil(reach_s / speech.step_s)
    faint = speech.probability < QUIET  # False where the detector did not run
    loud = np.concatenate([[0], np.cumsum(~faint)])
    chunks = np.arange(len(faint))
    first, past = np.maximum(chunks - reach, 0), np.minimum(chunks + reach + 1, len(faint))
    found = [
        (speech.start_s + a * speech.step_s, speech.start_s + b * speech.step_s)
        for a, b in runs(loud[past] == loud[first])
    ]
    return tuple(span for span in found if span[1] - span[0] >= LEAST_QUIET_S)


def spoken(speech: Speech, times_s: npt.NDArray[np.float64], length_s: float) -> npt.NDArray[np.bool_]:
    """Whether speech is heard in most of [t, t + length_s) for each of `times_s` (n,) -> (n,)."""
    total = np.concatenate([[0.0], np.cumsum(np.nan_to_num(speech.probability) >= SPEECH_PROBABILITY)])
    first, past = (
        np.clip(np.rint((times_s + d - speech.start_s) / speech.step_s), 0, len(total) - 1).astype(np.int64)
        for d in (0.0, length_s)
    )
    return total[past] - total[first] > (past - first) / 2
