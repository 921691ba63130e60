"""Whether each stretch of visible speech supports the offset of the file, contradicts it, or leaves it open.

The offset is known from the whole file, so a stretch need not pick one among many. It is tested at that one
offset, for which two seconds of speech suffice. Pure numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from avsync.core.constants import FRAME_MS, FRAME_S, WINDOW_FRAMES
from avsync.core.records import Scores, Span
from avsync.core.report import Offset, Segment
from avsync.core.runs import runs
from avsync.estimate.calibration import Calibration
from avsync.estimate.offset import along, near
from avsync.estimate.paths import Ints
from avsync.estimate.peak import peculiarity
from avsync.estimate.speakers import COUNTED, Cell, Floats, Mask, speaking, summed, together

WINDOW_S = WINDOW_FRAMES * FRAME_S
ASKED_S = 3.0
"""Seconds of speech over a moving mouth that are tested together, if there are that many."""
MIN_TALK_S = 1.5
"""Less speech over a moving mouth does not show whose it is."""
SLIDE_S = 0.4
"""What contradicts is looked for at steps of this length."""
FAULT_TALK_S = 3.0
"""Lips that contradict the offset for this long or longer are a fault; for less, a doubt."""
DOUBT_TALK_S = 1.9
"""Less speech that points elsewhere is not judged, but no reason to doubt the rest: with 2 s and more, false
"in sync" rises; with 1.8 s and less, fewer clean programmes are in sync (docs/programmes.md)."""
FOREIGN_PER_S = -0.6
"""Where the file has no certain offset: log-likelihood ratio of the best one, for each second of speech over
a moving mouth, at or below which the speech is someone else's."""
BRIEF_SUPPORT = -1.0
"""Log-likelihood ratio with which MIN_TALK_S of speech supports the offset; ASKED_S needs
`calibration.support`. So little speech shows a contradiction sooner than it shows support."""
CLEAR_LEAD = 4.3
"""A stretch whose likeliest offset is that of the file, by this much (natural logarithm) and by as much as it
is less likely than a blind guess, supports it however badly the lips are read. Of other people's speech
1.3 % of 3 s support an offset by it, 0.6 % of 4 s and of 5 s; 2 % have the lead alone, however long they are
(research/programmes/chance.py, val lists, avsync-4)."""
BADLY_READ_LEAD = 2.7
"""A stretch that contradicts, but whose likeliest offset is that of the file, by this much (natural
logarithm) in ASKED_S of speech or less, and by more with the root of its length, has badly read lips rather
than someone else's speech. Of that 3 to 5 % have such a lead by chance, however long they are; of speech in
sync, 99.7 % of 2 s and all of 3 s (val lists)."""
BADLY_READ_LEVEL = 2.0
"""But at so many times the level of a contradiction lips are not just badly read, unless the lead is
peculiar: of 1,100 stretches of 1.5 to 5 s in sync none has a lead there, but of other people's that have it
by chance a fifth of 3 s, a third of 5 s and most of 10 s."""
WELL_READ = 2.0
"""Lips have a higher log-likelihood ratio for each second of speech at its offset, 99 % of 3 s in sync
(val lists, avsync-4): where the rest of a shot has, lips are not badly read where they contradict."""
MAX_RIVAL = 6.0
"""A stretch that supports the file's offset may have another that is likelier by this much (natural
logarithm): 0.5 % of stretches of 3 s in sync exceed it, and 97 % of those off by 80 ms."""


@dataclass(frozen=True)
class Contradiction:
    """Speech in [start_s, end_s) that does not support the offset of the file. `against`: the lips seen there
    contradict it, or another offset is clearly likelier; else they say too little. `sure`: they contradict it
    long and clearly enough for a fault. `talk_s`: seconds of speech over a moving mouth in it."""

    start_s: float
    end_s: float
    talk_s: float
    sure: bool
    against: bool


@dataclass(frozen=True)
class _Answer:
    """What the face of a track shows in [start_s, end_s): that the offset `fits`, evidence `against` it, or
    neither; `there`: the log-likelihood ratio at the offset; `rival`: another one is clearly likelier."""

    index: int
    start_s: float
    end_s: float
    talk_s: float
    fits: bool
    against: bool
    there: float
    rival: bool = False


def contradictions(
    tracks: Sequence[Scores],
    found: Sequence[Cell],
    talking: Sequence[Mask],
    answer: Offset,
    calibration: Calibration,
    every_s: float,
) -> tuple[Contradiction, ...]:
    """The stretches of visible speech that do not support the offset of the file, in order of time;
    neighbours as one.

    talking: by track (n_windows,), where the mouth moves while speech is heard; every_s: seconds from one
    window to the next. A face beside another one that speaks is not tested.
    """
    if calibration.mismatch_level is None:
        return ()
    shares = speaking(found, answer, calibration, talking)
    beside = np.asarray((together(found) & (shares >= COUNTED)).any(axis=1))
    answers: list[_Answer] = []
    for index, scores in enumerate(tracks):
        alone = np.ones(len(talking[index]), bool)
        for cell, explained in zip(found, beside, strict=True):
            if cell.index == index and explained:
                alone[cell.windows] = False
        answers += _asked(index, scores, talking[index], alone, answer, calibration, every_s)
    return _joined([_beside_others(each, answers) for each in answers])


