"""Recipes: the paper's by default, strict about names, the same after a round trip."""

from pathlib import Path

import pytest
import yaml
from distill_factory import TINY

from avsync.core.errors import UsageError
from avsync.data.augment import NONE, Augmentation
from avsync.data.labels import read_delays
from avsync.distill.losses import LAYERS
from avsync.distill.methods import METHODS
from avsync.distill.optim import learning_rate, make_optimizer, update_average
from avsync.distill.presets import shipped
from avsync.distill.recipe import Recipe, read_recipe, recipe_from, to_plain
from avsync.distill.settings import Schedule
from avsync.distill.trainer import front_share
from avsync.networks.dims import STUDENT, TEACHER, Dims
from avsync.networks.vocalist import VocaLiST

CONFIGS = sorted(shipped().values())


def student(recipe):
    dims = recipe.network.student
    assert isinstance(dims, Dims)
    return VocaLiST(dims)


def test_the_defaults_are_the_papers():
    recipe = read_recipe(None)
    assert (recipe.losses.method, recipe.losses.weighting, recipe.losses.layers, recipe.losses.terms) == (
        "mtd",
        "uw25",
        LAYERS,
        ("cad", "vr"),
    )
    assert recipe.network.student == STUDENT
    assert (recipe.optimiser.name, recipe.optimiser.lr, recipe.batch, recipe.schedule.epochs) == (
        "adam",
        5e-5,
        128,
        80,
    )
    assert recipe.augment == NONE


def test_a_file_and_the_command_line_go_together(tmp_path):
    path = tmp_path / "mtd.yaml"
    path.write_text(
        "method: nmtd\nweighting: manual\nweights: {fusion4_cad: 2}\nlr: 1e-3\nstudent: vocalist\n"
    )
    recipe = read_recipe(path, lr=2e-3, epochs=None, layers="fusion,av1")
    assert (recipe.losses.method, recipe.optimiser.lr) == ("nmtd", 2e-3)
    assert (recipe.schedule.epochs, recipe.network.student) == (80, TEACHER)
    assert recipe.losses.layers == ("fusion1", "fusion2", "fusion3", "fusion4", "av1")


def test_a_recipe_survives_a_round_trip():
    recipe = recipe_from(
        {"student": TINY, "augment": {"flip_p": 0.1}, "layers": "fusion4", "terms": ["vr"],
         "dense": {"anchors": 3}, "preprocessing": {"channels": "bgr", "scale": 0.5},
         "train_splits": ["a", "b"], "betas": [0.9, 0.98]}
    )  # fmt: skip
    assert recipe_from(yaml.safe_load(yaml.safe_dump(to_plain(recipe)))) == recipe
    assert recipe.network.student == Dims.from_dict(TINY)


