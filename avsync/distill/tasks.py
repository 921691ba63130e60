"""The two kinds of training, pairs and dense, behind one face for the loop: load a step's inputs, give
its loss, name its clips, validate."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from avsync.core.constants import WINDOW_FRAMES
from avsync.data.dense_batch import DenseBatch, Runs, audio_batch, dense_inputs, draw_runs, fetch_runs
from avsync.data.labels import delay_of, of_speakers, read_delays, shares, with_known_delays
from avsync.data.loading import Bytes, Reader, as_frames, pair_bytes, pair_inputs, reader
from avsync.data.pairs import Pairs, draw_pairs, validation_pairs
from avsync.data.shards import Store
from avsync.data.speech_corpus import SpeechCorpus
from avsync.distill import dense
from avsync.distill.dense import DenseObjective, draw_anchors, teach_windows
from avsync.distill.distributed import World, gather
from avsync.distill.pairs import PairObjective, teach
from avsync.distill.recipe import Recipe
from avsync.distill.speech_teacher import SpeechEncoder
from avsync.evaluation import validation
from avsync.networks.checkpoint import Loaded

Losses = tuple[Tensor, dict[str, Tensor]]


class Task(Protocol):
    """`load` is a pure function of its arguments, so that a thread may run ahead and a resumed run
    sees the same inputs; `validate` gives the figures of a network, "score" the one that counts."""

    steps: int

    @property
    def objective(self) -> nn.Module: ...

    def load(self, epoch: int, step: int) -> Any: ...
    def loss(self, module: nn.Module, inputs: Any) -> Losses: ...
    def clips(self, epoch: int, step: int) -> list[str]: ...
    def validate(self, objective: nn.Module) -> dict[str, float]: ...


def usable(store: Store, recipe: Recipe) -> Store:
    """The training clips that the recipe's objective can use, of the speakers that it asks for."""
    chosen = store.select(lambda clip: clip.windows >= 2)
    if recipe.objective == "dense":
        delays = read_delays(recipe.delays)
        least = recipe.dense.min_clip_windows
        chosen = with_known_delays(store, recipe.delays_only, delays).select(lambda c: c.windows >= least)
    return chosen if recipe.speakers == 1 else of_speakers(chosen, recipe.speakers)


