"""Bad input through the real command: each ends in its exit code and one sentence; nothing stays
half-written."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from command import run
from media_factory import damaged, ffmpeg
from talk_factory import Talk
from typer.testing import Result

from avsync.core.errors import EXIT_CANNOT_TELL, EXIT_ERROR, EXIT_USAGE

RATE = 16_000


def ends(done: Result, code: int, *words: str) -> None:
    """One sentence with these words, on stderr for an error and on stdout for an answer."""
    assert done.exit_code == code, done.output
    said = done.stdout.splitlines()[0] if code == EXIT_CANNOT_TELL else done.stderr
    assert "Traceback" not in done.output
    assert "bug" not in done.output
    assert len(said.strip().splitlines()) == 1
    for word in words:
        assert word in said


@pytest.fixture(scope="session")
def clip(talk: Talk) -> Path:
    """Four seconds of a face that talks, in sync."""
    return talk()


Make = Callable[..., Path]


@pytest.fixture
def make(clip: Path, tmp_path: Path) -> Make:
    """`make(name, *arguments)`: the talking clip changed by ffmpeg; its video is 0:v, its audio 0:a."""

    def run_ffmpeg(name: str, *arguments: object) -> Path:
        ffmpeg("-i", clip, *arguments, tmp_path / name)
        return tmp_path / name

    return run_ffmpeg


@pytest.fixture
def with_audio(make: Make, tmp_path: Path) -> Callable[[np.ndarray], Path]:
    """The talking face with this audio, mono at 16 kHz, stored as floats."""

    def replace(samples: np.ndarray) -> Path:
        soundfile.write(tmp_path / "audio.wav", samples, RATE, subtype="FLOAT")
        return make("x.mkv", "-i", tmp_path / "audio.wav", "-map", "0:v", "-map", "1:a", "-c", "copy")

    return replace


# --- no usable file -----------------------------------------------------------------------


def test_a_missing_file(tmp_path: Path):
    ends(run("check", tmp_path / "none.mp4"), EXIT_ERROR, "none.mp4", "does not exist")


def test_a_directory_without_media(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("no video")
    ends(run("check", tmp_path), EXIT_ERROR, "No video file", str(tmp_path))


def test_a_text_file_named_mp4(tmp_path: Path):
    (tmp_path / "x.mp4").write_text("This is no video.\n" * 100)
    ends(run("check", tmp_path / "x.mp4"), EXIT_ERROR, "x.mp4")


def test_an_empty_file(tmp_path: Path):
    (tmp_path / "x.mp4").touch()
    ends(run("check", tmp_path / "x.mp4"), EXIT_ERROR, "x.mp4", "empty")


def test_a_truncated_file(make: Make, tmp_path: Path):
    whole = make("whole.mp4", "-c", "copy")
    (tmp_path / "x.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    ends(run("check", tmp_path / "x.mp4"), EXIT_ERROR, "x.mp4", "incomplete")


def test_a_truncated_file_whose_index_is_there_is_judged_by_what_is_left(make: Make, tmp_path: Path):
    whole = make("whole.mp4", "-c", "copy", "-movflags", "+faststart")
    (tmp_path / "x.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size * 3 // 5])
    done = run("check", tmp_path / "x.mp4", "--json")
    report = json.loads(done.stdout)
    assert done.exit_code in (0, EXIT_CANNOT_TELL)
    assert 1.0 < report["tracks"][0]["end_s"] < 3.5
    assert any(reason["code"] == "breaks-off" for reason in report["reasons"])


def test_a_file_with_a_corrupt_middle_is_judged_and_the_damage_noted(clip: Path, tmp_path: Path):
    done = run("check", damaged(clip, tmp_path / "x.mp4"))
    assert done.exit_code in (0, EXIT_CANNOT_TELL)
    assert done.stderr == ""
    for what in ("video", "audio"):
        assert re.search(rf"the file is damaged: 0.\d s of its {what} could not be decoded", done.stdout)


# --- streams that are not there -----------------------------------------------------------


def test_no_audio(make: Make):
    ends(run("check", make("x.mp4", "-an", "-c", "copy")), EXIT_ERROR, "x.mp4", "no audio")


def test_no_video(make: Make):
    ends(run("check", make("x.m4a", "-vn", "-c", "copy")), EXIT_ERROR, "x.m4a", "no video")


def test_an_audio_track_that_is_not_there(clip: Path):
    ends(run("check", clip, "--audio-track", 3), EXIT_USAGE, "audio track 3")


# --- audio that is not speech --------------------------------------------------------------


def test_silence(make: Make):
    silent = make("x.mp4", "-af", "volume=0", "-c:v", "copy")
    ends(run("check", silent), EXIT_CANNOT_TELL, "cannot tell", "silent")


def test_music(with_audio: Callable[[np.ndarray], Path]):
    time_s = np.arange(4 * RATE) / RATE
    beats = np.floor(time_s * 4).astype(int)
    notes = 220 * 2 ** (np.array([0, 4, 7, 12, 7, 4, 5, 9])[beats % 8] / 12)
    chord = sum(np.sin(2 * np.pi * np.cumsum(notes * k) / RATE) / k for k in (1, 1.25, 1.5, 2))
    music = 0.2 * chord * np.exp(-3 * (time_s * 4 % 1))
    ends(run("check", with_audio(music.astype(np.float32))), EXIT_CANNOT_TELL, "cannot tell")


def test_audio_of_nan(with_audio: Callable[[np.ndarray], Path]):
    ends(run("check", with_audio(np.full(4 * RATE, np.nan, np.float32))), EXIT_CANNOT_TELL, "cannot tell")


def test_audio_with_some_nan_is_judged_and_noted(
    clip: Path, make: Make, with_audio: Callable[[np.ndarray], Path]
):
    wav = make("speech.wav", "-vn", "-ar", RATE, "-ac", 1)
    samples = soundfile.read(wav, dtype="float32")[0]
    samples[8000:8100] = np.nan
    done = run("check", with_audio(samples), "--json")
    report = json.loads(done.stdout)
    assert done.exit_code in (0, EXIT_CANNOT_TELL)
    assert any(reason["code"] == "not-numbers" for reason in report["reasons"])


def test_clipped_audio_is_judged_and_noted(make: Make):
    done = run("check", make("x.mkv", "-af", "volume=60dB", "-c:v", "copy", "-c:a", "pcm_s16le"), "--json")
    report = json.loads(done.stdout)
    assert done.exit_code in (0, 1, EXIT_CANNOT_TELL)
    assert any(reason["code"] == "clipped-audio" for reason in report["reasons"])


# --- videos that show no speaker --------------------------------------------------------


def test_no_face(clip: Path, tmp_path: Path):
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=4", "-i", clip),
        *("-map", "0:v", "-map", "1:a", "-c:a", "copy", tmp_path / "x.mp4"),
    )
    ends(run("check", tmp_path / "x.mp4"), EXIT_CANNOT_TELL, "cannot tell", "no face")


def test_a_face_that_never_speaks(clip: Path, tmp_path: Path):
    still = tmp_path / "still.png"
    ffmpeg("-i", clip, "-frames:v", 1, still)
    ffmpeg(
        *("-loop", 1, "-framerate", 25, "-t", 4, "-i", still, "-i", clip),
        *("-map", "0:v", "-map", "1:a", "-pix_fmt", "yuv420p", tmp_path / "x.mp4"),
    )
    ends(run("check", tmp_path / "x.mp4"), EXIT_CANNOT_TELL, "cannot tell")


def test_a_third_of_a_second(make: Make):
    ends(run("check", make("x.mp4", "-t", 0.3)), EXIT_CANNOT_TELL, "cannot tell")


def test_one_pixel(make: Make):
    ends(run("check", make("x.mkv", "-vf", "scale=1:1", "-c:v", "ffv1")), EXIT_ERROR, "1x1")


# --- targets that cannot be written -------------------------------------------------------


@pytest.fixture
def full_disk() -> Path:
    """A device that takes no byte."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    return Path("/dev/full")


