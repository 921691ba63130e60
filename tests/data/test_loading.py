"""What a network is trained on is what it is given later, and augmentation changes only what it should."""

import numpy as np
import pytest
import torch
from distill_factory import made_cache

from avsync.audio.mel import log_mel
from avsync.data import loading
from avsync.data.augment import NONE, Augmentation, augment_frames, augment_mels, augment_waves, speeds
from avsync.data.loading import Resident, Streamed, as_frames, pair_bytes, pair_inputs
from avsync.data.shards import REGION, Store
from avsync.networks.base import Preprocessing
from avsync.networks.scoring import to_input

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(made_cache(tmp_path_factory.mktemp("cache"), {"train": [20, 33, 26]}))


def test_mels_equal_those_of_the_whole_clip_at_every_window_also_at_its_ends(store):
    for number, clip in enumerate(store.clips):
        whole = log_mel(store.wave(number).astype(np.float32) / 32768)
        windows = np.arange(clip.windows)
        clips = np.full(len(windows), number)
        _, mels = pair_inputs(pair_bytes(Streamed(store, CPU), clips, windows, windows))
        for window in windows:
            column = window * 80 // 25
            np.testing.assert_allclose(mels[window, 0], whole[:, column : column + 16], atol=2e-4)


def test_frames_equal_the_crops_that_checking_a_video_gives(store):
    mouths, _ = pair_inputs(pair_bytes(Streamed(store, CPU), np.array([1]), np.array([4]), np.array([9])))
    for wanted in (Preprocessing("rgb", 1.0), Preprocessing("bgr", 1 / 255)):
        expected = to_input(np.array(store.mouths(1)[4:9]), wanted, CPU).flatten(0, 1)
        torch.testing.assert_close(as_frames(mouths, wanted)[0], expected, rtol=1e-6, atol=1e-5)


def test_a_resident_set_gives_the_same_bytes_as_a_streamed_one(store):
    clips, video, audio = np.array([0, 2, 1]), np.array([15, 0, 3]), np.array([0, 21, 28])
    streamed, resident = (pair_bytes(kind(store, CPU), clips, video, audio) for kind in (Streamed, Resident))
    for a, b in zip(streamed, resident, strict=True):
        assert torch.equal(a, b)


def test_samples_beyond_a_clip_are_mirrored():
    index, inside = loading.mirrored(np.array([-401, -2, -1, 0, 4, 5, 6, 405]), 5)
    assert index[1:-1].tolist() == [2, 1, 0, 4, 3, 2]
    assert inside.tolist() == [False, True, True, True, True, True, True, False]


# --- Augmentation ------------------------------------------------------------------------


def regions(clips=3, frames=4):
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, 256, (clips, frames, *REGION), np.uint8))


def test_nothing_changes_without_augmentation():
    frames = regions()
    kept = augment_frames(frames, np.random.default_rng(0), NONE)
    torch.testing.assert_close(kept, loading.cut(frames), rtol=0, atol=1e-4)
    waves = torch.rand(3, 4000) - 0.5
    torch.testing.assert_close(augment_waves(waves.clone(), np.random.default_rng(0), NONE), waves)
    assert (speeds(np.random.default_rng(0), 5, NONE) == 1).all()


def test_augmentation_depends_on_its_generator_alone():
    waves = torch.rand(3, 4000) - 0.5
    for _ in range(2):
        torch.manual_seed(np.random.default_rng().integers(1000))
        results = [
            (
                augment_frames(regions(), np.random.default_rng(seed), Augmentation()),
                augment_waves(waves.clone(), np.random.default_rng(seed), Augmentation()),
            )
            for seed in (5, 5, 6)
        ]
        for same, again, other in zip(*results, strict=True):
            assert torch.equal(same, again)
            assert not torch.equal(same, other)


