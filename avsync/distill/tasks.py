"""The kinds of training behind one interface for the loop: load a step's inputs, compute its loss, name its
clips, validate. Pairs and dense supervision are here; multi-way matching is in `match.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from avsync.audio.speech import SpeechEncoder
from avsync.core.constants import WINDOW_FRAMES
from avsync.data.augment import Augmentation
from avsync.data.dense_batch import DenseBatch, Runs, audio_batch, dense_inputs, draw_runs, fetch_runs
from avsync.data.labels import delay_of, evenly, of_speakers, shares, with_known_delays
from avsync.data.loading import Bytes, Features, as_frames, margin_for, pair_bytes, pair_inputs, reader
from avsync.data.pairs import Pairs, draw_pairs, loud_windows, validation_pairs
from avsync.data.shards import Store
from avsync.data.speech_corpus import SpeechCorpus
from avsync.distill import dense
from avsync.distill.dense import DenseObjective, draw_anchors, teach_windows
from avsync.distill.distributed import Draws, gather
from avsync.distill.losses import Outputs
from avsync.distill.pairs import PairObjective, teach
from avsync.distill.settings import Data, Validation
from avsync.distill.speech_teacher import window_features
from avsync.distill.teacher_losses import teacher_losses
from avsync.evaluation import validation
from avsync.networks.base import Preprocessing, Scorer

Loss = tuple[Tensor, dict[str, Tensor]]
Matrix = npt.NDArray[np.float32]


class Task(Protocol):
    """`load` is a pure function of its arguments, so that threads may prefetch and a resumed run sees the
    same inputs; `teach` gives the frozen teacher's outputs, None without one; `count` is the number of
    samples over which the loss is a mean; `compile` compiles the teacher; `validate` gives the figures of a
    network, of which "score" selects the best."""

    steps: int

    @property
    def objective(self) -> nn.Module: ...

    def load(self, epoch: int, step: int) -> Any: ...
    def teach(self, inputs: Any) -> Any: ...
    def loss(self, module: nn.Module, inputs: Any, opinion: Any) -> Loss: ...
    def count(self, inputs: Any) -> int: ...
    def compile(self) -> None: ...
    def clips(self, epoch: int, step: int) -> list[str]: ...
    def validate(self, objective: nn.Module) -> dict[str, float]: ...


@dataclass(frozen=True)
class Ground:
    """What every task needs: training and validation clips, the device, the draws, and the augmentation."""

    train: Store
    val: Store
    device: torch.device
    draws: Draws
    preprocessing: Preprocessing
    augment: Augmentation
    data: Data
    validation: Validation


def usable(store: Store, data: Data, delays: Mapping[str, float], dense_windows: int = 0) -> Store:
    """The usable training clips of the recipe's share of the speakers. `dense_windows`: fewest windows of a
    clip in dense training, where clips with unknown delays are left out too; 0: not dense training."""
    chosen = store.select(lambda clip: clip.windows >= 2 and clip.frames >= data.min_frames)
    if dense_windows:
        known = with_known_delays(chosen, data.delays_only, delays)
        chosen = known.select(lambda clip: clip.windows >= dense_windows)
    return chosen if data.speakers == 1 else of_speakers(chosen, data.speakers)


def match_figures(scores: list[Matrix]) -> dict[str, float]:
    """Figures over all processes' clips, from this process's score matrices (windows, 31)."""
    rows = [[validation.window_accuracy([m]), float(validation.whole_clip_hit(m))] for m in scores]
    table = gather(np.array(rows, np.float32).reshape(-1, 2).T)
    within, whole = table.sum(1, dtype=np.float64) / max(1, table.shape[1])
    return {"within_1": float(within), "whole_clip": float(whole)}


class PairTask:
    """Pairs of a video and an audio window, in sync or not; optionally with a frozen teacher."""

    def __init__(self, objective: PairObjective, ground: Ground, teacher: Scorer | None) -> None:
        self.objective, self.teacher, self.ground = objective, teacher, ground
        self._teach = teach
        data, store, draws = ground.data, ground.train, ground.draws
        mel = objective.student.audio_input == "mel"
        self.features: Features = "mfcc" if not mel else "mel-window" if data.mel == "window" else "mel"
        self._train, self._val = reader(store, ground.device), reader(ground.val, ground.device)
        self._fixed = validation_pairs(ground.val.windows, ground.validation.draws)
        self._scored = set(evenly([c.id for c in ground.val.clips], ground.validation.clips))
        self.steps = draws.steps(data.samples_per_epoch or len(store))
        count, loud = self.steps * draws.batch, loud_windows(store) if data.redraw_quiet else None
        self._plan = lru_cache(2)(
            lambda epoch: draw_pairs(
                store.windows, count, seed=draws.seed, epoch=epoch, negatives=data.negatives,
                radius=data.radius, loud=loud,
            )
        )  # fmt: skip

    def _pairs(self, epoch: int, step: int) -> Pairs:
        part = self.ground.draws.part(step)
        return self._plan(epoch).part(part.start, part.stop)

    def load(self, epoch: int, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Mouths (n, 5, 3, 48, 96), audio (mels (n, 1, 80, 16) or MFCCs (n, 1, 13, 20)) and labels (n,) of
        this process's share of a step."""
        pairs, rng = self._pairs(epoch, step), self.ground.draws.rng(epoch, step)
        margin = margin_for(self.ground.augment)
        raw = pair_bytes(self._train, pairs.clips, pairs.video, pairs.audio, self.features, margin)
        mouths, audio = pair_inputs(raw, rng, self.ground.augment, self.features)
        return mouths, audio, torch.from_numpy(pairs.labels).to(mouths.device)

    def teach(self, inputs: tuple[Tensor, Tensor, Tensor]) -> Outputs | None:
        if self.teacher is None:
            return None
        frames = as_frames(inputs[0], self.teacher.preprocessing)
        return self._teach(self.teacher.model, frames, inputs[1], self.objective.maps)

    def loss(self, module: nn.Module, inputs: tuple[Tensor, Tensor, Tensor], opinion: Outputs | None) -> Loss:
        mouths, audio, labels = inputs
        return module(as_frames(mouths, self.ground.preprocessing), audio, labels, opinion)

    def compile(self) -> None:
        self._teach = torch.compile(teach)

    def count(self, inputs: tuple[Tensor, Tensor, Tensor]) -> int:
        return len(inputs[2])

    def clips(self, epoch: int, step: int) -> list[str]:
        return [self.ground.train.clips[i].id for i in self._pairs(epoch, step).clips]

    def validate(self, objective: nn.Module) -> dict[str, float]:
        assert isinstance(objective, PairObjective)  # noqa: S101
        ground, settings = self.ground, self.ground.validation
        batch, deal = ground.draws.batch, ground.draws.world.deal
        scorer = Scorer(objective.student, ground.preprocessing)
        mine = Pairs(*(column[deal] for column in self._fixed))
        own = validation.pair_scores(scorer, self._val, mine, batch, self.features)
        logits, labels = gather(np.stack([own, mine.labels.astype(np.float32)]))
        figures = {
            "f1": validation.f1_score(logits, labels),
            "balanced_f1": validation.balanced_f1(logits, labels),
            "f1_authors": validation.authors_f1(logits, labels, batch),
            "accuracy": float(((logits > 0) == (labels == 1)).mean()),
        }
        if self._scored:
            scored = ground.val.select(lambda clip: clip.id in self._scored).part(deal)
            scores = list(validation.clip_scores(scorer, scored, settings.stride))
            figures |= match_figures(scores)
        if settings.losses and self.teacher is not None:
            figures |= teacher_losses(scorer, self.teacher, self._val, self._fixed, self.features)
        return {**figures, "score": figures[settings.select or "balanced_f1"]}


