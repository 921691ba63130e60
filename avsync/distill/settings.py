"""The parts of a recipe, each a frozen record passed to the code that needs it.

The defaults are the paper's. In YAML most settings are at the top level (`lr: 1e-3`, `epochs: 10`); only
`dense`, `augment`, `student` and `preprocessing` are nested. `recipe.py` sorts them into these parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, PlainValidator
from pydantic_core import PydanticCustomError

from avsync.core.constants import PROTOCOL_RADIUS
from avsync.data.pairs import Negatives
from avsync.distill.losses import LAYERS, TERMS, Direction, HintSide, KdTarget, Reduction, RkdMean
from avsync.distill.methods import parse_layers, parse_terms
from avsync.distill.weighting import Kind
from avsync.networks.base import Preprocessing
from avsync.networks.dims import STUDENT
from avsync.networks.registry import AnyDims, parse_dims

AUTHORS_PIXELS = Preprocessing("rgb", 1.0)
"""Unscaled RGB bytes, as for the public student."""
Select = Literal["balanced_f1", "within_1", "f1", "f1_authors"]
"""Validation figures that can select the best network."""


def _number(kind: str) -> BeforeValidator:
    def refuse_flags(value: Any) -> Any:
        if isinstance(value, bool):  # pydantic would read true as 1
            raise PydanticCustomError(kind, "true and false are not numbers")  # type: ignore[arg-type]
        return value

    return BeforeValidator(refuse_flags)


def _listed(value: Any) -> Any:
    """Text such as "a,b" as a list."""
    return value.split(",") if isinstance(value, str) else value


def _words(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


Whole = Annotated[int, _number("int_type")]
Real = Annotated[float, _number("float_type")]
Flag = Annotated[bool, Field(strict=True)]
Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Layers = Annotated[tuple[str, ...], BeforeValidator(lambda value: parse_layers(_words(value)))]
Terms = Annotated[tuple[str, ...], BeforeValidator(lambda value: parse_terms(_words(value)))]
Student = Annotated[AnyDims, PlainValidator(parse_dims), PlainSerializer(lambda dims: dims.to_dict())]


class Part(BaseModel):
    """Frozen, strict about names, and without infinities."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True, arbitrary_types_allowed=True
    )


class Network(Part):
    """The network to train, its inputs and its starting point."""

    student: Student = STUDENT
    preprocessing: Preprocessing = AUTHORS_PIXELS
    teacher: str | None = None
    """Name or path of the frozen teacher; --teacher wins."""
    init: str | None = None
    """Checkpoint to start from instead of random weights."""


class SpeechTeacher(Part):
    """A speech recogniser as a teacher of the audio front-end (dense only)."""

    speech_encoder: str | None = None
    """ONNX file of the recogniser's encoder (Moonshine)."""
    speech_corpus: str | None = None
    """Folder of recorded speech without video on which it teaches too."""


class Losses(Part):
    """The losses on pairs: method, weights of the tasks, and variants."""

    method: str = "mtd"
    weighting: Kind = "uw25"
    """Default: uw25 for mtd, uniform for the rest."""
    layers: Layers = LAYERS
    terms: Terms = TERMS
    kl: Direction = "student-teacher"
    kl_reduction: Reduction = "sum"
    """Over the keys of a map: "sum" (the paper) or "mean" (authors' code), which is a fifth or a sixteenth of
    it."""
    va_clamp: Real | None = None
    """Smallest attention logit of VA's CAD before its softmax; the authors' code has 1e-5, which also lifts
    masked keys. Null: none."""
    weights: Mapping[str, Real] = Field(default_factory=dict)
    """Weights by task for `weighting: manual`; 1 for tasks not named."""
    kd_temperature: Real = Field(default=5.0, gt=0)
    kd_target: KdTarget = "sigmoid"
    """The sigmoid of the one logit, or a softmax over the samples of the batch (authors' code)."""
    rkd_distance: Real = 25.0
    rkd_angle: Real = 50.0
    rkd_mean: RkdMean = "pairs"
    """Distances averaged over "pairs", or over the whole "matrix" with its zero diagonal (authors' code)."""
    hint_weight: Real = 100.0
    hint_side: HintSide = "student"
    """Which representation FitNets' linear map projects: the "student"'s, or the "teacher"'s (authors'
    code)."""
    hint_encoders: Literal["fusion", "all"] = "fusion"
    """FitNets compares the last fusion layer, or the sum over all three encoders (authors' code)."""


class Data(Part):
    """Which clips to train on, and how pairs are drawn from them."""

    train_splits: Names = ()
    """Default: pretrain if the data has it, as in the paper, else train."""
    val_splits: Names = ("val",)
    speakers: Real = Field(default=1.0, gt=0, le=1)
    """Share of the training speakers (folders) whose clips are used, for a learning curve."""
    samples_per_epoch: Whole = Field(default=0, ge=0)
    """Pairs (dense: clips) per epoch; 0: the number of clips."""
    negatives: Negatives = "near"
    radius: Whole = Field(default=PROTOCOL_RADIUS, ge=1)
    """Largest shift, in frames, of near negatives and of the candidates of `objective: match`."""
    redraw_quiet: Flag = False
    """Redraw a negative if both its windows are quiet (RMS up to 0.01), as the authors' code does."""
    min_frames: Whole = Field(default=0, ge=0)
    """Shorter clips are skipped; the authors' code skips those of up to 25 frames."""
    mel: Literal["clip", "window"] = "clip"
    """The mel of the whole clip, or of each window's 3,200 samples alone (authors' training code)."""
    delays: str | None = None
    """JSON or YAML file, relative to the YAML that names it, that maps clip ids or prefixes to the ms by
    which their stored audio must be delayed to be in sync (dense only), for training and validation clips."""
    delays_only: Names = ()
    """Splits whose clips are used only if `delays` names them."""
    balance: Real = Field(default=0.0, ge=0)
    """0: every second of speech counts equally; 0.5: a speaker's share grows with the square root of the
    minutes."""


