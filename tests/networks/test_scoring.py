"""Encoding everything once gives the same scores as running the whole network on every pair."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from avsync.audio.mel import log_mel
from avsync.core.records import Clip, Waveform
from avsync.networks.base import Preprocessing, Scorer
from avsync.networks.blocks import BLOCKS_KEPT
from avsync.networks.columns import Columns
from avsync.networks.dims import Dims
from avsync.networks.scoring import WINDOWS_AT_ONCE, batches, score_clip, score_clips
from avsync.networks.vocalist import VocaLiST
from avsync.networks.windows import MIRRORED_FRAMES, window_starts

SHAPES = {
    "clip3d": Dims(channels=(4, 4, 8, 8, 16), d_model=16, heads=4, layers=2),
    "frame2d": Dims(front_end="frame2d", channels=(4, 4, 8, 8, 16), d_model=16, heads=4, layers=2),
    "contrast": Dims(
        front_end="frame2d", channels=(4, 4, 8, 8, 16), d_model=16, heads=4, layers=1, contrast=8
    ),
    "embeddings only": Dims(
        front_end="frame2d", channels=(4, 4, 8, 8, 16), d_model=16, heads=4, layers=0, contrast=8
    ),
    "column1d": Dims("frame2d", (4, 4, 8, 8, 16), 16, 4, 0, (16, 16), contrast=8, audio_front_end="column1d"),
    "context": Dims("frame2d", (4, 4, 8, 8, 16), 16, 4, 0, None, 8, "column2d", frame_context=True),
    "wide context": Dims(
        "frame2d", (4, 4, 8, 8, 16), 16, 4, 0, None, 8, "column2d", frame_context=True, wide_context=True
    ),
}


def loaded(front_end: str, preprocessing: Preprocessing = Preprocessing()) -> Scorer:
    torch.manual_seed(3)
    model = VocaLiST(SHAPES[front_end]).eval()
    for part in (model.vid_context, model.aud_context):  # which would begin as the identity
        for parameter in part.mix.parameters() if part is not None else ():
            torch.nn.init.normal_(parameter, std=0.1)
    return Scorer(model, preprocessing)


def material(frames: int, seconds: float | None = None) -> tuple[Clip, Waveform]:
    rng = np.random.default_rng(0)
    mouths = rng.integers(0, 256, (frames, 48, 96, 3), np.uint8)
    samples = rng.standard_normal(int((seconds or frames / 25) * 16000)).astype(np.float32) * 0.1
    return Clip(0, 0.0, mouths), Waveform(samples, 0.0)


@pytest.mark.parametrize("front_end", SHAPES)
def test_scores_equal_the_whole_network_on_every_pair(front_end: str) -> None:
    ready = loaded(front_end, Preprocessing("bgr", 1 / 255))
    context, around = ready.model.audio_context, ready.model.frame_context
    clip, waveform = material(12 + 2 * around)
    got = score_clip(ready, clip, np.arange(around, around + 8), waveform, 15)
    silence = torch.full((80, context), -4.0)
    mel = torch.cat([silence, torch.from_numpy(log_mel(waveform.samples)), silence], 1)
    frames = torch.from_numpy(clip.mouths[..., ::-1].copy()).permute(0, 3, 1, 2).float() / 255
    for t in range(8):
        for k in range(-15, 16):
            if not 0 <= t + around + k <= 7 + 2 * around:
                assert np.isnan(got[t, k + 15]), f"window {t}, shift {k}: no audio there"
                continue
            column = (t + around + k) * 80 // 25
            with torch.no_grad():
                audio = mel[None, None, :, column : column + 16 + 2 * context]
                want = ready.model(frames[t : t + 5 + 2 * around].flatten(0, 1)[None], audio)
            assert got[t, k + 15] == pytest.approx(want.item(), abs=1e-3)


@pytest.mark.parametrize("shape", ["context", "wide context"])
@pytest.mark.parametrize("stride", [1, 3, 7, 20])
def test_windows_far_apart_score_as_among_all_others(stride: int, shape: str) -> None:
    """However few windows are asked for, each has its whole context."""
    ready, (clip, waveform) = loaded(shape), material(50)
    every = score_clip(ready, clip, np.arange(46), waveform, 3)
    some = score_clip(ready, clip, np.arange(0, 46, stride), waveform, 3)
    np.testing.assert_allclose(some, every[::stride], atol=1e-4)


@pytest.mark.parametrize("front_end", ["frame2d", "column1d"])
def test_pieces_of_a_long_track_score_as_the_whole(front_end: str) -> None:
    ready, (clip, waveform) = loaded(front_end), material(40)
    whole = score_clips(ready, [clip], waveform, max_shift=5, stride=3)[0]
    pieces = [Clip(0, 0.0, clip.mouths[:24]), Clip(0, 20 / 25, clip.mouths[20:])]
    joined = score_clips(ready, pieces, waveform, max_shift=5, stride=3)[0]
    np.testing.assert_allclose(joined.times_s, whole.times_s)
    np.testing.assert_allclose(joined.logits, whole.logits, atol=1e-3)


@pytest.mark.parametrize("front_end", ["embeddings only", "wide context"])
def test_a_short_whole_stretch_is_seen_in_the_mirror_too(front_end: str) -> None:
    ready, (clip, waveform) = loaded(front_end), material(MIRRORED_FRAMES)
    other = Clip(0, 0.0, clip.mouths[:, :, ::-1])
    starts = np.arange(20, 40)
    one, mirror, both = (
        score_clip(ready, seen, starts, waveform, 4) for seen in (clip, other, replace(clip, whole=True))
    )
    np.testing.assert_allclose(both, (one + mirror) / 2, atol=1e-4)
    assert np.abs(one - mirror).max() > 1e-3


@pytest.mark.parametrize(
    ("front_end", "frames"), [("embeddings only", MIRRORED_FRAMES + 1), ("clip3d", 20), ("contrast", 20)]
)
def test_longer_ones_and_those_of_cross_modal_networks_are_seen_once(front_end: str, frames: int) -> None:
    """A piece of a longer one, however short, is not whole; published networks score as their authors' do."""
    ready, (clip, waveform) = loaded(front_end), material(frames)
    starts = np.arange(8, 14)
    np.testing.assert_array_equal(
        score_clip(ready, replace(clip, whole=True), starts, waveform, 2),
        score_clip(ready, clip, starts, waveform, 2),
    )


