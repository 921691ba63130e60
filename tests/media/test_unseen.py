"""Frames between the times of the grid are not decoded where no other refers to them, and nothing changes."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_factory import MPEG2, X264, bar_clip

from avsync.media import frames as frames_module
from avsync.media.decode import Damage, decoded
from avsync.media.frames import shown
from avsync.media.grid import grid
from avsync.media.probe import probe
from avsync.media.unseen import KEPT, REORDERED, spared

X265 = ("-c:v", "libx265", "-preset", "ultrafast", "-bf", "3", "-x265-params", "log-level=error")
MPEG4 = ("-c:v", "mpeg4", "-bf", "2", "-q:v", "3")


def luma(frame) -> bytes:
    return frame.to_ndarray()[: frame.height].tobytes()


def all_decoded(path: Path, start_s: float | None = None):
    """What `shown` gives when every frame is decoded, and how many that are."""
    media = probe(path)
    video = media.video
    assert video is not None
    whole = list(decoded(media, video.index, Damage()))
    on_grid = frames_module._on_grid(whole, video, grid((video.start_s, *video.anchors_s), start_s, None))
    return [(time_s, frame.pts, luma(frame)) for time_s, frame in on_grid], len(whole)


CASES = {
    "30": ("30", X264, "mp4"),
    "50": ("50", X264, "mp4"),
    "60 TS": ("60", X264, "ts"),
    "29.97 MKV": ("30000/1001", X264, "mkv"),
    "24": ("24", X264, "mp4"),
    "50 H.265": ("50", X265, "mp4"),
    "50 MPEG-2": ("50", (*MPEG2, "-bf", "2"), "mpg"),
    "60 MPEG-4": ("60", MPEG4, "mp4"),
}


@pytest.mark.parametrize("start_s", [None, 1.3])
@pytest.mark.parametrize("case", CASES)
def test_the_same_frames_at_the_same_times(tmp_path, case, start_s):
    rate, codec, kind = CASES[case]
    path = bar_clip(tmp_path / f"a.{kind}", "-bf", "3", rate=rate, codec=codec)
    expected, _ = all_decoded(path, start_s)
    assert [(t, f.pts, luma(f)) for t, f in shown(probe(path), start_s=start_s)] == expected


@pytest.mark.parametrize("case", ["50", "60 TS", "50 H.265", "50 MPEG-2", "60 MPEG-4"])
def test_a_third_of_high_rates_is_not_decoded_and_is_no_gap(tmp_path, case):
    rate, codec, kind = CASES[case]
    media = probe(bar_clip(tmp_path / f"a.{kind}", "-bf", "3", rate=rate, codec=codec))
    video = media.video
    assert video is not None
    every, some = Damage(), Damage()
    whole = list(decoded(media, video.index, every))
    unseen = lambda before_s, time_s, after_s: frames_module._unseen(  # noqa: E731
        video, (None, None), before_s, time_s, after_s
    )
    left = list(decoded(media, video.index, some, unseen=unseen))
    assert len({id(frame) for _, _, frame in left}) < 0.7 * len(whole)
    assert np.array(some.starts) == pytest.approx(np.array(every.starts))
    assert not some.errors
    assert not some.gaps()


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, REORDERED - 1)), max_size=3 * KEPT))
def test_neighbours_are_those_in_order_of_presentation(packets):
    """However the packets, each with a step of time and by how many it is late, are stored."""
    times = [float(t) for t in itertools.accumulate(step for step, _ in packets)]
    stored = [times[n] for n in sorted(range(len(times)), key=lambda n: n + packets[n][1])]
    asked = []

    def unseen(before_s: float, time_s: float, after_s: float) -> bool:
        asked.append((before_s, time_s, after_s))
        return False

    assert [packet for packet, _ in spared(stored, lambda t: t, unseen)] == stored
    known = set(zip(times, times[1:], times[2:], strict=False))
    assert set(asked) <= known
    if len(times) > 2 * REORDERED:
        assert asked


def test_after_a_packet_without_a_time_everything_is_decoded():
    times = [None if n == 40 else float(n) for n in range(100)]
    left_out = [t for t, out in spared(times, lambda t: t, lambda *_: True) if out]
    assert left_out == [float(n) for n in range(1, 40 - REORDERED)]


def test_frames_that_an_edit_list_cuts_off_are_no_neighbours():
    times = [math.inf, math.inf, *map(float, range(60)), math.inf]
    asked = []
    list(spared(times, lambda t: t, lambda *around: asked.append(around) or False))
    assert asked[0] == (0.0, 1.0, 2.0)
    assert all(math.isfinite(t) for around in asked for t in around)