def apart(
    tracks: Sequence[Scores],
    talking: Sequence[Mask],
    found: Sequence[Contradiction],
    calibration: Calibration,
    every_s: float,
) -> list[Mask]:
    """By track (n_windows,), the windows of faces that say what is heard in a stretch that surely contradicts
    the offset of the file, but at another offset: it is not someone else's speech."""
    masks = [np.zeros(len(scores.times_s), bool) for scores in tracks]
    for stretch in (one for one in found if one.sure):
        for index, (scores, talks) in enumerate(zip(tracks, talking, strict=True)):
            inside = (scores.times_s >= stretch.start_s) & (scores.times_s < stretch.end_s)
            asked = np.flatnonzero(inside & talks)
            talk_s = len(asked) * every_s
            if talk_s < FAULT_TALK_S:
                continue
            total = summed(scores, asked, calibration)
            if peculiarity(total, int(total.argmax()), talk_s) >= calibration.peculiar:
                masks[index] |= inside
    return masks


def without_brief_hints(
    tracks: Sequence[Scores], talking: Sequence[Mask], answer: Offset, every_s: float
) -> Offset:
    """`answer` without the hints at other offsets of stretches with less than DOUBT_TALK_S of speech."""

    def talk_s(part: Segment) -> float:
        inside = (
            talks & (scores.times_s >= part.start_s) & (scores.times_s < part.end_s)
            for scores, talks in zip(tracks, talking, strict=True)
        )
        return every_s * max((int(mask.sum()) for mask in inside), default=0)

    segments = (
        replace(part, hint_ms=None) if part.hint_ms is not None and talk_s(part) < DOUBT_TALK_S else part
        for part in answer.segments
    )
    return replace(answer, segments=tuple(segments))


def without(
    tracks: Sequence[Scores], weights: Sequence[Floats], found: Sequence[Contradiction]
) -> list[Floats]:
    """`weights`, by track (n_windows,), but 0 in the stretches that do not support the offset."""
    kept = []
    for scores, weight in zip(tracks, weights, strict=True):
        inside = np.zeros(len(weight), bool)
        for stretch in found:
            inside |= (scores.times_s >= stretch.start_s) & (scores.times_s < stretch.end_s)
        kept.append(np.where(inside, 0.0, weight))
    return kept


def _asked(
    index: int,
    scores: Scores,
    talking: Mask,
    alone: Mask,
    answer: Offset,
    calibration: Calibration,
    every_s: float,
) -> list[_Answer]:
    """The answers of a track, of about ASKED_S of talk each, that together last as long as the track where it
    is `alone` (n_windows,): beside another face that speaks it is not tested."""
    asked = np.flatnonzero(talking & alone)
    if not len(asked):
        return []
    expected = along(answer, scores.times_s)
    answers: list[_Answer] = []
    said: list[Ints] = []
    for first, past in runs(alone):
        windows = asked[(asked >= first) & (asked < past)]
        if len(windows):
            parts = _parts(scores, windows, expected, calibration, every_s)
            span = float(scores.times_s[first]), float(scores.times_s[past - 1]) + WINDOW_S
            places = _bounds(scores, parts, span)
            answers += _strict_beside_dubs(
                [
                    _answered((index, *place, len(part) * every_s), scores, part, expected, calibration)
                    for place, part in zip(places, parts, strict=True)
                ]
            )
            said += parts
    return _spread(_without_badly_read(answers, said, scores, expected, calibration))


def _without_badly_read(
    answers: Sequence[_Answer],
    parts: Sequence[Ints],
    scores: Scores,
    expected: Floats | None,
    calibration: Calibration,
) -> list[_Answer]:
    """The same, but what contradicts the offset only since the lips of the track are badly read does not.
    Someone else's speech fits all offsets alike; lips that fit this one best are just badly read. That goes
    by what contradicts alone where the rest is read well: a dub may begin in the midst of a shot."""
    found = list(answers)
    if expected is None:
        return found

    def badly_read(chosen: Sequence[int]) -> bool:
        windows = np.concatenate([parts[i] for i in chosen])
        talk_s = sum(answers[i].talk_s for i in chosen)
        if np.ptp(expected[windows]) > FRAME_MS:
            return False
        offset_ms = _as_measured(expected, windows, calibration)
        return _badly_read(
            summed(scores, windows, calibration), scores.shifts, offset_ms, talk_s, calibration
        )

    against = np.array([each.against for each in answers], bool)
    rest = np.flatnonzero(~against).tolist()
    rest_s = sum(answers[i].talk_s for i in rest)
    read_well = sum(answers[i].there for i in rest) > WELL_READ * rest_s
    throughout = bool(against.any()) and not read_well and badly_read(range(len(answers)))
    for first, past in runs(against):
        if throughout or badly_read(range(first, past)):
            found[first:past] = [replace(each, against=False) for each in found[first:past]]
    return found


