"""Long batches: flat memory and handles, kills at any moment, files that were never meant to be videos."""

import json
import os
import random
import re
from pathlib import Path
from statistics import median

import pytest
from killing import KILLS, killed
from talk_factory import EARLY_MS, Talk

from avsync.batch.run import check_many
from avsync.core.options import CheckOptions, Limits
from avsync.report.jsonl import opened_ledger

OPTIONS = CheckOptions()


@pytest.fixture(scope="session")
def clip(talk: Talk) -> Path:
    return talk(EARLY_MS, duration_s=2)


def mutated(content: bytes, seed: int) -> bytes:
    """The bytes with damage of one of six kinds."""
    chance, damaged = random.Random(seed), bytearray(content)
    at, size = chance.randrange(len(damaged) // 2), chance.randrange(100, len(damaged) // 4)
    match seed % 6:
        case 0:  # bytes of the header
            for _ in range(chance.choice((1, 8, 40))):
                damaged[chance.randrange(min(3000, len(damaged)))] = chance.randrange(256)
        case 1:  # bits anywhere
            for _ in range(60):
                damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        case 2:
            del damaged[at : at + size]
        case 3:
            damaged[at : at + size] = chance.randbytes(size)
        case 4:  # the largest numbers in the header
            for _ in range(4):
                at = chance.randrange(16, 1500)
                damaged[at : at + 4] = b"\x7f\xff\xff\xff"
        case _:
            del damaged[max(1, int(len(damaged) * chance.random())) :]
    return bytes(damaged)


@pytest.mark.fuzz
@pytest.mark.parametrize("count", [12, pytest.param(120, marks=pytest.mark.slow)])
def test_damaged_files_are_rows_like_any_other(clip: Path, tmp_path: Path, count: int):
    files = [tmp_path / f"{seed}.mp4" for seed in range(count)]
    for seed, file in enumerate(files):
        file.write_bytes(mutated(clip.read_bytes(), seed))
    reports = dict(check_many(files, OPTIONS, workers=2, limits=Limits(seconds=120)))
    assert sorted(reports) == list(range(count))
    said = " ".join(str(reason.values) for report in reports.values() for reason in report.reasons)
    assert not re.search(r"bug in avsync|died|was not judged within", said)


@pytest.mark.slow
def test_memory_and_handles_stay_flat_over_300_files(clip: Path, tmp_path: Path):
    (tmp_path / "bad.mp4").write_bytes(mutated(clip.read_bytes(), 1))
    (tmp_path / "text.mp4").write_text("no video")
    files = [clip if n % 3 == 0 else tmp_path / ("bad.mp4", "text.mp4")[n % 3 - 1] for n in range(300)]
    taken: list[tuple[int, int]] = []
    for _ in check_many(files, OPTIONS):
        (worker,) = _children(os.getpid())
        memory = re.search(r"VmRSS:\s+(\d+)", (worker / "status").read_text())
        assert memory
        taken.append((int(memory[1]), len(list((worker / "fd").iterdir()))))
        if len(taken) == len(files) - 1:
            break
    early, late = taken[30:90], taken[-60:]
    assert median(kb for kb, _ in late) - median(kb for kb, _ in early) < 20_000
    assert median(handles for _, handles in late) == median(handles for _, handles in early)


def _children(parent: int) -> list[Path]:
    """Folders in /proc of the processes of a parent that check files."""
    return [
        folder
        for folder in Path("/proc").glob("[0-9]*")
        if (folder / "stat").exists()
        and int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1]) == parent
        and b"spawn_main" in (folder / "cmdline").read_bytes()
    ]


@pytest.mark.slow
def test_a_batch_that_is_killed_leaves_rows_and_nothing_else(clip: Path, tmp_path: Path):
    folder, chance = tmp_path / "videos", random.Random(7)
    folder.mkdir()
    for number in range(12):
        (folder / f"{number}.mp4").symlink_to(clip)
    ledger = tmp_path / "out.jsonl"
    arguments = ["check", str(folder), "--workers", "2", "--jsonl", str(ledger), "--resume"]
    before, struck = 0, 0
    for _ in range(KILLS):
        struck += killed(arguments, chance.uniform(1, 15), tmp_path / "tmp")
        lines = ledger.read_text().splitlines(keepends=True) if ledger.exists() else []
        rows = [json.loads(line)["path"] for line in lines if line.endswith("\n")]
        assert len(rows) == len(set(rows)) >= before
        assert sorted(path.name for path in folder.iterdir()) == sorted(f"{n}.mp4" for n in range(12))
        assert {path.name for path in tmp_path.iterdir()} <= {"videos", "out.jsonl", "tmp", "stderr"}
        before = len(rows)
        if before == 12:
            ledger.unlink()
            before = 0
    assert struck
    assert not killed(arguments, 600, tmp_path / "tmp")
    with opened_ledger(ledger, {}, resumed=True):
        assert len(ledger.read_text().splitlines()) == 12