def test_shift_k_means_the_audio_k_frames_later() -> None:
    ready, (clip, waveform) = loaded("frame2d"), material(40)
    later = Waveform(waveform.samples, 3 / 25)
    here = score_clip(ready, clip, np.arange(10, 20), waveform, 5)
    moved = score_clip(ready, clip, np.arange(10, 20), later, 5)
    np.testing.assert_allclose(moved[:, 3:], here[:, :-3], atol=1e-3)


def test_a_start_time_between_frames_is_not_rounded() -> None:
    """Moved by five frames, so that mels are cut alike, and a third of a frame."""
    ready, (clip, waveform) = loaded("frame2d"), material(30)
    moved_clip = Clip(0, 0.2137, clip.mouths)
    moved_wave = Waveform(waveform.samples, 0.2137)
    here = score_clip(ready, clip, np.arange(5, 20), waveform, 4)
    np.testing.assert_allclose(
        score_clip(ready, moved_clip, np.arange(5, 20), moved_wave, 4), here, atol=1e-3
    )


def test_faces_seen_at_once_share_what_is_made_of_their_audio() -> None:
    """Whatever frame each of them begins at."""
    ready, (clip, waveform) = loaded("wide context"), material(200)
    columns = Columns(ready, waveform)
    first, second = Clip(0, 0.0, clip.mouths[:60]), Clip(1, 7 / 25, clip.mouths[7:90])
    alone = score_clip(ready, second, np.arange(10, 70), waveform, 3)
    score_clip(ready, first, np.arange(10, 50), waveform, 3, columns=columns)
    made = dict(columns.blocks.kept)
    np.testing.assert_array_equal(
        score_clip(ready, second, np.arange(10, 70), waveform, 3, columns=columns), alone
    )
    assert made and columns.blocks.kept == made


def test_of_a_long_track_only_the_last_of_its_audio_is_kept() -> None:
    ready, (clip, waveform) = loaded("context"), material(10, 60.0)
    columns = Columns(ready, waveform)
    for second in range(55):
        columns.windows(Clip(0, float(second), clip.mouths), np.arange(25))
    assert len(columns.blocks.kept) == BLOCKS_KEPT


@given(n=st.integers(0, 200))
def test_batches_hold_everything_once_in_few_sizes(n: int) -> None:
    parts = list(batches(n))
    assert [i for part in parts for i in range(n)[part]] == list(range(n))
    assert {part.stop - part.start for part in parts} <= {1, 2, 4, 8, WINDOWS_AT_ONCE}


def test_clips_shorter_than_a_window_give_no_scores() -> None:
    ready, (clip, waveform) = loaded("frame2d"), material(4)
    assert score_clips(ready, [clip], waveform) == []
    assert len(window_starts(Clip(0, 0.0, np.zeros((5, 48, 96, 3), np.uint8)), 1)) == 1


def test_tracks_are_kept_apart() -> None:
    ready, (clip, waveform) = loaded("frame2d"), material(20)
    tracks = score_clips(
        ready, [Clip(7, 0.0, clip.mouths), Clip(2, 0.0, clip.mouths[::-1])], waveform, max_shift=2
    )
    assert [t.track for t in tracks] == [2, 7]
    assert tracks[0].logits.shape == (16, 5)


def test_a_network_in_training_can_be_scored_at_half_precision() -> None:
    ready, (clip, waveform) = loaded("frame2d"), material(12)
    starts = window_starts(clip, 1)
    exact = score_clip(ready, clip, starts, waveform, 3)
    with torch.autocast("cpu", torch.bfloat16):
        rough = score_clip(ready, clip, starts, waveform, 3)
    np.testing.assert_allclose(rough, exact, atol=0.1)


def test_windows_beyond_the_audio_have_no_score():
    ready = loaded("column1d")
    clip, waveform = material(100)
    whole = score_clip(ready, clip, np.arange(96), waveform, 3)
    broken = Waveform(waveform.samples, 0.0, gaps=((2.0, 2.4),))
    logits = score_clip(ready, clip, np.arange(96), broken, 3)
    audio_start = np.arange(96)[:, None] + np.arange(-3, 4)
    missing = (audio_start > 45) & (audio_start < 60)
    assert np.array_equal(np.isnan(logits), np.isnan(whole) | missing)
    assert np.allclose(logits[~missing], whole[~missing], atol=1e-6, equal_nan=True)
