"""Which ffmpeg is used."""

import os
from pathlib import Path

import imageio_ffmpeg
import pytest

from avsync.core.errors import MediaError
from avsync.media.ffmpeg import ffmpeg_path


class TestProgram:
    def test_the_one_on_path_comes_first(self, tmp_path, monkeypatch):
        program = tmp_path / ("ffmpeg.exe" if os.name == "nt" else "ffmpeg")
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        assert Path(ffmpeg_path()) == program

    def test_else_the_one_of_imageio(self, monkeypatch):
        monkeypatch.setenv("PATH", "")
        assert ffmpeg_path() == imageio_ffmpeg.get_ffmpeg_exe()

    def test_neither(self, monkeypatch):
        def missing() -> str:
            raise RuntimeError("no ffmpeg exe")

        monkeypatch.setenv("PATH", "")
        monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", missing)
        with pytest.raises(MediaError, match="install ffmpeg"):
            ffmpeg_path()