class PairTask:
    """Pairs of a video and an audio window, in sync or not; optionally with a frozen teacher."""

    def __init__(
        self, recipe: Recipe, objective: PairObjective, train: Store, val: Store, teacher: Loaded | None,
        device: torch.device, at: World,
    ) -> None:  # fmt: skip
        self.recipe, self.objective, self.teacher, self.at, self.device = (
            recipe,
            objective,
            teacher,
            at,
            device,
        )
        self._train, self._clips = reader(train, device), train.clips
        self._val = reader(val, device)
        self._fixed = validation_pairs(val.windows, recipe.validation_draws)
        windows, count = train.windows, recipe.samples_per_epoch or len(train)
        self.steps = max(1, count // recipe.batch)
        drawn = {"seed": recipe.seed, "negatives": recipe.negatives, "radius": recipe.radius}
        count = self.steps * recipe.batch
        self._plan = lru_cache(2)(lambda epoch: draw_pairs(windows, count, epoch=epoch, **drawn))

    def _pairs(self, epoch: int, step: int) -> Pairs:
        each = self.recipe.batch // self.at.size
        first = step * self.recipe.batch + self.at.rank * each
        return self._plan(epoch).part(first, first + each)

    def load(self, epoch: int, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Mouths (n, 5, 3, 48, 96), audio, mels (n, 1, 80, 16) or MFCCs (n, 1, 13, 20), and labels (n,) of
        this process's share of a step."""
        pairs = self._pairs(epoch, step)
        rng = np.random.default_rng([self.recipe.seed, epoch, step, self.at.rank])
        audio_input = self.objective.student.audio_input
        raw = pair_bytes(self._train, pairs.clips, pairs.video, pairs.audio, audio_input)
        mouths, audio = pair_inputs(raw, rng, self.recipe.augment, audio_input)
        return mouths, audio, torch.from_numpy(pairs.labels).to(mouths.device)

    def loss(self, module: nn.Module, inputs: tuple[Tensor, Tensor, Tensor]) -> Losses:
        mouths, audio, labels = inputs
        taught = None
        if self.teacher is not None:
            frames = as_frames(mouths, self.teacher.preprocessing)
            taught = teach(self.teacher.model, frames, audio, self.recipe)
        return module(as_frames(mouths, self.recipe.preprocessing), audio, labels, taught)

    def clips(self, epoch: int, step: int) -> list[str]:
        return [self._clips[i].id for i in self._pairs(epoch, step).clips]

    def validate(self, objective: nn.Module) -> dict[str, float]:
        model, r = objective.get_submodule("student"), self.recipe
        logits = validation.pair_scores(model, r.preprocessing, self._val, self._fixed, r.batch, self.at)  # type: ignore[arg-type]
        labels = self._fixed.labels[self.at.rank :: self.at.size]
        both = gather(np.stack([logits, labels.astype(np.float32)]))
        score = validation.f1_score(both[0], both[1])
        return {"f1": score, "accuracy": float(((both[0] > 0) == (both[1] == 1)).mean()), "score": score}


class DenseInputs(NamedTuple):
    """A step of dense training: a batch, the windows whose pairs the encoders score, and speech without
    video."""

    batch: DenseBatch
    anchors: npt.NDArray[np.int64] | None
    alone: DenseBatch | None = None


class DenseTask:
    """Every window of a run of frames against its shifts."""

    def __init__(
        self,
        recipe: Recipe,
        objective: DenseObjective,
        train: Store,
        val: Store,
        teacher: Loaded | None,
        device: torch.device,
        at: World,
        speech_encoder: SpeechEncoder | None = None,
        corpus: SpeechCorpus | None = None,
    ) -> None:
        self.recipe, self.objective, self.at, self.device, self._val = recipe, objective, at, device, val
        self.teacher, self._speech_encoder, self._corpus = teacher, speech_encoder, corpus
        self._train, self._clips = reader(train, device), train.clips
        self._known = delays = read_delays(recipe.delays)
        self._delays = np.array([delay_of(clip, delays) or 0.0 for clip in train.clips])
        self._frames = train.windows + WINDOW_FRAMES - 1
        self._share = shares(train, recipe.balance)
        self.steps = max(1, (recipe.samples_per_epoch or len(train)) // recipe.batch)

    def _draw(self, epoch: int, step: int) -> tuple[np.random.Generator, Any]:
        rng = np.random.default_rng([self.recipe.seed, epoch, step, self.at.rank])
        count, length = self.recipe.batch // self.at.size, self.recipe.dense.frames
        return rng, draw_runs(
            rng, self._frames, self._share, self._delays, count, length, self.recipe.augment
        )

    def load(self, epoch: int, step: int) -> DenseInputs:
        rng, runs = self._draw(epoch, step)
        amount, context = self.recipe.augment, self.objective.student.audio_context
        raw = fetch_runs(self._train, runs, context)
        batch = self._spoken(dense_inputs(raw, runs, rng, amount, context), raw, runs)
        anchors = draw_anchors(rng, batch.windows, self.recipe.dense.anchors)
        if self._corpus is None:
            return DenseInputs(batch, anchors)
        corpus, count = self._corpus, len(runs.clips)
        none = np.zeros(len(corpus.frames))
        runs = draw_runs(rng, corpus.frames, corpus.share, none, count, self.recipe.dense.frames, amount)
        raw = fetch_runs(corpus, runs, context)
        alone = self._spoken(audio_batch(raw, runs, rng, amount, context), raw, runs)
        return DenseInputs(batch, anchors, alone)

    def _spoken(self, batch: DenseBatch, raw: Bytes, runs: Runs) -> DenseBatch:
        """With the speech recogniser's features, where there is one."""
        if self._speech_encoder is None:
            return batch
        return replace(
            batch,
            speech=self._speech_encoder.window_features(raw.waves, batch.windows, runs.tempo, batch.context),
        )

    def loss(self, module: nn.Module, inputs: DenseInputs) -> Losses:
        taught = None if self.teacher is None else teach_windows(self.teacher, inputs.batch)
        return module(inputs.batch, inputs.anchors, taught, inputs.alone)

    def clips(self, epoch: int, step: int) -> list[str]:
        return [self._clips[i].id for i in self._draw(epoch, step)[1].clips]

    def validate(self, objective: nn.Module) -> dict[str, float]:
        objective.eval()
        assert isinstance(objective, DenseObjective)  # noqa: S101
        if self.recipe.dense.anchors:
            loaded = Loaded("student", Path(), objective.student, self.recipe.preprocessing, {}, self.device)
            scores = list(
                validation.clip_scores(loaded, self._val, self.recipe.validation_stride, self._known)
            )
        else:
            source: Reader = reader(self._val, self.device)
            scores = list(dense.similarities(objective, source, self._val, self._known))
        within = validation.window_accuracy(scores)
        return {"within_1": within, "whole_clip": validation.whole_clip_accuracy(scores), "score": within}
