"""A type checker finds what is wrong with a call of the public functions."""

import sys
from pathlib import Path

import pytest
from typed_calls import assert_wrong_lines_found


@pytest.mark.slow
def test_pyright_finds_wrong_names_and_values(tmp_path: Path):
    assert_wrong_lines_found(tmp_path, Path(sys.executable))