def test_named_augmentations():
    assert recipe_from({"augment": "strong"}).augment == Augmentation()
    assert recipe_from({"augment": "none"}).augment == NONE


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"methd": "mtd"}, "no setting 'methd'"),
        ({"method": "best"}, "no method 'best'"),
        ({"weighting": "uw24"}, "weighting cannot be 'uw24'; choose one of uniform, manual, aw13"),
        ({"method": "bce", "weighting": "uw25"}, "bce cannot be weighted by uw25"),
        ({"method": "mtd", "weighting": "uniform"}, "choose one of aw13, aw25, uw13, uw25"),
        ({"layers": "fusion5"}, "no layer 'fusion5'"),
        ({"terms": "cad,kad"}, "no term 'kad'"),
        ({"student": "giant"}, "no architecture 'giant'"),
        ({"student": {"d_model": 7}}, "make no network"),
        ({"augment": {"flop": 1}}, "augment has no setting 'flop'; there are flip_p,"),
        ({"batch": 7}, "batch must be even"),
        ({"epochs": 0}, "epochs cannot be 0"),
        ({"epochs": "many"}, "epochs cannot be 'many'; it is a whole number"),
        ({"lr": "fast"}, "lr cannot be 'fast'; it is a number"),
        ({"method": "nmtd", "weighting": "manual", "weights": {"fusion9_cad": 1}}, "name 'fusion9_cad'"),
        ({"seed": -1}, "seed cannot be -1"),
        ({"seed": 1.5}, "it is a whole number"),
        ({"lr": float("nan")}, "lr cannot be nan; it is a number"),
        ({"epochs": True}, "epochs cannot be True; it is a whole number"),
        ({"compile": "yes"}, "compile cannot be 'yes'; it is true or false"),
        ({"val_splits": 5}, "val_splits cannot be 5; it is a list"),
        ({"weights": 5}, "weights cannot be 5; it is a list of `name: value` lines"),
        ({"dense": 5}, "dense cannot be 5; it is a list of `name: value` lines"),
        ({"layers": [1]}, "no layer '1'"),
        ({"decay_epochs": 0}, "decay_epochs cannot be 0; it is a number 0.001 or more"),
        ({"teacher": 5}, "teacher cannot be 5; it is a name or a path"),
        ({"objective": "dense"}, "does not support method: mtd"),
        ({"speakers": 0}, "speakers cannot be 0; it is a number above 0"),
    ],
)
def test_what_is_wrong_is_named(values, said):
    with pytest.raises(UsageError, match=said):
        recipe_from(values)


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(UsageError, match=r"absent.yaml cannot be read"):
        read_recipe(tmp_path / "absent.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1")
    with pytest.raises(UsageError, match=r"bad.yaml cannot be read: it is not YAML \(line 1: "):
        read_recipe(tmp_path / "bad.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(UsageError, match="name: value"):
        read_recipe(tmp_path / "list.yaml")
    (tmp_path / "delays.json").write_text("[1]")
    with pytest.raises(UsageError, match="must map clip ids to milliseconds"):
        read_delays(str(tmp_path / "delays.json"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_the_shipped_configurations_are_valid(path):
    assert isinstance(read_recipe(path), Recipe)


# --- Schedules ---------------------------------------------------------------------------


def test_the_authors_schedule_warms_up_then_falls_by_a_fifth_every_twenty_epochs():
    rates = [
        learning_rate(1.0, Schedule(), round(10 * epoch), 10, 800) for epoch in (0, 5, 10, 29.9, 30, 50, 70)
    ]
    assert rates == pytest.approx([0, 0.5, 1, 1, 0.8, 0.64, 0.512], abs=1e-6)


def test_the_authors_warm_up_by_epochs():
    schedule = Schedule(warmup="epochs")
    rates = [learning_rate(1.0, schedule, done, 10, 800) for done in (0, 9, 10, 95, 100)]
    assert rates == pytest.approx([0.1, 0.1, 0.2, 1.0, 1.0], abs=1e-6)


def test_the_cosine_ends_low_and_the_constant_stays():
    cosine, constant = (Schedule(schedule=kind, warmup_epochs=0) for kind in ("cosine", "constant"))
    rates = [learning_rate(1.0, cosine, done, 10, 100) for done in (0, 50, 100)]
    assert rates == pytest.approx([1, 0.515, 0.03])
    assert learning_rate(1.0, constant, 100, 10, 100) == 1


def test_the_average_follows_the_weights():
    import torch

    old, new = [torch.zeros(3), torch.tensor(1)], [torch.ones(3), torch.tensor(7)]
    update_average(old, new, 0.9, step=10_000)
    assert old[0].tolist() == pytest.approx([0.1] * 3)
    assert old[1].item() == 7


def test_front_ends_learn_slower_beside_the_encoders():
    from avsync.distill.dense import DenseObjective

    for anchors, expected in ((2, {0.1, 1.0}), (0, {1.0})):
        recipe = recipe_from(
            {
                "objective": "dense",
                "method": "bce",
                "student": TINY,
                "dense": {"anchors": anchors, "embedding": 8},
            }
        )
        objective = DenseObjective(student(recipe), recipe.dense, recipe.network.preprocessing)
        optimizer = make_optimizer(objective, recipe.optimiser, front_share(recipe))
        assert {group["share"] for group in optimizer.param_groups} == expected


def test_delays_lie_beside_the_recipe_that_names_them(tmp_path):
    (tmp_path / "mine.yaml").write_text("delays: mine.json\n")
    assert read_recipe(tmp_path / "mine.yaml").data.delays == str(tmp_path / "mine.json")


def test_the_bundled_recipe_and_its_delays_can_be_read():
    recipe = read_recipe(Path("avsync-4"))
    assert len(read_delays(recipe.data.delays)) > 100


# --- Presets and files by name -----------------------------------------------------------


def test_the_authors_preset_is_named_options_and_serves_every_method():
    authors = recipe_from({"preset": "authors"})
    assert (authors.losses.kl, authors.losses.kl_reduction, authors.losses.va_clamp) == (
        "teacher-student",
        "mean",
        1e-5,
    )
    assert (authors.losses.weighting, authors.data.mel, authors.validation.select) == (
        "aw13",
        "window",
        "f1_authors",
    )
    assert recipe_from({"preset": "authors", "lr": 1e-3}).optimiser.lr == 1e-3
    assert recipe_from({"preset": "paper"}) == recipe_from({})
    for method in METHODS:
        assert recipe_from({"preset": "authors", "method": method}).losses.method == method
    with pytest.raises(UsageError, match=r"no preset 'ours'; choose one of paper, authors"):
        recipe_from({"preset": "ours"})


def test_a_recipe_is_found_by_name_and_the_papers_serves_every_method():
    for method in METHODS:
        assert read_recipe(Path("mtd"), method=method).losses.method == method
    with pytest.raises(UsageError, match=r"no configuration mdt: give a YAML file, or one of .*mtd"):
        read_recipe(Path("mdt"))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"method": "kd", "layers": "fusion"}, "--layers has no effect with --method kd"),
        ({"method": "bce", "terms": "vr"}, "--terms has no effect with --method bce"),
        ({"method": "nmtd", "weights": {"bce": 2}}, "weights are for weighting: manual"),
        (
            {"objective": "dense", "method": "bce", "student": "dual", "select": "f1"},
            "select: f1 is for objective: pairs",
        ),
    ],
)
def test_what_means_nothing_is_refused(values, said):
    with pytest.raises(UsageError, match=said):
        recipe_from(values)


def test_a_student_and_an_arch_that_disagree_are_named(tmp_path):
    (tmp_path / "mine.yaml").write_text("method: bce\nstudent: mtdvocalist\n")
    with pytest.raises(UsageError, match=r"--arch vocalist and the student of .*mine.yaml are different"):
        read_recipe(tmp_path / "mine.yaml", student="vocalist")
    assert read_recipe(tmp_path / "mine.yaml", student="student").network.student == STUDENT
