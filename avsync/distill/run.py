"""A whole training run: recipe, data, networks, training, and the final checkpoint."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from avsync import __version__
from avsync.audio.speech import SpeechEncoder
from avsync.core.errors import MediaError, ModelError, UsageError
from avsync.core.files import disk_errors, file_sha256
from avsync.data.labels import read_delays, speakers, with_known_delays
from avsync.data.prepare import BROKEN, prepare
from avsync.data.shards import Store
from avsync.data.sources import Source, find_sources
from avsync.data.speech_corpus import SpeechCorpus
from avsync.distill import curves
from avsync.distill.checkpoint import load_state
from avsync.distill.dense import DenseObjective
from avsync.distill.distributed import Draws, World, share_first, wait, world
from avsync.distill.loop import is_bf16, plan, train
from avsync.distill.match import MatchObjective, MatchTask
from avsync.distill.methods import METHODS
from avsync.distill.monitor import Monitor, read_metrics
from avsync.distill.pairs import PairObjective, check_dense_teacher, check_teacher
from avsync.distill.recipe import Recipe, read_recipe, recipe_from
from avsync.distill.speech_teacher import features
from avsync.distill.tasks import DenseTask, Ground, PairTask, Task, usable
from avsync.distill.trainer import BEST, Trainer
from avsync.networks.base import Scorer, count_parameters
from avsync.networks.checkpoint import Loaded, load, pick_device, save
from avsync.networks.frozen import freeze
from avsync.networks.library import available
from avsync.networks.registry import build_network
from avsync.networks.syncnet import SyncNet
from avsync.networks.vocalist import VocaLiST

PAPERS_TEACHER = "vocalist"
FIGURES = {
    "balanced_f1": "balanced F1",
    "f1": "F1",
    "f1_authors": "F1 as the authors compute it",
    "within_1": "windows within one frame",
}
"""The figures by which the best network can be selected, in words."""


def start(
    overrides: Mapping[str, Any],
    *,
    config: Path | None = None,
    resume: Path | None = None,
    data: Path | None = None,
    teacher: str | None = None,
    out: Path | None = None,
    cache: Path | None = None,
    run: Path | None = None,
    workers: int = 0,
    device: str = "auto",
    prepare_only: bool = False,
    retry_broken: bool = False,
    quiet: bool = False,
) -> str | None:
    """Run `avsync distill` or `avsync train`; returns the sentence to print (None in all processes but the
    first). `overrides` are settings of the recipe, None if not given."""
    chosen = _local_device(device)
    state = load_state(resume) if resume else {}
    if resume:
        if config or any(v is not None for v in overrides.values()):
            raise UsageError(
                "A resumed run keeps its recipe; leave out --config and the options that change it."
            )
        recipe = recipe_from(state["recipe"])
        data = data or Path(state["data"])
        teacher, cache = teacher or state["teacher"], cache or Path(state["cache"])
        out, run = out or (Path(state["out"]) if state["out"] else None), resume
    else:
        recipe = read_recipe(config, **overrides)
    if config and out and out.with_suffix(".yaml").absolute() == config.absolute():
        raise UsageError(f"The card of --out {out} would replace the configuration {config}; rename one.")
    if data is None:
        raise UsageError("Say where the training data is: --data FOLDER.")
    taught = None if prepare_only else find_teacher(recipe, teacher, chosen)
    with world(chosen) as at:
        if recipe.batch % (2 * at.size):
            raise UsageError(
                f"batch {recipe.batch} cannot be shared evenly by {at.size} processes; "
                f"make it a multiple of {2 * at.size}."
            )
        cache = cache or default_cache(data)
        sources = find_sources(data)
        _prepare(sources, cache, at, workers, retry_broken, quiet)
        if prepare_only:
            return f"{cache} is ready." if at.first else None
        stores = open_stores(recipe, cache, sources)
        now = time.strftime("%Y-%m-%d-%H%M%S")
        folder = share_first(run or Path("runs") / f"{now}-{recipe.losses.method}")
        trainer = _trainer(recipe, stores, taught, folder, chosen, at)
        trainer.card |= {
            "data": data.name, "clips": len(stores[0]), "speakers": len(speakers(stores[0])),
            "hours": round(_hours(stores[0]), 2),
        }  # fmt: skip
        places = {"data": data, "teacher": taught.path if taught else None, "cache": cache, "out": out}
        trainer.extra = {name: str(path.absolute()) if path else None for name, path in places.items()}
        if resume:
            trainer.restore(state)
        return _train(trainer, out, quiet)


def _local_device(device: str) -> torch.device:
    """The device of this process: under torchrun, each has its own GPU."""
    chosen = pick_device(device)
    if chosen.type == "cuda" and "LOCAL_RANK" in os.environ:
        chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(chosen)
    return chosen


def default_cache(data: Path) -> Path:
    """`cache/NAME-xxxxxxxx` in the working directory; the suffix distinguishes folders of the same name."""
    whole = data.expanduser().absolute()
    return Path("cache") / f"{whole.stem}-{hashlib.sha256(str(whole).encode()).hexdigest()[:8]}"


def find_teacher(recipe: Recipe, name: str | None, device: torch.device) -> Loaded | None:
    """The frozen teacher, checked against the student: `name`, else the recipe's, else the paper's if it is
    on this machine.

    Raises:
        UsageError: none is given and the method needs one.
        ModelError: it is the student itself, or of another shape. With dense supervision a network may
            learn from one of its own shape.
    """
    method = recipe.losses.method
    if not METHODS[method].teacher:
        return None
    name = name or recipe.network.teacher or _papers_teacher(recipe)
    if name is None:
        raise UsageError(
            f"--method {method} needs a teacher: give --teacher with a checkpoint such as "
            "vocalist_5f_lrs2.pth, or train one with: avsync train --data ... --arch vocalist."
        )
    loaded = load(name, str(device))
    dims = loaded.model.dims
    if recipe.objective == "dense":
        check_dense_teacher(loaded)
    elif dims == recipe.network.student:
        raise ModelError(
            f"{loaded.path} has exactly the student's shape ({count_parameters(loaded.model):,} parameters), "
            "so it is a student, not a teacher; give the larger network, such as vocalist_5f_lrs2.pth."
        )
    else:
        check_teacher(dims, recipe.network.student, method)
    return loaded


def _papers_teacher(recipe: Recipe) -> str | None:
    return PAPERS_TEACHER if recipe.objective == "pairs" and PAPERS_TEACHER in available() else None


def _prepare(sources: list[Source], cache: Path, at: World, workers: int, retry: bool, quiet: bool) -> None:
    """Fill the cache in the first process, with a bar on a terminal, while the others wait."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    if at.first:
        console = Console(stderr=True)
        columns = (TextColumn("Preparing clips"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bar:
            task = bar.add_task("", total=len(sources))
            broken = prepare(
                sources, cache, workers=workers, retry=retry,
                progress=lambda done, total, _: bar.update(task, completed=done, total=total),
            )  # fmt: skip
        if broken and console.is_terminal and not quiet:
            console.print(f"{len(broken)} of {len(sources)} clips cannot be used; {cache / BROKEN} says why.")
    wait()


def open_stores(recipe: Recipe, cache: Path, sources: list[Source]) -> tuple[Store, Store]:
    """Training and validation clips of the cache that belong to `sources`.

    Raises MediaError when one of the two is empty.
    """
    present = {source.split for source in sources}
    splits = recipe.data.train_splits or (("pretrain",) if "pretrain" in present else ("train",))
    named = {(source.split, source.id) for source in sources}
    opened, delays = [], read_delays(recipe.data.delays)
    kinds = (("training", "train_splits", splits), ("validation", "val_splits", recipe.data.val_splits))
    for what, setting, chosen in kinds:
        store = Store(cache, chosen, min_windows=2).select(lambda clip: (clip.split, clip.id) in named)
        if what == "training":
            least = recipe.dense.min_clip_windows if recipe.objective == "dense" else 0
            store = usable(store, recipe.data, delays, least)
        else:
            store = with_known_delays(store, recipe.data.delays_only, delays)
        if not len(store):
            raise MediaError(
                f"The {what} split ({', '.join(chosen)}) holds no usable clip; the data has: "
                f"{', '.join(sorted(present))}. Name others with {setting} in the configuration."
            )
        opened.append(store)
    return opened[0], opened[1]


def _hours(store: Store) -> float:
    return sum(clip.frames for clip in store.clips) / 25 / 3600


def make_task(
    recipe: Recipe, stores: tuple[Store, Store], teacher: Scorer | None, device: torch.device, at: World
) -> Task:
    """The networks and data of a run, on the device."""
    torch.manual_seed(recipe.seed)
    if teacher is not None:
        freeze(teacher.model, torch.bfloat16 if is_bf16(recipe.machine.precision, device) else None)
    student = build_network(recipe.network.student)
    draws = Draws(recipe.seed, recipe.batch, at)
    pixels, init = recipe.network.preprocessing, recipe.network.init
    ground = Ground(*stores, device, draws, pixels, recipe.augment, recipe.data, recipe.validation)
    if isinstance(student, VocaLiST) and recipe.objective == "dense":
        speech = recipe.speech
        encoder = SpeechEncoder(Path(speech.speech_encoder)) if speech.speech_encoder else None
        heard = features(encoder) if encoder else 0
        dense = DenseObjective(student, recipe.dense, pixels, heard).to(device)
        _initialise(dense, init)
        corpus = SpeechCorpus(Path(speech.speech_corpus), device) if speech.speech_corpus else None
        return DenseTask(dense, ground, read_delays(recipe.data.delays), teacher, encoder, corpus)
    if isinstance(student, SyncNet) and recipe.objective == "match":
        match = MatchObjective(student).to(device)
        _initialise(match, init)
        return MatchTask(match, ground)
    pairs = PairObjective(student, recipe.losses, teacher.model.dims if teacher else None).to(device)
    _initialise(pairs, init)
    return PairTask(pairs, ground, teacher)


def _trainer(
    recipe: Recipe,
    stores: tuple[Store, Store],
    teacher: Loaded | None,
    folder: Path,
    device: torch.device,
    at: World,
) -> Trainer:
    """A trainer, after making the run's folder."""
    task = make_task(recipe, stores, teacher, device, at)
    card = described(recipe)
    if teacher is not None:
        card["teacher"] = {"file": teacher.path.name, "sha256": file_sha256(teacher.path)}
    if recipe.speech.speech_encoder:
        path = Path(recipe.speech.speech_encoder)
        card["speech_encoder"] = {"file": path.name, "sha256": file_sha256(path)}
    with disk_errors(folder, "the run cannot begin: choose another place with --run-dir"):
        folder.mkdir(parents=True, exist_ok=True)
    return Trainer(recipe, task, folder, device, at, card)


def described(recipe: Recipe) -> dict[str, Any]:
    """The recipe for a checkpoint's card, as plain values."""
    losses, optimiser, schedule = recipe.losses, recipe.optimiser, recipe.schedule
    card: dict[str, Any] = {
        "avsync": __version__,
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__)},
        "objective": recipe.objective,
        "method": losses.method,
        "weighting": losses.weighting,
    }
    if METHODS[losses.method].maps:
        card |= {"layers": list(losses.layers), "terms": list(losses.terms)}
        card |= {"kl": losses.kl, "kl_reduction": losses.kl_reduction}
    card |= {"optimizer": optimiser.name, "lr": optimiser.lr, "batch": recipe.batch}
    card |= {"minutes": schedule.minutes} if schedule.minutes else {"epochs": schedule.epochs}
    return {**card, "seed": recipe.seed}


