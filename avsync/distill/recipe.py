"""Everything that determines a training run, as one record read from YAML and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError

from avsync.core.errors import OptionError, UsageError
from avsync.core.files import read_yaml
from avsync.core.invalid import first_invalid
from avsync.data.augment import NONE, Augmentation
from avsync.distill.methods import METHODS, check_method, default_weighting
from avsync.distill.presets import PRESETS, find_config
from avsync.distill.settings import (
    Data,
    Dense,
    Losses,
    Machine,
    Network,
    Optimiser,
    Part,
    Schedule,
    SpeechTeacher,
    Validation,
    Whole,
)
from avsync.networks.dims import Dims
from avsync.networks.registry import parse_dims
from avsync.networks.syncnet import SyncNetDims

SUITED: dict[str, dict[str, Any]] = {
    "perfect-match": {"objective": "match"},
    "dual": {"objective": "dense", "dense": {"anchors": 0, "front_lr": 1.0}},
}
"""Default settings of an architecture: how its paper trains it."""
Objective = Literal["pairs", "dense", "match"]
LEARNS_BY = {"dense": ("bce", "kd"), "match": ("bce",)}
"""The methods of objectives that support only some."""


class Recipe(Part):
    """The parts of a recipe. `batch`: pairs (dense: clips) per step over all processes."""

    objective: Objective = "pairs"
    batch: Whole = Field(128, ge=2)
    seed: Whole = Field(0, ge=0)
    network: Network = Network()
    speech: SpeechTeacher = SpeechTeacher()
    losses: Losses = Losses()
    data: Data = Data()
    augment: Augmentation = NONE
    dense: Dense = Dense()
    validation: Validation = Validation()
    optimiser: Optimiser = Optimiser()
    schedule: Schedule = Schedule()
    machine: Machine = Machine()


FLAT: dict[str, type[Part]] = {
    "network": Network, "speech": SpeechTeacher, "losses": Losses, "data": Data, "validation": Validation,
    "optimiser": Optimiser, "schedule": Schedule, "machine": Machine,
}  # fmt: skip
"""Parts whose settings are at the top level in YAML."""
OWN = ("objective", "batch", "seed", "augment", "dense")
PLACE = {
    field.alias or name: part for part, model in FLAT.items() for name, field in model.model_fields.items()
}
"""Setting -> the part that it belongs to."""
SETTINGS = (*OWN, *PLACE)


def read_recipe(config: Path | None, **overrides: Any) -> Recipe:
    """A recipe from a YAML file, by path or by the name of a shipped one such as "mtd" (None: the defaults),
    overridden by values of the command line, where None means "not given".

    Raises:
        OptionError: one of `overrides` cannot have its value.
        UsageError: the file is missing or not a mapping, or it names something that does not exist.
    """
    given = {k: v for k, v in overrides.items() if v is not None}
    values = {} if config is None else _read(find_config(config))
    _check_student(config, values.get("student"), given.get("student"))
    method = given.get("method")
    if method and method != values.get("method", "mtd"):
        # With another method on the command line, the file's settings for its own method do not apply.
        values = {k: v for k, v in values.items() if k not in ("weighting", "weights", "layers", "terms")}
    try:
        return recipe_from(values | given)
    except OptionError as error:
        if error.option in given:
            raise
        raise UsageError(str(error)) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        values = read_yaml(path) or {}
    except ValueError as error:
        raise UsageError(f"The configuration {path} cannot be read: {error}.") from error
    if not isinstance(values, dict):
        raise UsageError(f"The configuration {path} must be a list of `name: value` lines.")
    if isinstance(values.get("delays"), str):
        values["delays"] = str(path.parent / values["delays"])
    return values


def _check_student(config: Path | None, written: Any, asked: Any) -> None:
    if written is not None and asked is not None and parse_dims(written) != parse_dims(asked):
        raise UsageError(
            f"--arch {asked} and the student of {config} are different networks; omit one of them."
        )


def recipe_from(values: Mapping[str, Any]) -> Recipe:
    """A validated recipe from plain values, as in YAML.

    Raises:
        OptionError: a setting cannot have its value.
        UsageError: a setting does not exist, or does not fit another, or one of a part cannot have its value.
    """
    values = _suited(_with_preset(values))
    for name in values:
        if name not in SETTINGS:
            raise UsageError(f"The configuration has no setting {name!r}; there are {', '.join(SETTINGS)}.")
    if not values.get("weighting"):
        values["weighting"] = default_weighting(str(values.get("method", "mtd")))
    if values.get("augment") in ("none", "strong"):
        values["augment"] = NONE if values["augment"] == "none" else Augmentation()
    sorted_: dict[str, Any] = {part: {} for part in FLAT}
    for name, value in values.items():
        (sorted_[PLACE[name]] if name in PLACE else sorted_)[name] = value
    try:
        recipe = Recipe.model_validate(sorted_)
    except ValidationError as error:
        raise _wrong(error) from error
    _check(recipe)
    return recipe


def changed(recipe: Recipe, **values: Any) -> Recipe:
    """The recipe with some settings changed, by their names in YAML."""
    return recipe_from({**to_plain(recipe), **values})


def to_plain(recipe: Recipe) -> dict[str, Any]:
    """Plain values that `recipe_from` turns into the same recipe."""
    plain: dict[str, Any] = {}
    for name, value in recipe.model_dump(mode="json", by_alias=True).items():
        plain |= value if name in FLAT else {name: value}
    return plain


def _with_preset(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` over those of their `preset`."""
    rest = {k: v for k, v in values.items() if k != "preset"}
    name = values.get("preset")
    if name is None:
        return rest
    if name not in PRESETS:
        raise UsageError(f"There is no preset {name!r}; choose one of {', '.join(PRESETS)}.")
    brought = dict(PRESETS[name])
    if rest.get("method", "mtd") != "mtd":
        brought.pop("weighting", None)
    return {**brought, **rest}


