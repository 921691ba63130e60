"""A question about a file is answered in a separate process."""

import multiprocessing
from pathlib import Path

import pytest
from questions_factory import crash, end_it, is_there, need_much, stall

from avsync.batch.apart import apart


def test_the_answer_is_that_of_the_question(tmp_path: Path):
    assert apart(is_there, tmp_path, 60) is True
    assert apart(is_there, tmp_path / "none", 60) is False


@pytest.mark.parametrize("question", [crash, end_it, stall, need_much])
def test_a_process_that_dies_gives_no_answer_and_harms_no_other(question, tmp_path: Path, capfd):
    assert apart(question, tmp_path, 15 if question is not stall else 3) is None
    assert not multiprocessing.active_children()
    assert capfd.readouterr().err == ""
