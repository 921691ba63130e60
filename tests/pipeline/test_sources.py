"""A video as a file, a stream, or arrays gives one answer; a part of it keeps the clock of the whole."""

import io
import json
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from command import run
from talk_factory import Talk

import avsync
from avsync.audio.waveform import waveform
from avsync.core.document import from_dict
from avsync.core.errors import MediaError, UsageError
from avsync.core.streams import Recording
from avsync.media.frames import frames
from avsync.media.probe import probe

EARLY_MS = 160.0


@pytest.fixture(scope="module")
def video(talk: Talk) -> Path:
    """8 s whose audio is early by EARLY_MS."""
    return talk(EARLY_MS, seed=1, duration_s=8)


@pytest.fixture(scope="module")
def recording(video: Path) -> Recording:
    found = probe(video)
    shown = list(frames(found))
    sound = waveform(found)
    return Recording(
        [frame.image for frame in shown],
        [frame.time_s for frame in shown],
        np.array(sound.samples),
        16_000,
        sound.start_s,
    )


@pytest.fixture(scope="module")
def whole(video: Path) -> avsync.Report:
    return avsync.check(video)


class TestStreams:
    def test_a_file_object_gives_the_answer_of_the_file(self, video: Path, whole: avsync.Report):
        report = avsync.check(io.BytesIO(video.read_bytes()))
        assert (report.verdict, report.offset_ms) == (whole.verdict, whole.offset_ms)
        assert report.path == "file object"

    def test_an_open_file_has_its_name(self, tmp_path: Path):
        (tmp_path / "talk.mp4").write_bytes(b"nothing of the kind")
        with (
            (tmp_path / "talk.mp4").open("rb") as file,
            pytest.raises(MediaError, match=r"^\S+talk\.mp4 is not a video") as error,
        ):
            avsync.check(file)
        assert "/proc/" not in str(error.value)

    @pytest.mark.slow
    def test_standard_input(self, video: Path, whole: avsync.Report):
        command = [sys.executable, "-m", "avsync", "check", "-", "--json"]
        done = subprocess.run(command, input=video.read_bytes(), capture_output=True, check=False)
        assert done.returncode == 1, done.stderr
        report = from_dict(json.loads(done.stdout))
        assert report.path == "standard input"
        assert report.offset_ms == pytest.approx(whole.offset_ms, abs=0.1)

    def test_an_error_about_standard_input_calls_it_so(self):
        command = [sys.executable, "-m", "avsync", "check", "-"]
        done = subprocess.run(command, input=b"no video", capture_output=True, check=False)
        assert done.returncode == 4
        assert b"standard input is not a video" in done.stderr
        assert b"/proc/" not in done.stderr

    @pytest.mark.parametrize("more", [["talk.mp4"], ["--resume", "--jsonl", "a.jsonl"], ["--engine", "ray"]])
    def test_standard_input_is_checked_alone(
        self, more: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.chdir(tmp_path)
        Path("talk.mp4").touch()
        assert run("check", "-", *more).exit_code == 2

    def test_other_protocols_are_names_of_files(self):
        for name in ("ftp://127.0.0.1/a.mp4", "concat:a.mp4|b.mp4", "file:a.mp4", "pipe:0"):
            assert run("check", name).exit_code == 4

    def test_a_list_cannot_name_an_address(self, tmp_path: Path):
        (tmp_path / "list.txt").write_text("http://127.0.0.1:1/a.mp4\n")
        assert run("check", tmp_path / "list.txt").exit_code == 4


class TestRecordings:
    def test_arrays_give_the_answer_of_the_file(self, recording: Recording, whole: avsync.Report):
        report = avsync.check(recording)
        assert report.verdict == whole.verdict
        assert report.offset_ms == pytest.approx(whole.offset_ms, abs=3)
        assert report.path == "recording"

    @pytest.mark.slow
    def test_integers_and_two_channels_too(self, recording: Recording, whole: avsync.Report):
        pcm = (np.clip(recording.samples, -1, 1) * 32767).astype(np.int16)
        stereo = Recording(recording.frames, recording.times_s, np.stack([pcm, pcm], 1), 16_000)
        assert avsync.check(stereo).offset_ms == pytest.approx(whole.offset_ms, abs=3)

    def test_times_are_what_counts(self, recording: Recording, whole: avsync.Report):
        later = Recording(
            recording.frames, np.asarray(recording.times_s) + 5.2, recording.samples, 16_000, 5.0
        )
        assert whole.offset_ms is not None
        assert avsync.check(later).offset_ms == pytest.approx(whole.offset_ms + 200, abs=8)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"times_s": [0.0]}, "each frame needs one"),
            ({"times_s": [0.0, 0.0]}, "ascend"),
            ({"frames": np.zeros((2, 8, 8), np.uint8)}, "RGB"),
            ({"frames": np.zeros((2, 8, 8, 3))}, "uint8"),
            ({"rate_hz": 0}, "rate in Hz"),
            ({"samples": np.zeros((2, 2, 2))}, "rate in Hz"),
            ({"samples": np.zeros((2, 1280))}, "channels"),
        ],
    )
    def test_wrong_arrays_are_one_sentence(self, change: dict, said: str):
        right = {"frames": np.zeros((2, 64, 64, 3), np.uint8), "times_s": [0.0, 0.04]}
        made = Recording(**{**right, "samples": np.zeros(1280), "rate_hz": 16_000, **change})
        with pytest.raises(UsageError, match=said):
            avsync.check(made)

    def test_without_samples_there_is_no_audio(self):
        with pytest.raises(MediaError, match="has no audio"):
            avsync.check(
                Recording(np.zeros((9, 64, 64, 3), np.uint8), np.arange(9) / 25, np.zeros(0), 16_000)
            )