def _badly_read(
    total: Floats, shifts: Ints, offset_ms: float, talk_s: float, calibration: Calibration
) -> bool:
    """Whether `total` (n_shifts,), the log-likelihood ratios of `talk_s` seconds of speech, is that of lips
    that are badly read, but say it: they fit this offset better than all others."""
    lead = lead_at(total, shifts, offset_ms)
    low = near(total, shifts, offset_ms) <= BADLY_READ_LEVEL * calibration.contradiction * talk_s
    least = calibration.peculiar * talk_s**0.5 if low else BADLY_READ_LEAD * max(talk_s / ASKED_S, 1.0) ** 0.5
    return lead >= least


def _bounds(scores: Scores, parts: Sequence[Ints], span: Span) -> list[Span]:
    """(start, end) of each part, which together fill `span`."""
    bounds = [
        float(scores.times_s[part[0]] + scores.times_s[before[-1]] + WINDOW_S) / 2
        for before, part in pairwise(parts)
    ]
    return list(pairwise([span[0], *bounds, span[1]]))


def _answered(
    place: tuple[int, float, float, float],
    scores: Scores,
    part: Ints,
    expected: Floats | None,
    calibration: Calibration,
) -> _Answer:
    """What the windows of a `part` say; `expected`: the offset of the file at each window of the track."""
    total, talk_s = summed(scores, part, calibration), place[-1]
    if expected is None:
        there = float(total.max())
        found = _Answer(*place, there > 0, there <= FOREIGN_PER_S * talk_s, there=there, rival=True)
    else:
        offset_ms = _as_measured(expected, part, calibration)
        fits = supports(total, scores.shifts, offset_ms, talk_s, calibration)
        there = near(total, scores.shifts, offset_ms)
        against = there <= calibration.contradiction * talk_s
        found = _Answer(*place, fits, against, there, rival=_has_rival(total, there))
    return found if talk_s >= MIN_TALK_S else replace(found, fits=True, against=False, rival=False)


def _strict_beside_dubs(answers: Sequence[_Answer]) -> list[_Answer]:
    """The same, but less than ASKED_S beside what contradicts fits only where it is clearly in sync, and less
    than MIN_TALK_S between two such parts not at all: by chance some of another's speech fits."""
    strict = list(answers)
    for i, each in enumerate(answers):
        beside = [answers[j].against for j in (i - 1, i + 1) if 0 <= j < len(answers)]
        clear = each.talk_s >= ASKED_S - SLIDE_S or each.there > WELL_READ * each.talk_s
        if (any(beside) and not clear) or (sum(beside) > 1 and each.talk_s < MIN_TALK_S):
            strict[i] = replace(each, fits=False)
    return strict


def lead_at(total: Floats, shifts: Ints, offset_ms: float) -> float:
    """By how much `total` (n_shifts,) is higher within a frame or so of an offset than anywhere else."""
    there = np.abs(-FRAME_MS * shifts - offset_ms) <= 1.5 * FRAME_MS
    return float(total[there].max(initial=-np.inf) - total[~there].max(initial=-np.inf))


def _parts(
    scores: Scores,
    windows: Ints,
    expected: Floats | None,
    calibration: Calibration,
    every_s: float,
) -> list[Ints]:
    """The windows in runs of about ASKED_S; none reaches over a jump of the offset, and what contradicts it
    in between is not halved."""
    if expected is None:
        return _tiles(windows, every_s)
    jumps = np.flatnonzero(np.abs(np.diff(expected[windows])) > FRAME_MS) + 1
    parts = []
    for run in np.split(windows, jumps):
        parts += _around_the_worst(scores, run, expected, calibration, every_s)
    return parts


def _around_the_worst(
    scores: Scores, windows: Ints, expected: Floats, calibration: Calibration, every_s: float
) -> list[Ints]:
    """The windows in runs of about ASKED_S: those that contradict the offset most, the worst first, and what
    is left between them."""
    length, step = round(ASKED_S / every_s), max(1, round(SLIDE_S / every_s))
    firsts = np.arange(0, len(windows) - length + 1, step)
    there = np.array([_there(scores, windows[i : i + length], expected, calibration) for i in firsts])
    taken = np.zeros(len(windows), bool)
    begins: list[int] = []
    for i in np.argsort(there, kind="stable")[: np.sum(there <= calibration.contradiction * ASKED_S)]:
        chosen = slice(int(firsts[i]), int(firsts[i]) + length)
        if not taken[chosen].any():
            taken[chosen] = True
            begins.append(chosen.start)
    edges = [edge for begin in sorted(begins) for edge in (begin, begin + length)]
    between = np.split(windows, edges)
    return [
        part for number, run in enumerate(between) for part in ([run] if number % 2 else _tiles(run, every_s))
    ]


