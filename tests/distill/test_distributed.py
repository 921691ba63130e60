"""Two processes train as one with twice the batch."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from distill_factory import FAST, TINY, wav2lip_set
from torch import nn

from avsync.distill.checkpoint import load_state
from avsync.distill.distributed import SharedBatchNorm, share_batch_norms, spread
from avsync.distill.monitor import read_metrics

RECIPE = {**FAST, "method": "bce", "student": TINY, "samples_per_epoch": 12, "epochs": 1, "lr": 1e-7}
# The steps are tiny: where a gradient is nothing but rounding, such as that of a bias before a batch norm,
# Adam goes a whole step in the rounding's direction, and after a few long ones the runs are strangers.
# Dropout draws other numbers in two processes than in one, so it is off here.
WORKER = """
import json, sys, torch
from pathlib import Path
torch.set_num_threads(1)
torch.nn.functional.dropout = lambda x, *_: x
from avsync.distill.run import start
recipe, options = json.loads(sys.argv[1])
start(recipe, **{name: Path(value) for name, value in options.items()}, workers=1)
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def launch(root, folder, size):
    """The run in `size` processes, with the environment that torchrun sets."""
    text = json.dumps([RECIPE, {"data": "data", "cache": "cache", "run": folder}])
    shared = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    if size > 1:
        shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(size)}
    processes = []
    for rank in range(size):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank)} if size > 1 else {}
        command = [sys.executable, "-c", WORKER, text]
        processes.append(subprocess.Popen(command, cwd=root, env=shared | own, stderr=subprocess.PIPE))
    for process in processes:
        _, complaint = process.communicate(timeout=400)
        assert process.returncode == 0, complaint.decode()


@pytest.mark.slow
def test_two_processes_give_the_result_of_one_with_the_doubled_batch(tmp_path):
    wav2lip_set(tmp_path / "data")
    for folder, size in (("one", 1), ("two", 2)):
        launch(tmp_path, folder, size)
    one, two = (read_metrics(tmp_path / name) for name in ("one", "two"))
    assert [r["step"] for r in one] == [r["step"] for r in two] == [1, 2, 3, 3]
    for a, b in zip(one, two, strict=True):
        if a["kind"] == "train":
            assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)
    one, two = (load_state(tmp_path / name) for name in ("one", "two"))
    for part in (lambda s: flat(s["objective"].values()), lambda s: gradients(s["optimizer"])):
        ours, theirs = part(one), part(two)
        assert (ours - theirs).norm() < 0.01 * ours.norm()


def flat(tensors):
    return torch.cat([v.flatten().float() for v in tensors])


def gradients(state):
    """The running mean of every parameter's gradient, as Adam keeps it."""
    return flat(own["exp_avg"] for own in state["state"].values())


def test_a_shared_norm_alone_is_an_ordinary_one():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    shared = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    share_batch_norms(shared)
    shared.load_state_dict(plain.state_dict())
    assert isinstance(shared[1], SharedBatchNorm)
    x = torch.randn(5, 3, 8, 8)
    torch.testing.assert_close(shared(x), plain(x))
    torch.testing.assert_close(shared[1].running_var, plain[1].running_var)


@pytest.fixture
def group(tmp_path):
    """A group of this process alone."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


def network():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    )


def test_the_graph_is_static_and_gradients_lie_in_their_buckets(group):
    module = spread(network())
    assert module.static_graph and module.gradient_as_bucket_view
    kinds = [type(part) for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    assert kinds == [SharedBatchNorm, SharedBatchNorm]


def test_on_gpus_the_shared_norm_is_pytorchs_own():
    kinds = [
        type(part)
        for part in share_batch_norms(network(), native=True).modules()
        if isinstance(part, nn.modules.batchnorm._BatchNorm)
    ]
    assert kinds == [nn.SyncBatchNorm, nn.SyncBatchNorm]


COUNTS = """
import json, sys, torch
from avsync.distill.distributed import gather, mean_over_processes, share_of_mean, world
import numpy as np
values = [[1.0, 2.0, 6.0], [10.0]]
with world(torch.device("cpu")) as at:
    mine = torch.tensor(values[at.rank])
    share = share_of_mean(len(mine), torch.device("cpu"))
    mean = float(mean_over_processes(mine.mean() * share))
    whole = gather(np.array([values[at.rank][at.rank:at.rank + 1]], np.float32))
    print(json.dumps([mean, whole.tolist()]))
"""


@pytest.mark.slow
def test_means_over_processes_are_weighted_by_their_counts(tmp_path):
    """Three samples in one process and one in the other: the mean is that of the four."""
    shared = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", COUNTS],
            env={**shared, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in both:
        said, _ = process.communicate(timeout=300)
        assert json.loads(said)[0] == pytest.approx((1 + 2 + 6 + 10) / 4)


def test_torchrun_leaves_every_option_of_a_run_to_it():
    """torchrun takes any beginning of its own options for them, as it once did with --run."""
    from torch.distributed.run import get_args_parser

    ours = ["--run-dir", "x", "--resume", "y", "--data", "d", "--teacher", "t", "--out", "o", "--cache", "c",
            "--config", "mtd", "--epochs", "2", "--batch", "8", "--lr", "1e-3", "--seed", "1", "--kl", "x",
            "--minutes", "1", "--workers", "2", "--device", "cpu", "--quiet"]  # fmt: skip
    parsed = get_args_parser().parse_args(["--nproc-per-node", "2", "-m", "avsync", "distill", *ours])
    assert parsed.training_script == "avsync" and parsed.training_script_args == ["distill", *ours]
    named = {name for name in ours if name.startswith("--")}
    help_text = subprocess.run(
        [sys.executable, "-m", "avsync", "distill", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert all(name in help_text for name in named)
