"""Multi-way matching, as in Perfect Match: each video window must find its audio among 31 candidates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avsync.audio.mfcc import COLUMNS_PER_FRAME, WINDOW_COLUMNS, WINDOW_SAMPLES, mfcc
from avsync.core.constants import WINDOW_FRAMES
from avsync.data.augment import NONE, augment_frames, augment_waves
from avsync.data.loading import as_frames, cut, margin_for, reader
from avsync.data.pairs import clip_order
from avsync.data.shards import SAMPLES_PER_FRAME
from avsync.distill.tasks import Ground, match_figures
from avsync.evaluation import validation
from avsync.networks.base import Scorer

if TYPE_CHECKING:
    from avsync.networks.syncnet import SyncNet

IntArray = npt.NDArray[np.int64]
Inputs = tuple[Tensor, Tensor, Tensor]


class MatchObjective(nn.Module):
    """The network; the forward pass returns the loss."""

    def __init__(self, student: SyncNet) -> None:
        super().__init__()
        self.student = student

    def forward(self, frames: Tensor, audio: Tensor, inside: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """frames (n, 15, 48, 96); audio (n, k, 13, 20), of which the middle one matches; inside (n, k):
        whether it is within the clip. Returns the cross-entropy, and the same by name."""
        count, candidates = inside.shape
        seen = self.student.visual_tokens(frames)
        heard = self.student.audio_tokens(audio.flatten(0, 1)[:, None])
        logits = self.student.pair_logits(seen.repeat_interleave(candidates, 0), heard)
        table = logits.float().unflatten(0, (count, candidates)).masked_fill(~inside, -torch.inf)
        own = torch.full((count,), candidates // 2, device=table.device)
        loss = F.cross_entropy(table, own)
        return loss, {"match": loss}


class MatchTask:
    """Video windows, each with the audio windows of its own clip around it."""

    def __init__(self, objective: MatchObjective, ground: Ground) -> None:
        self.objective, self.ground = objective, ground
        store = ground.train
        self._train, self._windows = reader(store, ground.device), store.windows
        self.steps = ground.draws.steps(ground.data.samples_per_epoch or len(store))

    def _draw(self, epoch: int, step: int) -> tuple[IntArray, IntArray]:
        """Clips and first frames (n,) of this process's share of a step."""
        draws = self.ground.draws
        rng, part = np.random.default_rng([draws.seed, epoch]), draws.part(step)
        clips = clip_order(rng, len(self._windows), self.steps * draws.batch)
        return clips[part], rng.integers(0, self._windows[clips])[part]

    def load(self, epoch: int, step: int) -> Inputs:
        """Mouths (n, 5, 3, 48, 96), audio (n, k, 13, 20), inside (n, k)."""
        clips, video = self._draw(epoch, step)
        rng = self.ground.draws.rng(epoch, step)
        radius, amount = self.ground.data.radius, self.ground.augment
        samples = np.arange(2 * radius * SAMPLES_PER_FRAME + WINDOW_SAMPLES) - 1
        start = (video - radius) * SAMPLES_PER_FRAME
        raw = self._train.fetch(
            clips,
            video[:, None] + np.arange(WINDOW_FRAMES),
            start[:, None] + samples[None],
            margin_for(amount),
        )
        mouths = cut(raw.frames) if amount == NONE else augment_frames(raw.frames, rng, amount)
        waves = raw.waves if amount == NONE else augment_waves(raw.waves, rng, amount)
        audio = mfcc(waves).unfold(2, WINDOW_COLUMNS, COLUMNS_PER_FRAME).transpose(1, 2)
        other = video[:, None] + np.arange(-radius, radius + 1)
        inside = (other >= 0) & (other < self._windows[clips][:, None])
        return mouths, audio, torch.from_numpy(inside).to(mouths.device)

    def teach(self, inputs: Inputs) -> None:  # noqa: ARG002 (a Task; nobody teaches it)
        return None

    def loss(self, module: nn.Module, inputs: Inputs, opinion: None) -> tuple[Tensor, dict[str, Tensor]]:  # noqa: ARG002
        mouths, audio, inside = inputs
        return module(as_frames(mouths, self.ground.preprocessing), audio, inside)

    def compile(self) -> None:
        pass  # there is no teacher

    def count(self, inputs: Inputs) -> int:
        return len(inputs[0])

    def clips(self, epoch: int, step: int) -> list[str]:
        return [self.ground.train.clips[i].id for i in self._draw(epoch, step)[0]]

    def validate(self, objective: nn.Module) -> dict[str, float]:
        objective.eval()
        assert isinstance(objective, MatchObjective)  # noqa: S101
        ground = self.ground
        scorer = Scorer(objective.student, ground.preprocessing)
        store = ground.val.part(ground.draws.world.deal)
        scores = list(validation.clip_scores(scorer, store, ground.validation.stride))
        figures = match_figures(scores)
        return {**figures, "score": figures["within_1"]}
