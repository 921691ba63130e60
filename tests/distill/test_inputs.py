"""What makes training faster changes no number: threads, smaller crops, a teacher cast and compiled."""

from pathlib import Path

import numpy as np
import pytest
import torch
from distill_factory import TINY, TINY_TEACHER, made_cache

from avsync.data.augment import NONE, Augmentation
from avsync.data.loading import Resident, Streamed, margin_for, pair_bytes, pair_inputs
from avsync.data.shards import MARGIN, Store
from avsync.distill.inputs import Loader, tensors, tuned
from avsync.distill.losses import Outputs
from avsync.distill.pairs import run, teach
from avsync.networks.frozen import freeze
from avsync.networks.registry import build_network, parse_dims

CPU = torch.device("cpu")


class Counting:
    """A task whose inputs say which step they are of, slowest first."""

    steps = 5

    def load(self, epoch: int, step: int) -> tuple[int, torch.Tensor]:
        rng = np.random.default_rng([epoch, step])
        return step, torch.from_numpy(rng.random(1000 * (self.steps - step)))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_inputs_come_in_order_and_are_the_same_with_any_number_of_threads(threads: int) -> None:
    task = Counting()
    with Loader(CPU, threads) as loader:
        found = list(loader.ahead(task, 3, 1, 5))
        again = [step for step, _ in loader.repeated(task, 12)]
    assert [step for step, _ in found] == [1, 2, 3, 4]
    for step, values in found:
        assert torch.equal(values, task.load(3, step)[1])
    assert again == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]


def test_an_error_while_loading_comes_out_where_its_step_is_due() -> None:
    class Failing(Counting):
        def load(self, epoch: int, step: int) -> tuple[int, torch.Tensor]:
            if step == 2:
                raise OSError("gone")
            return super().load(epoch, step)

    seen = []
    with Loader(CPU, 2) as loader, pytest.raises(OSError, match="gone"):
        for step, _ in loader.ahead(Failing(), 0, 0, 5):
            seen.append(step)
    assert seen == [0, 1]


def test_every_tensor_of_a_steps_inputs_is_found() -> None:
    one, two, three = torch.zeros(1), torch.zeros(2), torch.zeros(3)
    assert [t.numel() for t in tensors((one, [two, None], {"a": Outputs(three)}, 4, "x"))] == [1, 2, 3]


@pytest.mark.parametrize("kind", [Streamed, Resident])
def test_crops_without_a_margin_hold_the_same_mouths(tmp_path: Path, kind) -> None:
    store = Store(made_cache(tmp_path, {"train": [20, 25]}))
    clips, video, audio = np.array([0, 1, 1]), np.array([0, 7, 20]), np.array([3, 7, 2])
    whole = pair_bytes(kind(store, CPU), clips, video, audio, margin=MARGIN)
    small = pair_bytes(kind(store, CPU), clips, video, audio, margin=0)
    assert small.frames.shape[2:] == (48, 96, 3) and whole.frames.shape[2:] == (68, 116, 3)
    for ours, theirs in zip(pair_inputs(small), pair_inputs(whole), strict=True):
        assert torch.equal(ours, theirs)
    assert (margin_for(Augmentation()), margin_for(NONE)) == (MARGIN, 0)


def outputs(model, low: bool) -> list[torch.Tensor]:
    torch.manual_seed(1)
    frames, mels = torch.rand(3, 15, 48, 96), torch.randn(3, 1, 80, 16)
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        found = teach(model, frames, mels, True)
    return [
        found.logits,
        *found.last,
        *(part for layer in found.maps for part in (layer.logits, layer.values)),
    ]


@pytest.mark.parametrize("dims", [TINY_TEACHER, {**TINY, "front_end": "frame2d"}])
def test_a_teacher_cast_once_gives_the_numbers_of_one_cast_in_every_step(dims: dict) -> None:
    def network() -> torch.nn.Module:
        torch.manual_seed(0)
        return build_network(parse_dims(dims))

    each, once = outputs(freeze(network()), True), outputs(freeze(network(), torch.bfloat16), True)
    assert all(torch.equal(a, b) for a, b in zip(each, once, strict=True))


@pytest.mark.slow
def test_a_compiled_teacher_gives_the_same_numbers() -> None:
    torch.manual_seed(0)
    model = build_network(parse_dims(TINY_TEACHER))
    freeze(model)
    frames, mels = torch.rand(3, 15, 48, 96), torch.randn(3, 1, 80, 16)
    # The graph as it is captured; what a backend makes of its kernels is PyTorch's to test.
    compiled = torch.compile(run, backend="eager", fullgraph=True)
    with torch.no_grad():
        plain, ours = run(model, frames, mels, True), compiled(model, frames, mels, True)
    assert torch.allclose(plain.logits, ours.logits, atol=1e-6)
    for a, b in zip(plain.maps, ours.maps, strict=True):
        assert a.name == b.name and torch.allclose(a.values, b.values, atol=1e-6)


def test_settings_of_a_gpu_are_left_alone_elsewhere() -> None:
    before = torch.backends.cudnn.benchmark, torch.backends.cuda.matmul.allow_tf32
    with tuned(CPU):
        assert (torch.backends.cudnn.benchmark, torch.backends.cuda.matmul.allow_tf32) == before
