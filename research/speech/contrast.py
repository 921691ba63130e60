"""The losses of `avsync/distill/dense.py` on embeddings of runs that are padded to one length."""

from __future__ import annotations

import torch
from torch import Tensor

RADIUS, SIGMA = 15, 0.6


def contrast(
    seen: Tensor, heard: Tensor, here: Tensor, true: Tensor, wide: float, favoured: Tensor | None = None
) -> Tensor:
    """Every window against the shifts of its own run, in both directions, and with the weight `wide` against
    all windows of the batch.

    seen, heard: embeddings (n, windows, width) of the windows' frames and audio; here (n, windows): False for
    padding; true (n,): the frames by which a run's audio is late; favoured (all windows, all windows): added
    to the similarities of the second part.
    """
    windows = here.shape[1]
    shift = torch.arange(windows)[None] - torch.arange(windows)[:, None]
    near = here[:, :, None] & here[:, None] & (shift.abs() <= RADIUS)
    bell = torch.exp(-((shift - true.float()[:, None, None]) ** 2) / (2 * SIGMA**2)) * near
    similar, everywhere = seen @ heard.transpose(1, 2), seen[here] @ heard[here].T
    if favoured is not None:
        everywhere = everywhere + favoured
    place = torch.full(here.shape, -1)
    place[here] = torch.arange(int(here.sum()))
    loss = torch.zeros(())
    for scores, target, mask, among in (
        (similar, bell, near, everywhere),
        (similar.transpose(1, 2), bell.transpose(1, 2), near.transpose(1, 2), everywhere.T),
    ):
        target = target / target.sum(2, keepdim=True).clamp_min(1e-9)  # noqa: PLW2901
        logs = scores.masked_fill(~mask, -1e4).log_softmax(2).masked_fill(~mask, 0)
        own = place[:, None].expand(-1, windows, -1)[here]
        among_all = among.log_softmax(1).gather(1, own.clamp_min(0)) * (own >= 0)
        loss = loss - (target * logs).sum(2)[here].mean() / 2
        loss = loss - wide * (target[here] * among_all).sum(1).mean() / 2
    return loss
