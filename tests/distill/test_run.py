"""Whole runs at tiny sizes: from data to a checkpoint that `check` loads, through every kind of stop."""

import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from distill_factory import FAST, SHARED, TINY, TINY_TEACHER, wav2lip_set
from typer.testing import CliRunner

from avsync.cli.app import app
from avsync.core.errors import AvsyncError, MediaError, ModelError, OutputError, UsageError
from avsync.core.files import file_sha256
from avsync.distill import checkpoint, loop
from avsync.distill.monitor import read_metrics
from avsync.distill.run import start
from avsync.distill.tasks import PairTask
from avsync.distill.trainer import TrainingError
from avsync.networks import checkpoint as weights
from avsync.networks.base import Preprocessing
from avsync.networks.dims import Dims
from avsync.networks.vocalist import VocaLiST


@pytest.fixture(autouse=True)
def no_figures(request, monkeypatch):
    """Drawing takes longer than these runs; one test looks at the images."""
    if "loads_and_says" not in request.node.name:
        monkeypatch.setattr("avsync.distill.run.draw", lambda _: None)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the processes that these runs are compared with
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """Data, a cache that is filled once, and a teacher."""
    root = tmp_path_factory.mktemp("ground")
    wav2lip_set(root / "data")
    torch.manual_seed(5)
    teacher = VocaLiST(Dims.from_dict(TINY_TEACHER))
    weights.save(root / "teacher.safetensors", teacher, Preprocessing("bgr", 1 / 255))
    go(root, root / "prepare", prepare_only=True)
    return root


def go(ground, folder, recipe=None, **options):
    values = {**FAST, "method": "bce", "student": TINY, **(recipe or {})}
    given = {"data": ground / "data", "cache": ground / "cache", "run": folder, "workers": 1, "quiet": True}
    return start(values if "resume" not in options else {}, **{**given, **options})


def losses(folder):
    return {r["step"]: (r["loss"], r["losses"]) for r in read_metrics(folder) if r["kind"] == "train"}


# --- What comes out ----------------------------------------------------------------------


def test_distilling_writes_a_checkpoint_that_loads_and_says_where_it_comes_from(ground, tmp_path):
    out = tmp_path / "student.safetensors"
    said = go(
        ground, tmp_path / "run", {"method": "mtd"}, teacher=str(ground / "teacher.safetensors"), out=out
    )
    assert said is not None
    assert str(out) in said
    loaded = weights.load(out)
    assert loaded.model.dims == Dims.from_dict(TINY)
    assert loaded.preprocessing == Preprocessing("rgb", 1.0)
    assert loaded.info["method"] == "mtd"
    assert loaded.info["teacher"]["sha256"] == file_sha256(ground / "teacher.safetensors")
    assert loaded.info["clips"] == 6
    card = loaded.info
    assert {
        "layers",
        "terms",
        "kl",
        "kl_reduction",
        "lr",
        "batch",
        "epochs",
        "seed",
        "data",
        "versions",
    } <= set(card)
    assert (card["data"], len(card["layers"]), card["terms"]) == ("data", 12, ["cad", "vr"])
    assert 0 <= loaded.info["validation"]["f1"] <= 1
    for chart in ("curves.png", "weights.png"):
        assert (tmp_path / "run" / chart).read_bytes().startswith(b"\x89PNG")
    records = read_metrics(tmp_path / "run")
    assert len(records[0]["losses"]) == len(records[0]["factors"]) == 25
    assert {"lr", "samples_per_s", "seconds_left"} <= set(records[0])
    assert sum(r["kind"] == "validation" for r in records) == 2


@pytest.mark.slow
@pytest.mark.parametrize("where", ["recipe", "models"])
def test_the_teacher_may_be_named_in_the_recipe_or_be_the_papers(ground, tmp_path, monkeypatch, where):
    teacher = ground / "teacher.safetensors"
    recipe = {"method": "mtd", "epochs": 1}
    if where == "recipe":
        recipe["teacher"] = str(teacher)
    else:
        for suffix in (".safetensors", ".yaml"):
            (tmp_path / f"vocalist{suffix}").symlink_to(teacher.with_suffix(suffix))
        monkeypatch.setenv("AVSYNC_MODELS", str(tmp_path))
    go(ground, tmp_path / "run", recipe)
    info = weights.load(tmp_path / "run" / "best.safetensors").info
    assert info["teacher"]["sha256"] == file_sha256(teacher)
    assert Path(checkpoint.load_state(tmp_path / "run")["teacher"]).is_absolute()


