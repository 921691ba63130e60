"""Every frame lands at the time a player shows it, whatever the container, frame rate or start."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_factory import MPEG2, X264, bar_and_click, bar_clip, bar_time, click, ffmpeg

from avsync.core.errors import MediaError
from avsync.core.records import Frame
from avsync.core.streams import VideoStream
from avsync.media import frames as frames_module
from avsync.media.frames import frame_size, frames
from avsync.media.probe import probe

VP8 = ("-c:v", "libvpx", "-b:v", "2M")
BOUNDARY_MS = 3.0
"""How exactly `bar_time` reads a compressed frame."""


def decoded(path: Path, **options) -> list[Frame]:
    return list(frames(probe(path), long_side=320, **options))


def held_open() -> set[Path]:
    """The files that this process has open."""
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("only Linux lists the files of a process")
    return {link.readlink() for link in folder.iterdir() if link.is_symlink()}


def late_ms(shown: list[Frame]) -> np.ndarray:
    """By how many ms the content of each frame is ahead of the time it is shown at."""
    return np.array([bar_time(f.image) - f.time_s for f in shown]) * 1000


def test_a_wrong_time_base_makes_no_hours_of_the_last_frame(tmp_path):
    """As if every frame lasted minutes: it is the header that says so, once, for all of them."""
    path = bar_clip(tmp_path / "a.mp4")
    content = bytearray(path.read_bytes())
    at = content.find(b"mdhd") + 16
    content[at : at + 4] = (1).to_bytes(4, "big")
    path.write_bytes(content)
    assert len(decoded(path)) <= probe(path).duration_s * 25 + 1


class TestOneClockForAllFrameRates:
    @pytest.mark.parametrize(
        "rate", ["5", "10", "12.5", "15", "24000/1001", "24", "25", "30000/1001", "30", "50", "60"]
    )
    def test_content_is_on_time_at_any_rate(self, tmp_path, rate):
        shown = decoded(bar_clip(tmp_path / "a.mp4", "-bf", "2", rate=rate))
        error = late_ms(shown)
        half_frame = float(500 / Fraction(rate))
        assert abs(error.mean()) < 2
        assert np.abs(error).max() < half_frame + BOUNDARY_MS
        assert len(shown) == pytest.approx(100, abs=1 + half_frame / 40)

    @pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
    def test_variable_frame_rate(self, tmp_path, name):
        irregular = "select='lt(mod(n,7),3)+eq(mod(n,11),5)'"
        error = late_ms(decoded(bar_clip(tmp_path / name, rate="60", filters=[irregular])))
        assert abs(error.mean()) < 4
        assert np.abs(error).max() < 4.5 * 1000 / 60 / 2 + 1000 / 60

    def test_a_frozen_frame_stays_until_shortly_before_the_next(self, tmp_path):
        path = bar_clip(tmp_path / "a.mkv", filters=["select='not(between(t,1,2.999))'"])
        shown = {round(f.time_s, 2): bar_time(f.image) for f in decoded(path)}
        assert shown[2.88] == pytest.approx(0.96, abs=0.004)
        assert shown[3.00] == pytest.approx(3.00, abs=0.004)

    def test_interlaced_frames_are_deinterlaced_and_on_time(self, tmp_path):
        fields = ["tinterlace=interleave_top", "setfield=tff"]
        path = bar_clip(
            tmp_path / "a.ts", "-flags", "+ildct+ilme", rate="50", size=(320, 64), filters=fields, codec=MPEG2
        )
        assert probe(path).video.interlaced  # type: ignore[union-attr]
        shown = decoded(path)[2:-2]
        start = probe(path).video.start_s  # type: ignore[union-attr]
        assert abs(late_ms(shown).mean() + 1000 * start) < 5
        rows = shown[20].image[8:-8].astype(float)
        combing = abs(bar_time(rows[0::2]) - bar_time(rows[1::2]))
        assert combing < 0.005, "the two fields of one frame are 20 ms apart"

    def test_ten_bit_video(self, tmp_path):
        codec = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "4", "-pix_fmt", "yuv420p10le")
        assert (
            np.abs(late_ms(decoded(bar_clip(tmp_path / "a.mkv", codec=codec, seconds=1)))).max() < BOUNDARY_MS
        )


class TestStarts:
    @pytest.mark.parametrize(
        ("name", "codec"),
        [
            ("a.mp4", (*X264, "-bf", "2")),
            ("a.mkv", (*X264, "-bf", "2")),
            ("a.mov", (*X264, "-bf", "0")),
            ("a.webm", VP8),
        ],
    )
    def test_a_late_frame_is_late(self, tmp_path, name, codec):
        audio = "libopus" if name.endswith("webm") else "aac"
        path = bar_and_click(tmp_path / name, video_delay_s=0.48, codec=(*codec, "-c:a", audio))
        video = probe(path).video
        assert video is not None
        assert video.start_s == pytest.approx(0.48, abs=0.002)
        assert np.abs(late_ms(decoded(path)) + 480).max() < BOUNDARY_MS

    def test_mpeg_streams_count_from_their_first_moment(self, tmp_path):
        path = bar_and_click(tmp_path / "a.ts", "-output_ts_offset", "5000", audio_delay_s=0.5)
        found = probe(path)
        assert found.origin_s > 5000
        assert found.video is not None
        assert found.video.start_s == pytest.approx(0, abs=0.001)
        assert found.audio[0].start_s == pytest.approx(0.5, abs=0.03)
        assert found.duration_s == pytest.approx(4.5, abs=0.1)
        assert np.abs(late_ms(decoded(path))).max() < BOUNDARY_MS

    def test_an_edit_list_hides_what_was_cut_off(self, tmp_path):
        whole = bar_and_click(tmp_path / "whole.mp4")
        ffmpeg("-ss", "0.88", "-i", whole, "-c", "copy", tmp_path / "cut.mp4")
        shown = decoded(tmp_path / "cut.mp4")
        assert shown[0].time_s == pytest.approx(0, abs=0.001)
        assert np.abs(late_ms(shown) - 880).max() < BOUNDARY_MS

    def test_a_change_of_size_in_mid_stream_moves_nothing(self, tmp_path):
        parts = []
        for number, size in enumerate([(320, 16), (640, 64)]):
            part = tmp_path / f"{number}.ts"
            keep = f"trim={number}:{number + 1}"
            bar_clip(part, "-copyts", "-muxdelay", "0", size=size, filters=[keep], codec=(*X264, "-bf", "0"))
            parts.append(part.read_bytes())
        (tmp_path / "both.ts").write_bytes(b"".join(parts))
        shown = decoded(tmp_path / "both.ts")
        assert len(shown) == pytest.approx(50, abs=2)
        assert np.abs(late_ms(shown)).max() < 45
        assert {f.image.shape for f in shown} == {(16, 320, 3)}


class TestSeek:
    @pytest.mark.parametrize(
        ("name", "codec"),
        [
            ("short-gop.mp4", (*X264, "-bf", "2", "-g", "25")),
            ("one-key-frame.mp4", (*X264, "-bf", "2")),
            ("short-gop.ts", (*X264, "-bf", "2", "-g", "30")),
            ("one-key-frame.ts", (*X264, "-bf", "2")),
            ("next-key-frame-too-late.ts", (*X264, "-bf", "2", "-g", "125")),
            ("a.mpg", (*MPEG2, "-bf", "2")),
            ("a.mkv", (*X264, "-bf", "3", "-g", "50")),
            ("a.webm", VP8),
        ],
    )
    def test_a_part_is_the_same_as_that_part_of_the_whole(self, tmp_path, name, codec):
        path = bar_clip(tmp_path / name, seconds=6, codec=codec)
        part = decoded(path, start_s=4.5, end_s=5.3)
        expected = [f for f in decoded(path) if 4.5 <= f.time_s < 5.3]
        assert [f.time_s for f in part] == [f.time_s for f in expected]
        assert all(np.array_equal(a.image, b.image) for a, b in zip(part, expected, strict=True))

    def test_a_seek_does_not_decode_from_the_beginning(self, tmp_path):
        found = probe(bar_clip(tmp_path / "a.mp4", seconds=6, codec=(*X264, "-bf", "2", "-g", "25")))
        assert found.video is not None
        seek_s = frames_module._seek_point(found, found.video, 5.0)
        assert seek_s is not None
        assert 3 < seek_s < 5

    def test_the_grid_does_not_depend_on_the_start(self, tmp_path):
        path = bar_clip(tmp_path / "a.mp4", seconds=3)
        assert [f.time_s for f in decoded(path, start_s=1.01, end_s=1.1)] == pytest.approx([1.04, 1.08])
        assert [f.time_s for f in decoded(path, start_s=-5, end_s=0.08)] == pytest.approx([0, 0.04])

    def test_nothing_lies_beyond_the_end(self, tmp_path):
        path = bar_clip(tmp_path / "a.mp4", seconds=1)
        assert decoded(path, start_s=30) == []
        assert decoded(path, start_s=0.5, end_s=0.5) == []


class TestFrames:
    @pytest.mark.parametrize("degrees", [90, -90, 180])
    def test_rotated_video_comes_upright(self, tmp_path, degrees):
        bar_clip(tmp_path / "a.mp4", seconds=1, size=(320, 160))
        ffmpeg("-display_rotation", degrees, "-i", tmp_path / "a.mp4", "-c", "copy", tmp_path / "turned.mp4")
        video = probe(tmp_path / "turned.mp4").video
        assert video is not None
        assert abs(video.rotation_deg) == abs(degrees)
        assert (video.width, video.height) == ((320, 160) if degrees == 180 else (160, 320))
        image = decoded(tmp_path / "turned.mp4")[20].image
        assert image.shape == (video.height, video.width, 3)
        # Rotation is counter-clockwise: the white left edge goes down, up, or to the right.
        white = {90: image[-8:], -90: image[:8], 180: image[:, -8:]}[degrees]
        assert white.mean() > 200
        assert image.mean() < 60

    def test_pixels_that_are_not_square_are_stretched(self, tmp_path):
        path = bar_clip(tmp_path / "a.mp4", seconds=1, size=(720, 576), filters=["setsar=16/15"])
        video = probe(path).video
        assert video is not None
        assert (video.width, video.height) == (768, 576)
        assert decoded(path)[0].image.shape == (240, 320, 3)

    @given(
        width=st.integers(16, 8000),
        height=st.integers(16, 8000),
        long_side=st.integers(2, 4000),
    )
    def test_size_is_even_and_never_larger(self, width, height, long_side):
        video = VideoStream(0, "h264", width, height, Fraction(25), 0.0, None)
        w, h = frame_size(video, long_side)
        assert w % 2 == h % 2 == 0
        assert 2 <= w <= width
        assert 2 <= h <= height
        assert max(w, h) <= long_side
        if min(w, h) > 16:
            assert w / h == pytest.approx(width / height, rel=0.15)

    def test_small_video_is_not_enlarged(self, tmp_path):
        path = bar_clip(tmp_path / "a.mp4", seconds=1, size=(64, 32))
        assert decoded(path)[0].image.shape == (32, 64, 3)


class TestBadInput:
    def test_audio_alone_has_no_frames(self, tmp_path):
        ffmpeg("-f", "lavfi", "-i", click(), tmp_path / "a.wav")
        with pytest.raises(MediaError, match="has no video"):
            decoded(tmp_path / "a.wav")

    def test_a_broken_off_recording_yields_what_there_is(self, tmp_path):
        whole = bar_clip(tmp_path / "a.mkv", "-bf", "2", "-g", "25").read_bytes()
        (tmp_path / "part.mkv").write_bytes(whole[: len(whole) // 2])
        shown = decoded(tmp_path / "part.mkv")
        assert 25 < len(shown) < 80
        assert np.abs(late_ms(shown[:25])).max() < BOUNDARY_MS

    def test_video_that_cannot_be_decoded_at_all(self, tmp_path):
        data = bytearray(bar_clip(tmp_path / "a.mp4", "-movflags", "faststart").read_bytes())
        start = data.index(b"mdat") + 4
        data[start:] = np.random.default_rng(0).bytes(len(data) - start)
        (tmp_path / "noise.mp4").write_bytes(data)
        with pytest.raises(
            MediaError, match=r"noise\.mp4 cannot be decoded \(.+\); copy or convert it again\."
        ):
            decoded(tmp_path / "noise.mp4")

    @pytest.mark.parametrize(
        "name",
        [
            "-y.mp4",
            "concat:a|b.mp4",
            "a b'\"$(id);.mp4",
            "http:x.mp4",
            "%03d.mp4",
            "[0:v].mp4",
            "ü\n.mp4",
        ],
    )
    def test_names_are_only_names(self, tmp_path, monkeypatch, name):
        bar_clip(tmp_path / "a.mp4", seconds=0.4).rename(tmp_path / name)
        monkeypatch.chdir(tmp_path)
        assert len(decoded(Path(name))) == 10


class TestStream:
    def test_closing_early_closes_the_file_and_no_program_is_started(self, tmp_path, monkeypatch):
        path = bar_clip(tmp_path / "a.mp4", size=(640, 360), seconds=4)

        def none(*_args, **_kwargs):
            raise AssertionError("reading starts no program")

        monkeypatch.setattr(subprocess, "Popen", none)
        shown = frames(probe(path))
        next(iter(shown))
        assert path in held_open()
        shown.close()  # type: ignore[attr-defined]
        assert path not in held_open()

    def test_progress_rises_to_one(self, tmp_path):
        said: list[float] = []
        decoded(bar_clip(tmp_path / "a.mp4", seconds=4), progress=said.append)
        assert said == sorted(said)
        assert len(said) >= 4
        assert 0 < said[0] < 0.5
        assert said[-1] == 1.0

    def test_memory_does_not_grow_with_the_number_of_frames(self, tmp_path):
        path = bar_clip(tmp_path / "a.mp4", size=(640, 360), seconds=4)
        code = (
            "import resource, sys; from avsync.media import frames; from avsync.media.probe import probe;"
            "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
            "shown = frames.frames(probe(sys.argv[1]));"
            "[next(shown) for _ in range(5)]; before = peak();"
            "count = sum(1 for _ in shown); print(count, peak() - before)"
        )
        run = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
        count, grown_kib = map(int, run.stdout.split())
        assert count == 95
        assert grown_kib < 20 * 640 * 360 * 3 / 1024, "95 frames came by, none may stay"