def _there(scores: Scores, windows: Ints, expected: Floats, calibration: Calibration) -> float:
    """The log-likelihood ratio of windows at the offset of the file."""
    offset_ms = _as_measured(expected, windows, calibration)
    return near(summed(scores, windows, calibration), scores.shifts, offset_ms)


def _as_measured(expected: Floats, windows: Ints, calibration: Calibration) -> float:
    """The offset of the file at windows, in ms, as the model answers it, with its bias."""
    return float(expected[windows].mean()) + calibration.bias_ms


def _tiles(windows: Ints, every_s: float) -> list[Ints]:
    """The windows in runs of about ASKED_S."""
    parts = np.array_split(windows, max(1, round(len(windows) * every_s / ASKED_S)))
    return [part for part in parts if len(part)]


def supports(total: Floats, shifts: Ints, offset_ms: float, talk_s: float, calibration: Calibration) -> bool:
    """Whether `total` (n_shifts,), the log-likelihood ratios of `talk_s` seconds of speech, supports an
    offset: it is likely enough, or badly read lips have none that is as likely."""
    brief = max(0.0, (ASKED_S - talk_s) / (ASKED_S - MIN_TALK_S))
    least = (1 - brief) * calibration.support + brief * BRIEF_SUPPORT
    there, lead = near(total, shifts, offset_ms), lead_at(total, shifts, offset_ms)
    return (there >= least and not _has_rival(total, there)) or lead + min(there, 0.0) >= CLEAR_LEAD


def _has_rival(total: Floats, there: float) -> bool:
    return float(total.max()) - there > MAX_RIVAL


def _spread(answers: Sequence[_Answer]) -> list[_Answer]:
    """The same, but what is open goes with what is beside it in the same shot: dubs begin and end at cuts,
    and a speaker who is in sync has weak moments."""
    spread = list(answers)
    order = [i for i in range(1, len(spread)) if answers[i].start_s == answers[i - 1].end_s]
    steps = [*((i, i - 1) for i in order), *((i - 1, i) for i in reversed(order))]
    for here, beside in steps:
        if spread[beside].against and not spread[here].fits:
            spread[here] = replace(spread[here], against=True)
    for here, beside in steps:
        if answers[beside].fits and not spread[here].against and not spread[here].rival:
            spread[here] = replace(spread[here], fits=True)
    return spread


def _beside_others(each: _Answer, answers: Sequence[_Answer]) -> _Answer:
    """The same, but at worst open where other faces in view do not contradict the offset, and supporting it
    where they support it: the speech is theirs."""
    others = [o for o in answers if o.index != each.index and o.talk_s >= MIN_TALK_S and not o.against]

    def covered(by: Sequence[_Answer]) -> bool:
        moments = np.arange(each.start_s, each.end_s, FRAME_S)
        inside = np.zeros(len(moments), bool)
        for other in by:
            inside |= (moments >= other.start_s) & (moments < other.end_s)
        return bool(inside.mean() > 0.5)

    if covered([other for other in others if other.fits]):
        return replace(each, against=False, fits=True)
    return replace(each, against=False) if covered(others) else each


def _joined(answers: Sequence[_Answer]) -> tuple[Contradiction, ...]:
    """What does not fit, in order of its beginning; neighbours of a kind, and faces of a kind seen at the
    same time, as one."""
    joined: list[_Answer] = []
    latest: dict[tuple[bool, bool], int] = {}
    for each in sorted((one for one in answers if not one.fits), key=lambda one: one.start_s):
        number = latest.get(_kind(each))
        if number is None or each.start_s > joined[number].end_s + FRAME_S:
            latest[_kind(each)] = len(joined)
            joined.append(each)
            continue
        last = joined[number]
        beside = each.start_s < last.end_s - 1
        talk_s = max(last.talk_s, each.talk_s) if beside else last.talk_s + each.talk_s
        joined[number] = replace(last, end_s=max(last.end_s, each.end_s), talk_s=talk_s)
    return tuple(
        Contradiction(
            *(one.start_s, one.end_s, one.talk_s, one.against and one.talk_s >= FAULT_TALK_S),
            one.against or one.rival,
        )
        for one in joined
    )


def _kind(answer: _Answer) -> tuple[bool, bool]:
    return answer.against, answer.rival and not answer.against