def _initialise(objective: PairObjective | DenseObjective | MatchObjective, init: str | None) -> None:
    """Start from another run (with its contrast head) or from a checkpoint of the same shape."""
    if init is None:
        return
    path = Path(init)
    if path.is_dir():
        state = load_state(path)
        weights = state["average"] or state["objective"]
    else:
        weights = {f"student.{k}": v for k, v in load(init, "cpu").model.state_dict().items()}
    try:
        objective.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise ModelError(f"{init} is of another shape than the network to train; give its dims.") from error


def _train(trainer: Trainer, out: Path | None, quiet: bool) -> str | None:
    """Train, plot the metrics, write the result."""
    at, recipe, folder = trainer.world, trainer.recipe, trainer.folder
    trainer.progress.total = trainer.progress.total or plan(trainer)
    if not at.first:
        train(trainer, None)
        return None
    with Monitor(folder, trainer.progress.total, after_step=trainer.progress.done, quiet=quiet) as monitor:
        train(trainer, monitor)
    draw(folder)
    result = folder / BEST
    if out is not None:
        kept = load(result, "cpu")
        with disk_errors(out.parent, f"the result is only in {result}: make room and copy it"):
            result = save(out, kept.model, kept.preprocessing, kept.info)
    select = recipe.validation.select or ("balanced_f1" if recipe.objective == "pairs" else "within_1")
    best, steps = trainer.progress.best, trainer.progress.done
    return f"{result}: validation {FIGURES[select]} {best:.4f}, the best of {steps} steps."


def draw(folder: Path) -> None:
    """Plot the metrics of a run."""
    records = read_metrics(folder)
    curves.draw_curves(records, folder / "curves.png")
    if any(len(r.get("factors", ())) > 1 for r in records):
        curves.draw_weights(records, folder / "weights.png")