def _suited(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` over the defaults of the named architecture."""
    name = values.get("student")
    brought = SUITED.get(name, {}) if isinstance(name, str) else {}
    merged = {**brought, **values}
    if isinstance(values.get("dense"), dict) and "dense" in brought:
        merged["dense"] = {**brought["dense"], **values["dense"]}
    return merged


def _wrong(error: ValidationError) -> UsageError:
    """The first fault in one sentence: the setting, its value, and what it can be."""
    invalid = first_invalid(error)
    place = [str(step) for step in invalid.path if not isinstance(step, int) and step not in FLAT]
    if invalid.unknown:
        part = {"augment": Augmentation, "dense": Dense}.get(place[0])
        known = getattr(part, "model_fields", None) or getattr(part, "__dataclass_fields__", {})
        there = f"; there are {', '.join(known)}" if known else ""
        return UsageError(f"{'.'.join(place[:-1])} has no setting {place[-1]!r}{there}.")
    if len(place) == 1:
        return OptionError(place[0], f"{invalid.wrong}.")
    return UsageError(f"{'.'.join(place) or 'the configuration'} {invalid.wrong}.")


def _check(recipe: Recipe) -> None:
    """Raise UsageError if network, objective, method and the rest do not fit together."""
    losses, dims, objective = recipe.losses, recipe.network.student, recipe.objective
    if recipe.batch % 2:
        raise UsageError(f"batch must be even, half in sync and half not; it is {recipe.batch}.")
    check_method(losses.method, losses.weighting, losses.layers, losses.terms, losses.weights)
    if isinstance(dims, SyncNetDims) and dims.crop == "face":
        raise UsageError("Training data holds mouths, not whole faces: train with crop: mouth.")
    if losses.method not in LEARNS_BY.get(objective, METHODS):
        raise UsageError(
            f"objective: {objective} does not support method: {losses.method}; choose one of "
            f"{', '.join(LEARNS_BY[objective])}."
        )
    encoders = isinstance(dims, Dims) and dims.layers > 0
    if objective == "pairs" and METHODS[losses.method].teacher and not encoders:
        raise UsageError(f"--method {losses.method} needs a student with cross-modal encoders to teach.")
    if objective == "dense" and not isinstance(dims, Dims):
        raise UsageError("Dense supervision is for networks of VocaLiST's family; choose another --arch.")
    if objective != "dense" and isinstance(dims, Dims) and dims.audio_front_end != "window2d":
        raise UsageError("A network with audio_front_end: column1d learns with --objective dense only.")
    if recipe.speech.speech_encoder and objective != "dense":
        raise UsageError("A speech encoder teaches with --objective dense only.")
    if recipe.speech.speech_corpus and not recipe.speech.speech_encoder:
        raise UsageError("--speech-corpus has no effect without --speech-encoder; give both.")
    if objective == "match" and not isinstance(dims, SyncNetDims):
        raise UsageError("--objective match is for --arch perfect-match or syncnet.")
    select = recipe.validation.select
    if select not in (None, "within_1") and objective != "pairs":
        raise UsageError(f"select: {select} is for objective: pairs; {objective} is selected by within_1.")
    if select == "within_1" and objective == "pairs" and not recipe.validation.clips:
        raise UsageError("select: within_1 needs validation_clips above 0.")


def objectives() -> tuple[str, ...]:
    """Names for --objective."""
    return get_args(Objective)


__all__ = ["Dense", "Recipe", "changed", "objectives", "read_recipe", "recipe_from", "to_plain"]
