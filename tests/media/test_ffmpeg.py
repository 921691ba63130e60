"""Which ffmpeg is used, how it ends, and how its failures are worded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import imageio_ffmpeg
import pytest

from avsync.core.draft import draft
from avsync.core.errors import MediaError, OutputError, SetupError
from avsync.media.ffmpeg import FfmpegError, ffmpeg_path, program, run_ffmpeg

TONE = ("-f", "lavfi", "-i", "sine=duration=0.2")
ENDLESS = ("-re", "-f", "lavfi", "-i", "sine")


@pytest.fixture
def fake(tmp_path: Path) -> Callable[[str], Path]:
    """A program called ffmpeg that says it is of a version."""

    def make(says: str) -> Path:
        path = tmp_path / "ffmpeg"
        path.write_text(f"#!/bin/sh\necho '{says}'\n[ $1 = -version ] || echo time_base\n")
        path.chmod(0o755)
        return path

    return make


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AVSYNC_FFMPEG", raising=False)


class TestWhichOne:
    def test_the_bundled_one_whatever_is_on_path(self, fake, monkeypatch):
        monkeypatch.setenv("PATH", str(fake("ffmpeg version 8.1").parent), prepend=os.pathsep)
        assert ffmpeg_path() == imageio_ffmpeg.get_ffmpeg_exe()

    def test_another_one_by_name(self, fake, monkeypatch):
        monkeypatch.setenv("AVSYNC_FFMPEG", str(fake("ffmpeg version 8.1.2-3ubuntu1 Copyright")))
        assert (program().version, Path(program().path).name) == ("8.1.2-3ubuntu1", "ffmpeg")

    def test_the_one_on_path_where_the_bundled_one_is_missing(self, fake, monkeypatch):
        def missing() -> str:
            raise RuntimeError("no ffmpeg exe")

        monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", missing)
        path = fake("ffmpeg version n7.1 Copyright")
        monkeypatch.setenv("PATH", str(path.parent), prepend=os.pathsep)
        assert ffmpeg_path() == str(path)
        monkeypatch.setenv("PATH", "")
        with pytest.raises(SetupError, match="no ffmpeg program"):
            ffmpeg_path()

    @pytest.mark.parametrize(
        ("says", "complaint"),
        [
            (
                "ffmpeg version 4.4.2-0ubuntu0.22.04.1 Copyright",
                "is ffmpeg 4.4.2-0ubuntu0.22.04.1, which is too",
            ),
            ("ffmpeg version 5.1.9-0+deb12u1", "too old"),
            ("ffmpeg version 7.0.2-static", "too old"),
            ("avconv version 12", "does not say that it is ffmpeg"),
            ("", "does not say that it is ffmpeg"),
        ],
    )
    def test_an_unfit_one_is_refused(self, fake, monkeypatch, says: str, complaint: str):
        monkeypatch.setenv("AVSYNC_FFMPEG", str(fake(says)))
        with pytest.raises(SetupError, match=complaint):
            program()

    @pytest.mark.parametrize("version", ["7.1", "10.0", "N-117000-gabcdef", "2026-11-01-git-0123456789"])
    def test_a_new_one_and_a_build_between_releases_are_taken(self, fake, monkeypatch, version: str):
        monkeypatch.setenv("AVSYNC_FFMPEG", str(fake(f"ffmpeg version {version} Copyright")))
        assert program().version == version

    def test_one_without_the_filter_that_repairs_need_is_refused(self, fake, monkeypatch):
        path = fake("")
        path.write_text("#!/bin/sh\necho ffmpeg version 8.0\n")
        monkeypatch.setenv("AVSYNC_FFMPEG", str(path))
        with pytest.raises(SetupError, match="lacks the bitstream filter setts"):
            program()

    def test_a_name_without_a_program_is_refused(self, monkeypatch):
        monkeypatch.setenv("AVSYNC_FFMPEG", "/nowhere/ffmpeg")
        with pytest.raises(SetupError, match="AVSYNC_FFMPEG is /nowhere/ffmpeg"):
            program()


class TestRunning:
    def test_what_it_is_fed_it_encodes(self, tmp_path):
        with draft(tmp_path / "out.wav") as made:
            raw = ["-f", "s16le", "-ar", "8000", "-ac", "1", "-i", "pipe:0", "-f", "wav"]
            run_ffmpeg(["-y", *raw, f"file:{made.path}"], "test", made, feed=[bytes(800)] * 20)
            made.publish(replace=False)
        assert (tmp_path / "out.wav").stat().st_size == pytest.approx(16_000, abs=200)

    def test_a_failure_is_one_sentence_with_its_first_complaint(self):
        with pytest.raises(
            FfmpegError, match=r"ffmpeg could not copy it \(.*No such file or directory\)"
        ) as error:
            run_ffmpeg(["-i", "file:/nowhere", "-f", "null", "-"], "copy it")
        assert "\n" not in str(error.value)
        assert isinstance(error.value, MediaError)

    def test_a_full_disk_is_an_output_error(self, tmp_path):
        with pytest.raises(OutputError, match="No space left on device"), draft(tmp_path / "out.wav") as made:
            run_ffmpeg(["-y", *TONE, "-f", "wav", "/dev/full"], "test", made)

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
    def test_it_ends_with_its_parent(self, tmp_path, number: signal.Signals):
        """However the parent is ended, no ffmpeg goes on."""
        out = tmp_path / "endless.wav"
        code = f"from avsync.media.ffmpeg import run_ffmpeg as r; r({[*ENDLESS, str(out)]}, 'test')"
        parent = subprocess.Popen([sys.executable, "-c", code])
        try:
            deadline = time.monotonic() + 30
            while not writers(out) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert writers(out)
            parent.send_signal(number)
            parent.wait(30)
        finally:
            parent.kill()
            parent.wait()
        deadline = time.monotonic() + 5
        while writers(out) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not writers(out)


def writers(path: Path) -> list[int]:
    """Processes that have a file open."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile
            for link in (process / "fd").iterdir():
                with suppress(OSError):
                    if link.readlink() == path:
                        found.append(int(process.name))
    return found
