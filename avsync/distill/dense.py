"""Dense supervision: every video window must find its own audio among the shifts within its clip.

All windows of a run of frames are encoded once. Two losses share them: a cosine similarity between pooled
embeddings, contrasted over all windows in both directions, and the encoders' logits of a few anchor windows
against every audio window within the radius. Both are cross-entropies with a narrow Gaussian around the true
shift as their target, so that the shift may be a fraction of a frame.

With a frozen teacher (method kd) that target is mixed with the teacher's distribution for the same inputs, so
that the student need not memorise what the inputs do not show. A speech recogniser's head (`speech_teacher`),
if there is one, learns from the labels alone and teaches in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from avsync.core.constants import WINDOW_FRAMES, WINDOW_MELS
from avsync.data.augment import NONE
from avsync.data.dense_batch import DenseBatch, Runs, dense_inputs, fetch_runs
from avsync.data.labels import delay_of
from avsync.data.loading import Reader, first_column, scaled
from avsync.data.shards import Store
from avsync.distill.settings import Dense
from avsync.distill.speech_teacher import SpeechHead, hint_loss
from avsync.networks.base import Preprocessing, Scorer
from avsync.networks.vocalist import ContrastHead, VocaLiST

IntArray = npt.NDArray[np.int64]
NEAR_TRUTH = 0.01
"""Candidates with a larger target probability are always kept."""
HARD = 5
"""Of the candidates for an anchor, how many are the most similar ones by the embeddings."""


class DenseObjective(nn.Module):
    """The network with its contrast head, and the head of a speech recogniser with `speech_features` features
    per window (0: no speech teacher). The forward pass returns the losses."""

    def __init__(
        self, student: VocaLiST, settings: Dense, preprocessing: Preprocessing, speech_features: int = 0
    ) -> None:
        super().__init__()
        self.student, self.settings, self.preprocessing = student, settings, preprocessing
        shape = (student.dims.d_model, settings.embedding)
        self.auxiliary = ContrastHead(*shape) if student.contrast is None else None
        width = student.dims.contrast or settings.embedding
        self.speech_head = SpeechHead(speech_features, width) if speech_features else None
        self._frozen = student.vid_prenet[: settings.frozen].requires_grad_(False)

    def train(self, mode: bool = True) -> DenseObjective:
        """As usual, but frozen blocks also keep their batch-norm statistics."""
        super().train(mode)
        self._frozen.eval()
        return self

    @property
    def contrast(self) -> ContrastHead:
        """The network's own contrast head, or one that is used only in training."""
        head = self.student.contrast or self.auxiliary
        assert head is not None  # noqa: S101 (one of the two exists)
        return head

    def embeddings(self, visual: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Visual and audio tokens -> (n, size) and (m, size) embeddings, whose dot products are
        similarities."""
        return self.contrast.embed_visual(visual), self.contrast.embed_audio(audio)

    def forward(
        self,
        batch: DenseBatch,
        anchors: IntArray | None,
        teacher_similarity: Tensor | None = None,
        alone: DenseBatch | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise, and the losses by name. `anchors`: indices of the windows whose pairs the
        encoders score; None if only the embeddings learn. `teacher_similarity` (windows, windows): the
        teacher's similarity of every video window to every audio window. `alone`: speech without video, with
        the recogniser's features."""
        dense = self.settings
        visual, audio = window_tokens(self.student, batch, self.preprocessing)
        near = neighbours(batch, dense)
        video_near = neighbours(batch, dense, of_audio=True)
        seen, heard = self.embeddings(visual, audio)
        losses: dict[str, Tensor] = {}
        if self.speech_head is not None and batch.speech is not None:
            spoken = self.contrast.scaled(self.speech_head(batch.speech))
            losses["spoken"] = contrast_loss(seen, spoken, near, video_near)
            losses["hint"] = dense.hint * hint_loss(heard, spoken)
            own = (seen @ spoken.T).detach().float()
            teacher_similarity = own if teacher_similarity is None else teacher_similarity + own
        audio_near = near
        if teacher_similarity is not None:
            audio_near = leaning(near, near.gather(teacher_similarity), dense.teaching)
            video_near = leaning(video_near, video_near.gather(teacher_similarity.T), dense.teaching)
        losses = {"contrast": contrast_loss(seen, heard, audio_near, video_near), **losses}
        if dense.wide:
            losses["wide"] = dense.wide * wide_loss(seen, heard, audio_near, video_near)
        if alone is not None:
            losses |= self.echo(alone)
        shared = torch.stack(list(losses.values())).sum()
        total = shared if anchors is None else dense.contrast * shared
        if anchors is not None:
            with torch.no_grad():
                similarity = near.at(anchors).gather(seen[anchors] @ heard.T)
            chosen = taught(near.at(anchors), similarity, dense)
            rows, columns = np.nonzero(chosen.index >= 0)
            pairs = (torch.from_numpy(i).to(audio.device) for i in (rows, chosen.index[rows, columns]))
            scores = self.student.score_pairs(visual[anchors], audio, *pairs)
            losses["shifts"] = shift_loss(scores, rows, columns, chosen)
            total = total + losses["shifts"]
        return total, losses

    def echo(self, alone: DenseBatch) -> dict[str, Tensor]:
        """Losses of audio without video: a window's embedding by the recogniser's head must match that by the
        audio front-end and differ from those of its neighbours."""
        assert self.speech_head is not None and alone.speech is not None  # noqa: S101 (checked with the recipe)
        dense = self.settings
        spoken = self.contrast.scaled(self.speech_head.settled(alone.speech))
        heard = self.contrast.embed_audio(_audio_tokens(self.student, alone))
        views = neighbours(alone, dense), neighbours(alone, dense, of_audio=True)
        return {
            "echo": contrast_loss(spoken, heard, *views),
            "echo_hint": dense.hint * hint_loss(heard, spoken),
        }


def window_tokens(model: VocaLiST, batch: DenseBatch, preprocessing: Preprocessing) -> tuple[Tensor, Tensor]:
    """Visual (windows, 5, d) and audio (windows, 16, d) tokens, each frame and mel encoded once."""
    mouths = scaled(batch.mouths, preprocessing)
    frames = torch.from_numpy(window_frames(batch.windows)).to(mouths.device)
    if model.vid_mixer is None:
        visual = model.visual_tokens(mouths[frames].flatten(1, 2))
    else:
        pixels = mouths.contiguous(memory_format=torch.channels_last)
        visual = model.mix_window(_in_context(model, model.frame_tokens(pixels), batch.windows)[frames])
    return visual, _audio_tokens(model, batch)


def _in_context(model: VocaLiST, tokens: Tensor, windows: IntArray) -> Tensor:
    """Frame tokens (sum of lengths, d) of all runs, end to end, each in the context of its own run."""
    if not model.frame_context:
        return tokens
    lengths = windows + WINDOW_FRAMES - 1
    present = torch.from_numpy(np.arange(lengths.max()) < lengths[:, None]).to(tokens.device)
    padded = tokens.new_zeros(*present.shape, tokens.shape[1]).masked_scatter(present[..., None], tokens)
    return model.in_context(padded, present)[present]


def _audio_tokens(model: VocaLiST, batch: DenseBatch) -> Tensor:
    """Audio tokens (windows, 16, d)."""
    if model.audio_context:
        return _windows_of(model.column_tokens(batch.mels).transpose(1, 2), batch).transpose(1, 2)
    return model.audio_tokens(mel_windows(batch)[:, None])


def mel_windows(batch: DenseBatch) -> Tensor:
    """The mels (sum of windows, 80, 16) of the windows of all runs."""
    return _windows_of(batch.mels, batch)


def _windows_of(columns: Tensor, batch: DenseBatch) -> Tensor:
    """(n, bands, columns) -> (sum of windows, bands, 16)."""
    each = np.arange(int(batch.windows.max()))
    index = batch.context + first_column(each)[:, None] + np.arange(WINDOW_MELS)
    heard = torch.from_numpy(each < batch.windows[:, None]).to(columns.device)
    return columns[:, :, torch.from_numpy(index).to(columns.device)].permute(0, 2, 1, 3)[heard]


@torch.no_grad()
def teach_windows(teacher: Scorer, batch: DenseBatch) -> Tensor:
    """A teacher's similarities (windows, windows) of every video window to every audio window, by its
    contrast head."""
    model = teacher.model
    assert isinstance(model, VocaLiST) and model.contrast is not None  # noqa: S101 (checked on loading)
    visual, audio = window_tokens(model, batch, teacher.preprocessing)
    return model.contrast.embed_visual(visual) @ model.contrast.embed_audio(audio).T


@dataclass(frozen=True)
class Neighbours:
    """Candidates of every window: `index` (n, 2 * radius + 1), the windows of the same run at each shift, -1
    if there is none; `target`, their probabilities, whose rows sum to 1."""

    index: IntArray
    target: npt.NDArray[np.float32]

    def at(self, rows: IntArray) -> Neighbours:
        """The candidates of these windows only."""
        return Neighbours(self.index[rows], self.target[rows])

    def gather(self, table: Tensor) -> npt.NDArray[np.float32]:
        """Values (n, windows) for every window -> those of the candidates (n, 2 * radius + 1), -inf where
        there is none."""
        picked = np.take_along_axis(table.float().cpu().numpy(), self.index.clip(0), 1)
        return np.where(self.index >= 0, picked, -np.inf).astype(np.float32)


def taught(near: Neighbours, similarity: npt.NDArray[np.float32], dense: Dense) -> Neighbours:
    """`near` with fewer candidates (those near the truth, those most similar to the frames, some at random)
    and with targets mixed with the embeddings' own distribution.

    similarity: (n, 2 * radius + 1), by the embeddings, -inf where there is no candidate.
    """
    keep = near.index >= 0
    if dense.candidates:
        rng = np.random.default_rng(int(near.index.max(initial=0)) + len(near.index))
        order = np.where(near.target > NEAR_TRUTH, 2.0, rng.random(near.index.shape))
        hardest = np.argsort(-similarity, axis=1)[:, :HARD]
        np.put_along_axis(order, hardest, 1.5, axis=1)
        rank = np.argsort(np.argsort(-np.where(keep, order, -1.0), axis=1), axis=1)
        keep &= rank < dense.candidates
    kept = Neighbours(np.where(keep, near.index, -1), near.target * keep)
    return leaning(kept, similarity, dense.self_teaching)


def leaning(near: Neighbours, similarity: npt.NDArray[np.float32], share: float) -> Neighbours:
    """`near` with targets mixed with the softmax of `similarity` (n, 2 * radius + 1) over the candidates,
    which counts `share`."""
    here = near.index >= 0
    target = near.target / np.maximum(near.target.sum(axis=1, keepdims=True), 1e-12)
    if share:
        top = similarity.max(axis=1, keepdims=True, where=here, initial=-np.inf)
        soft = np.exp(np.where(here, similarity - top, -np.inf))
        target = (1 - share) * target + share * soft / np.maximum(soft.sum(axis=1, keepdims=True), 1e-12)
        target = target / np.maximum(target.sum(axis=1, keepdims=True), 1e-12)
    return Neighbours(near.index, target.astype(np.float32))


def neighbours(batch: DenseBatch, dense: Dense, *, of_audio: bool = False) -> Neighbours:
    """The candidate audio windows of each video window, with targets; or, with `of_audio`, the candidate
    video windows of each audio window: at shift k the one k windows earlier."""
    shifts = np.arange(-dense.radius, dense.radius + 1)
    run = np.repeat(np.arange(len(batch.windows)), batch.windows)
    first = (np.cumsum(batch.windows) - batch.windows)[run][:, None]
    index = np.arange(len(run))[:, None] + (-shifts if of_audio else shifts)
    inside = (index >= first) & (index < first + batch.windows[run][:, None])
    bell = np.exp(-((shifts - batch.true[run][:, None]) ** 2) / (2 * dense.sigma**2)) * inside
    target = bell / np.maximum(bell.sum(1, keepdims=True), 1e-12)
    return Neighbours(np.where(inside, index, -1), target.astype(np.float32))


def window_frames(windows: IntArray) -> IntArray:
    """(sum of windows, 5): indices of each window's frames among all frames laid end to end."""
    run = np.repeat(np.arange(len(windows)), windows)
    return (np.arange(len(run)) + run * (WINDOW_FRAMES - 1))[:, None] + np.arange(WINDOW_FRAMES)


def contrast_loss(visual: Tensor, audio: Tensor, audio_near: Neighbours, video_near: Neighbours) -> Tensor:
    """Cross-entropy of every video window over its audio windows, and the reverse."""
    similarity = visual @ audio.T
    return (_choice_loss(similarity, audio_near) + _choice_loss(similarity.T, video_near)) / 2


def wide_loss(visual: Tensor, audio: Tensor, audio_near: Neighbours, video_near: Neighbours) -> Tensor:
    """As `contrast_loss`, with the windows of all other clips of the batch among the candidates."""
    similarity = (visual @ audio.T).float()
    return (_wide_choice_loss(similarity, audio_near) + _wide_choice_loss(similarity.T, video_near)) / 2


def _wide_choice_loss(similarity: Tensor, near: Neighbours) -> Tensor:
    index = torch.from_numpy(near.index).to(similarity.device)
    target = torch.from_numpy(near.target).to(similarity.device)
    logs = similarity.log_softmax(1).gather(1, index.clamp_min(0))
    return -(target * logs.masked_fill(index < 0, 0)).sum(1).mean()


def _choice_loss(similarity: Tensor, near: Neighbours) -> Tensor:
    index = torch.from_numpy(near.index).to(similarity.device)
    target = torch.from_numpy(near.target).to(similarity.device)
    return _cross_entropy(similarity.gather(1, index.clamp_min(0)), target, index >= 0)


def _cross_entropy(logits: Tensor, target: Tensor, here: Tensor) -> Tensor:
    logs = logits.float().masked_fill(~here, -torch.inf).log_softmax(1).masked_fill(~here, 0)
    return -(target * logs).sum(1).mean()


def shift_loss(scores: Tensor, rows: IntArray, columns: IntArray, near: Neighbours) -> Tensor:
    """Cross-entropy over the shifts of the anchors; `scores` belong to the pairs (rows, columns)."""
    here = torch.from_numpy(near.index >= 0).to(scores.device)
    table = torch.zeros(near.index.shape, device=scores.device)
    table = table.index_put(
        (torch.from_numpy(rows).to(scores.device), torch.from_numpy(columns).to(scores.device)),
        scores.float(),
    )
    return _cross_entropy(table, torch.from_numpy(near.target).to(scores.device), here)


def draw_anchors(rng: np.random.Generator, windows: IntArray, count: int) -> IntArray | None:
    """`count` windows of every run (all, if it has fewer); None for a count of 0."""
    if not count:
        return None
    firsts = np.cumsum(windows) - windows
    chosen = [
        first + rng.choice(n, min(count, n), replace=False) for first, n in zip(firsts, windows, strict=True)
    ]
    return np.concatenate(chosen).astype(np.int64)


@torch.no_grad()
def similarities(
    objective: DenseObjective, source: Reader, store: Store, delays: Mapping[str, float]
) -> Iterator[npt.NDArray[np.float32]]:
    """The score matrices of `validation.clip_scores` from the embeddings alone, for a network whose encoders
    are not trained yet. `delays`: as `labels.delay_of` reads them."""
    for number, windows in enumerate(store.windows - 1):
        if windows < 1:
            continue
        one = np.zeros(1)
        frames = np.array([windows + WINDOW_FRAMES - 1], np.int64)
        delay_ms = np.array([delay_of(store.clips[number], delays) or 0.0])
        runs = Runs(np.array([number]), frames, one, frames, one + 1, one + 1, delay_ms, one)
        context = objective.student.audio_context
        batch = dense_inputs(fetch_runs(source, runs, context), runs, np.random.default_rng(0), NONE, context)
        seen, heard = objective.embeddings(*window_tokens(objective.student, batch, objective.preprocessing))
        index = neighbours(batch, objective.settings).index
        similarity = (seen @ heard.T).float().cpu().numpy()
        yield np.where(index >= 0, np.take_along_axis(similarity, index.clip(0), 1), np.nan)
