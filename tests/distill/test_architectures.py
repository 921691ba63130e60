"""The comparison networks train through the same command, each in its paper's way."""

from pathlib import Path

import numpy as np
import pytest
import torch
from distill_factory import FAST, made_cache, wav2lip_set

from avsync.core.errors import UsageError
from avsync.core.records import Clip, Waveform
from avsync.data.augment import NONE
from avsync.data.loading import pair_bytes, pair_inputs, reader
from avsync.data.shards import Store
from avsync.distill import losses
from avsync.distill.distributed import Draws
from avsync.distill.match import MatchObjective, MatchTask
from avsync.distill.monitor import read_metrics
from avsync.distill.recipe import recipe_from, to_plain
from avsync.distill.run import start
from avsync.distill.tasks import Ground
from avsync.networks import checkpoint
from avsync.networks.scoring import audio_windows
from avsync.networks.syncnet import SyncNet, SyncNetDims

TINY_AVST = {"family": "avst", "channels": [2, 2, 4, 4, 16], "heads": 2, "layers": 1}
QUICK = {**FAST, "method": "bce", "batch": 2, "epochs": 1, "samples_per_epoch": 2, "validation_stride": 20}


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("architectures")
    wav2lip_set(root / "data", train=2, val=1)
    return root


@pytest.fixture(autouse=True)
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avsync.distill.run.draw", lambda _: None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("student", "loss", "figure"),
    [
        ("syncnet", "contrastive", "f1"),
        ("perfect-match", "match", "within_1"),
        (TINY_AVST, "bce", "f1"),
        ("dual", "contrast", "within_1"),
    ],
    ids=["syncnet", "perfect-match", "avst", "dual"],
)
def test_each_trains_to_a_checkpoint_that_loads(
    student: object, loss: str, figure: str, ground: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.safetensors"
    start(
        {**QUICK, "student": student},
        data=ground / "data", cache=ground / "cache", run=tmp_path / "run", out=out, workers=1, quiet=True,
    )  # fmt: skip
    rows = read_metrics(tmp_path / "run")
    assert all(set(r["losses"]) == {loss} for r in rows if r["kind"] == "train")
    assert all(figure in r for r in rows if r["kind"] == "validation")
    assert checkpoint.load(out, "cpu").info["objective"] in ("pairs", "match", "dense")


def test_a_recipe_survives_being_written() -> None:
    for name in ("syncnet", "perfect-match", "avst", "dual"):
        recipe = recipe_from({"method": "bce", "student": name})
        assert recipe_from(to_plain(recipe)) == recipe


def test_an_architecture_brings_its_way_of_training_and_options_win() -> None:
    assert recipe_from({"method": "bce", "student": "perfect-match"}).objective == "match"
    dual = recipe_from({"method": "bce", "student": "dual", "dense": {"frames": 30}})
    assert (dual.objective, dual.dense.anchors, dual.dense.frames) == ("dense", 0, 30)
    assert recipe_from({"method": "bce", "student": "dual", "objective": "pairs"}).objective == "pairs"


@pytest.mark.parametrize(
    "values",
    [
        {"method": "mtd", "student": "syncnet"},
        {"method": "kd", "student": "dual", "objective": "pairs"},
        {"method": "bce", "student": "avst", "objective": "dense"},
        {"method": "bce", "student": "vocalist", "objective": "match"},
        {"method": "bce", "student": {"family": "syncnet", "crop": "face"}},
    ],
)
def test_what_does_not_fit_together_is_refused(values: dict) -> None:
    with pytest.raises(UsageError):
        recipe_from(values)


def test_training_and_scoring_get_the_same_audio(tmp_path: Path) -> None:
    store = Store(made_cache(tmp_path, {"train": [40]}), ["train"])
    frames = np.array([3, 17])
    raw = pair_bytes(reader(store, torch.device("cpu")), np.zeros(2, np.int64), frames, frames, "mfcc")
    _, audio = pair_inputs(raw, features="mfcc")
    wave = Waveform(store.wave(0).astype(np.float32) / np.float32(32768), 0.0)
    scored = audio_windows(Clip(0, 0.0, np.array(store.mouths(0))), wave, 0, "mfcc")
    np.testing.assert_allclose(audio[:, 0].numpy(), scored[frames], atol=1e-3)


def test_the_contrastive_loss_pulls_pairs_together_and_pushes_the_others_to_the_margin() -> None:
    distances, labels = torch.tensor([3.0, 3.0, 9.0]), torch.tensor([1, 0, 0])
    assert losses.contrastive(distances, labels, 5.0).item() == pytest.approx((9 + 4 + 0) / 6)


class TestMatch:
    def task(self, folder: Path) -> MatchTask:
        cache = made_cache(folder, {"train": [12, 60], "val": [20]})
        recipe = recipe_from(
            {"method": "bce", "student": "perfect-match", "batch": 4, "samples_per_epoch": 8}
        )
        torch.manual_seed(0)
        objective = MatchObjective(SyncNet(SyncNetDims("perfect-match")))
        stores = Store(cache, ["train"]), Store(cache, ["val"])
        ground = Ground(
            *stores, torch.device("cpu"), Draws(0, recipe.batch), recipe.network.preprocessing, NONE,
            recipe.data, recipe.validation,
        )  # fmt: skip
        return MatchTask(objective, ground)

    def test_the_middle_candidate_is_the_window_s_own_audio(self, tmp_path: Path) -> None:
        task = self.task(tmp_path)
        _, audio, inside = task.load(0, 1)
        assert audio.shape == (4, 31, 13, 20)
        assert inside[:, 15].all()
        assert not inside.all()
        clips, video = task._draw(0, 1)
        raw = pair_bytes(task._train, clips, video, video, "mfcc")
        own = pair_inputs(raw, features="mfcc")[1][:, 0]
        kept = torch.from_numpy(video > 0)  # the sample before a clip's first belongs to no clip
        torch.testing.assert_close(audio[:, 15][kept], own[kept], rtol=1e-4, atol=1e-4)

    def test_the_same_step_is_the_same_inputs(self, tmp_path: Path) -> None:
        task = self.task(tmp_path)
        for first, second in zip(task.load(3, 0), task.load(3, 0), strict=True):
            assert torch.equal(first, second)
        assert task.clips(3, 0) != [] and len(task.clips(3, 0)) == 4

    def test_candidates_outside_the_clip_cannot_win(self) -> None:
        class Fake:
            def visual_tokens(self, frames: torch.Tensor) -> torch.Tensor:
                return frames

            def audio_tokens(self, audio: torch.Tensor) -> torch.Tensor:
                return audio.flatten(1)

            def pair_logits(self, visual: torch.Tensor, audio: torch.Tensor) -> torch.Tensor:
                return visual[:, 0] + audio[:, 0]

        objective = MatchObjective.__new__(MatchObjective)
        torch.nn.Module.__init__(objective)
        object.__setattr__(objective, "student", Fake())
        audio = torch.tensor([9.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
        inside = torch.tensor([[False, True, True]])
        loss, _ = objective(torch.zeros(1, 1), audio, inside)
        assert loss.item() == pytest.approx(np.log(2))
