"""Only a true copy of the source, moved as planned, passes the check of the result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fix_factory import one_sentence, run_ffmpeg

from avsync.core.errors import MediaError
from avsync.media.probe import probe
from avsync.repair import packets, remux, verify


def checked(made: Callable[[str], Path], arguments: list[str], folder: Path) -> None:
    """Verify, as the result of a repair by 120 ms, what ffmpeg makes of the source with `arguments`."""
    planned = remux.plan(probe(made("plain.mkv")), 120.0, folder / "out.mkv")
    run_ffmpeg(
        "-i", made("plain.mkv"), "-itsoffset", "0.12", "-i", made("plain.mkv"), *arguments, folder / "x.mkv"
    )
    verify.verify(planned, packets.contents(planned.src), folder / "x.mkv")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-map", "0:v", "-map", "0:a", "-c", "copy"], "moved by 0 ms against the video, not by 120 ms"),
        (["-map", "1:v", "-map", "0:a", "-c", "copy"], "moved by -120 ms"),
        (["-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "aac", "-b:a", "32k"], "other packets"),
        (["-map", "0:v", "-map", "1:a", "-c", "copy", "-t", "1.5"], "other packets"),
        (["-map", "0:v", "-c", "copy"], "missing"),
        (["-map", "0:v", "-map", "1:a", "-map", "0:a", "-c", "copy"], "added"),
    ],
)
def test_verify_refuses_what_is_not_a_true_copy(
    made, tmp_path: Path, arguments: list[str], says: str
) -> None:
    with pytest.raises(MediaError, match=says) as error:
        checked(made, arguments, tmp_path)
    one_sentence(error)


def test_verify_accepts_the_true_copy(made, tmp_path: Path) -> None:
    checked(made, ["-map", "0:v", "-map", "1:a", "-c", "copy"], tmp_path)