@pytest.mark.slow
def test_dense_training_writes_a_frame_shared_network(ground, tmp_path):
    recipe = {
        "objective": "dense",
        "student": SHARED,
        "augment": "strong",
        "ema": 0.9,
        "batch": 2,
        "epochs": 1,
    }
    dense = {"frames": 14, "anchors": 1, "embedding": 8, "radius": 4}
    go(ground, tmp_path / "run", {**recipe, "dense": dense}, out=tmp_path / "mine.safetensors")
    loaded = weights.load(tmp_path / "mine.safetensors")
    assert loaded.model.dims.front_end == "frame2d"
    assert set(loaded.info["validation"]) == {"within_1", "whole_clip"}
    # A second stage starts from the first run, its contrast head included.
    go(ground, tmp_path / "second", {**recipe, "dense": dense, "init": str(tmp_path / "run"), "lr": 0})
    first, second = (checkpoint.load_state(tmp_path / name) for name in ("run", "second"))
    key = "auxiliary.visual.1.weight"
    assert torch.equal(second["objective"][key], first["average"][key])


def test_a_speech_recogniser_teaches_in_a_run_and_is_named_in_the_card(ground, tmp_path):
    pytest.importorskip("onnx", reason="the package onnx (extra dev) is not installed")
    from distill_factory import recogniser

    dims = {"front_end": "frame2d", "channels": [2, 2, 4, 4, 16], "d_model": 16, "heads": 2, "layers": 0}
    dims |= {"contrast": 8, "audio_front_end": "column1d", "audio_channels": [16, 16]}
    recipe = {"objective": "dense", "student": dims, "batch": 2, "epochs": 1, "ema": 0.9}
    recipe |= {"dense": {"frames": 14, "anchors": 0, "radius": 4}}
    ears = recogniser(tmp_path / "ears.onnx")
    go(ground, tmp_path / "run", {**recipe, "speech_encoder": str(ears)}, out=tmp_path / "mine.safetensors")
    loaded = weights.load(tmp_path / "mine.safetensors")
    assert loaded.info["speech_encoder"] == {"file": "ears.onnx", "sha256": file_sha256(ears)}
    assert not any("speech" in key for key in loaded.model.state_dict())
    assert set(losses(tmp_path / "run")[1][1]) == {"contrast", "spoken", "hint"}


def test_the_best_validation_is_kept(ground, tmp_path, monkeypatch):
    scores = iter([0.3, 0.8, 0.5])

    def fixed(self, objective):
        value = next(scores)
        return {"f1": value, "score": value}

    monkeypatch.setattr(PairTask, "validate", fixed)
    go(ground, tmp_path, {"epochs": 3})
    assert weights.load(tmp_path / "best.safetensors").info["validation"] == {"f1": 0.8}
    assert weights.load(tmp_path / "best.safetensors").info["steps"] == 2


@pytest.mark.slow
def test_the_same_seed_gives_the_same_run_and_another_seed_another(ground, tmp_path):
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        go(ground, tmp_path / name, {"seed": seed, "augment": "strong"})
    assert losses(tmp_path / "one") == losses(tmp_path / "two")
    assert losses(tmp_path / "one") != losses(tmp_path / "three")


# --- Stops -------------------------------------------------------------------------------

RUNNER = """
import json, sys, torch
from pathlib import Path
from avsync.distill.run import start
torch.set_num_threads(1)
recipe, options = json.loads(sys.argv[1])
start(recipe, **{name: Path(value) for name, value in options.items()}, workers=1)
"""
LONG = {
    **FAST,
    "method": "bce",
    "student": TINY,
    "samples_per_epoch": 20,
    "epochs": 3,
    "save_steps": 2,
    "ema": 0.9,
}


def child(ground, folder):
    """The long run in a separate process."""
    text = json.dumps([LONG, {"data": "data", "cache": "cache", "run": str(folder)}])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        [sys.executable, "-c", RUNNER, text], cwd=ground, env=environment, stderr=subprocess.PIPE
    )


@pytest.mark.slow
def test_a_killed_run_goes_on_exactly_where_it_was(ground, tmp_path):
    process = child(ground, tmp_path / "killed")
    deadline = time.monotonic() + 300
    while len(losses(tmp_path / "killed")) < 7 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    done = checkpoint.load_state(tmp_path / "killed")["progress"]["done"]
    assert 6 <= done < 15
    go(ground, None, resume=tmp_path / "killed")
    start(LONG, data=ground / "data", cache=ground / "cache", run=tmp_path / "whole", workers=1, quiet=True)
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert list(losses(tmp_path / "killed")) == list(range(1, 16))
    resumed, whole = (checkpoint.load_state(tmp_path / name) for name in ("killed", "whole"))
    for part in ("objective", "average"):
        assert all(torch.equal(v, whole[part][k]) for k, v in resumed[part].items())


