"""Every loss meets the shared fixtures and the identities that define it."""

import json
import math

import numpy as np
import pytest
import seeded
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from seeded import REFERENCE

from avsync.distill import losses
from avsync.distill.losses import LAYERS
from avsync.distill.weighting import KINDS, Weighting
from avsync.networks.attention import Attention
from avsync.networks.dims import STUDENT
from avsync.networks.vocalist import VocaLiST

TASKS = ["bce"] + [f"{layer}_{term}" for layer in LAYERS for term in losses.TERMS]
DIRECTIONS = ("student-teacher", "teacher-student")


@pytest.fixture(scope="module")
def reference():
    """Expected losses, and the maps, logits and labels they belong to."""
    return json.loads((REFERENCE / "losses_seed11.json").read_text()), dict(
        np.load(REFERENCE / "parity_seed11.npz")
    )


def fixture_losses(arrays, direction):
    labels, logits = (torch.from_numpy(arrays[k]) for k in ("labels", "student/logits"))
    found = {"bce": losses.bce(logits, labels)}
    for task in TASKS[1:]:
        student, teacher = (torch.from_numpy(arrays[f"{who}/{task}"]).log() for who in ("student", "teacher"))
        found[task] = losses.divergence(student, teacher, direction)
    return found


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_each_map_loss_meets_the_fixtures(reference, direction):
    expected, arrays = reference
    found = fixture_losses(arrays, direction)
    assert found["bce"].item() == pytest.approx(expected["bce"], rel=1e-4)
    for task in TASKS[1:]:
        key = f"kl_{direction.replace('-', '_')}/{task}"
        assert found[task].item() == pytest.approx(expected[key], rel=1e-4), key


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_weighted_sums_meet_the_fixtures(reference, direction):
    expected, arrays = reference
    found = fixture_losses(arrays, direction)
    suffix = direction.replace("-", "_")
    assert Weighting("uniform", TASKS)(found).item() == pytest.approx(
        expected[f"nmtd_uniform/{suffix}"], rel=1e-4
    )
    last = {task: found[task] for task in ("bce", "fusion4_cad", "fusion4_vr")}
    assert Weighting("uniform", list(last))(last).item() == pytest.approx(
        expected[f"nmtd_fusion4/{suffix}"], rel=1e-4
    )
    for kind in ("uw13", "uw25"):
        weighting = Weighting(kind, TASKS)
        assert weighting(found).item() == pytest.approx(expected[f"mtd_{kind}_w1/{suffix}"], rel=1e-4)
        assert weighting.w is not None
        with torch.no_grad():
            weighting.w.copy_(0.5 + 0.1 * torch.arange(len(weighting.w)))
        assert weighting(found).item() == pytest.approx(expected[f"mtd_{kind}_ramp/{suffix}"], rel=1e-4)


def test_the_student_s_own_maps_meet_the_fixtures(reference):
    """CAD and VR made from the attention logits and value projections that the model hands out."""
    _, arrays = reference
    model = VocaLiST(STUDENT).eval()
    model.load_state_dict(seeded.state_dict(model.state_dict()))
    maps: list[Attention] = []
    with torch.no_grad():
        model(*(torch.from_numpy(make(4)) for make in (seeded.frames, seeded.mels)), maps)
    assert {layer.name for layer in maps} == set(LAYERS)
    for layer in maps:
        for term in losses.TERMS:
            expected = arrays[f"student/{layer.name}_{term}"]
            np.testing.assert_allclose(
                losses.log_map(term, layer).exp().numpy(), expected, rtol=1e-4, atol=1e-6
            )


def attention(seed, masked=False, name="va1"):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 2, 3, 4, generator=generator)
    if masked:
        logits[..., 0, 2:] = -math.inf
    return Attention(
        name, logits.requires_grad_(), torch.randn(2, 2, 4, 5, generator=generator).requires_grad_()
    )


@given(st.integers(0, 10_000), st.sampled_from(DIRECTIONS), st.booleans())
@settings(deadline=None, max_examples=30)
def test_a_divergence_is_positive_and_zero_only_for_equal_maps(seed, direction, masked):
    ours, theirs = attention(seed, masked), attention(seed + 1, masked)
    for term in losses.TERMS:
        own, other = losses.log_map(term, ours), losses.log_map(term, theirs)
        assert losses.divergence(own, other, direction) > 0
        assert losses.divergence(own, own, direction).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_masked_keys_leave_the_gradient_finite(direction):
    ours = attention(1, masked=True)
    theirs = attention(2, masked=True)
    losses.divergence(losses.log_cad(ours.logits), losses.log_cad(theirs.logits), direction).backward()
    assert ours.logits.grad is not None
    assert torch.isfinite(ours.logits.grad).all()


def test_only_the_named_layers_and_terms_are_computed():
    maps = [attention(3, name=name) for name in LAYERS]
    found = losses.map_losses(maps, maps, layers=("fusion4", "av1"), terms=("vr",))
    assert list(found) == ["fusion4_vr", "av1_vr"]


