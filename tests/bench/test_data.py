"""Which clips are judged: those of the split, evenly taken, prepared once."""

from pathlib import Path

import pytest
from distill_factory import made_cache, wav2lip_set

from avsync.bench.data import open_clips
from avsync.core.errors import MediaError, UsageError
from avsync.data.labels import evenly


def test_a_prepared_cache_is_read_and_not_written(tmp_path: Path) -> None:
    cache = made_cache(tmp_path / "cache", {"test": [20, 30, 40], "val": [20]})
    before = {p.name: p.stat().st_mtime_ns for p in cache.iterdir()}
    test, val = open_clips(cache, ("test", "val"))
    assert (len(test), len(val)) == (3, 1)
    assert {p.name: p.stat().st_mtime_ns for p in cache.iterdir()} == before


def test_clips_are_prepared_where_the_cache_lacks_them(tmp_path: Path) -> None:
    data, cache = wav2lip_set(tmp_path / "data", train=2, val=3), tmp_path / "cache"
    (val,) = open_clips(data, ("val",), cache=cache, limit=2, workers=1)
    assert [c.id for c in val.clips] == ["v/0", "v/2"]
    written = {p.name: p.stat().st_mtime_ns for p in cache.iterdir()}
    (again,) = open_clips(data, ("val",), cache=cache, limit=2, workers=1)
    assert [c.id for c in again.clips] == ["v/0", "v/2"]
    assert {p.name: p.stat().st_mtime_ns for p in cache.iterdir()} == written


def test_several_splits_are_judged_as_one(tmp_path: Path) -> None:
    cache = made_cache(tmp_path / "cache", {"test": [20, 30], "unaligned": [40], "val": [20]})
    both, val = open_clips(cache, ("val,unaligned", "val"))
    assert sorted(clip.split for clip in both.clips) == ["unaligned", "val"]
    assert len(val) == 1
    data = wav2lip_set(tmp_path / "data", train=1, val=2)
    (found,) = open_clips(data, ("train,val",), cache=tmp_path / "made", workers=1)
    assert len(found) == 3


@pytest.mark.parametrize(("limit", "expected"), [(0, [0, 1, 2, 3, 4]), (3, [0, 2, 4]), (9, [0, 1, 2, 3, 4])])
def test_a_limit_takes_items_from_the_whole_list(limit: int, expected: list[int]) -> None:
    assert evenly([0, 1, 2, 3, 4], limit) == expected


def test_a_missing_split_is_named_with_what_there_is(tmp_path: Path) -> None:
    data = wav2lip_set(tmp_path / "data", train=1, val=1)
    with pytest.raises(MediaError, match=r"split test; it has: train, val"):
        open_clips(data, ("test",), cache=tmp_path / "cache")
    with pytest.raises(MediaError, match="split test"):
        open_clips(made_cache(tmp_path / "made", {"val": [20]}), ("test",))
    with pytest.raises(UsageError, match="nowhere"):
        open_clips(tmp_path / "nowhere", ("test",))
