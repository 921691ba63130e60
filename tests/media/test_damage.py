"""A file whose middle is corrupt: what could not be decoded is reported, with its times."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media_factory import MPEG2, X264, bar_clip, damaged

from avsync.audio.waveform import waveform
from avsync.core.records import Gap, Span
from avsync.media.damage import gaps, pauses
from avsync.media.frames import frames
from avsync.media.probe import probe

TONE = ("-f", "lavfi", "-i", "sine=440:duration=6")
H264 = (*X264, "-g", "25", "-bf", "2", "-c:a", "aac")
VP8 = ("-c:v", "libvpx", "-b:v", "300k", "-g", "25", "-c:a", "libopus")
MPEG = (*MPEG2, "-c:a", "mp2")
KINDS = [("a.mp4", H264), ("a.mkv", H264), ("a.ts", H264), ("a.webm", VP8), ("a.mpg", MPEG)]


def clip(path: Path, codec: tuple[str, ...]) -> Path:
    return bar_clip(path, seconds=6.0, size=(320, 240), inputs=TONE, codec=codec)


def heard_and_seen(path: Path, **stretch: Any) -> tuple[tuple[Span, ...], list[Span]]:
    """What of the audio and of the video could not be decoded."""
    found, seen = probe(path), list[Gap]()
    list(frames(found, on_gap=seen.append, **stretch))
    return waveform(found).undecoded, [(gap.start_s, gap.end_s) for gap in seen if gap.damaged]


@pytest.mark.parametrize(("name", "codec"), KINDS)
def test_the_damaged_part_is_found_in_video_and_audio(tmp_path: Path, name: str, codec: tuple[str, ...]):
    whole = clip(tmp_path / name, codec)
    assert heard_and_seen(whole) == ((), [])
    broken = damaged(whole, tmp_path / f"broken-{name}")
    for spans in heard_and_seen(broken):
        assert spans
        assert all(2.0 < start < end < 5.5 for start, end in spans)
        assert 0.1 < sum(end - start for start, end in spans) < 2.0


def test_only_the_stretch_that_was_looked_at_counts(tmp_path: Path):
    path = damaged(clip(tmp_path / "a.mp4", H264), tmp_path / "broken.mp4")
    first, past = heard_and_seen(path)[1][0]
    middle = (first + past) / 2
    assert heard_and_seen(path, start_s=0.0, end_s=first - 0.2)[1] == []
    assert heard_and_seen(path, start_s=middle)[1][0] == pytest.approx((middle, past))


def test_a_damaged_end_counts_too(tmp_path: Path):
    whole = clip(tmp_path / "a.mp4", (*H264, "-movflags", "+faststart"))
    _, seen = heard_and_seen(damaged(whole, tmp_path / "broken.mp4", share=0.9, part=0.1))
    assert seen[-1][1] == pytest.approx(6.0, abs=0.1)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.mov"])
def test_a_stream_that_pauses_in_an_undamaged_file_is_reported_too(tmp_path: Path, name: str):
    """No frames from 1 to 2.5 s, no samples from 3.5 to 5 s; whatever the container makes of durations."""
    path = bar_clip(
        tmp_path / name,
        *("-fps_mode", "vfr", "-af", "aselect='not(between(t,3.5,5))'"),
        seconds=6.0,
        size=(320, 240),
        inputs=TONE,
        filters=("select='not(between(t,1,2.49))'",),
        codec=H264,
    )
    found, seen = probe(path), list[Gap]()
    list(frames(found, on_gap=seen.append))
    assert [(gap.start_s, gap.end_s, gap.damaged) for gap in seen] == [
        (pytest.approx(1.0, abs=0.05), pytest.approx(2.5, abs=0.05), False)
    ]
    audio = waveform(found)
    assert audio.gaps == (pytest.approx((3.5, 5.0), abs=0.05),)
    assert audio.undecoded == ()


class TestPauses:
    def test_a_break_counts_from_when_the_frame_before_it_is_over(self):
        starts = np.delete(np.arange(100) / 25, range(25, 50))
        assert pauses(starts) == [pytest.approx((1.0, 2.0))]

    def test_a_short_break_changes_nothing(self):
        assert pauses(np.delete(np.arange(100) / 25, range(25, 35))) == []

    def test_one_frame_a_second_is_a_rate(self):
        assert pauses(np.arange(30.0)) == []

    @pytest.mark.parametrize("count", [0, 1])
    def test_too_few_frames_have_no_rate(self, count: int):
        assert pauses(np.zeros(count)) == []


class TestGaps:
    def test_frames_that_follow_one_another_leave_none(self):
        starts = np.arange(100) / 25
        assert gaps(starts, starts + 0.04, 4.0) == []

    def test_lost_frames_do_also_at_the_end(self):
        starts = np.delete(np.arange(100) / 25, [50, 51, 52, 98, 99])
        assert gaps(starts, starts + 0.04, 4.0) == [
            pytest.approx((2.0, 2.12)),
            pytest.approx((3.92, 4.0)),
        ]

    def test_a_file_that_often_pauses_has_lost_nothing(self):
        starts = np.cumsum(np.tile([0.04, 0.04, 0.5], 30))
        assert gaps(starts, starts + 0.04, float(starts[-1]) + 0.04) == []

    def test_without_a_frame_nothing_is_known(self):
        assert gaps(np.zeros(0), np.zeros(0), 4.0) == []
