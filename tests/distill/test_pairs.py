"""Each method makes its own losses, learns from a frozen teacher, and asks for no map it does not need."""

import numpy as np
import pytest
import torch
from distill_factory import TINY, TINY_TEACHER

from avsync.core.errors import ModelError, UsageError
from avsync.distill.losses import LAYERS
from avsync.distill.methods import METHODS, parse_layers, parse_terms, task_names
from avsync.distill.pairs import PairObjective, check_teacher, run, teach
from avsync.distill.recipe import recipe_from
from avsync.evaluation.validation import authors_f1, balanced_f1, f1_score, whole_clip_accuracy
from avsync.networks.dims import Dims
from avsync.networks.vocalist import VocaLiST

STUDENT, TEACHER = Dims.from_dict(TINY), Dims.from_dict(TINY_TEACHER)


def inputs(batch=4):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(batch, 15, 48, 96, generator=generator), torch.randn(
        batch, 1, 80, 16, generator=generator
    )


@pytest.fixture(scope="module")
def teacher():
    torch.manual_seed(1)
    return VocaLiST(TEACHER).eval().requires_grad_(False)


EXPECTED = {
    "mtd": 25,
    "nmtd": 25,
    "kd": 2,
    "rkd": 3,
    "minilm": 3,
    "fitnets": 2,
    "bce": 1,
}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_from_its_own_tasks(method, teacher):
    torch.manual_seed(0)
    recipe = recipe_from({"method": method, "student": TINY})
    objective = PairObjective(
        VocaLiST(STUDENT), recipe.losses, TEACHER
    ).eval()  # no dropout: the loss must fall
    optimizer = torch.optim.Adam(objective.parameters(), 3e-3)
    frames, mels = inputs()
    labels = torch.tensor([1, 0, 1, 0])
    taught = teach(teacher, frames, mels, METHODS[method].maps) if METHODS[method].teacher else None
    totals = []
    for _ in range(6):
        total, losses = objective(frames, mels, labels, taught)
        assert list(losses) == task_names(method)
        assert len(losses) == EXPECTED[method]
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert min(totals[1:]) < totals[0]


def test_the_teacher_is_the_same_before_and_after_and_gets_no_gradient(teacher):
    recipe = recipe_from({"student": TINY})
    objective = PairObjective(VocaLiST(STUDENT), recipe.losses, TEACHER)
    frames, mels = inputs()
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    first = teach(teacher, frames, mels, True)
    total, _ = objective(frames, mels, torch.tensor([1, 0, 1, 0]), first)
    total.backward()
    again = teach(teacher, frames, mels, True)
    assert torch.equal(first.logits, again.logits)
    assert not teacher.training
    assert not first.logits.requires_grad
    assert all(torch.equal(before[k], v) for k, v in teacher.state_dict().items())
    assert not any(p is q for p in objective.parameters() for q in teacher.parameters())


@pytest.mark.parametrize("method", ["bce", "kd", "rkd", "fitnets"])
def test_maps_that_were_not_requested_are_not_kept(method, teacher):
    assert not METHODS[method].maps
    assert teach(teacher, *inputs(), METHODS[method].maps).maps == ()
    assert len(run(teacher, *inputs(), maps=True).maps) == 12


@pytest.mark.parametrize("contrast", [0, 8])
def test_the_logits_are_those_of_the_network(contrast):
    model = VocaLiST(Dims.from_dict({**TINY, "contrast": contrast})).eval()
    torch.nn.init.normal_(model.classifier.weight)
    for maps in (False, True):
        torch.testing.assert_close(run(model, *inputs(), maps=maps).logits, model(*inputs()))


def test_layers_and_terms_choose_the_tasks():
    chosen = recipe_from({"layers": "fusion", "terms": "cad"}).losses
    assert task_names("mtd", chosen.layers, chosen.terms) == ["bce", *(f"fusion{i}_cad" for i in range(1, 5))]
    assert parse_layers("all") == LAYERS
    assert parse_layers("va2, fusion1") == ("fusion1", "va2")
    assert parse_terms("VR,cad") == ("cad", "vr")


