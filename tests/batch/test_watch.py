"""A folder that is watched: nothing is checked before it is complete, and nothing twice."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from media_factory import bar_clip

from avsync.batch.watch import arrivals, is_whole

SETTLE_S = 0.1
PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return bar_clip(tmp_path_factory.mktemp("made") / "a.mp4").read_bytes()


def watched(folder: Path) -> Iterator[list[Path]]:
    return arrivals(folder, settle_s=SETTLE_S, poll_s=0.05)


def within(coming: Iterator[list[Path]], seconds: float) -> list[Path]:
    """What arrives within `seconds`."""
    until = time.monotonic() + seconds
    found: list[Path] = []
    while time.monotonic() < until:
        found += next(coming)
    return found


def arrived(coming: Iterator[list[Path]]) -> list[Path]:
    """The next files that arrive."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if found := next(coming):
            return found
    return []


def test_what_is_there_arrives_once_and_again_when_it_has_changed(tmp_path: Path, clip: bytes):
    path = tmp_path / "a.mp4"
    path.write_bytes(clip)
    (tmp_path / "notes.txt").write_text("no video")
    (tmp_path / ".hidden.mp4").write_bytes(clip)
    coming = watched(tmp_path)
    assert arrived(coming) == [path]
    assert within(coming, 3 * SETTLE_S) == []
    path.write_bytes(clip + b"\0" * 8)
    assert arrived(coming) == [path]


def test_a_file_that_grows_waits_until_it_is_whole(tmp_path: Path, clip: bytes):
    path = tmp_path / "deep" / "b.mp4"
    path.parent.mkdir()
    coming = watched(tmp_path)
    for part in range(4):
        with path.open("ab") as stream:
            stream.write(clip[part * len(clip) // 4 : (part + 1) * len(clip) // 4])
        if part < 3:
            assert within(coming, 3 * SETTLE_S) == []
    assert arrived(coming) == [path]


def test_a_broken_file_is_not_waited_for_forever(tmp_path: Path, clip: bytes):
    path = tmp_path / "c.mp4"
    path.write_bytes(clip[: len(clip) // 2])
    assert not is_whole(path)
    coming = watched(tmp_path)
    assert within(coming, 6 * SETTLE_S) == []
    assert arrived(coming) == [path]


def test_a_file_that_is_taken_away_and_comes_back_arrives_again(tmp_path: Path, clip: bytes):
    path = tmp_path / "d.mp4"
    path.write_bytes(clip)
    coming = watched(tmp_path)
    assert arrived(coming) == [path]
    away = path.rename(tmp_path / "d.moved")
    assert within(coming, 2 * SETTLE_S) == []
    away.rename(path)
    assert arrived(coming) == [path]
