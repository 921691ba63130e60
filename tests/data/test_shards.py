"""The cache gives back what was put in, and the draws from it are fair and repeatable."""

import json

import numpy as np
import pytest
from distill_factory import made_cache
from hypothesis import given, settings
from hypothesis import strategies as st

from avsync.core.errors import MediaError
from avsync.data.pairs import draw_pairs, loud_windows, validation_pairs
from avsync.data.shards import (
    MARGIN,
    REGION,
    SAMPLES_PER_FRAME,
    BrokenClip,
    ShardWriter,
    Store,
    StoredClip,
    read_shards,
)


def clip(name, frames, samples=None, fingerprint="0"):
    return StoredClip(name, "train", "made", fingerprint, frames, samples or frames * SAMPLES_PER_FRAME, 25.0)


def write(cache, number, *entries, finish=True):
    writer = ShardWriter(cache, number)
    for entry, value in entries:
        frames = np.full((entry.frames, *REGION), value, np.uint8)
        writer.add(entry, [frames[:3], frames[3:]], np.full(entry.samples, value, np.int16))
    if finish:
        writer.close()


def test_clips_come_back_from_several_shards_in_the_order_of_their_ids(tmp_path):
    write(tmp_path, 0, (clip("b", 7), 1), (clip("c", 9), 2))
    write(tmp_path, 1, (clip("a", 11), 3))
    store = Store(tmp_path)
    assert [c.id for c in store.clips] == ["a", "b", "c"]
    for number, (frames, value) in enumerate([(11, 3), (7, 1), (9, 2)]):
        assert store.frames(number).shape == (frames, *REGION)
        assert (store.frames(number) == value).all()
        assert (store.wave(number) == value).all()
        assert store.mouths(number).shape == (frames, 48, 96, 3)
    assert store.windows.tolist() == [7, 3, 5]


def test_the_inner_part_of_a_region_is_the_models_input(tmp_path):
    region = np.arange(np.prod((5, *REGION)), dtype=np.int64).reshape(5, *REGION).astype(np.uint8)
    writer = ShardWriter(tmp_path, 0)
    writer.add(clip("a", 5), [region], np.zeros(5 * SAMPLES_PER_FRAME, np.int16))
    writer.close()
    np.testing.assert_array_equal(
        Store(tmp_path).mouths(0), region[:, MARGIN : MARGIN + 48, MARGIN : MARGIN + 96]
    )


def test_an_unfinished_shard_does_not_count(tmp_path):
    write(tmp_path, 0, (clip("a", 7), 1))
    write(tmp_path, 1, (clip("b", 7), 2), finish=False)
    assert [c.id for c in Store(tmp_path).clips] == ["a"]


def test_a_clip_made_again_replaces_the_old_one(tmp_path):
    write(tmp_path, 0, (clip("a", 7, fingerprint="old"), 1))
    write(tmp_path, 1, (clip("a", 8, fingerprint="new"), 2))
    store = Store(tmp_path)
    assert [c.fingerprint for c in store.clips] == ["new"]
    assert (store.frames(0) == 2).all()


def test_splits_and_short_clips_are_chosen(tmp_path):
    made_cache(tmp_path, {"train": [5, 20], "val": [20], "test": [20]})
    assert {c.split for c in Store(tmp_path, ["train", "val"]).clips} == {"train", "val"}
    assert len(Store(tmp_path, ["train"], min_windows=2)) == 1
    assert [c.id for c in Store(tmp_path).select(lambda c: c.split == "test").clips] == ["test0/0"]


def test_a_clip_has_as_many_windows_as_both_streams_allow():
    assert clip("a", 30).windows == 26
    assert clip("a", 30, samples=20 * SAMPLES_PER_FRAME + 5).windows == 16
    assert clip("a", 3).windows == 0


