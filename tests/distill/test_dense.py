"""Dense supervision: windows, candidates and targets lie where the audio really is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from distill_factory import SHARED, TINY, batch_of, made_cache, whole_runs
from hypothesis import given, settings
from hypothesis import strategies as st

from avsync.core.records import Clip, Waveform
from avsync.data.augment import NONE, Augmentation
from avsync.data.dense_batch import DenseBatch, dense_inputs, fetch_runs
from avsync.data.labels import delay_of, of_speakers, shares, speakers
from avsync.data.loading import Streamed
from avsync.data.shards import SAMPLES_PER_FRAME, Store
from avsync.distill import dense
from avsync.distill.dense import DenseObjective, neighbours
from avsync.distill.recipe import recipe_from
from avsync.distill.settings import Dense
from avsync.evaluation.validation import clip_scores
from avsync.networks.base import Preprocessing, Scorer
from avsync.networks.dims import Dims
from avsync.networks.scoring import clip_audio_tokens, visual_tokens
from avsync.networks.vocalist import VocaLiST

CPU = torch.device("cpu")
NOTHING = torch.empty(0)


def student(recipe):
    dims = recipe.network.student
    assert isinstance(dims, Dims)
    return VocaLiST(dims)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(made_cache(tmp_path_factory.mktemp("cache"), {"train": [20, 33, 26]}))


def in_context(*, wide: bool) -> VocaLiST:
    """A network with context in frames and audio that matters."""
    torch.manual_seed(0)
    shape = ("frame2d", (2, 2, 4, 4, 16), 16, 2, 0, None, 8, "column2d")
    model = VocaLiST(Dims(*shape, frame_context=True, wide_context=wide)).eval()
    for part in (model.vid_context, model.aud_context):
        for parameter in part.mix.parameters() if part is not None else ():
            torch.nn.init.normal_(parameter)
    return model


@pytest.mark.parametrize("wide", [False, True])
def test_training_and_scoring_see_the_same_with_context(store, wide):
    """Clips of different lengths side by side in a batch, against each alone as `check` scores it."""
    model = in_context(wide=wide)
    lengths = [clip.frames for clip in store.clips]
    runs = whole_runs([0, 1, 2], [0, 0, 0], lengths)
    raw = fetch_runs(Streamed(store, CPU), runs, model.audio_context)
    batch = dense_inputs(raw, runs, np.random.default_rng(0), NONE, model.audio_context)
    loaded = Scorer(model, Preprocessing("rgb", 1 / 255))
    with torch.no_grad():
        visual, _ = dense.window_tokens(model, batch, loaded.preprocessing)
        alone = [
            visual_tokens(loaded, np.array(store.mouths(i)), np.arange(n - 4)) for i, n in enumerate(lengths)
        ]
    torch.testing.assert_close(visual, torch.cat(alone), rtol=0, atol=1e-3)


COLUMN1D = Dims("frame2d", (2, 2, 4, 4, 16), 16, 2, 0, (16, 16), 8, "column1d")


@pytest.mark.parametrize("model", [VocaLiST(COLUMN1D).eval(), in_context(wide=True)], ids=["1d", "wide"])
def test_training_and_scoring_get_the_same_context_of_audio(store, model):
    """A whole clip in training, with its context, against what `check` computes of the same audio."""
    torch.manual_seed(0)
    longest = int(store.windows.argmax())
    runs = whole_runs([longest], [0], [33])
    raw = fetch_runs(Streamed(store, CPU), runs, model.audio_context)
    batch = dense_inputs(raw, runs, np.random.default_rng(0), NONE, model.audio_context)
    samples = (np.array(store.wave(longest)) / 32768).astype(np.float32)
    clip = Clip(0, 0.0, np.zeros((33, 48, 96, 3), np.uint8))
    loaded = Scorer(model, Preprocessing("rgb", 1 / 255))
    with torch.no_grad():
        _, audio = dense.window_tokens(model, batch, loaded.preprocessing)
        scored = clip_audio_tokens(loaded, clip, Waveform(samples, 0.0), 0, np.arange(29))
    inner = slice(13, 16)  # windows whose context lies inside the clip
    torch.testing.assert_close(audio[inner], scored[inner], rtol=0, atol=1e-3)


def test_a_speech_recogniser_teaches_the_audio_front_end_and_learns_from_the_labels(store):
    torch.manual_seed(0)
    dims = {"front_end": "frame2d", "channels": [2, 2, 4, 4, 16], "d_model": 16, "heads": 2, "layers": 0}
    dims |= {"contrast": 8, "audio_front_end": "column1d", "audio_channels": [16, 16]}
    given = {"objective": "dense", "method": "bce", "student": dims}
    recipe = recipe_from({**given, "dense": {"anchors": 0, "radius": 4, "hint": 2.0}})
    objective = DenseObjective(student(recipe), recipe.dense, recipe.network.preprocessing, speech_features=6)
    runs = whole_runs([0, 1], [0, 3], [9, 14])
    batch = replace(batch_of(store, runs), speech=torch.randn(5 + 10, 6))
    total, losses = objective(batch, None)
    assert set(losses) == {"contrast", "spoken", "hint"}
    torch.testing.assert_close(total, sum(losses.values()))
    gradients = torch.autograd.grad(losses["hint"], list(objective.parameters()), allow_unused=True)
    moved = {
        name.split(".")[0] + "." + name.split(".")[1]
        for (name, _), gradient in zip(objective.named_parameters(), gradients, strict=True)
        if gradient is not None
    }
    assert moved == {"student.aud_prenet", "student.contrast"}, "the hint moves our ears, not the teacher's"


@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.floats(-1, 1), st.booleans())
@settings(deadline=None, max_examples=40)
def test_candidates_belong_to_the_same_run_and_targets_peak_at_the_truth(windows, true, of_audio):
    counts = np.array(windows)
    batch = DenseBatch(NOTHING, NOTHING, counts, np.full(len(counts), true))
    near = neighbours(batch, Dense(radius=3), of_audio=of_audio)
    run = np.repeat(np.arange(len(counts)), counts)
    np.testing.assert_allclose(near.target.sum(1), 1, atol=1e-5)
    for window, row in enumerate(near.index):
        there = row >= 0
        assert row[3] == window
        assert (run[row[there]] == run[window]).all()
        assert (near.target[window, ~there] == 0).all()
        assert set(row[there]) == {
            w for w in range(len(run)) if run[w] == run[window] and abs(w - window) <= 3
        }
        step = -1 if of_audio else 1
        assert (np.diff(row[there]) == step).all()


def test_a_wide_contrast_also_tells_a_clip_from_the_others_of_its_batch():
    batch = DenseBatch(NOTHING, NOTHING, np.array([6, 6]), np.zeros(2))
    settings_ = Dense(radius=5, sigma=0.2)
    views = neighbours(batch, settings_), neighbours(batch, settings_, of_audio=True)
    own = torch.eye(12)
    alike = torch.eye(6).repeat(2, 1)  # the windows of both clips in the same places
    assert dense.contrast_loss(30 * own, own, *views) < 0.01
    assert dense.contrast_loss(30 * alike, alike, *views) < 0.01
    assert dense.wide_loss(30 * own, own, *views) < 0.01
    assert dense.wide_loss(30 * alike, alike, *views) == pytest.approx(np.log(2), abs=0.01)


@pytest.mark.parametrize("encoders", [False, True])
def test_validation_puts_clips_right_by_their_delays(tmp_path, encoders):
    """A clip whose audio is stored 80 ms early, with its delay, scores as the same clip in sync."""
    stores = [Store(made_cache(tmp_path / name, {"val": [40]})) for name in ("right", "early")]
    stores[1]._waves[0] = np.roll(stores[1].wave(0), -2 * SAMPLES_PER_FRAME)
    given = {"objective": "dense", "method": "bce", "dense": {"anchors": 0}}
    recipe = recipe_from({**given, "student": {**SHARED, "layers": 0, "contrast": 8}})
    torch.manual_seed(0)
    objective = DenseObjective(student(recipe), recipe.dense, recipe.network.preprocessing).eval()
    loaded = Scorer(objective.student, recipe.network.preprocessing)

    def scores(store, delays):
        if encoders:
            return next(clip_scores(loaded, store, delays=delays))
        return next(dense.similarities(objective, Streamed(store, CPU), store, delays))

    inner = slice(9, 25)
    right, early = scores(stores[0], {})[inner, 10:21], scores(stores[1], {"val0": 80.0})[inner, 10:21]
    np.testing.assert_allclose(early, right, atol=1e-3)
    assert not np.allclose(scores(stores[1], {})[inner, 10:21], right, atol=1e-2)


def test_frozen_blocks_stay_as_they_were(store):
    given = {"objective": "dense", "method": "bce", "dense": {"anchors": 0, "radius": 4, "frozen": 2}}
    dims = {"front_end": "frame2d", "channels": [2, 2, 4, 4, 16], "d_model": 16, "heads": 2, "layers": 0}
    recipe = recipe_from({**given, "student": {**dims, "contrast": 8}})
    objective = DenseObjective(student(recipe), recipe.dense, recipe.network.preprocessing).train()
    before = {name: tensor.clone() for name, tensor in objective.state_dict().items()}
    optimizer = torch.optim.AdamW(objective.parameters(), lr=0.1)
    objective(batch_of(store, whole_runs([0, 1], [0, 3], [9, 14])), None)[0].backward()
    optimizer.step()
    kept = {name for name, tensor in objective.state_dict().items() if torch.equal(tensor, before[name])}
    blocks = {name.split(".")[2] for name in kept if "vid_prenet" in name and "running_mean" in name}
    assert blocks == {"0", "1"}
    assert "student.vid_prenet.1.conv_block.0.weight" in kept
    assert "student.vid_prenet.2.conv_block.0.weight" not in kept


def test_the_contrast_is_low_when_each_window_finds_its_audio():
    batch = DenseBatch(NOTHING, NOTHING, np.array([9]), np.array([0.0]))
    settings_ = Dense(radius=4, sigma=0.2)
    views = neighbours(batch, settings_), neighbours(batch, settings_, of_audio=True)
    embedding = torch.eye(9)
    right = dense.contrast_loss(30 * embedding, embedding, *views)
    wrong = dense.contrast_loss(30 * embedding, embedding.roll(2, 0), *views)
    assert right < 0.01
    assert wrong > 10


def test_shift_loss_reads_the_pairs_in_their_places():
    batch = DenseBatch(NOTHING, NOTHING, np.array([6]), np.array([1.0]))
    near = neighbours(batch, Dense(radius=2, sigma=0.1)).at(np.array([2, 5]))
    rows, columns = np.nonzero(near.index >= 0)
    scores = torch.where(torch.from_numpy(columns) == 3, 20.0, 0.0)
    scores[-1] = 20.0  # window 5 has no later audio: its nearest is at shift 0
    assert dense.shift_loss(scores, rows, columns, near) < 0.01
    assert dense.shift_loss(-scores, rows, columns, near) > 5


@pytest.mark.parametrize("dims", [TINY, SHARED], ids=["clip3d", "frame2d"])
@pytest.mark.parametrize("anchors", [0, 2])
def test_both_front_ends_learn_from_both_losses(store, dims, anchors):
    torch.manual_seed(0)
    recipe = recipe_from(
        {
            "objective": "dense",
            "method": "bce",
            "student": dims,
            "dense": {"anchors": anchors, "embedding": 8, "radius": 4},
        }
    )
    objective = DenseObjective(student(recipe), recipe.dense, recipe.network.preprocessing)
    runs = whole_runs([0, 1], [0, 3], [9, 14])
    batch = batch_of(store, runs, Augmentation())
    total, losses = objective(batch, dense.draw_anchors(np.random.default_rng(0), batch.windows, anchors))
    total.backward()
    assert set(losses) == ({"contrast", "shifts"} if anchors else {"contrast"})
    learned = {
        name.split(".")[1] for name, p in objective.named_parameters() if p.grad is not None and p.grad.any()
    }
    assert {"vid_prenet", "aud_prenet"} <= learned
    assert ("av_transformer" in learned) == bool(anchors)


def test_balance_damps_the_share_of_long_speakers(store):
    by_length, balanced = shares(store, 0.0), shares(store, 1.0)
    assert by_length.sum() == pytest.approx(1)
    np.testing.assert_allclose(by_length, store.windows / store.windows.sum())
    speaker = np.array([clip.id.split("/")[0] for clip in store.clips])
    totals = [balanced[speaker == name].sum() for name in set(speaker)]
    np.testing.assert_allclose(totals, 1 / len(totals))


def test_the_longest_fitting_name_gives_a_clips_delay(store):
    clip = store.clips[0]
    assert delay_of(clip, {"tr": 20.0, clip.id: -5.0, "zz": 1.0}) == -5.0
    assert delay_of(clip, {"tr": 20.0}) == 20.0
    assert delay_of(clip, {"zz": 1.0}) is None


def test_the_networks_own_contrast_head_is_the_one_that_learns(store):
    recipe = recipe_from(
        {
            "objective": "dense",
            "method": "bce",
            "student": SHARED | {"contrast": 8},
            "dense": {"anchors": 0, "radius": 4},
        }
    )
    own = student(recipe)
    objective = DenseObjective(own, recipe.dense, recipe.network.preprocessing)
    assert objective.auxiliary is None
    batch = batch_of(store, whole_runs([0], [0], [12]))
    objective(batch, None)[0].backward()
    assert own.contrast is not None
    assert all(p.grad is not None and p.grad.any() for p in own.contrast.visual.parameters())


def test_fewer_candidates_keep_the_truth_and_the_hardest():
    batch = DenseBatch(NOTHING, NOTHING, np.array([20]), np.array([0.0]))
    all_of_them = neighbours(batch, Dense(radius=8, sigma=0.5)).at(np.array([10]))
    similarity = np.linspace(0, 1, 17)[None].astype(np.float32)  # the latest audio windows look most like it
    few = dense.taught(all_of_them, similarity, Dense(radius=8, candidates=10))
    kept = set((few.index[0][few.index[0] >= 0] - 10).tolist())
    assert len(kept) == 10
    assert {-1, 0, 1, 4, 5, 6, 7, 8} <= kept
    np.testing.assert_allclose(few.target.sum(), 1, atol=1e-6)
    assert few.target[0].argmax() == 8


def test_self_teaching_moves_the_target_towards_the_embeddings():
    batch = DenseBatch(NOTHING, NOTHING, np.array([20]), np.array([0.0]))
    near = neighbours(batch, Dense(radius=4, sigma=0.3)).at(np.array([10]))
    similarity = np.where(np.arange(9) == 7, 10.0, 0.0)[None].astype(np.float32)
    told = dense.taught(near, similarity, Dense(radius=4, self_teaching=0.25))
    assert told.target[0, 7] == pytest.approx(0.25, abs=0.01)
    assert told.target[0, 4] == pytest.approx(0.75 * near.target[0, 4], abs=0.01)
    same = dense.taught(near, similarity, Dense(radius=4))
    np.testing.assert_allclose(same.target, near.target, atol=1e-6)


def test_targets_are_mixed_with_the_teachers_by_its_share():
    near = dense.Neighbours(np.array([[0, 1, -1]]), np.array([[1.0, 0.0, 0.0]], np.float32))
    similarity = np.array([[0.0, np.log(3.0), -np.inf]], np.float32)
    np.testing.assert_allclose(dense.leaning(near, similarity, 0.0).target, [[1, 0, 0]])
    np.testing.assert_allclose(dense.leaning(near, similarity, 1.0).target, [[0.25, 0.75, 0]], rtol=1e-5)
    np.testing.assert_allclose(dense.leaning(near, similarity, 0.5).target, [[0.625, 0.375, 0]], rtol=1e-5)


def test_a_student_that_agrees_with_its_teacher_has_nothing_to_learn(store):
    """With the teacher's share at 1 the gradient vanishes where student and teacher are the same."""
    torch.manual_seed(0)
    dims = {**SHARED, "layers": 0, "contrast": 8}
    told = {"dense": {"anchors": 0, "radius": 4, "teaching": 1.0, "front_lr": 1.0}}
    recipe = recipe_from({"objective": "dense", "method": "kd", "student": dims, **told})
    objective = DenseObjective(student(recipe), recipe.dense, recipe.network.preprocessing).eval()
    loaded = Scorer(objective.student, recipe.network.preprocessing)
    batch = batch_of(store, whole_runs([0, 1], [0, 3], [9, 14]))
    alone, _ = objective(batch, None)
    norms = []
    for told_by in (dense.teach_windows(loaded, batch), None):
        objective.zero_grad()
        objective(batch, None, told_by)[0].backward()
        norms.append(sum(float(p.grad.norm()) for p in objective.parameters() if p.grad is not None))
    assert norms[0] < 1e-3 * norms[1]
    assert torch.isfinite(alone)


def test_a_smaller_share_of_the_speakers_lies_within_a_larger_one(tmp_path):
    splits = [f"part{n}" for n in range(5)]
    everybody = Store(made_cache(tmp_path, {split: [9, 9] for split in splits}), splits)
    assert len(speakers(everybody)) == 10
    kept = [speakers(of_speakers(everybody, share)) for share in (0.01, 0.5, 1.0)]
    assert len(kept[0]) == 1
    assert kept[0] < kept[1] < kept[2] == speakers(everybody)