def test_a_read_only_target(clip: Path):
    """/proc refuses new files to everybody, root included."""
    if not Path("/proc/self").exists():
        pytest.skip("this system has no /proc")
    done = run("fix-offset", clip, "/proc/fixed.mp4", "--offset-ms", 120)
    ends(done, EXIT_ERROR, "/proc/fixed.mp4", "cannot be written")


@pytest.mark.slow
def test_results_that_do_not_fit_on_the_disk(tmp_path: Path, full_disk: Path):
    (tmp_path / "x.mp4").write_text("no video")
    out = tmp_path / "out.jsonl"
    out.symlink_to(full_disk)
    done = run("check", tmp_path / "x.mp4", tmp_path / "x.mp4", tmp_path / "none.mp4", "--jsonl", out)
    ends(done, EXIT_ERROR, "out.jsonl", "No space left on device")


def test_a_repair_that_does_not_fit_on_the_disk(clip: Path, tmp_path: Path):
    """A separate small file system, where the system allows one; the target is all there or not at all."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = shutil.which("mount") and os.geteuid() == 0
    made = mounted and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False
    )
    if not made or made.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        done = run("fix-offset", clip, disk / "fixed.mp4", "--offset-ms", 120)
        ends(done, EXIT_ERROR, "fixed.mp4", "No space left")
        assert not list(disk.iterdir())
    finally:
        subprocess.run(["umount", disk], check=True)


# --- names and batches --------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["-y.mp4", "concat:a|b.mp4", "a b;$(rm x)'\".mp4", "[x].mp4", "%d.mp4", "日本.mp4"]
)
def test_a_name_is_only_a_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("no video")
    ends(run("check", "--", name), EXIT_ERROR, name)


@pytest.mark.slow
def test_in_a_batch_the_others_still_run(clip: Path, make: Make, tmp_path: Path):
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty").mkdir()
    silent = make("silent.mp4", "-af", "volume=0", "-c:v", "copy")
    files = [tmp_path / "none.mp4", tmp_path / "text.mp4", tmp_path / "empty", silent, clip]
    done = run("check", *files, "--json")
    verdicts = [document["verdict"] for document in json.loads(done.stdout)]
    assert verdicts[:4] == ["error", "error", "error", "cannot-tell"]
    assert verdicts[4] in ("in-sync", "cannot-tell")
    assert done.exit_code == EXIT_ERROR
