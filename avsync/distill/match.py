"""Multi-way matching, as Perfect Match learns: each video window must find its audio among 31 candidates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avsync.audio.mfcc import COLUMNS_PER_FRAME, WINDOW_COLUMNS, WINDOW_SAMPLES, mfcc
from avsync.core.constants import WINDOW_FRAMES
from avsync.data.augment import NONE, augment_frames, augment_waves
from avsync.data.loading import as_frames, cut, reader
from avsync.data.pairs import clip_order
from avsync.data.shards import SAMPLES_PER_FRAME, Store
from avsync.distill.distributed import World
from avsync.evaluation import validation
from avsync.networks.checkpoint import Loaded

if TYPE_CHECKING:
    from avsync.distill.recipe import Recipe
    from avsync.networks.syncnet import SyncNet

IntArray = npt.NDArray[np.int64]
Inputs = tuple[Tensor, Tensor, Tensor]


class MatchObjective(nn.Module):
    """The network; its forward pass gives the loss."""

    def __init__(self, student: SyncNet) -> None:
        super().__init__()
        self.student = student

    def forward(self, frames: Tensor, audio: Tensor, inside: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """frames (n, 15, 48, 96), audio (n, k, 13, 20) of which the middle one is its own, inside
        (n, k): whether the clip has it. Returns the cross-entropy, and the same by name."""
        count, candidates = inside.shape
        seen = self.student.visual_tokens(frames)
        heard = self.student.audio_tokens(audio.flatten(0, 1)[:, None])
        logits = self.student.pair_logits(seen.repeat_interleave(candidates, 0), heard)
        table = logits.float().unflatten(0, (count, candidates)).masked_fill(~inside, -torch.inf)
        own = torch.full((count,), candidates // 2, device=table.device)
        loss = F.cross_entropy(table, own)
        return loss, {"match": loss}


class MatchTask:
    """Video windows, each with the audio of its own clip around it."""

    def __init__(
        self,
        recipe: Recipe,
        objective: MatchObjective,
        train: Store,
        val: Store,
        device: torch.device,
        at: World,
    ) -> None:
        self.recipe, self.objective, self.device, self.at, self._val = recipe, objective, device, at, val
        self._train, self._clips, self._windows = reader(train, device), train.clips, train.windows
        self.steps = max(1, (recipe.samples_per_epoch or len(train)) // recipe.batch)

    def _draw(self, epoch: int, step: int) -> tuple[IntArray, IntArray]:
        """Clips and first frames (n,) of this process's share of a step."""
        rng = np.random.default_rng([self.recipe.seed, epoch])
        clips = clip_order(rng, len(self._windows), self.steps * self.recipe.batch)
        video = rng.integers(0, self._windows[clips])
        each = self.recipe.batch // self.at.size
        first = step * self.recipe.batch + self.at.rank * each
        return clips[first : first + each], video[first : first + each]

    def load(self, epoch: int, step: int) -> Inputs:
        """Mouths (n, 5, 3, 48, 96), audio (n, k, 13, 20), inside (n, k)."""
        clips, video = self._draw(epoch, step)
        rng = np.random.default_rng([self.recipe.seed, epoch, step, self.at.rank])
        radius, amount = self.recipe.radius, self.recipe.augment
        samples = np.arange(2 * radius * SAMPLES_PER_FRAME + WINDOW_SAMPLES) - 1
        start = (video - radius) * SAMPLES_PER_FRAME
        raw = self._train.fetch(
            clips, video[:, None] + np.arange(WINDOW_FRAMES), start[:, None] + samples[None]
        )
        mouths = cut(raw.frames) if amount == NONE else augment_frames(raw.frames, rng, amount)
        waves = raw.waves if amount == NONE else augment_waves(raw.waves, rng, amount)
        audio = mfcc(waves).unfold(2, WINDOW_COLUMNS, COLUMNS_PER_FRAME).transpose(1, 2)
        other = video[:, None] + np.arange(-radius, radius + 1)
        inside = (other >= 0) & (other < self._windows[clips][:, None])
        return mouths, audio, torch.from_numpy(inside).to(mouths.device)

    def loss(self, module: nn.Module, inputs: Inputs) -> tuple[Tensor, dict[str, Tensor]]:
        mouths, audio, inside = inputs
        return module(as_frames(mouths, self.recipe.preprocessing), audio, inside)

    def clips(self, epoch: int, step: int) -> list[str]:
        return [self._clips[i].id for i in self._draw(epoch, step)[0]]

    def validate(self, objective: nn.Module) -> dict[str, float]:
        objective.eval()
        assert isinstance(objective, MatchObjective)  # noqa: S101
        loaded = Loaded("student", Path(), objective.student, self.recipe.preprocessing, {}, self.device)
        scores = list(validation.clip_scores(loaded, self._val, self.recipe.validation_stride))
        within = validation.window_accuracy(scores)
        return {"within_1": within, "whole_clip": validation.whole_clip_accuracy(scores), "score": within}