def test_kd_is_zero_for_equal_logits_and_its_gradient_does_not_shrink_with_temperature():
    logits = torch.tensor([0.3, -1.0, 2.0])
    assert losses.kd(logits, logits, 5.0).item() == pytest.approx(0, abs=1e-5)
    gradients = []
    for temperature in (5.0, 50.0):
        student = torch.zeros(3, requires_grad=True)
        losses.kd(student, logits, temperature).backward()
        assert student.grad is not None
        gradients.append(student.grad.norm().item())
    assert gradients[1] == pytest.approx(gradients[0], rel=0.05)


def test_relations_ignore_scale_rotation_and_width():
    teacher = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    rotation, _ = torch.linalg.qr(torch.randn(7, 7, generator=torch.Generator().manual_seed(1)))
    student = 3 * torch.nn.functional.pad(teacher, (0, 3)) @ rotation
    assert losses.rkd_distance(student, teacher).item() == pytest.approx(0, abs=1e-6)
    assert losses.rkd_angle(student, teacher).item() == pytest.approx(0, abs=1e-6)
    assert losses.rkd_angle(torch.randn(6, 7, generator=torch.Generator().manual_seed(2)), teacher) > 0.01


def test_the_hint_is_a_mean_squared_error():
    assert losses.hint(torch.zeros(2, 3, 4), torch.full((2, 3, 4), 2.0)).item() == pytest.approx(4.0)


@pytest.mark.parametrize("kind", KINDS)
def test_learned_weights_get_gradients_and_fixed_ones_have_none(kind):
    weighting = Weighting(kind, TASKS)
    total = weighting({task: torch.tensor(float(i)) for i, task in enumerate(TASKS)})
    assert (weighting.w is None) == (kind in ("uniform", "manual"))
    if weighting.w is not None:
        assert len(weighting.w) == int(kind[2:])
        total.backward()
        assert weighting.w.grad is not None
        assert torch.isfinite(weighting.w.grad).all()


def test_manual_weights_multiply_the_named_tasks():
    weighting = Weighting("manual", ["bce", "fusion4_cad"], {"fusion4_cad": 0.25})
    assert weighting({"bce": torch.tensor(1.0), "fusion4_cad": torch.tensor(8.0)}).item() == pytest.approx(
        3.0
    )


def test_automatic_weights_sum_to_one():
    assert sum(Weighting("aw13", TASKS).factors().values()) == pytest.approx(1.0)


# --- Variants of the authors' code -------------------------------------------------------


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("clamp", [None, 1e-5])
def test_maps_of_one_shape_computed_together_give_what_each_gives_alone(direction, clamp):
    names = ("fusion1", "av2", "va1", "va3")
    ours, theirs = ([attention(seed + i, i > 1, name) for i, name in enumerate(names)] for seed in (0, 9))
    together = losses.map_losses(ours, theirs, names, direction=direction, va_clamp=clamp)
    alone = {
        f"{p.name}_{term}": losses.divergence(
            losses.log_map(term, p, clamp), losses.log_map(term, q, clamp), direction
        )
        for p, q in zip(ours, theirs, strict=True)
        for term in losses.TERMS
    }
    assert list(together) == list(alone)
    for name, loss in alone.items():
        torch.testing.assert_close(together[name], loss, rtol=1e-5, atol=1e-7)
    tensors = [tensor for layer in ours for tensor in (layer.logits, layer.values)]
    totals = (torch.stack(list(found.values())).sum() for found in (together, alone))
    first, second = (torch.autograd.grad(total, tensors) for total in totals)
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_the_mean_over_keys_is_a_share_of_the_sum():
    ours, theirs = attention(1), attention(2)
    for term, keys in (("cad", 4), ("vr", 4)):
        maps = losses.log_map(term, ours), losses.log_map(term, theirs)
        whole = torch.nn.functional.kl_div(*maps, reduction="mean", log_target=True)
        found = losses.divergence(*maps, "teacher-student", "mean")
        torch.testing.assert_close(found, whole)
        torch.testing.assert_close(found * keys, losses.divergence(*maps, "teacher-student"))


def test_the_clamp_also_lifts_masked_keys_and_leaves_the_other_encoders_alone():
    assert torch.isinf(losses.log_map("cad", attention(1, masked=True), None)).any()
    assert torch.isfinite(losses.log_map("cad", attention(1, masked=True), 1e-5)).all()
    assert torch.isinf(losses.log_map("cad", attention(1, masked=True, name="av1"), 1e-5)).any()


def test_kd_over_the_batch_is_the_divergence_of_two_softmaxes_over_the_samples():
    ours, theirs = torch.tensor([0.3, -1.0, 2.0]), torch.tensor([1.0, 0.5, -0.5])
    p, q = (torch.softmax(x / 5, 0) for x in (theirs, ours))
    expected = 25 * (p * (p / q).log()).sum() / 3
    torch.testing.assert_close(losses.kd(ours, theirs, 5.0, "batch"), expected)


def test_rkd_over_the_whole_matrix_counts_its_zero_diagonal():
    ours, theirs = (torch.randn(5, 4, generator=torch.Generator().manual_seed(i)) for i in (0, 1))

    def relative(x):
        distances = torch.cdist(x, x)
        return distances / distances[distances > 0].mean()

    expected = torch.nn.functional.smooth_l1_loss(relative(ours), relative(theirs))
    torch.testing.assert_close(losses.rkd_distance(ours, theirs, "matrix"), expected, rtol=1e-4, atol=1e-6)
