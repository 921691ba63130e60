"""Runs of frames hold the audio that belongs to them, at any speed and delay."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from distill_factory import batch_of, made_cache, whole_runs

from avsync.data.augment import NONE, Augmentation
from avsync.data.dense_batch import dense_inputs, draw_runs, fetch_runs
from avsync.data.loading import Streamed, pair_bytes, pair_inputs
from avsync.data.shards import Store
from avsync.distill import dense

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(made_cache(tmp_path_factory.mktemp("cache"), {"train": [20, 33, 26]}))


def test_runs_hold_the_same_windows_as_pairs_do(store):
    batch = batch_of(store, whole_runs([1, 0], [5, 10], [12, 9]))
    assert batch.windows.tolist() == [8, 5]
    clips = np.repeat([1, 0], batch.windows)
    starts = np.concatenate([5 + np.arange(8), 10 + np.arange(5)])
    mouths, mels = pair_inputs(pair_bytes(Streamed(store, CPU), clips, starts, starts))
    torch.testing.assert_close(batch.mouths[dense.window_frames(batch.windows)], mouths)
    # Frames 5 and 10 begin whole cycles of five frames, sixteen columns: the grids agree.
    torch.testing.assert_close(dense.mel_windows(batch), mels[:, 0], rtol=0, atol=2e-4)


def test_audio_delayed_by_a_frame_lies_one_frame_later(store):
    plain, late = (batch_of(store, whole_runs([1], [5], [20], shift)) for shift in (0.0, 200.0))
    assert late.true.tolist() == [5.0]
    torch.testing.assert_close(dense.mel_windows(late)[5:], dense.mel_windows(plain)[:-5], rtol=0, atol=2e-4)


@pytest.mark.parametrize("context", [0, 8])
def test_at_twice_the_tempo_every_second_frame_and_column_is_left(store, context):
    def made(runs):
        raw = fetch_runs(Streamed(store, CPU), runs, context)
        return dense_inputs(raw, runs, np.random.default_rng(0), NONE, context)

    plain, fast = made(whole_runs([1], [5], [20])), made(whole_runs([1], [5], [10], tempo=2.0))
    torch.testing.assert_close(fast.mouths, plain.mouths[::2])
    played, own = (m.mels[0, :, context:] for m in (fast, plain))
    torch.testing.assert_close(played[:, :18], own[:, :36:2], rtol=0, atol=2e-4)
    fast, late = (made(whole_runs([1], [3], [14], shift, tempo=2.0)) for shift in (0.0, 200.0))
    assert late.true.tolist() == [5.0], "frames as they are played"
    torch.testing.assert_close(dense.mel_windows(late)[5:], dense.mel_windows(fast)[:-5], rtol=0, atol=2e-4)


def test_a_batch_of_several_tempos_is_read_at_each(store):
    one = whole_runs([0, 1], [0, 3], [10, 10])
    mixed = replace(one, tempo=np.array([1.0, 1.5]))
    both = batch_of(store, mixed)
    alone = batch_of(store, whole_runs([1], [3], [10], tempo=1.5))
    torch.testing.assert_close(both.mels[0], batch_of(store, one).mels[0], rtol=0, atol=2e-4)
    torch.testing.assert_close(both.mels[1], alone.mels[0], rtol=0, atol=2e-4)


def test_a_run_has_the_audio_before_and_after_it_in_its_clip(store):
    runs = whole_runs([1, 0], [5, 10], [12, 9])
    plain = batch_of(store, runs)
    raw = fetch_runs(Streamed(store, CPU), runs, 40)
    wide = dense_inputs(raw, runs, np.random.default_rng(0), NONE, 40)
    assert wide.mels.shape[-1] == plain.mels.shape[-1] + 80
    torch.testing.assert_close(dense.mel_windows(wide), dense.mel_windows(plain), rtol=0, atol=2e-4)
    whole = dense_inputs(
        fetch_runs(Streamed(store, CPU), both := whole_runs([1], [0], [33])),
        both, np.random.default_rng(0), NONE,
    )  # fmt: skip
    # Frame 5 is column 16: sixteen columns of the clip come before, and silence before those.
    torch.testing.assert_close(wide.mels[0, :, 24:80], whole.mels[0, :, :56], rtol=0, atol=2e-4)
    assert bool((wide.mels[0, :, :20] == -4).all())


def test_runs_are_drawn_inside_their_clips_at_any_speed():
    frames, share = np.array([12, 40]), np.array([0.5, 0.5])
    rng = np.random.default_rng(0)
    runs = draw_runs(rng, frames, share, np.array([0.0, 20.0]), 500, 30, Augmentation())
    last = runs.start + (runs.lengths - 1) * runs.speed
    assert (runs.start >= 0).all()
    assert (last <= frames[runs.clips] - 1 + 1e-6).all()
    assert (np.abs(runs.shift_ms) <= 20).all()
    assert (runs.delay_ms == np.where(runs.clips == 1, 20, 0)).all()
    usual = runs.speed == 1
    assert 0.5 < usual.mean() < 0.9
    assert (runs.start[usual] % 1 == 0).all()


def test_runs_may_have_any_length_from_the_shortest_on_anywhere_in_their_clips():
    frames, share = np.array([12, 30, 90]), np.array([0.2, 0.4, 0.4])
    rng = np.random.default_rng(0)
    runs = draw_runs(rng, frames, share, np.zeros(3), 900, 45, NONE, shortest=20)
    assert (runs.lengths[runs.clips == 0] == 12).all(), "a clip that is shorter is used whole"
    assert set(runs.lengths[runs.clips == 1]) == set(range(20, 31))
    assert set(runs.lengths[runs.clips == 2]) == set(range(20, 46))
    cut = runs.clips == 1
    begins, rest = runs.start[cut], 30 - runs.start[cut] - runs.lengths[cut]
    assert begins.min() == rest.min() == 0
    assert begins.max() == rest.max() == 10


def test_tempo_is_drawn_evenly_up_and_down_and_leaves_something_of_a_clip():
    frames, share = np.array([10, 16, 60]), np.array([0.3, 0.3, 0.4])
    rng = np.random.default_rng(0)
    runs = draw_runs(rng, frames, share, np.zeros(3), 900, 30, Augmentation(speed_p=0, tempo_p=0.5, tempo=2))
    assert 0.3 < (runs.tempo == 1).mean() < 0.7
    assert runs.tempo.min() >= 0.5
    assert (runs.lengths[runs.clips == 0] == 10).any(), "a short clip is not sped up"
    assert runs.lengths.min() == 10
    assert runs.tempo[runs.clips == 1].max() == pytest.approx(15 / 11)
    assert 1.9 < runs.tempo[runs.clips == 2].max() <= 2
    last = runs.start + (runs.lengths - 1) * runs.tempo
    assert (last <= frames[runs.clips] - 1 + 1e-6).all()


def test_mixed_precision_leaves_the_mels_as_they_are(store):
    runs = whole_runs([1], [5], [12], tempo=1.2)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = batch_of(store, runs)
    torch.testing.assert_close(mixed.mels, batch_of(store, runs).mels, rtol=0, atol=0)
