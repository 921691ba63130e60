"""Video is read on a grid of 25 frames a second that begins anew wherever the file goes on out of step."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_factory import X264, bar_and_click, bar_time, ffmpeg

from avsync.core.streams import Media
from avsync.media.frames import frames
from avsync.media.grid import ROUNDED_S, anchors, grid
from avsync.media.probe import probe

PLAIN = (*X264, "-bf", "2", "-g", "25")
TOLERANCE_MS = 3.0


def errors_ms(media: Media) -> list[float]:
    """By how much, in each stretch between anchors, frames are read late against the time that they show."""
    assert media.video is not None
    read = [(frame.time_s, bar_time(frame.image)) for frame in frames(media)]
    edges = [media.video.start_s, *media.video.anchors_s, np.inf]
    starts = [media.video.start_s, *media.video.anchors_s]
    return [
        1000 * float(np.median([t - start - bar for t, bar in read if first <= t < past and 0.2 < bar < 2.6]))
        for start, (first, past) in zip(starts, pairwise(edges), strict=True)
    ]


@pytest.mark.parametrize(
    ("suffix", "audio"),
    [(".ts", "mp2"), (".ts", "aac"), (".mkv", "aac"), (".mp4", "aac"), (".flv", "aac"), (".mpg", "mp2")],
)
@pytest.mark.parametrize("length_s", [3.013, 3.027])
def test_each_part_of_a_joined_file_is_read_in_step(
    tmp_path: Path, suffix: str, audio: str, length_s: float
) -> None:
    codec = ("-c:v", "mpeg2video", "-q:v", "1") if suffix == ".mpg" else PLAIN
    rate = ("-ar", "44100") if suffix == ".flv" else ()
    part = bar_and_click(tmp_path / f"a{suffix}", "-t", length_s, *rate, codec=(*codec, "-c:a", audio))
    joined = tmp_path / f"j{suffix}"
    joined.write_bytes(part.read_bytes() * 3)
    found = errors_ms(probe(joined))
    assert found == pytest.approx([found[0]] * 3, abs=TOLERANCE_MS)


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.ts", "a.flv"])
def test_so_is_each_part_that_ffmpeg_joined(tmp_path: Path, name: str) -> None:
    """Where audio is longer than video, the next part begins between two frames of the grid."""
    suffix = Path(name).suffix
    bar_and_click(tmp_path / f"p{suffix}", "-t", "3.013", "-ar", "44100", codec=(*PLAIN, "-c:a", "aac"))
    (tmp_path / "list.txt").write_text(f"file 'p{suffix}'\n" * 3)
    ffmpeg("-f", "concat", "-safe", "0", "-i", tmp_path / "list.txt", "-c", "copy", tmp_path / name)
    found = errors_ms(probe(tmp_path / name))
    assert found == pytest.approx([0] * 3, abs=TOLERANCE_MS)


def test_a_single_recording_has_a_single_grid(tmp_path: Path) -> None:
    for rate in ("25", "24", "30", "30000/1001", "50", "12.5", "10"):
        media = probe(bar_and_click(tmp_path / "a.mp4", rate=rate))
        assert media.video is not None and media.video.anchors_s == ()


@given(
    rate=st.sampled_from([25, 50, 12.5, 5]),
    gaps_s=st.lists(st.floats(0.003, 0.017) | st.floats(0.023, 0.037), max_size=4),
    digits=st.sampled_from([3, 4, 9]),
)
def test_the_grid_begins_anew_where_frames_go_on_out_of_step(
    rate: float, gaps_s: list[float], digits: int
) -> None:
    gaps_s = [gap_s if rate != 50 else min(gap_s, 0.016) for gap_s in gaps_s]
    parts, starts = [np.arange(round(3 * rate)) / rate], [0.0]
    for gap_s in gaps_s:
        starts.append(float(parts[-1][-1]) + 1 / rate + gap_s)
        parts.append(starts[-1] + np.arange(round(3 * rate)) / rate)
    found = anchors(np.round(np.concatenate(parts), digits), Fraction(rate))
    assert found == pytest.approx(starts, abs=ROUNDED_S)


@given(rate=st.floats(5, 120), frames=st.integers(1, 500))
def test_other_rates_are_in_no_step(rate: float, frames: int) -> None:
    assert len(anchors(np.round(np.arange(frames) / rate, 6), Fraction(rate))) == 1


@given(
    steps_s=st.lists(st.floats(0.04, 5), min_size=1, max_size=5),
    start_s=st.floats(-1, 10),
    length_s=st.floats(0, 10),
)
def test_a_grid_has_25_times_a_second_in_each_part(
    steps_s: list[float], start_s: float, length_s: float
) -> None:
    anchors_s = np.cumsum(steps_s).tolist()
    times = list(grid(anchors_s, start_s, start_s + length_s))
    assert all(start_s - 1e-5 <= time_s < start_s + length_s for time_s in times)
    for before_s, time_s in pairwise(times):
        assert time_s in anchors_s or time_s - before_s == pytest.approx(0.04)
        assert 0.02 - 1e-5 <= time_s - before_s < 0.06 + 1e-5
