"""Everything that decides a training run, as one record read from YAML and the command line."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from avsync.core.constants import PROTOCOL_RADIUS
from avsync.core.errors import UsageError
from avsync.data.augment import NONE, Augmentation
from avsync.data.pairs import Negatives
from avsync.distill.losses import LAYERS, TERMS, Direction
from avsync.distill.pairs import METHODS, check_method, parse_layers, parse_terms
from avsync.distill.weighting import KINDS, LEARNED
from avsync.networks.base import Preprocessing
from avsync.networks.registry import ARCHITECTURES, AnyDims, parse_dims
from avsync.networks.syncnet import SyncNetDims
from avsync.networks.vocalist import STUDENT, Dims

SUITED: dict[str, dict[str, Any]] = {
    "perfect-match": {"objective": "match"},
    "dual": {"objective": "dense", "dense": {"anchors": 0, "front_lr": 1.0}},
}
"""Settings that an architecture brings where none are given: how its paper trains it."""
AUTHORS_PIXELS = Preprocessing("rgb", 1.0)
"""RGB bytes as they are, as the public student takes them."""
Objective = Literal["pairs", "dense", "match"]


@dataclass(frozen=True)
class Dense:
    """Dense supervision: cross-entropy over the shifts inside a clip, every window encoded once.

    A clip gives up to `frames` frames. `anchors` windows of it are scored by the encoders against every
    audio window within `radius` (0: only the embeddings learn, at a fraction of the cost);
    `contrast` is the weight of the cosine similarity of `embedding` numbers between all windows, which
    trains the front-ends (the network's own, where it has one). `candidates`: so many of an anchor's audio
    windows are scored, hard ones first (0: all). `self_teaching` (0..1) is the embeddings' share in what
    the encoders are taught, `teaching` (0..1) the teacher's share in what the embeddings are taught
    (method kd, or a speech encoder), `hint` the weight with which the audio embeddings are drawn to
    those of the speech encoder. The target is a bell of `sigma` frames round the true shift.
    `wide` is the weight of a contrast in which the windows of all other clips of the batch are candidates
    too. `frozen`: so many of the first blocks of the visual front-end keep the weights they start with, for
    two thirds of the cost. `front_lr` is the front-ends' share of the learning rate. `min_clip_windows`:
    shorter clips are left out.
    """

    frames: int = 45
    anchors: int = 2
    radius: int = PROTOCOL_RADIUS
    sigma: float = 0.6
    contrast: float = 0.5
    embedding: int = 256
    candidates: int = 0
    self_teaching: float = 0.0
    teaching: float = 0.5
    hint: float = 1.0
    wide: float = 0.0
    frozen: int = 0
    front_lr: float = 0.1
    min_clip_windows: int = 8


@dataclass(frozen=True)
class Recipe:
    """Defaults are the paper's, at the authors' schedule."""

    # What is learned
    objective: Objective = "pairs"
    method: str = "mtd"
    weighting: str = ""
    """Empty: uw25 for mtd, uniform for the rest."""
    layers: tuple[str, ...] = LAYERS
    terms: tuple[str, ...] = TERMS
    kl: Direction = "student-teacher"
    weights: Mapping[str, float] = field(default_factory=dict)
    """Weights by task for `weighting: manual`; 1 for tasks not named."""
    kd_temperature: float = 5.0
    rkd_distance: float = 25.0
    rkd_angle: float = 50.0
    hint_weight: float = 100.0
    student: AnyDims = STUDENT
    preprocessing: Preprocessing = AUTHORS_PIXELS
    teacher: str | None = None
    """Name or path of the frozen teacher; --teacher wins."""
    init: str | None = None
    """Checkpoint to start from instead of random weights."""
    speech_encoder: str | None = None
    """ONNX file of the encoder of a speech recogniser (Moonshine) that teaches the audio front-end (dense
    only); --speech-encoder wins."""
    speech_corpus: str | None = None
    """Folder of recorded speech without video in which the speech encoder teaches too."""

    # Data
    train_splits: tuple[str, ...] = ()
    """Empty: pretrain if there is such a list, as in the paper, else train."""
    val_splits: tuple[str, ...] = ("val",)
    speakers: float = 1.0
    """Share of the training speakers (folders) whose clips are used, for a learning curve."""
    samples_per_epoch: int = 0
    """Pairs an epoch; 0: as many as there are clips."""
    negatives: Negatives = "near"
    radius: int = PROTOCOL_RADIUS
    validation_draws: int = 8
    """Fixed pairs of each validation clip."""
    validation_epochs: int = 1
    """Epochs from one validation to the next."""
    validation_stride: int = 4
    """Dense only: every so many windows of a validation clip are scored."""
    augment: Augmentation = NONE
    delays: str | None = None
    """JSON or YAML file, beside the YAML that names it, of clip id, or the start of one, to the ms by which
    its stored audio must be delayed to be in sync (dense only), of training and validation clips alike."""
    delays_only: tuple[str, ...] = ()
    """Splits of which only the clips named in `delays` are used."""
    balance: float = 0.0
    """0: every second of speech counts alike; 0.5: a speaker's share grows with the root of the minutes."""
    dense: Dense = Dense()

    # Optimisation
    epochs: int = 80
    minutes: float = 0.0
    """Stop after so much training and fit the cosine schedule into it; 0: by epochs."""
    batch: int = 128
    optimizer: Literal["adam", "adamw"] = "adam"
    lr: float = 5e-5
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: Literal["authors", "cosine", "constant"] = "authors"
    warmup_epochs: float = 10.0
    decay: float = 0.8
    decay_epochs: float = 20.0
    clip_norm: float = 0.0
    """Largest norm of the gradient; 0: not clipped."""
    ema: float = 0.0
    """Decay of the average of the weights that is validated and kept; 0: none."""
    seed: int = 0

    # Machine
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    compile: bool = False
    channels_last: bool = True
    save_steps: int = 500
    """Steps from one checkpoint to the next, besides one at each epoch's end."""
    log_steps: int = 20


TUPLES = ("layers", "terms", "train_splits", "val_splits", "delays_only", "betas")
TEXTS = ("method", "teacher", "init", "delays", "speech_encoder", "speech_corpus")
CHOICES = {
    "objective": ("pairs", "dense", "match"),
    "kl": ("student-teacher", "teacher-student"),
    "negatives": ("near", "anywhere"),
    "optimizer": ("adam", "adamw"),
    "schedule": ("authors", "cosine", "constant"),
    "precision": ("auto", "bf16", "fp32"),
    "weighting": KINDS,
}
KINDS_OF_VALUE: dict[type, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple: "a list",
    dict: "a list of `name: value` lines",
}
TAUGHT_BY = {"dense": ("bce", "kd"), "match": ("bce",)}
"""Methods of the objectives that do not know all of them."""
AT_LEAST = {
    "epochs": 1, "batch": 2, "radius": 1, "validation_draws": 2, "validation_epochs": 1,
    "validation_stride": 1, "save_steps": 1, "log_steps": 1, "samples_per_epoch": 0, "minutes": 0, "lr": 0,
    "clip_norm": 0, "ema": 0,
    "warmup_epochs": 0, "decay_epochs": 0.001, "seed": 0,
}  # fmt: skip


def read_recipe(path: Path | None, **overrides: Any) -> Recipe:
    """A recipe from a YAML file (None: the defaults) with values of the command line on top; None among
    them means "not given".

    Raises:
        UsageError: the file is missing or no mapping, or it names something that does not exist.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except OSError as error:
            raise UsageError(f"The configuration {path} cannot be read: {error.strerror}.") from error
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError(f"The configuration {path} is no valid YAML: {error}.") from error
        if not isinstance(values, dict):
            raise UsageError(f"The configuration {path} must be a list of `name: value` lines.")
        if isinstance(values.get("delays"), str):
            values["delays"] = str(path.parent / values["delays"])
    return recipe_from(values | {k: v for k, v in overrides.items() if v is not None})


def recipe_from(values: Mapping[str, Any]) -> Recipe:
    """A checked recipe from plain values; raises UsageError that names what is wrong."""
    values = _suited(values)
    for key, value in values.items():
        values[key] = _plain(key, value)
    recipe = _build(Recipe, values, "configuration")
    if not recipe.weighting:
        learned = recipe.method == "mtd"
        recipe = dataclasses.replace(recipe, weighting="uw25" if learned else "uniform")
    for key, allowed in CHOICES.items():
        if getattr(recipe, key) not in allowed:
            raise UsageError(f"{key} cannot be {getattr(recipe, key)!r}; choose one of {', '.join(allowed)}.")
    for key, least in AT_LEAST.items():
        value = getattr(recipe, key)
        if not isinstance(value, int | float) or isinstance(value, bool) or value < least:
            raise UsageError(f"{key} cannot be {value!r}; it is a number of {least} or more.")
    for key in TEXTS:
        if not isinstance(getattr(recipe, key), str | None):
            raise UsageError(f"{key} cannot be {getattr(recipe, key)!r}; it is a name or a path.")
    if not 0 < recipe.speakers <= 1:
        raise UsageError(
            f"speakers cannot be {recipe.speakers!r}; it is a share of them, above 0 and up to 1."
        )
    if recipe.batch % 2:
        raise UsageError(f"batch must be even, half in sync and half not; it is {recipe.batch}.")
    check_method(recipe)
    _check_network(recipe)
    return recipe


def _suited(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` on top of what the named architecture brings."""
    name = values.get("student")
    brought = SUITED.get(name, {}) if isinstance(name, str) else {}
    merged = {**brought, **values}
    if isinstance(values.get("dense"), dict) and "dense" in brought:
        merged["dense"] = {**brought["dense"], **values["dense"]}
    return merged


def _check_network(recipe: Recipe) -> None:
    """Raise UsageError where network, objective and method do not fit together."""
    dims = recipe.student
    encoders = isinstance(dims, Dims) and dims.layers > 0
    if isinstance(dims, SyncNetDims) and dims.crop == "face":
        raise UsageError("Training data holds mouths, not whole faces: train with crop: mouth.")
    if recipe.method not in TAUGHT_BY.get(recipe.objective, METHODS):
        raise UsageError(
            f"objective: {recipe.objective} cannot learn by method: {recipe.method}; choose one of "
            f"{', '.join(TAUGHT_BY[recipe.objective])}."
        )
    if recipe.objective == "pairs" and METHODS[recipe.method].teacher and not encoders:
        raise UsageError(f"--method {recipe.method} needs a student with cross-modal encoders to teach.")
    if recipe.objective == "dense" and not isinstance(dims, Dims):
        raise UsageError("Dense supervision is for networks of VocaLiST's family; choose another --arch.")
    if recipe.objective != "dense" and isinstance(dims, Dims) and dims.audio_front_end != "window2d":
        raise UsageError("A network with audio_front_end: column1d learns with --objective dense only.")
    if recipe.speech_encoder and recipe.objective != "dense":
        raise UsageError("A speech encoder teaches with --objective dense only.")
    if recipe.speech_corpus and not recipe.speech_encoder:
        raise UsageError("A speech corpus teaches nothing by itself: give --speech-encoder too.")
    if recipe.objective == "match" and not isinstance(dims, SyncNetDims):
        raise UsageError("--objective match is for --arch perfect-match or syncnet.")


def _plain(key: str, value: Any) -> Any:
    """YAML's value as the record wants it."""
    if key in TUPLES and isinstance(value, str) and key not in ("layers", "terms"):
        return tuple(value.split(","))
    if key in ("layers", "terms"):
        words = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        return parse_layers(words) if key == "layers" else parse_terms(words)
    if key == "student":
        return parse_dims(value)
    if key == "augment" and not isinstance(value, Augmentation):
        return (
            {"none": NONE, "strong": Augmentation()}[value]
            if value in ("none", "strong")
            else _build(Augmentation, value, key)
        )
    if key == "dense" and not isinstance(value, Dense):
        return _build(Dense, value, key)
    if key == "preprocessing" and not isinstance(value, Preprocessing):
        return _build(Preprocessing, value, key)
    if key in TUPLES and isinstance(value, list):
        return tuple(value)
    return value


def _build(record: type, values: Any, where: str) -> Any:
    if not isinstance(values, Mapping):
        raise UsageError(f"`{where}` must be a list of `name: value` lines, not {values!r}.")
    known = {f.name: f for f in dataclasses.fields(record)}
    for name in values:
        if name not in known:
            raise UsageError(f"The {where} has no setting {name!r}; there are {', '.join(known)}.")
    filled = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return record(**{k: _fitting(where, known[k], v) for k, v in filled.items()})


def _fitting(where: str, known: dataclasses.Field, value: Any) -> Any:
    """The value as its field wants it: YAML reads 5e-5 as text, so numbers given as text become numbers."""
    default = known.default_factory() if callable(known.default_factory) else known.default
    kind = type(default)
    if kind in (int, float):
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not isinstance(value, bool) and math.isfinite(number) and number == kind(number):
            return kind(number)
    elif kind not in KINDS_OF_VALUE or isinstance(value, kind):
        return value
    raise UsageError(f"{known.name} of the {where} cannot be {value!r}; it is {KINDS_OF_VALUE[kind]}.")


def to_plain(recipe: Recipe) -> dict[str, Any]:
    """Plain values that `recipe_from` turns into the same recipe."""

    def plain(value: Any) -> Any:
        if isinstance(value, tuple | list):
            return [plain(v) for v in value]
        if isinstance(value, Mapping):
            return {k: plain(v) for k, v in value.items()}
        return value

    return plain(dataclasses.asdict(recipe))


__all__ = ["ARCHITECTURES", "LEARNED", "Dense", "Recipe", "read_recipe", "recipe_from", "to_plain"]
