"""The clock reference of MPEG streams: where it jumps, which clock a timestamp counts on, and where it starts
over at its end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joined_factory import joined, lags_ms
from media_factory import MPEG2, X264, bar_and_click
from timestamps import in_ts, pes_of, with_clock

from avsync import fix_offset
from avsync.core.streams import Media
from avsync.media.clock import Stamp, pieces
from avsync.media.probe import probe
from avsync.media.reference import WRAP_S, Reference, clocked, unwrapped
from avsync.media.scan import placed

FRAME_S, AUDIO_S, PES_BYTES = 0.04, 0.024, 1000
TOLERANCE_MS = 3.0
H264 = (*X264, "-bf", "2", "-g", "25")


@dataclass(frozen=True)
class Part:
    """A recording: lengths of its video and its audio, by how much that is late, what its clock shows at its
    beginning, frames in a packet (PES) of audio, and how much earlier those arrive than video does."""

    video_s: float
    audio_s: float
    late_s: float
    start_s: float
    frames: int
    early_s: float

    def packets(self) -> list[tuple[float, int, float]]:
        """(arrival_s, stream, time_s) in the order of the file, as if its clock began at 0."""
        video = [(n * FRAME_S, 0, n * FRAME_S) for n in range(round(self.video_s / FRAME_S))]
        times_s = self.late_s + np.arange(round(self.audio_s / AUDIO_S)) * AUDIO_S
        arrivals_s = times_s[np.arange(len(times_s)) // self.frames * self.frames] + self.early_s
        audio = [(float(at), 1, float(time)) for at, time in zip(arrivals_s, times_s, strict=True)]
        return sorted(video + audio)


STARTS = st.one_of(
    st.floats(0, 3),
    st.floats(0, 5).map(lambda before_s: WRAP_S - before_s),
    st.floats(-1.2, 1.2),
)
"""When a clock begins: at about 0, before its end, or (below 1.3) about where the one before it ends."""


@st.composite
def recordings(draw: st.DrawFn) -> list[Part]:
    parts: list[Part] = []
    for number in range(draw(st.integers(1, 3))):
        lengths = st.floats(2, 4)
        start_s = draw(STARTS)
        if number and abs(start_s) < 1.2:
            start_s += parts[-1].start_s + parts[-1].video_s
        late_s, early_s = draw(st.floats(-0.3, 0.3)), draw(st.floats(-0.3, 0.3))
        parts.append(
            Part(draw(lengths), draw(lengths), late_s, start_s % WRAP_S, draw(st.integers(1, 15)), early_s)
        )
    return parts


def as_ffmpeg_has_it(time_s: float, first_s: float) -> float:
    """Its demuxer takes the first timestamp of a file, less a minute, for the earliest."""
    if first_s < WRAP_S - 60:
        return time_s + WRAP_S if time_s < first_s - 60 else time_s
    return time_s - WRAP_S if time_s >= first_s - 60 else time_s


MEDIA = Media(Path("a.ts"), "mpegts", 0.0, None, (), ("video", "audio"))


@given(recordings())
def test_each_recordings_audio_stays_where_its_video_is_wherever_the_clock_starts_over(
    parts: list[Part],
) -> None:
    places, shown_s, stamps, right = [], [], [], []
    first_s = None
    for number, part in enumerate(parts):
        for arrival_s, stream, time_s in part.packets():
            clock_s, raw_s = ((part.start_s + s) % WRAP_S for s in (arrival_s, 0.7 + time_s))
            first_s = raw_s if first_s is None else first_s
            if clock_s != (shown_s[-1] if shown_s else None):
                places.append(PES_BYTES * (1 + len(places)))
                shown_s.append(clock_s)
            begin_s = as_ffmpeg_has_it(raw_s, first_s)
            stamps.append(Stamp(stream, begin_s, begin_s, begin_s + 0.02, places[-1], places[-1]))
            right.append((number, time_s))
    clock = reference_of(places, shown_s)
    found = placed(stamps, MEDIA, clock)
    assert not found.wild
    laid = pieces(found.runs, stamps[0].first_s, found.wraps_s)
    turns = {(stream, number): piece for stream, number, piece in found.turns}
    counts, piece = {0: 0, 1: 0}, {0: 0, 1: 0}
    apart_s: dict[int, list[float]] = {}
    for stamp, (number, time_s) in zip(stamps, right, strict=True):
        piece[stamp.stream] = turns.get((stamp.stream, counts[stamp.stream]), piece[stamp.stream])
        counts[stamp.stream] += 1
        presented_s = laid[piece[stamp.stream]].presented_s(stamp.first_s)
        apart_s.setdefault(number, []).append(presented_s - time_s)
    for number, values in apart_s.items():
        assert np.ptp(values) < 1e-3, number
    begins_s = [min(values) for values in apart_s.values()]
    assert begins_s == sorted(begins_s) and begins_s[-1] < sum(5 + part.late_s for part in parts)


def reference_of(places: list[int], shown_s: list[float]) -> Reference:
    times_s = np.array(shown_s, np.float64)
    times_s = times_s[0] + np.concatenate([[0.0], np.cumsum(unwrapped(np.diff(times_s)))])
    steps_s = np.diff(times_s)
    return Reference(np.array(places), times_s, 1 + np.flatnonzero((steps_s < -0.1) | (steps_s >= 10)))


def test_timestamps_that_do_not_go_by_the_reference_are_left_as_they_are() -> None:
    clock = Reference(np.arange(10), np.linspace(0.0, 0.9, 10), np.zeros(0, np.intp))
    rows = np.linspace(5000.0, 5003.0, 30).reshape(10, 3)
    assert clocked(clock, np.arange(10), np.zeros(10, int), rows) is None


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        pytest.param(".ts", (*H264, "-c:a", "mp2"), id="TS"),
        pytest.param(".ts", (*H264, "-c:a", "aac"), id="TS, many frames of audio in a packet"),
        pytest.param(".mpg", (*MPEG2, "-bf", "2", "-c:a", "mp2"), id="PS"),
    ],
)
@pytest.mark.parametrize("before_end_s", [-0.6, 0.1, 0.3, 0.7])
@pytest.mark.parametrize("apart_s", [-0.7, 0.05, 0.9])
def test_a_clock_that_starts_over_beside_a_joint_is_followed(
    tmp_path: Path, suffix: str, codec: tuple[str, ...], before_end_s: float, apart_s: float
) -> None:
    """The second recording's ends `before_end_s` before (or after) the joint, and the third begins `apart_s`
    after that on the same clock."""
    a, b = (
        bar_and_click(tmp_path / f"{late_s}{suffix}", audio_delay_s=late_s, codec=codec)
        for late_s in (0.2, -0.1)
    )
    first_s = probe(b).origin_s
    start_s = WRAP_S - 4.0 + before_end_s - first_s
    later = [
        with_clock(b, start_s, tmp_path / f"b{suffix}"),
        with_clock(a, start_s + 4.0 + apart_s, tmp_path / f"c{suffix}"),
    ]
    whole = joined(tmp_path / f"j{suffix}", a, *later)
    media = probe(whole)
    assert lags_ms(media) == pytest.approx([200, -100, 200], abs=TOLERANCE_MS)
    # FFmpeg guesses the times of frames without one, in program streams, from those before the joint.
    assert media.duration_s == pytest.approx(3 * 4.1 + max(0, apart_s), abs=2.0 if suffix == ".mpg" else 0.7)
    if suffix == ".mpg":
        return
    fix_offset(whole, tmp_path / f"out{suffix}", offset_ms=100)
    repaired = lags_ms(probe(tmp_path / f"out{suffix}"))
    assert repaired == pytest.approx([300, 0, 300], abs=TOLERANCE_MS)


# --- The first packets ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["video", "audio"])
@pytest.mark.parametrize("by_s", [-8.0, -5.0, -1.0])
@pytest.mark.parametrize("codec", ["aac", "mp2"])
def test_a_first_timestamp_that_is_too_early_does_not_make_the_rest_late(
    tmp_path: Path, kind: str, by_s: float, codec: str
) -> None:
    path = bar_and_click(tmp_path / "a.ts", audio_delay_s=0.2, codec=(*H264, "-c:a", codec))
    path = with_clock(path, 50.0, tmp_path / "b.ts")
    length_s = probe(path).duration_s
    in_ts(path, lambda which, n, time_s: time_s + by_s if (which, n) == (kind, 0) else None)
    media = probe(path)
    assert media.wild and len(media.pieces) == 1 and media.holes == ()
    assert media.duration_s == pytest.approx(length_s, abs=0.5)
    assert lags_ms(media) == pytest.approx([200], abs=TOLERANCE_MS)


@pytest.mark.parametrize("late_s", [3.0, -3.0])
def test_a_stream_that_begins_late_begins_late(tmp_path: Path, late_s: float) -> None:
    audio_s, video_s = max(late_s, 0), max(-late_s, 0)
    codec = (*H264, "-c:a", "mp2")
    media = probe(bar_and_click(tmp_path / "a.ts", codec=codec, audio_delay_s=audio_s, video_delay_s=video_s))
    assert media.video is not None and not media.wild
    assert media.audio[0].start_s - media.video.start_s == pytest.approx(late_s, abs=0.03)


def test_a_pause_that_the_clock_makes_too_is_one(tmp_path: Path) -> None:
    """Everything but the first frames comes five seconds later."""
    path = bar_and_click(tmp_path / "a.ts", codec=(*H264, "-c:a", "mp2"))
    late = with_clock(path, 5.0, tmp_path / "late.ts").read_bytes()
    first = min(fields[0] for fields in list(pes_of(path, 256))[1:2]) // 188 * 188
    path.write_bytes(path.read_bytes()[:first] + late[first:])
    media = probe(path)
    assert not media.wild and media.duration_s == pytest.approx(9.1, abs=0.3)