class Dense(Part):
    """Dense supervision: cross-entropy over the shifts inside a clip, every window encoded once.

    A clip gives up to `frames` frames, or with `shortest` any number from there up to `frames`, so that
    excerpts as short as a check may meet are learned too and do not begin and end with the clips. `anchors`
    windows of it are scored by the encoders against every audio window within `radius` (0: only the
    embeddings learn, at a fraction of the cost); `contrast` is the weight of the cosine similarity of
    `embedding` numbers between all windows, which trains the front-ends (the network's own, where it has
    one). `candidates`: how many of an anchor's audio windows are scored, hard ones first (0: all).
    `self_teaching` (0..1) is the embeddings' share in what the encoders are taught, `teaching` (0..1) the
    teacher's share in what the embeddings are taught (method kd, or a speech encoder), `hint` the weight with
    which the audio embeddings are drawn to those of the speech encoder. The target is a bell of `sigma`
    frames round the true shift. `wide` is the weight of a contrast in which the windows of all other clips of
    the batch are candidates too; it teaches what similarity means by itself, which tells foreign audio.
    `frozen`: how many of the first blocks of the visual front-end keep the weights they start with, for two
    thirds of the cost. `front_lr` is the front-ends' share of the learning rate. `min_clip_windows`: shorter
    clips are left out.
    """

    frames: Whole = Field(default=45, ge=6)
    shortest: Whole | None = Field(default=None, ge=6)
    anchors: Whole = Field(default=2, ge=0)
    radius: Whole = Field(default=PROTOCOL_RADIUS, ge=1)
    sigma: Real = Field(default=0.6, gt=0)
    contrast: Real = 0.5
    embedding: Whole = Field(default=256, ge=1)
    candidates: Whole = Field(default=0, ge=0)
    self_teaching: Real = Field(default=0.0, ge=0, le=1)
    teaching: Real = Field(default=0.5, ge=0, le=1)
    hint: Real = 1.0
    wide: Real = 0.0
    frozen: Whole = Field(default=0, ge=0)
    front_lr: Real = 0.1
    min_clip_windows: Whole = Field(default=8, ge=1)


class Validation(Part):
    """How the network is validated during training, and which figure selects the best one."""

    draws: Whole = Field(default=8, ge=2, alias="validation_draws")
    """Fixed pairs of each validation clip."""
    clips: Whole = Field(default=40, ge=0, alias="validation_clips")
    """Pairs only: number of clips, evenly spaced, whose windows are scored against their 31 candidates; 0:
    none."""
    epochs: Whole = Field(default=1, ge=1, alias="validation_epochs")
    """Epochs from one validation to the next."""
    stride: Whole = Field(default=4, ge=1, alias="validation_stride")
    """Stride between the scored windows of such a clip."""
    select: Select | None = None
    """The figure that selects the best network; null: balanced_f1 on pairs, else within_1."""
    losses: Flag = Field(default=False, alias="validation_losses")
    """Also log the validation losses of MTD, Last-MTD and FitNets (Fig. 4 of the paper)."""


class Optimiser(Part):
    """The optimiser and what it does to gradients and weights."""

    name: Literal["adam", "adamw"] = Field(default="adam", alias="optimizer")
    lr: Real = Field(default=5e-5, ge=0)
    weight_decay: Real = Field(default=0.0, ge=0)
    betas: tuple[Real, Real] = (0.9, 0.999)
    clip_norm: Real = Field(default=0.0, ge=0)
    """Largest norm of the gradient; 0: not clipped."""
    ema: Real = Field(default=0.0, ge=0, lt=1)
    """Decay of the running average of the weights, which is what is validated and kept; 0: none."""


class Schedule(Part):
    """How long training lasts, and the learning rate over that time."""

    epochs: Whole = Field(default=80, ge=1)
    minutes: Real = Field(default=0.0, ge=0)
    """Train for as many steps as fit into this time, estimated from a few at the start; 0: by epochs."""
    shape: Literal["authors", "cosine", "constant"] = Field(default="authors", alias="schedule")
    warmup_epochs: Real = Field(default=10.0, ge=0)
    warmup: Literal["steps", "epochs"] = "steps"
    """Whether the warm-up raises the rate with every step, or with every epoch as in the authors' code."""
    decay: Real = Field(default=0.8, gt=0)
    decay_epochs: Real = Field(default=20.0, ge=0.001)


class Machine(Part):
    """Settings that affect speed and logging, but hardly the result."""

    precision: Literal["auto", "bf16", "fp32"] = "auto"
    compile: Flag = False
    """Compile student, losses and teacher."""
    loaders: Whole = Field(default=2, ge=1)
    """Threads that load inputs."""
    channels_last: Flag = True
    save_steps: Whole = Field(default=500, ge=1)
    """Steps between checkpoints, in addition to one at the end of each epoch."""
    log_steps: Whole = Field(default=20, ge=1)