class DenseInputs(NamedTuple):
    """A step of dense training: a batch, the windows whose pairs the encoders score, and speech without
    video."""

    batch: DenseBatch
    anchors: npt.NDArray[np.int64] | None
    alone: DenseBatch | None = None


class DenseTask:
    """Every window of a run of frames against its shifts. `delays`: as `labels.delay_of` reads them."""

    def __init__(
        self,
        objective: DenseObjective,
        ground: Ground,
        delays: Mapping[str, float],
        teacher: Scorer | None = None,
        speech_encoder: SpeechEncoder | None = None,
        corpus: SpeechCorpus | None = None,
    ) -> None:
        self.objective, self.ground, self.teacher = objective, ground, teacher
        self._speech_encoder, self._corpus, self._known = speech_encoder, corpus, delays
        train, data = ground.train, ground.data
        self._train = reader(train, ground.device)
        self._delays = np.array([delay_of(clip, delays) or 0.0 for clip in train.clips])
        self._frames = train.windows + WINDOW_FRAMES - 1
        self._share = shares(train, data.balance)
        self.steps = ground.draws.steps(data.samples_per_epoch or len(train))

    def _draw(self, epoch: int, step: int) -> tuple[np.random.Generator, Runs]:
        draws, rng = self.ground.draws, self.ground.draws.rng(epoch, step)
        dense, amount = self.objective.settings, self.ground.augment
        return rng, draw_runs(
            rng, self._frames, self._share, self._delays, draws.each, dense.frames, amount, dense.shortest
        )

    def load(self, epoch: int, step: int) -> DenseInputs:
        rng, runs = self._draw(epoch, step)
        amount, context = self.ground.augment, self.objective.student.audio_context
        raw = fetch_runs(self._train, runs, context)
        batch = self._with_speech(dense_inputs(raw, runs, rng, amount, context), raw, runs)
        anchors = draw_anchors(rng, batch.windows, self.objective.settings.anchors)
        if self._corpus is None:
            return DenseInputs(batch, anchors)
        corpus, count, length = self._corpus, len(runs.clips), self.objective.settings.frames
        none = np.zeros(len(corpus.frames))
        runs = draw_runs(rng, corpus.frames, corpus.share, none, count, length, amount)
        raw = fetch_runs(corpus, runs, context)
        return DenseInputs(
            batch, anchors, self._with_speech(audio_batch(raw, runs, rng, amount, context), raw, runs)
        )

    def _with_speech(self, batch: DenseBatch, raw: Bytes, runs: Runs) -> DenseBatch:
        """The batch with the speech recogniser's features, if there is one."""
        if self._speech_encoder is None:
            return batch
        encoder, context = self._speech_encoder, batch.context
        return replace(batch, speech=window_features(encoder, raw.waves, batch.windows, runs.tempo, context))

    def teach(self, inputs: DenseInputs) -> Tensor | None:
        return None if self.teacher is None else teach_windows(self.teacher, inputs.batch)

    def loss(self, module: nn.Module, inputs: DenseInputs, opinion: Tensor | None) -> Loss:
        return module(inputs.batch, inputs.anchors, opinion, inputs.alone)

    def compile(self) -> None:
        pass  # the number of windows changes with every step, and each would trigger a compilation

    def count(self, inputs: DenseInputs) -> int:
        return int(inputs.batch.windows.sum())

    def clips(self, epoch: int, step: int) -> list[str]:
        return [self.ground.train.clips[i].id for i in self._draw(epoch, step)[1].clips]

    def validate(self, objective: nn.Module) -> dict[str, float]:
        objective.eval()
        assert isinstance(objective, DenseObjective)  # noqa: S101
        ground = self.ground
        store = ground.val.part(ground.draws.world.deal)
        if objective.settings.anchors:
            scorer = Scorer(objective.student, ground.preprocessing)
            scores = list(validation.clip_scores(scorer, store, ground.validation.stride, self._known))
        else:
            scores = list(dense.similarities(objective, reader(store, ground.device), store, self._known))
        figures = match_figures(scores)
        return {**figures, "score": figures["within_1"]}
