"""A question about a file is answered in a process of its own."""

import ctypes
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from avsync.batch.apart import apart


def is_there(path: Path) -> bool:
    return path.exists()


def crash(_: Path) -> bool:
    ctypes.string_at(0)
    return True


def end_it(_: Path) -> bool:
    os._exit(0)


def stall(_: Path) -> bool:
    time.sleep(60)
    return True


def need_much(_: Path) -> bool:
    return len(bytearray(3_000_000_000)) > 0


def test_the_answer_is_that_of_the_question(tmp_path: Path):
    assert apart(is_there, tmp_path, 60) is True
    assert apart(is_there, tmp_path / "none", 60) is False


@pytest.mark.parametrize("question", [crash, end_it, stall, need_much])
def test_what_happens_to_the_process_is_no_answer_and_harms_nobody(question, tmp_path: Path, capfd):
    assert apart(question, tmp_path, 15 if question is not stall else 3) is None
    assert not multiprocessing.active_children()
    assert capfd.readouterr().err == ""