@pytest.mark.parametrize("direction", ["student-teacher", "teacher-student"])
def test_the_direction_of_the_divergence_reaches_the_losses(direction, teacher):
    torch.manual_seed(0)
    recipe = recipe_from({"kl": direction, "student": TINY})
    student = VocaLiST(STUDENT).eval()
    frames, mels = inputs()
    _, losses = PairObjective(student, recipe.losses, TEACHER).eval()(
        frames, mels, torch.tensor([1, 0, 1, 0]), teach(teacher, frames, mels, True)
    )
    from avsync.distill.losses import divergence, log_cad

    ours, theirs = (run(model, frames, mels, maps=True).maps[-1] for model in (student, teacher))
    expected = divergence(log_cad(ours.logits), log_cad(theirs.logits), direction)
    assert losses[f"{ours.name}_cad"].item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_teacher_whose_maps_do_not_match_is_refused():
    other = Dims.from_dict({**TINY_TEACHER, "heads": 4})
    with pytest.raises(ModelError, match="4 layers of 4 heads, the student 4 of 2"):
        check_teacher(other, STUDENT, "mtd")
    check_teacher(other, STUDENT, "kd")


def test_an_empty_choice_of_layers_is_refused():
    with pytest.raises(UsageError, match="no layer ''"):
        parse_layers("")


# --- Figures of a validation -------------------------------------------------------------


def test_f1_counts_hits_misses_and_false_alarms():
    logits, labels = np.array([1.0, 1.0, -1.0, -1.0, 1.0]), np.array([1, 0, 1, 0, 1])
    assert f1_score(logits, labels) == pytest.approx(2 * 2 / (3 + 3))
    assert f1_score(-np.ones(3), np.ones(3)) == 0


def test_whole_clips_are_judged_by_shifts_that_enough_windows_have():
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 1, (26, 31)).astype(np.float32)
    scores[:, 16] += 3
    window, shift = np.arange(26)[:, None], np.arange(31)
    scores[(window + shift - 15 < 0) | (window + shift - 15 >= 26)] = np.nan
    assert whole_clip_accuracy([scores]) == 1.0
    wrong = scores.copy()
    wrong[:, 20] += 9
    assert whole_clip_accuracy([wrong]) == 0.0
    lucky = scores[:18].copy()
    lucky[window[:18] + shift >= 33] = np.nan
    lucky[:3, 30] = 12  # only three windows reach +15, and all of them say so
    assert whole_clip_accuracy([lucky]) == 1.0


def test_one_answer_to_everything_does_not_win_by_balanced_f1():
    labels = np.array([1, 0] * 20)
    always, useful = np.ones(40), np.where(np.arange(40) % 10 < 7, 2.0 * labels - 1, 1 - 2.0 * labels)
    assert f1_score(always, labels) == pytest.approx(2 / 3)
    assert balanced_f1(always, labels) == balanced_f1(-always, labels) == pytest.approx(1 / 3)
    assert balanced_f1(useful, labels) == pytest.approx(0.7, abs=0.02)


def test_the_authors_f1_is_weighted_by_class_and_averaged_over_batches():
    labels = np.array([1, 1, 1, 0, 0, 1, 0, 0])
    logits = np.array([0.6, 0.4, 2.0, -1.0, 0.9, 0.7, -2.0, 0.1])  # above 0.5 is "in sync"
    # First batch: 2 of 3 found, none falsely: F1 0.8 and 2/3, weights 3/4 and 1/4. Second: F1 2/3 and 0.8.
    assert authors_f1(logits, labels, 4) == pytest.approx(
        (0.75 * 0.8 + 0.25 * 2 / 3 + 0.25 * 2 / 3 + 0.75 * 0.8) / 2
    )
