"""Frames are shown in order and on time where a container has only times of decoding: AVI, and some ASF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from media_factory import X264, bar_and_click, bar_time, damaged

from avsync import fix_offset
from avsync.core.errors import AvsyncError
from avsync.core.streams import Media
from avsync.media.decode import Damage, decoded
from avsync.media.frames import frames
from avsync.media.probe import probe
from avsync.repair.reordered import held_s

BAR_MS = 3.0
ROUNDED_MS = 1.6
"""Matroska counts milliseconds: when a frame is decoded and for how long it is held are each rounded."""
PLAIN = (*X264, "-bf", "0", "-g", "25")
B_FRAMES = (*X264, "-bf", "2", "-g", "25")
PYRAMID = (*X264, "-bf", "3", "-g", "250", "-x264-params", "b-pyramid=normal")
OPEN_GOP = (*X264, "-bf", "2", "-g", "12", "-x264-params", "open-gop=1")
MPEG4 = ("-c:v", "mpeg4", "-q:v", "2", "-bf", "2")

CASES = [
    pytest.param(".avi", PLAIN, "pcm_s16le", "25", 0, id="AVI, no frame held back"),
    pytest.param(".avi", PLAIN, "pcm_s16le", "60000/1001", 0, id="AVI, 59.94 a second"),
    pytest.param(".avi", B_FRAMES, "ac3", "25", 2, id="AVI, B-frames"),
    pytest.param(".avi", PYRAMID, "libmp3lame", "15", 2, id="AVI, B-frames of which others are made"),
    pytest.param(".avi", OPEN_GOP, "pcm_s16le", "30000/1001", 2, id="AVI, open groups"),
    pytest.param(".avi", MPEG4, "libmp3lame", "25", 1, id="AVI, MPEG-4"),
    pytest.param(".wmv", B_FRAMES, "wmav2", "25", 2, id="ASF, B-frames"),
]


def late_ms(media: Media) -> np.ndarray:
    """By how much each frame is shown later than its bar says, ms."""
    assert media.video is not None
    shown = decoded(media, media.video.index, Damage())
    return np.array([1000 * (time_s - bar_time(f.to_ndarray(format="rgb24"))) for time_s, _, f in shown])


@pytest.mark.parametrize(("suffix", "video", "audio", "rate", "held"), CASES)
def test_each_frame_is_shown_when_its_decoder_gives_it(
    tmp_path: Path, suffix: str, video: tuple[str, ...], audio: str, rate: str, held: int
) -> None:
    path = bar_and_click(tmp_path / f"a{suffix}", rate=rate, codec=(*video, "-c:a", audio))
    media = probe(path)
    assert media.video is not None
    held_ms = 1000 * held / float(media.video.fps)
    late = late_ms(media)
    assert len(late) == round(4 * media.video.fps)
    assert late == pytest.approx(np.full(len(late), held_ms), abs=BAR_MS)
    grid = [1000 * (frame.time_s - bar_time(frame.image)) for frame in frames(media)]
    assert np.mean(grid) == pytest.approx(held_ms, abs=BAR_MS)


@pytest.mark.parametrize("offset_ms", [100.0, -87.0])
@pytest.mark.parametrize(("suffix", "video", "audio", "rate", "held"), CASES)
def test_a_copy_shows_them_in_the_same_order(
    tmp_path: Path, suffix: str, video: tuple[str, ...], audio: str, rate: str, held: int, offset_ms: float
) -> None:
    src, dst = tmp_path / f"a{suffix}", tmp_path / "out.mkv"
    bar_and_click(src, rate=rate, codec=(*video, "-c:a", audio))
    fix_offset(src, dst, offset_ms=offset_ms)
    moved = late_ms(probe(dst)) - late_ms(probe(src))
    assert moved == pytest.approx(np.full(len(moved), np.median(moved)), abs=ROUNDED_MS)
    before, after = (one.audio[0].start_s - one.video.start_s for one in map(probe, (src, dst)) if one.video)
    assert 1000 * (after - before) == pytest.approx(offset_ms, abs=ROUNDED_MS)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".ts"])
@pytest.mark.parametrize("offset_ms", [100.0, -87.0])
def test_so_do_copies_in_other_formats(tmp_path: Path, suffix: str, offset_ms: float) -> None:
    src, dst = tmp_path / "a.avi", tmp_path / f"out{suffix}"
    bar_and_click(src, codec=(*PYRAMID, "-c:a", "libmp3lame"))
    done = fix_offset(src, dst, offset_ms=offset_ms)
    assert done.command.startswith("avsync fix-offset")
    moved = late_ms(probe(dst)) - late_ms(probe(src))
    assert moved == pytest.approx(np.full(len(moved), np.median(moved)), abs=ROUNDED_MS)
    before, after = (one.audio[0].start_s - one.video.start_s for one in map(probe, (src, dst)) if one.video)
    assert 1000 * (after - before) == pytest.approx(offset_ms, abs=ROUNDED_MS)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted((src.name, dst.name))


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_source_is_copied_or_refused_in_a_sentence(tmp_path: Path, seed: int) -> None:
    src, dst = (
        bar_and_click(tmp_path / "a.avi", codec=(*B_FRAMES, "-c:a", "libmp3lame")),
        tmp_path / "out.mkv",
    )
    broken = damaged(src, tmp_path / "b.avi", share=0.2 + 0.15 * seed, part=0.01)
    try:
        fix_offset(broken, dst, offset_ms=100.0)
    except AvsyncError as error:
        assert str(error).endswith(".")
        return
    assert len(late_ms(probe(dst))) > 80


def test_frames_after_the_last_packet_follow_one_another(tmp_path: Path) -> None:
    path = bar_and_click(tmp_path / "a.avi", codec=(*B_FRAMES, "-c:a", "libmp3lame"))
    held = np.array(held_s(path, 0))
    shown_s = np.sort(held + np.arange(len(held)) / 25)
    assert np.diff(shown_s) == pytest.approx(np.full(len(held) - 1, 0.04), abs=1e-6)