def test_augmented_inputs_stay_in_range():
    for seed in range(6):
        rng = np.random.default_rng(seed)
        frames = augment_frames(regions(), rng, Augmentation())
        waves = augment_waves(torch.randn(4, 8000), rng, Augmentation())
        assert frames.shape == (3, 4, 3, 48, 96)
        for x, low in ((frames, 0), (waves, -1)):
            assert torch.isfinite(x).all()
            assert x.min() >= low
            assert x.max() <= 1


def test_mirroring_is_the_same_for_all_frames_of_a_clip():
    flip = Augmentation(**{**vars(NONE), "flip_p": 1.0})
    frames = regions()
    torch.testing.assert_close(
        augment_frames(frames, np.random.default_rng(0), flip),
        loading.cut(frames).flip(-1),
        rtol=0,
        atol=1e-4,
    )


def test_a_repeated_frame_shows_the_one_before_it():
    repeat = Augmentation(**{**vars(NONE), "repeat_p": 1.0})
    frames = regions(1, 24)
    plain = loading.cut(frames)[0]
    changed = augment_frames(frames, np.random.default_rng(3), repeat)[0]
    differ = [i for i in range(24) if not torch.allclose(changed[i], plain[i], atol=1e-3)]
    assert differ
    assert all(torch.allclose(changed[i], plain[i - 1], atol=1e-3) for i in differ)


def test_silence_stays_finite_and_masked_bands_become_their_mean():
    silent = augment_waves(torch.zeros(2, 4000), np.random.default_rng(0), Augmentation())
    assert torch.isfinite(silent).all()
    mask = Augmentation(**{**vars(NONE), "mel_mask_p": 1.0})
    mels = torch.randn(1, 80, 16)
    masked = augment_mels(mels.clone(), np.random.default_rng(0), mask)
    bands = (masked != mels).any(-1)[0]
    assert 1 <= bands.sum() <= 11
    assert masked[0, bands].std() < 1e-5


def only(**amounts):
    return Augmentation(**{**vars(NONE), **amounts})


def test_a_bent_face_is_bent_alike_in_every_frame():
    still = regions(3, 1).repeat(1, 5, 1, 1, 1)
    bent = augment_frames(still, np.random.default_rng(0), only(morph_p=1.0, morph_px=2.0))
    assert all(torch.equal(bent[:, 0], bent[:, i]) for i in range(5))
    assert (bent - loading.cut(still)).abs().amax((1, 2, 3, 4)).min() > 0.05


def test_a_guise_changes_what_stands_still_and_keeps_the_motion():
    frames = (regions(3, 6) // 4) + 96  # nothing is clamped
    plain = loading.cut(frames)
    guised = augment_frames(frames, np.random.default_rng(0), only(face_mix_p=1.0))
    moved, was = guised - guised.mean(1, keepdim=True), plain - plain.mean(1, keepdim=True)
    torch.testing.assert_close(moved, was, rtol=0, atol=1e-4)
    assert (guised.mean(1) - plain.mean(1)).abs().amax((1, 2, 3)).min() > 0.02


def test_another_vocal_tract_moves_a_tone_to_another_band_at_the_same_time():
    mels = torch.full((1, 80, 20), -4.0)
    mels[0, 40, 7] = 4.0
    places = set()
    for seed in range(8):
        changed = augment_mels(mels.clone(), np.random.default_rng(seed), only(formant_p=1.0, formant=0.15))
        assert (changed.amax(1)[0] > -4).nonzero().flatten().tolist() == [7]
        places.add(int(changed[0, :, 7].argmax()))
    assert len(places) > 3
    assert max(places) - min(places) <= 12


def test_music_is_mixed_under_the_voice_at_the_level_asked_for():
    waves = torch.rand(8, 16_000) - 0.5
    mixed = augment_waves(waves.clone(), np.random.default_rng(1), only(noise_p=1.0))
    added = mixed - waves
    ratio = added.square().mean(1).sqrt() / waves.square().mean(1).sqrt()
    assert ((ratio > 0.05) & (ratio < 1.05)).all()