class TestParts:
    def test_a_part_has_the_times_of_the_file(self, video: Path):
        report = avsync.check(video, start_s=2.0, duration_s=4.0)
        assert report.offset_ms == pytest.approx(EARLY_MS, abs=25)
        assert report.looked_at == ((2.0, 6.0),)
        assert report.duration_s == pytest.approx(8.0, abs=0.1)
        assert [(u.start_s, u.end_s) for u in report.unjudged if u.cause == "excluded"] == [
            (0.0, pytest.approx(2.0)),
            (pytest.approx(6.0), pytest.approx(8.0, abs=0.1)),
        ]
        assert all(segment.start_s >= 2.0 and segment.end_s <= 6.1 for segment in report.segments)
        assert all(track.start_s >= 1.99 and track.end_s <= 6.01 for track in report.tracks)
        assert report.speech_s is not None
        assert report.speech_s <= 4.1

    def test_a_part_of_arrays(self, recording: Recording):
        report = avsync.check(recording, start_s=3.0)
        assert report.offset_ms == pytest.approx(EARLY_MS, abs=25)
        assert report.looked_at == ((3.0, pytest.approx(8.0, abs=0.1)),)

    def test_what_begins_after_the_end_is_a_wrong_request(self, video: Path):
        with pytest.raises(UsageError, match=r"lasts only 8\.\d s"):
            avsync.check(video, start_s=60.0)

    def test_on_the_command_line(self, video: Path):
        done = run("check", video, "--start", "2", "--duration", "4", "--json")
        report = from_dict(json.loads(done.stdout))
        assert report.looked_at == ((2.0, 6.0),)
        assert run("check", video, "--duration", "0").exit_code == 2


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux lists open files there")
def test_nothing_stays_open(video: Path):
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    avsync.check(io.BytesIO(video.read_bytes()), duration_s=1.0)
    before = count()
    avsync.check(io.BytesIO(video.read_bytes()), duration_s=1.0)
    assert count() <= before


# --- Playlists ------------------------------------------------------------------------------


@pytest.fixture
def playlist(video: Path, tmp_path: Path) -> Path:
    """The video in segments of two seconds."""
    call = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(video), "-c", "copy", "-f", "hls"]
    subprocess.run([*call, "-hls_time", "2", "-hls_playlist_type", "vod", "a.m3u8"], check=True, cwd=tmp_path)
    return tmp_path / "a.m3u8"


def test_a_playlist_is_read_on_request_alone(playlist: Path):
    refused = run("check", playlist)
    assert refused.exit_code == 4
    assert "is a list of other files or addresses" in refused.stderr and "--allow-playlists" in refused.stderr
    with pytest.raises(MediaError, match="list of other files"):
        avsync.check(playlist)
    report = avsync.check(playlist, allow_playlists=True)
    assert report.path == str(playlist)
    assert report.offset_ms == pytest.approx(EARLY_MS, abs=30)


def test_a_playlist_that_leaves_its_folder_is_one_sentence_that_names_it(playlist: Path, video: Path):
    playlist.write_text(f"#EXTM3U\n#EXTINF:1,\n{video}\n#EXT-X-ENDLIST\n")
    done = run("check", playlist, "--allow-playlists")
    assert done.exit_code == 4
    assert f"The playlist {playlist} names {video}, which is not in its own folder" in done.stderr


def test_fix_offset_takes_no_playlist(playlist: Path, tmp_path: Path):
    target = tmp_path / "out.mp4"
    done = run("fix-offset", playlist, target, "--offset-ms", "100")
    assert done.exit_code == 4
    assert "is a list of other files or addresses" in done.stderr
    assert not target.exists()
    assert run("fix-offset", playlist, target, "--allow-playlists").exit_code == 2
