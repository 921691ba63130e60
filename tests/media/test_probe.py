"""A file is described as it is, or refused in one sentence."""

from __future__ import annotations

import csv
import struct
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from media_factory import MPEG2, X264, bar_and_click, bar_clip, click, ffmpeg

from avsync.core.errors import MediaError
from avsync.media.ffmpeg import ffmpeg_path
from avsync.media.probe import probe, without_tail


class TestProbe:
    @pytest.mark.parametrize("suffix", [".mov", ".mp4", ".mkv", ".avi"])
    @pytest.mark.parametrize(("rate", "start"), [("30000/1001", "01:00:00;00"), ("25", "10:00:00:00")])
    def test_the_time_code_of_the_first_frame_is_found_where_a_container_keeps_it(
        self, tmp_path: Path, suffix: str, rate: str, start: str
    ):
        path = bar_clip(tmp_path / f"a{suffix}", "-timecode", start, rate=rate, codec=("-c:v", "mpeg4"))
        video = probe(path).video
        assert video is not None
        assert video.timecode == start

    def test_tracks_are_described(self, tmp_path):
        two = ("-f", "lavfi", "-i", click(rate=44100, layout="5.1"), "-f", "lavfi", "-i", click(rate=48000))
        path = bar_clip(
            tmp_path / "a.mkv",
            *("-map", 0, "-map", 1, "-map", 2, "-disposition:a:1", "default", "-disposition:a:0", 0),
            *("-metadata:s:a:0", "language=deu", "-metadata:s:a:1", "title=Original"),
            inputs=two,
            rate="30000/1001",
            codec=(*X264, "-c:a", "flac"),
        )
        found = probe(path)
        assert found.video is not None
        assert found.video.fps == Fraction(30000, 1001)
        assert found.stream_kinds == ("video", "audio", "audio")
        german, original = found.audio
        assert (german.track, german.rate_hz, german.channels, german.language) == (0, 44100, 6, "deu")
        assert (original.track, original.rate_hz, original.channels, original.title) == (
            1,
            48000,
            1,
            "Original",
        )
        assert (german.default, original.default) == (False, True)

    def test_cover_art_is_not_video(self, tmp_path):
        ffmpeg("-f", "lavfi", "-i", "color=red:s=64x64", "-frames:v", 1, tmp_path / "cover.png")
        cover = ("-map", 0, "-map", 1, "-c:v", "copy", "-disposition:v", "attached_pic", "-c:a", "aac")
        ffmpeg("-f", "lavfi", "-i", click(), "-i", tmp_path / "cover.png", *cover, tmp_path / "a.m4a")
        found = probe(tmp_path / "a.m4a")
        assert found.video is None
        assert found.stream_kinds == ("audio", "attachment")

    def test_a_live_recording_without_duration(self, tmp_path):
        bar_clip(tmp_path / "a.mkv", seconds=3)
        command = [
            ffmpeg_path(),
            "-v",
            "error",
            "-i",
            tmp_path / "a.mkv",
            "-c",
            "copy",
            "-f",
            "matroska",
            "-",
        ]
        (tmp_path / "live.mkv").write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
        assert probe(tmp_path / "live.mkv").duration_s == pytest.approx(3, abs=0.05)

    def test_real_clips_start_where_the_manifest_says(self, shared):
        with (shared / "clips" / "manifest.csv").open() as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            found = probe(shared / "clips" / row["file"])
            assert found.video is not None
            assert (found.video.width, found.video.height) == (int(row["width"]), int(row["height"]))
            assert found.video.fps == Fraction(row["fps"])
            assert found.audio[0].rate_hz == int(row["rate"])
            # The manifest subtracts the start of MPEG streams as well, but counts Opus priming.
            assert found.video.start_s == pytest.approx(float(row["video_start"]), abs=0.02)
            assert found.audio[0].start_s == pytest.approx(float(row["audio_start"]), abs=0.02)


