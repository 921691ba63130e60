"""The paper's experiments at toy size: each part trains what it shows, once, and tabulates it."""

from dataclasses import replace
from pathlib import Path

import pytest
from distill_factory import wav2lip_set

from avsync.bench import paper
from avsync.bench.paper import FIG3, NEEDED, PARTS, SCALES, Experiment, reproduce
from avsync.core.errors import UsageError
from avsync.distill.recipe import recipe_from

PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("paper")
    wav2lip_set(root / "data")
    return root


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks and budgets that train in seconds."""
    tiny = SCALES["tiny"]
    short = {"batch": 4, "samples_per_epoch": 8, "epochs": 1, "validation_clips": 2}
    own = {name: {**settings, **short} for name, settings in tiny.own.items()}
    toy = replace(
        tiny, settings={**tiny.settings, **short}, own=own, front={**(tiny.front or {}), **short}, limit=2
    )
    monkeypatch.setitem(SCALES, "toy", toy)


def run(ground: Path, *only: str, told: list[str] | None = None) -> dict[str, str]:
    return reproduce(
        ground / "data", ground / "out", only=only, scale="toy", split="val", cache=ground / "cache",
        workers=1, quiet=True, tell=(told if told is not None else []).append,
    )  # fmt: skip


@pytest.mark.slow
def test_a_part_trains_what_it_shows_and_a_second_time_nothing(ground: Path) -> None:
    told: list[str] = []
    tables = run(ground, "table2", told=told)
    assert told[0] == "nmtd-without-vr"
    assert set(told) == {paper.TEACHER, paper.FRONT, *NEEDED["table2"]}
    rows = tables["table2"].splitlines()
    assert [row.split("|")[1].strip() for row in rows[2:]] == ["without VR", "without CAD", "CAD and VR"]
    assert all(0 <= float(row.split("|")[2]) <= 100 for row in rows[2:])
    assert (ground / "out" / "table2.md").read_text() == tables["table2"]
    again: list[str] = []
    assert run(ground, "table2", told=again) == tables
    assert again == []


@pytest.mark.slow
def test_the_validation_losses_of_mtd_are_drawn(ground: Path) -> None:
    tables = run(ground, "fig4")
    assert (ground / "out" / "fig4.png").read_bytes().startswith(PNG)
    epoch, *losses = (cell.strip() for cell in tables["fig4"].splitlines()[2].strip("| ").split("|"))
    assert epoch == "1" and len(losses) == 3 and all(float(loss) > 0 for loss in losses)


@pytest.mark.slow
def test_every_part_at_toy_size(ground: Path) -> None:
    tables = run(ground)
    assert tuple(tables) == PARTS
    assert "| published | 13.3 M | 91.45 |" in tables["table1"]
    assert len(tables["fig3"].splitlines()) == 2 + len(FIG3) == 20
    for part in ("fig2", "fig3", "fig4"):
        assert (ground / "out" / f"{part}.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize("preset", ["paper", "authors"])
@pytest.mark.parametrize("scale", ["paper", "tiny"])
def test_every_run_of_every_scale_has_a_recipe(tmp_path: Path, scale: str, preset: str) -> None:
    mask = "one-sided" if preset == "authors" else "both"
    experiment = Experiment(tmp_path, SCALES[scale], preset, None, 0, mask, {}, lambda _: None)
    names = [*dict.fromkeys(name for part in NEEDED.values() for name in part)]
    names += [paper.FRONT] if SCALES[scale].front else []
    recipes = {name: recipe_from(experiment.settings(name)) for name in names}
    assert len(names) == 28 + (scale == "tiny")
    assert all(r.losses.method != "bce" for n, r in recipes.items() if n.startswith(("nmtd", "layer", "mtd")))
    assert recipes["mtd"].losses.kl == ("teacher-student" if preset == "authors" else "student-teacher")
    assert (recipes["mtd"].network.init is None) == (scale == "paper")


def test_unknown_parts_and_scales_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no part 'table9'"):
        reproduce(tmp_path, tmp_path, only=["table9"])
    with pytest.raises(UsageError, match="no scale 'huge'"):
        reproduce(tmp_path, tmp_path, scale="huge")