def interrupt_at(monkeypatch, step):
    """Ctrl-C while that step of the first epoch is at work."""
    real, calls = PairTask.loss, itertools.count(1)

    def pressed(self, module, inputs, opinion):
        if next(calls) == step:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, module, inputs, opinion)

    monkeypatch.setattr(PairTask, "loss", pressed)


@pytest.mark.slow
def test_ctrl_c_saves_and_ends_with_130(ground, tmp_path, monkeypatch):
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({**LONG, "epochs": 1}))
    monkeypatch.chdir(ground)
    interrupt_at(monkeypatch, 3)
    arguments = [
        "train",
        "--data",
        "data",
        "--config",
        config,
        "--cache",
        "cache",
        "--run-dir",
        tmp_path / "run",
        "--workers",
        1,
    ]
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 130
    assert f"Stopped after step 3; resume with --resume {tmp_path / 'run'}." in result.stderr
    assert "Traceback" not in result.stderr
    assert checkpoint.load_state(tmp_path / "run")["progress"]["done"] == 3
    monkeypatch.undo()
    monkeypatch.chdir(ground)
    result = CliRunner().invoke(app, ["train", "--resume", str(tmp_path / "run")])
    assert result.exit_code == 0, result.stderr
    assert list(losses(tmp_path / "run")) == [1, 2, 3, 4, 5]


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(
    ground, tmp_path, monkeypatch
):
    real, calls = PairTask.loss, itertools.count(1)

    def broken(self, module, inputs, opinion):
        total, parts = real(self, module, inputs, opinion)
        return (total * float("nan") if next(calls) == 4 else total), parts

    monkeypatch.setattr(PairTask, "loss", broken)
    with pytest.raises(
        TrainingError, match=r"not a number at batch 4 of epoch 1 \(clips t/.*last good"
    ) as caught:
        go(ground, tmp_path, LONG)
    assert caught.value.exit_code == 4
    state = checkpoint.load_state(tmp_path)
    assert state["progress"]["done"] == 2
    assert all(torch.isfinite(v).all() for v in state["objective"].values())


@pytest.mark.slow
def test_weights_that_are_not_finite_are_never_saved(ground, tmp_path, monkeypatch):
    real = loop.train_step

    def ruin(trainer, inputs):
        result = real(trainer, inputs)
        if trainer.progress.done == 3:
            next(trainer.task.objective.parameters()).data.fill_(float("nan"))
        return result

    monkeypatch.setattr(loop, "train_step", ruin)
    with pytest.raises(TrainingError, match="no longer numbers after step 4"):
        go(ground, tmp_path, LONG)
    assert checkpoint.load_state(tmp_path)["progress"]["done"] == 2


@pytest.mark.slow
def test_a_full_disk_in_mid_epoch_keeps_the_checkpoint_before(ground, tmp_path, monkeypatch):
    """A file that may not grow, as on a full disk; what torch makes of that is its own."""
    real, calls = torch.save, []
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def full(state, stream):
        calls.append(1)
        if len(calls) == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
        try:
            real(state, stream)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(
        OutputError, match=r"disk of .* is full, so training stopped; the last good checkpoint is .*last.pt"
    ) as caught:
        go(ground, tmp_path, LONG)
    assert caught.value.exit_code == 4
    assert {path.name for path in tmp_path.iterdir()} <= {"last.pt", "metrics.jsonl", "tensorboard"}
    assert checkpoint.load_state(tmp_path)["progress"]["done"] == 2
    monkeypatch.undo()
    go(ground, None, resume=tmp_path)
    assert max(losses(tmp_path)) == 15


def test_checkpoints_are_saved_by_steps_whenever_the_log_is_written(ground, tmp_path, monkeypatch):
    def stop(trainer, inputs, real=loop.train_step):
        if trainer.progress.done == 4:
            raise RuntimeError("the power fails")
        return real(trainer, inputs)

    monkeypatch.setattr(loop, "train_step", stop)
    with pytest.raises(RuntimeError, match="power"):
        go(ground, tmp_path, {**LONG, "save_steps": 3, "log_steps": 1000})
    assert checkpoint.load_state(tmp_path)["progress"]["done"] == 3