@pytest.mark.parametrize("suffix", ["frames", "wave"])
def test_a_damaged_cache_is_named(tmp_path, suffix):
    write(tmp_path, 0, (clip("a", 7), 1))
    with (tmp_path / f"00000.{suffix}").open("r+b") as file:
        file.truncate(100)
    with pytest.raises(MediaError, match=rf"00000.json is damaged \(00000.{suffix} is cut short\)"):
        Store(tmp_path)
    (tmp_path / "00000.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(MediaError, match="another version"):
        read_shards(tmp_path)


def test_a_clip_that_a_newer_shard_marks_broken_does_not_come_back(tmp_path):
    write(tmp_path, 0, (clip("a", 7), 1), (clip("b", 7), 1))
    writer = ShardWriter(tmp_path, 1)
    writer.add_broken(BrokenClip("a", "train", "made", "1", "It shows no face."))
    writer.close()
    assert [c.id for c in Store(tmp_path).clips] == ["b"]
    write(tmp_path, 2, (clip("a", 8, fingerprint="2"), 3))
    assert [(c.id, c.frames) for c in Store(tmp_path).clips] == [("a", 8), ("b", 7)]


# --- Draws -------------------------------------------------------------------------------

WINDOWS = st.lists(st.integers(2, 60), min_size=1, max_size=8).map(np.array)


@given(WINDOWS, st.integers(1, 40), st.integers(0, 99), st.sampled_from(["near", "anywhere"]))
@settings(deadline=None, max_examples=60)
def test_pairs_lie_inside_their_clips_and_negatives_are_really_shifted(windows, half, seed, negatives):
    pairs = draw_pairs(windows, 2 * half, seed=seed, epoch=3, negatives=negatives, radius=15)
    assert pairs.labels.sum() == half
    for start in (pairs.video, pairs.audio):
        assert ((start >= 0) & (start < windows[pairs.clips])).all()
    shift = pairs.audio - pairs.video
    assert ((shift == 0) == (pairs.labels == 1)).all()
    if negatives == "near":
        assert (np.abs(shift) <= 15).all()


def test_negatives_reach_every_shift_and_anywhere_reaches_further():
    near = draw_pairs(np.array([200]), 20_000, seed=0, epoch=0)
    shifts = (near.audio - near.video)[near.labels == 0]
    assert set(shifts.tolist()) == set(range(-15, 16)) - {0}
    far = draw_pairs(np.array([200]), 2_000, seed=0, epoch=0, negatives="anywhere")
    assert np.abs(far.audio - far.video).max() > 100


def test_every_clip_is_seen_in_each_pass():
    pairs = draw_pairs(np.full(10, 20), 30, seed=1, epoch=0)
    assert np.bincount(pairs.clips).tolist() == [3] * 10


def test_draws_depend_on_seed_and_epoch_alone():
    windows = np.array([20, 30, 40])
    first, again = (draw_pairs(windows, 12, seed=1, epoch=2) for _ in range(2))
    other = draw_pairs(windows, 12, seed=1, epoch=3)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))
    fixed = [validation_pairs(windows, 4) for _ in range(2)]
    assert all((a == b).all() for a, b in zip(*fixed, strict=True))
    assert np.bincount(fixed[0].clips).tolist() == [4, 4, 4]


def test_a_negative_of_two_quiet_windows_is_drawn_again():
    loud = [np.array([False] * 20 + [True] * 5)]
    drawn = draw_pairs(np.array([25]), 400, seed=0, epoch=0, negatives="anywhere", loud=loud)
    negative = drawn.labels == 0
    quiet = ~(loud[0][drawn.video] | loud[0][drawn.audio])
    assert quiet[~negative].mean() > 0.6
    assert quiet[negative].mean() < 0.2
    assert (drawn.video != drawn.audio)[negative].all()


def test_windows_are_loud_by_their_rms(tmp_path):
    wave = np.concatenate([np.full(6 * SAMPLES_PER_FRAME, 100), np.full(6 * SAMPLES_PER_FRAME, 3000)])
    writer = ShardWriter(tmp_path, 0)
    writer.add(clip("a", 12), [np.zeros((12, *REGION), np.uint8)], wave.astype(np.int16))
    writer.close()
    assert loud_windows(Store(tmp_path))[0].tolist() == [False, False, *[True] * 6]
