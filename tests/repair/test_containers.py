"""A target's suffix chooses its container; a file that keeps its suffix stays what it is inside."""

from pathlib import Path

import pytest
from media_factory import MPEG2, X264, bar_clip

from avsync.core.errors import UsageError
from avsync.repair import packets
from avsync.repair.containers import muxer_of, muxer_options, writable


def clip(path: Path, *arguments: object) -> packets.Contents:
    return packets.contents(
        bar_clip(path, *arguments, seconds=0.4, codec=MPEG2 if path.suffix == ".mpg" else X264)
    )


@pytest.mark.parametrize(
    ("name", "muxer"), [("b.mkv", "matroska"), ("b.TS", "mpegts"), ("b.mov", "mov"), ("b.m4v", "mp4")]
)
def test_another_suffix_names_the_container(name: str, muxer: str, tmp_path: Path):
    assert muxer_of(clip(tmp_path / "a.mp4"), tmp_path / name) == muxer


def test_a_suffix_of_no_video_format_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match=r"ends in \.mp4"):
        muxer_of(clip(tmp_path / "a.mp4"), tmp_path / "b.txt")


@pytest.mark.parametrize(
    ("name", "inside", "muxer"),
    [("a.mp4", "mov", "mov"), ("a.mov", "mp4", "mp4"), ("a.mpg", "vob", "vob"), ("a.mpg", "mpeg", "mpeg")],
)
def test_under_its_own_suffix_a_file_stays_what_it_is(name: str, inside: str, muxer: str, tmp_path: Path):
    assert muxer_of(clip(tmp_path / name, "-f", inside), tmp_path / f"b{Path(name).suffix}") == muxer


def test_an_index_in_front_stays_in_front_and_one_behind_stays_behind(tmp_path: Path):
    front = clip(tmp_path / "front.mp4", "-movflags", "+faststart")
    behind = clip(tmp_path / "behind.mp4")
    assert "+faststart" in muxer_options(front, front.streams, "mp4")
    assert "+faststart" not in muxer_options(behind, behind.streams, "mp4")


def test_a_transport_stream_keeps_its_numbers(tmp_path: Path):
    file = clip(tmp_path / "a.ts", "-streamid", "0:300")
    assert "0:300" in muxer_options(file, file.streams, "mpegts")


def test_only_what_a_container_can_hold_is_writable(tmp_path: Path):
    file = clip(tmp_path / "a.mp4")
    assert writable(file, file.streams[0], "matroska")
    assert not writable(file, file.streams[0], "webm")