class TestTail:
    @pytest.mark.parametrize(
        ("name", "codec"),
        [
            ("a.mp4", (*X264, "-bf", "2", "-c:a", "aac")),
            ("a.mkv", (*X264, "-bf", "2", "-c:a", "aac")),
            ("a.ts", (*X264, "-bf", "2", "-c:a", "aac")),
            ("a.webm", ("-c:v", "libvpx", "-b:v", "1M", "-c:a", "libvorbis")),
            ("a.mpg", (*MPEG2, "-c:a", "mp2")),
        ],
    )
    def test_audio_that_goes_on_for_minutes_does_not_make_the_video_longer(self, tmp_path, name, codec):
        silence = ("-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono:d=80")
        whole = probe(bar_clip(tmp_path / name, seconds=3.0, inputs=silence, codec=codec))
        assert whole.duration_s == pytest.approx(80, abs=0.2)
        cut = without_tail(whole)
        assert cut.duration_s == pytest.approx(3.0, abs=0.1)
        assert replace(cut, duration_s=whole.duration_s) == whole

    def test_a_tail_of_seconds_is_left_as_it_is(self, tmp_path):
        whole = probe(bar_and_click(tmp_path / "a.mkv"))
        assert without_tail(whole) is whole

    def test_a_length_that_the_file_states_wrongly_is_not_believed(self, tmp_path):
        data = bytearray(bar_and_click(tmp_path / "a.flv").read_bytes())
        at = data.index(b"duration") + len("duration") + 1
        data[at : at + 8] = struct.pack(">d", 91_019.0)
        (tmp_path / "a.flv").write_bytes(data)
        found = probe(tmp_path / "a.flv")
        assert found.video is not None
        assert found.duration_s == pytest.approx(4.0, abs=0.1)
        assert found.video.duration_s == pytest.approx(4.0, abs=0.1)


class TestBadInput:
    @pytest.mark.parametrize(
        ("name", "content", "said"),
        [
            ("text.mp4", b"This is a letter, not a film.\n" * 40, "not a video or audio file"),
            ("empty.mp4", b"", "is empty"),
            ("page.mp4", b"<html><body>404</body></html>", "not a video or audio file"),
        ],
    )
    def test_no_media(self, tmp_path, name, content, said):
        (tmp_path / name).write_bytes(content)
        self.refused(tmp_path / name, said)

    def test_missing_and_directory(self, tmp_path):
        self.refused(tmp_path / "none.mp4", "does not exist")
        self.refused(tmp_path, "is a directory")
        self.refused(tmp_path / ("x" * 300), "does not exist|cannot be opened")

    @pytest.mark.parametrize("name", ["-", "/dev/stdin", "https://example.com/talk.mp4"])
    def test_a_pipe_or_an_address_is_not_a_file(self, name):
        self.refused(Path(name), "save it as one first")

    def test_links_that_lead_nowhere_or_to_themselves(self, tmp_path):
        (tmp_path / "gone.mp4").symlink_to(tmp_path / "none.mp4")
        (tmp_path / "round.mp4").symlink_to(tmp_path / "round.mp4")
        for name in ("gone.mp4", "round.mp4"):
            self.refused(tmp_path / name, "is a link that leads to no file")

    def test_a_video_of_which_nothing_can_be_decoded(self, tmp_path):
        """Copied into a transport stream, MPEG-4 of MP4 lacks the header that tells even its size."""
        whole = bar_clip(tmp_path / "a.mp4", codec=("-c:v", "mpeg4"), seconds=1.0)
        ffmpeg("-i", whole, "-c", "copy", tmp_path / "a.ts")
        self.refused(tmp_path / "a.ts", "cannot be decoded")

    def test_an_encrypted_film(self, tmp_path):
        key = ("-encryption_key", "76a6c65c5ea762046bd749a2e632ccbb", "-encryption_kid", "0" * 32)
        bar_and_click(tmp_path / "a.mp4", "-encryption_scheme", "cenc-aes-ctr", *key)
        self.refused(tmp_path / "a.mp4", "is encrypted")

    def test_a_download_that_stopped_early(self, tmp_path):
        whole = bar_and_click(tmp_path / "a.mp4").read_bytes()
        (tmp_path / "part.mp4").write_bytes(whole[: len(whole) // 2])
        self.refused(tmp_path / "part.mp4", "incomplete")

    def test_a_still_image(self, tmp_path):
        ffmpeg("-f", "lavfi", "-i", "color=red:s=64x64", "-frames:v", 1, tmp_path / "a.png")
        self.refused(tmp_path / "a.png", "still image")

    def test_one_pixel(self, tmp_path):
        ffmpeg("-f", "lavfi", "-i", "color=red:s=1x1:d=1", "-c:v", "ffv1", tmp_path / "a.mkv")
        self.refused(tmp_path / "a.mkv", "1x1 pixels")

    def test_subtitles_alone(self, tmp_path):
        (tmp_path / "a.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nHello\n")
        self.refused(tmp_path / "a.srt", "neither video nor audio")

    @pytest.mark.skipif(sys.platform != "linux", reason="other systems store names as text")
    def test_a_name_that_is_not_valid_text(self, tmp_path):
        path = bar_clip(tmp_path / "a.mp4", seconds=0.4).rename(tmp_path / "\udcff.mp4")
        assert probe(path).video is not None

    def refused(self, path: Path, said: str) -> None:
        with pytest.raises(MediaError, match=said) as caught:
            probe(path)
        sentence = str(caught.value)
        assert path.name in sentence
        assert sentence.endswith(".")
        assert "\n" not in sentence
