"""`avsync bench` as it is typed: tables for people, one JSON document for programs."""

import json
from pathlib import Path

import distill_factory
import pytest
import torch
from distill_factory import made_cache
from typer.testing import CliRunner

from avsync.bench import published, training_speed
from avsync.cli.app import app
from avsync.cli.bench_tables import source_table
from avsync.evaluation.protocol import FRAMES_K
from avsync.networks import checkpoint
from avsync.networks.base import Preprocessing
from avsync.networks.dims import Dims
from avsync.networks.vocalist import VocaLiST

TINY = Dims(front_end="frame2d", channels=(4, 4, 8, 8, 16), d_model=16, heads=4, layers=1)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bench")
    made_cache(root / "cache", {"test": [30, 40, 20], "val": [25, 25]})
    torch.manual_seed(0)
    checkpoint.save(root / "tiny", VocaLiST(TINY).eval(), Preprocessing())
    return root


def bench(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["bench", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.stdout


def accuracy(*arguments: object) -> str:
    return bench("accuracy", *arguments)


def test_accuracy_of_several_models_is_one_document(ground: Path) -> None:
    tiny = ground / "tiny.safetensors"
    text = bench(
        "accuracy", "--data", ground / "cache", "--models", f"a={tiny},b={tiny}", "--limit", 2, "--json"
    )
    found = json.loads(text)["accuracy"]
    assert (found["split"], found["clips"], found["validation_clips"]) == ("test", 2, 2)
    first, second = found["models"]
    assert [first["name"], second["name"]] == ["a", "b"]
    assert first["window_accuracy"] == second["window_accuracy"]
    assert set(first["window_accuracy"]) == {str(k) for k in FRAMES_K}
    for mean, low, high in [*first["window_accuracy"].values(), first["validation_f1"]]:
        assert 0 <= low <= mean <= high <= 100
    assert all(row["published"] for row in found["published"])


def test_published_rows_stand_beside_the_measured_ones_and_say_so(ground: Path) -> None:
    text = bench(
        "accuracy", "--data", ground / "cache", "--models", ground / "tiny.safetensors", "--limit", 1
    )
    row = next(line for line in text.splitlines() if "MTDVocaLiST" in line)
    assert "published" in row
    assert row.split()[2:] == ["13.3", "M", "91.45", "95.75", "97.99", "98.95", "99.46", "99.68", "-", "-"]


def test_without_validation_clips_there_is_no_f1(ground: Path, tmp_path: Path) -> None:
    cache = made_cache(tmp_path / "cache", {"test": [20]})
    text = accuracy("--data", cache, "--models", ground / "tiny.safetensors", "--json")
    assert json.loads(text)["accuracy"]["models"][0]["validation_f1"] is None


def test_a_wrong_model_is_reported_before_the_data_is_prepared(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["bench", "accuracy", "--data", str(tmp_path), "--models", "nobody"])
    assert done.exit_code == 4
    assert "nobody" in done.output


def test_every_published_row_names_its_source() -> None:
    assert all(row.source and len(row.accuracy) == len(FRAMES_K) for row in published.ROWS)
    sizes = {row.name: row.parameters_m for row in published.ROWS}
    assert sizes["VocaLiST"] == 80.1


@pytest.mark.slow
def test_alone_it_checks_synthetic_clips_and_times_the_model(
    ground: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avsync.bench.videos.DEMO_CLIP_S", 2.0)
    tiny = ground / "tiny.safetensors"
    options = ("--clips", 1, "--video", 0, "--windows", 2, "--runs", 1, "--json")
    found = json.loads(bench("--model", f"tiny={tiny}", *options))
    assert len(found["demo"]["cases"]) == 1
    assert [row["name"] for row in found["speed"]] == ["tiny"]
    assert {"gflop_ours", "windows_per_s", "real_time_factor", "peak_mb"} <= set(found["speed"][0])
    assert "accuracy" not in found and "videos" not in found and "end_to_end" not in found


@pytest.mark.slow
def test_training_is_timed_by_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avsync.bench.training_speed.RUN_S", 0.0)
    monkeypatch.setattr("avsync.bench.training_speed.MADE_CLIPS", 2)
    monkeypatch.setitem(training_speed.MATRIX, "cpu", 64)
    config = tmp_path / "tiny.yaml"
    config.write_text(json.dumps({"student": distill_factory.TINY, "batch": 4}))
    arguments = ["training", "--method", "bce", "--config", config, "--batch", 2, "--runs", 1]
    found = json.loads(bench(*arguments, "--json"))
    assert set(found) == {"schema", "machine", "train"}
    assert (found["train"]["batch"], found["train"]["method"]) == (2, "bce")
    text = bench(*arguments)
    assert "samples per second" in text and "of the peak, a matrix product in fp32" in text
    assert "threads, torch" in text


@pytest.mark.parametrize("command", [["--model"], ["speed", "--models"]])
def test_a_missing_model_is_reported_before_the_work(command: list[str]) -> None:
    done = CliRunner().invoke(app, ["bench", *command, "nobody"])
    assert (done.exit_code, done.stdout) == (4, "")
    assert "nobody" in done.stderr


def test_an_option_of_the_quick_look_is_not_ignored_before_a_subcommand() -> None:
    done = CliRunner().invoke(app, ["bench", "--runs", "2", "speed"])
    assert done.exit_code == 2
    assert "Give --runs after bench speed" in done.stderr


def test_a_network_without_weights_cannot_be_evaluated(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["bench", "accuracy", "--data", str(tmp_path), "--models", "student"])
    assert done.exit_code == 4
    assert "give student=PATH" in done.stderr


def test_one_bad_clip_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    text = bench("videos", tmp_path, "--shifts", 2)
    assert "2 of 2 copies could not be checked" in text and "bad.mp4 (" in text
    found = json.loads(bench("videos", tmp_path, "--shifts", 1, "--json"))["videos"]
    assert [case["verdict"] for case in found["cases"]] == ["error"]


def test_figures_are_drawn_of_what_was_measured(ground: Path, tmp_path: Path) -> None:
    tiny, folder = ground / "tiny.safetensors", tmp_path / "figures"
    text = accuracy("--data", ground / "cache", "--models", tiny, "--limit", 1, "--plot", folder)
    assert {path.name for path in folder.iterdir()} == {"accuracy-by-length.png", "accuracy-by-size.png"}
    assert "accuracy-by-size.png" in text


def test_figures_are_drawn_of_documents_and_of_a_run_s_log(ground: Path, tmp_path: Path) -> None:
    losses = {"bce": 0.6, "fusion4_cad": 0.2, "fusion4_vr": 0.2}
    rows = [{"kind": "train", "step": 10, "loss": 1.0, "losses": losses, "factors": {}},
            {"kind": "validation", "step": 10, "f1": 0.875}]  # fmt: skip
    run = tmp_path / "mine"
    run.mkdir()
    (run / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    tiny, folder = ground / "tiny.safetensors", tmp_path / "figures"
    document = tmp_path / "accuracy.json"
    document.write_text(accuracy("--data", ground / "cache", "--models", tiny, "--limit", 1, "--json"))
    text = bench("figures", document, "--log", run, "--plot", folder)
    assert "fusion 4" in text and "f1 0.8750" in text and "bce 60 % to 60 %" in text
    names = {"accuracy-by-length.png", "accuracy-by-size.png", "layers.png", "loss-ratio-mine.png"}
    assert {p.name for p in folder.iterdir()} == names
    found = json.loads(bench("figures", "--log", run, "--plot", folder, "--json"))
    assert set(found) == {"schema", "runs", "figures"}


def test_a_figure_of_nothing_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("{}")
    for wrong in ([], [str(file)], ["--log", str(tmp_path)], ["--log", str(tmp_path), "--plot", str(file)]):
        assert CliRunner().invoke(app, ["bench", "figures", *wrong]).exit_code == 2
    assert CliRunner().invoke(app, ["bench", "accuracy"]).exit_code == 2


def test_clips_of_three_seconds_or_more_have_a_row_of_their_own(ground: Path, tmp_path: Path) -> None:
    cache = made_cache(tmp_path / "cache", {"test": [90, 20]})
    options = ("--data", cache, "--models", ground / "tiny.safetensors")
    assert "3 s or more" not in accuracy(*options)  # one source: no table by source
    row = json.loads(accuracy(*options, "--json"))["accuracy"]["models"][0]
    assert (row["clips"], row["long_clips"]["clips"]) == (2, 1)
    by_source = {**row, "by_source": {"te": row, "in": row}}
    assert list(source_table(by_source).columns[0].cells) == ["te", "in", "3 s or more", "all"]


def test_labels_and_corrupted_clips_have_tables_of_their_own(ground: Path, tmp_path: Path) -> None:
    yaw = tmp_path / "yaw.json"
    yaw.write_text('{"test": "frontal", "test1": "turned"}')
    options = (
        "--data",
        ground / "cache",
        "--models",
        ground / "tiny.safetensors",
        "--groups",
        yaw,
    )
    text = accuracy(*options, "--corrupt", "lowres:24,mask")
    assert "by yaw" in text and "turned" in text and "lowres:24" in text and "of these wrong" in text
    row = json.loads(accuracy(*options, "--json"))["accuracy"]["models"][0]
    assert {name: part["clips"] for name, part in row["by_group"]["yaw"].items()} == {
        "frontal": 2,
        "turned": 1,
    }
    assert row["corrupted"] == {}


@pytest.mark.parametrize(
    ("labels", "says"),
    [('["frontal"]', "must map clip ids to labels"), ('{"nobody": "frontal"}', "names no clip of the split")],
)
def test_labels_of_no_clip_are_refused(ground: Path, tmp_path: Path, labels: str, says: str) -> None:
    groups = tmp_path / "yaw.json"
    groups.write_text(labels)
    options = (
        "--data",
        ground / "cache",
        "--models",
        ground / "tiny.safetensors",
        "--groups",
        groups,
    )
    done = CliRunner().invoke(app, ["bench", "accuracy", *map(str, options)])
    assert done.exit_code == 2
    assert says in done.stderr


def test_only_clips_with_a_known_delay_are_evaluated(ground: Path, tmp_path: Path) -> None:
    known = tmp_path / "delays.json"
    known.write_text('{"test1": 40.0}')
    options = (
        "--data",
        ground / "cache",
        "--models",
        ground / "tiny.safetensors",
        "--delays",
        known,
    )
    found = json.loads(accuracy(*options, "--json"))["accuracy"]
    assert found["clips"] == 1
    assert set(found["models"][0]["by_source"]) == {"te"}
    assert found["models"][0]["long_clips"] is None, "the made clips are shorter than three seconds"
    known.write_text('{"nobody": 40.0}')
    done = CliRunner().invoke(app, ["bench", "accuracy", *map(str, options)])
    assert done.exit_code == 2
    assert "names no clip of the split test" in done.stderr