@pytest.mark.slow
def test_minutes_become_steps_that_a_resumed_run_keeps(ground, tmp_path):
    go(ground, tmp_path / "run", {"minutes": 0.02, "epochs": 1, "validation_clips": 0})
    state = checkpoint.load_state(tmp_path / "run")
    total = state["progress"]["total"]
    assert state["progress"]["done"] == total == max(losses(tmp_path / "run"))
    fresh = losses(tmp_path / "run")[1]
    go(ground, tmp_path / "epochs", {"epochs": 1, "validation_clips": 0})
    assert losses(tmp_path / "epochs")[1] == fresh  # what was timed was undone


# --- Bad input ---------------------------------------------------------------------------


def refused(ground, tmp_path, recipe=None, **options):
    with pytest.raises(AvsyncError) as caught:
        go(ground, tmp_path / "run", recipe, **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
    return caught.value


def test_no_teacher(ground, tmp_path):
    error = refused(ground, tmp_path, {"method": "mtd"})
    assert isinstance(error, UsageError)
    assert "--method mtd needs a teacher" in str(error)


def test_a_teacher_that_is_not_there_or_no_checkpoint(ground, tmp_path):
    absent = refused(ground, tmp_path, {"method": "kd"}, teacher=str(tmp_path / "absent.pth"))
    assert "There is no checkpoint at" in str(absent)
    (tmp_path / "noise.pth").write_bytes(b"noise")
    noise = refused(ground, tmp_path, {"method": "kd"}, teacher=str(tmp_path / "noise.pth"))
    assert isinstance(noise, ModelError)


def test_a_teacher_of_another_shape(ground, tmp_path):
    other = Dims.from_dict({**TINY_TEACHER, "heads": 4})
    weights.save(tmp_path / "other.safetensors", VocaLiST(other), Preprocessing())
    error = refused(ground, tmp_path, {"method": "mtd"}, teacher=str(tmp_path / "other.safetensors"))
    assert "compares them map by map" in str(error)


def test_a_student_checkpoint_given_as_the_teacher(ground, tmp_path):
    weights.save(tmp_path / "mine.safetensors", VocaLiST(Dims.from_dict(TINY)), Preprocessing())
    error = refused(ground, tmp_path, {"method": "mtd"}, teacher=str(tmp_path / "mine.safetensors"))
    assert "is a student, not a teacher" in str(error)
    assert "(0 parameters)" not in str(error)


@pytest.mark.parametrize("setting", ["train_splits", "val_splits"])
def test_an_empty_split(ground, tmp_path, setting):
    error = refused(ground, tmp_path, {setting: ["dev"]})
    assert isinstance(error, MediaError)
    assert f"holds no usable clip; the data has: train, val. Name others with {setting}" in str(error)


def test_no_readable_clip(ground, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.mp4").write_text("no video")
    error = refused(ground, tmp_path, data=tmp_path / "data", cache=tmp_path / "cache")
    assert "Not one of the 1 clips can be used" in str(error)


def test_no_data_and_no_run_to_resume(ground, tmp_path):
    assert "--data" in str(refused(ground, tmp_path, data=None))
    assert "no training data" in str(refused(ground, tmp_path, data=tmp_path / "absent"))
    assert "no run to resume" in str(refused(ground, tmp_path, resume=tmp_path))


def test_a_result_whose_card_would_replace_the_configuration(ground, tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("batch: 4")
    with pytest.raises(UsageError, match="would replace the configuration"):
        start({}, config=recipe, data=tmp_path, out=tmp_path / "mine.safetensors")
    assert recipe.read_text() == "batch: 4"


def test_a_damaged_checkpoint_or_a_changed_recipe_is_not_resumed(ground, tmp_path):
    go(ground, tmp_path / "a", {"epochs": 1})
    with pytest.raises(UsageError, match="keeps its recipe"):
        start({"lr": 1.0}, resume=tmp_path / "a")
    (tmp_path / "a" / "last.pt").write_bytes(b"half")
    with pytest.raises(ModelError, match="damaged"):
        go(ground, None, resume=tmp_path / "a")


def test_the_command_line_says_one_sentence_and_uses_the_exit_codes(ground, tmp_path):
    result = CliRunner().invoke(app, ["distill", "--data", str(ground / "data"), "--method", "mtd"])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "needs a teacher" in result.stderr
    shown = CliRunner().invoke(app, ["distill", "--help"], env={"COLUMNS": "200"})
    assert {"--teacher", "--weighting", "--layers", "--terms", "--kl", "--resume"} <= set(
        shown.stdout.split()
    )
