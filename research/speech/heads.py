"""Trains the heads of a network whose ears have just learned on audio alone.

    python research/speech/prepare.py CACHE INPUTS --steps 340 --seed 78 --deaf --model ears.safetensors
    python research/speech/heads.py INPUTS avsync-4.safetensors --model ears.safetensors --steps 700

`ears.py` moves the audio embeddings towards a teacher's and leaves the frames' side as it was; here the
frames' temporal context, their mixer and both projections learn to go with what the ears really say. The
frame trunk, the mel front-end and its context stay. Minutes on one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from contrast import contrast
from prepare import CONTEXT, LENGTH
from torch import Tensor
from train import WIDE, WINDOWS, descend, read, seen_in

from avsync.core.constants import FRAME_RATE as FPS
from avsync.core.constants import MEL_RATE, WINDOW_FRAMES, WINDOW_MELS
from avsync.networks import checkpoint

RATE = 3e-4


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("inputs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--steps", type=int, default=700)
    given = parser.parse_args()
    torch.manual_seed(0)
    base = checkpoint.load(given.model, "cpu")
    train(base.model, read(given.inputs), given.steps)
    checkpoint.save(given.out, base.model, base.preprocessing, {"init": base.name, "steps": given.steps})


def train(network: Any, table: dict[str, Tensor], steps: int) -> None:
    """Leaves the running average of the weights in `network`."""
    network.requires_grad_(False).eval()
    head = network.contrast
    parts = (head.visual, head.audio, network.vid_context, network.vid_mixer)
    learning = [p for part in parts for p in part.requires_grad_(True).parameters()]
    learning.append(head.log_scale.requires_grad_(True))
    descend(network, [{"params": learning, "top": RATE}], table, steps, loss_of)


def loss_of(network: Any, batch: dict[str, Tensor]) -> Tensor:
    """`contrast` of a batch of prepared inputs."""
    lengths = batch["lengths"][:, None]
    here = torch.arange(WINDOWS) < lengths - WINDOW_FRAMES + 1
    columns = CONTEXT + torch.arange(WINDOWS)[:, None] * MEL_RATE // FPS + torch.arange(WINDOW_MELS)
    with torch.autocast("cpu", torch.bfloat16):
        seen = seen_in(network, batch["frames"], torch.arange(LENGTH) < lengths)
        heard = network.audio_embeddings(batch["columns"].float()[:, columns].flatten(0, 1))
    return contrast(seen.float(), heard.float().unflatten(0, (-1, WINDOWS)), here, batch["true"], WIDE)


if __name__ == "__main__":
    main()
