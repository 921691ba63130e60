"""Damaged files, with fixed seeds: repaired or refused in one sentence; nothing half-written stays."""

import os
from pathlib import Path

import pytest
from fix_factory import names, shift
from mutations import mutated

from avsync.core.errors import AvsyncError

SEEDS = int(os.environ.get("AVSYNC_FUZZ", "14"))
CONTAINERS = (
    "plain.mp4",
    "plain.mov",
    "plain.mkv",
    "plain.webm",
    "plain.ts",
    "plain.mpg",
    "plain.flv",
    "plain.wmv",
)
CONTAINERS += ("coarse.avi",)


@pytest.mark.fuzz
@pytest.mark.parametrize("name", CONTAINERS)
def test_a_damaged_file_is_repaired_or_refused(made, tmp_path: Path, name: str) -> None:
    whole = made(name).read_bytes()
    for seed in range(300, 300 + SEEDS):
        source, target = tmp_path / f"in{seed}{Path(name).suffix}", tmp_path / f"out{seed}{Path(name).suffix}"
        source.write_bytes(mutated(whole, seed))
        try:
            shift(source, target, 120)
        except AvsyncError as error:
            said = str(error)
            assert said.endswith(".") and "\n" not in said, said
        else:
            target.unlink()
        source.unlink()
        assert names(tmp_path) == []
