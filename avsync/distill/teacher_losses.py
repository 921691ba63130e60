"""How close a student is to its teacher, by three measures, for the paper's Fig. 4."""

from __future__ import annotations

import numpy as np
import torch

from avsync.data.loading import Features, Reader, as_frames, pair_bytes, pair_inputs
from avsync.data.pairs import Pairs
from avsync.distill import losses
from avsync.distill.methods import MINILM_LAYERS
from avsync.distill.pairs import run
from avsync.networks.base import Scorer

PAIRS = 64
"""Most validation pairs that the losses are computed on."""


@torch.no_grad()
def teacher_losses(
    student: Scorer, teacher: Scorer, source: Reader, pairs: Pairs, features: Features
) -> dict[str, float]:
    """Validation losses against the teacher, whatever the student's method: "loss_mtd", the mean over all
    maps; "loss_last_mtd", that of the last fusion layer; and "loss_fitnets", the squared error of the last
    tokens through a linear map that is fitted on half of the pairs and measured on the others."""
    chosen = np.linspace(0, len(pairs.clips) - 1, min(PAIRS, len(pairs.clips))).astype(int)
    few = Pairs(*(column[chosen] for column in pairs))
    raw = pair_bytes(source, few.clips, few.video, few.audio, features)
    mouths, audio = pair_inputs(raw, features=features)
    ours, theirs = (
        run(side.model, as_frames(mouths, side.preprocessing), audio, True) for side in (student, teacher)
    )
    maps = losses.map_losses(ours.maps, theirs.maps)
    last = [maps[f"{layer}_{term}"] for layer in MINILM_LAYERS for term in losses.TERMS]
    return {
        "loss_mtd": float(torch.stack(list(maps.values())).mean()),
        "loss_last_mtd": float(torch.stack(last).mean()),
        "loss_fitnets": _best_hint(ours.last[0], theirs.last[0]),
    }


def _best_hint(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Mean squared error of the least-squares map from ours (n, tokens, d) to theirs, fitted on every second
    pair and measured on the rest."""

    def table(tokens: torch.Tensor, first: int) -> torch.Tensor:
        return tokens[first::2].flatten(0, 1).double().cpu()

    def with_bias(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)

    fit = torch.linalg.lstsq(with_bias(table(ours, 0)), table(theirs, 0), driver="gelsd").solution
    return float((with_bias(table(ours, 1)) @ fit - table(theirs, 1)).square().mean())
