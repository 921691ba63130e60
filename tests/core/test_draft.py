"""A draft becomes its target whole, or leaves nothing, however it ends."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from avsync.core import draft as drafts
from avsync.core.draft import draft
from avsync.core.errors import OutputError, UsageError


@pytest.fixture(params=["nameless", "named"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both kinds of file system: with nameless files, and without."""
    if request.param == "named":
        monkeypatch.setattr(drafts, "NAMELESS", 0)
    return request.param


@pytest.fixture(params=[0o022, 0o077, 0o002])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_appears_when_it_is_published(tmp_path: Path, kind: str) -> None:
    with draft(tmp_path / "out.mp4") as made:
        made.path.write_bytes(b"whole")
        assert not (tmp_path / "out.mp4").exists()
        made.publish(replace=False)
    assert (tmp_path / "out.mp4").read_bytes() == b"whole"
    assert names(tmp_path) == ["out.mp4"]


def test_without_being_published_nothing_stays(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ZeroDivisionError), draft(tmp_path / "out.mp4") as made:
        made.path.write_bytes(b"half")
        raise ZeroDivisionError
    assert names(tmp_path) == []


def test_what_appeared_meanwhile_stays_unless_it_is_to_be_replaced(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "out.mp4"
    with draft(target) as made:
        target.write_bytes(b"another program's")
        with pytest.raises(UsageError, match="--force"):
            made.publish(replace=False)
    assert target.read_bytes() == b"another program's"
    with draft(target) as made:
        made.path.write_bytes(b"new")
        made.publish(replace=True)
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == ["out.mp4"]


@pytest.mark.parametrize("mode", [0o666, 0o640, 0o600, 0o444])
def test_rights_are_those_asked_for_less_the_umask(tmp_path: Path, kind: str, umask: int, mode: int) -> None:
    with draft(tmp_path / "out.mp4", mode) as made:
        made.publish(replace=False)
    assert stat.S_IMODE((tmp_path / "out.mp4").stat().st_mode) == mode & ~umask


def test_a_folder_that_takes_no_file_is_reported(tmp_path: Path, kind: str) -> None:
    with pytest.raises(OutputError, match=r"out\.mp4 cannot be written"), draft(tmp_path / "no" / "out.mp4"):
        pass


KILLED = """
import sys, time
from pathlib import Path
from avsync.core import draft as drafts
if sys.argv[2] == "named":
    drafts.NAMELESS = 0
with drafts.draft(Path(sys.argv[1])) as made:
    made.path.write_bytes(bytes(1000))
    print("written", flush=True)
    time.sleep(60)
"""


def test_after_kill_9_nothing_stays_at_the_latest_when_the_next_draft_is_made(
    tmp_path: Path, kind: str
) -> None:
    call = [sys.executable, "-c", KILLED, str(tmp_path / "out.mp4"), kind]
    with subprocess.Popen(call, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        drafts.sweep(tmp_path)  # which leaves alone what is being written
        assert len(names(tmp_path)) == (kind == "named")
        writer.send_signal(signal.SIGKILL)
    with draft(tmp_path / "other.mp4") as made:
        made.publish(replace=False)
    assert names(tmp_path) == ["other.mp4"]


def test_only_drafts_are_swept(tmp_path: Path) -> None:
    for name in (".avsync-notes.part", ".avsync-0123456789abcdef.part.txt", "out.part"):
        (tmp_path / name).write_text("mine")
    before = names(tmp_path)
    drafts.sweep(tmp_path)
    assert names(tmp_path) == before
