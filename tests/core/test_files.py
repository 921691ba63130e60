"""Results are whole or absent, and take the place of nothing but older results."""

import os
from pathlib import Path

import pytest

from avsync.core.errors import OutputError, UsageError
from avsync.core.files import Kind, disk_errors, protect, ready, replacing, write_whole

LETTERS = Kind("letter", lambda head: head.startswith(b"Dear"))


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


def test_a_new_file_has_the_rights_of_the_umask(tmp_path: Path, umask: int):
    assert write_whole(tmp_path / "a" / "x.txt", b"x").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("rights", [0o600, 0o664, 0o444])
def test_a_file_that_was_there_keeps_its_rights(tmp_path: Path, umask: int, rights: int):
    target = tmp_path / "x.txt"
    target.write_text("old")
    target.chmod(rights)
    write_whole(target, b"new")
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == rights


def test_what_was_there_stays_until_all_is_written(tmp_path: Path):
    target = tmp_path / "x.txt"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(target) as stream:
        stream.write(b"half of the ne")
        assert target.read_text() == "old"
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]
    assert target.read_text() == "old"


def test_a_link_stays_a_link_and_a_device_a_device(tmp_path: Path):
    (tmp_path / "link").symlink_to("x.txt")
    write_whole(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "x.txt").read_bytes() == b"new"
    write_whole(Path("/dev/null"), b"new")
    assert Path("/dev/null").is_char_device()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_one_sentence():
    with pytest.raises(OutputError, match="Cannot write the list /dev/full: No space left on device"):
        write_whole(Path("/dev/full"), b"x" * 10_000_000, what="the list")
    with (
        pytest.raises(OutputError, match=r"The disk of /dev is full, so it stopped\."),
        disk_errors(Path("/dev"), "it stopped"),
    ):
        write_whole(Path("/dev/full"), b"x" * 10_000_000)


@pytest.mark.parametrize(("content", "foreign"), [("", False), ("Dear Ada", False), ("{}", True)])
def test_only_an_older_result_of_the_same_kind_is_replaced(tmp_path: Path, content: str, foreign: bool):
    target = tmp_path / "x.txt"
    protect(target, LETTERS, "--to")
    target.write_text(content)
    if foreign:
        with pytest.raises(
            UsageError, match="exists and is not a letter written by avsync; name another file for --to"
        ):
            ready(target, LETTERS, "--to")
    else:
        ready(target, LETTERS, "--to")
    assert target.read_text() == content
