"""Trains avsync-4-speech: avsync-4 with a second way to hear, on the inputs of `prepare.py`.

    python research/speech/train.py OUT models/avsync-4-speech.safetensors --steps 250

The frame trunk and the mel front-end stay avsync-4's; the frames' temporal context, their mixer, the contrast
head and all that reads the features of the recogniser learn. The new part of the audio embedding begins at
zero, so the first step scores as avsync-4 does. Minutes on one core.
"""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from contrast import contrast
from prepare import CONTEXT, EDGE, LENGTH
from torch import Tensor, nn
from torch.nn import functional as F

from avsync.core.constants import FRAME_RATE as FPS
from avsync.core.constants import MEL_RATE, WINDOW_FRAMES, WINDOW_MELS
from avsync.networks import checkpoint
from avsync.networks.frontends import SPEECH_PER_FRAME
from avsync.networks.registry import build_network
from avsync.networks.vocalist import SPEECH_WINDOW

BATCH, WARMUP, EMA, WIDE = 32, 20, 0.98, 1.0
NEW_RATE, OLD_RATE, DROPOUT = 1e-3, 3e-4, 0.4
WITHHELD = 0.5
"""Share of the runs whose mels are withheld, so that the recogniser's features must do by themselves: the mel
front-end knows the clips to train on, so beside it they would have little left to learn."""
WINDOWS = LENGTH - WINDOW_FRAMES + 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("inputs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--model", default="avsync-4")
    given = parser.parse_args()
    torch.manual_seed(0)
    base = checkpoint.load(given.model, "cpu")
    network = with_speech(base)
    table = read(given.inputs)
    settle(network, table["speech"])
    train(network, table, given.steps)
    checkpoint.save(given.out, network, base.preprocessing, {"init": base.name, "steps": given.steps})


def with_speech(base: checkpoint.Loaded) -> Any:
    """The network with the weights of `base`; what reads speech adds nothing yet."""
    network = build_network(replace(base.model.dims, speech=True))
    network.load_state_dict(base.model.state_dict(), strict=False)
    for layer in (*network.speech.mix, network.contrast.speech[-1]):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return network.eval()


def read(folder: Path) -> dict[str, Tensor]:
    """All runs of a folder, padded to the longest."""
    parts = [safetensors.torch.load_file(path) for path in sorted(folder.glob("*.safetensors"))]
    longest = {name: max(p[name].shape[1] for p in parts) for name in parts[0] if parts[0][name].ndim > 1}
    return {
        name: torch.cat(
            [F.pad(part[name], (0, 0, 0, longest[name] - part[name].shape[1])) for part in parts]
            if name in longest
            else [part[name] for part in parts]
        )
        for name in parts[0]
    }


def settle(network: Any, speech: Tensor) -> None:
    """Fixes the normalisation of the features at the mean and variance of 1,600 runs."""
    norm = network.speech.norm
    norm.momentum = None
    norm.train()
    with torch.no_grad():
        norm(speech[:1600].float().flatten(0, 1))


def train(network: Any, table: dict[str, Tensor], steps: int) -> None:
    """Leaves the running average of the weights in `network`."""
    new = [p for name, p in network.named_parameters() if "speech" in name]
    old = [
        *network.contrast.visual.parameters(),
        *network.contrast.audio.parameters(),
        network.contrast.log_scale,
    ]
    old += [*network.vid_context.parameters(), *network.vid_mixer.parameters()]
    groups = [{"params": new, "top": NEW_RATE}, {"params": old, "top": OLD_RATE}]
    descend(network, groups, table, steps, loss_of)


def descend(
    network: Any,
    groups: list[dict[str, Any]],
    table: dict[str, Tensor],
    steps: int,
    loss_of: Callable[[Any, dict[str, Tensor]], Tensor],
) -> None:
    """Leaves the running average of the weights in `network`; `groups` of parameters with the `top` of their
    learning rate."""
    learning = [p for group in groups for p in group["params"]]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.05, betas=(0.9, 0.98))
    average = copy.deepcopy(network)
    runs, rng = len(table["lengths"]), np.random.default_rng(0)
    order = np.concatenate([rng.permutation(runs) for _ in range(steps * BATCH // runs + 1)])
    for step in range(steps):
        for group in optimizer.param_groups:
            rise = min(1, (step + 1) / WARMUP)
            group["lr"] = group["top"] * rise * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        batch = {name: values[order[step * BATCH : (step + 1) * BATCH]] for name, values in table.items()}
        loss = loss_of(network, batch)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learning, 2.0)
        optimizer.step()
        follow(average, network, EMA, step)
        if step % 50 == 49:
            print(f"step {step + 1}: loss {loss.item():.3f}", flush=True)
    network.load_state_dict(average.state_dict())


@torch.no_grad()
def follow(average: Any, network: Any, decay: float, step: int) -> None:
    """Moves the running average of the weights, faster in early steps."""
    share = 1 - min(decay, (step + 1) / (step + 10))
    for mean, value in zip(average.parameters(), network.parameters(), strict=True):
        mean.lerp_(value, share)


def embeddings(network: Any, batch: dict[str, Tensor], present: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings (n, WINDOWS, width) of the windows of a batch, of their frames and of their audio."""
    first = torch.arange(WINDOWS)
    columns = batch["columns"].float()[
        :, CONTEXT + first[:, None] * MEL_RATE // FPS + torch.arange(WINDOW_MELS)
    ]
    speech = speech_tokens(network, batch["speech"].float())
    speech = speech[:, SPEECH_PER_FRAME * (first[:, None] + EDGE) + torch.arange(SPEECH_WINDOW)]
    return seen_in(network, batch["frames"], present), heard(network, columns, speech)


def seen_in(network: Any, frames: Tensor, present: Tensor) -> Tensor:
    """Embeddings (n, WINDOWS, width) of the windows of frame tokens (n, LENGTH, d)."""
    tokens = network.in_context(frames.float(), present).unfold(1, WINDOW_FRAMES, 1).permute(0, 1, 3, 2)
    seen = network.visual_embeddings(network.mix_window(tokens.flatten(0, 1)))
    return seen.unflatten(0, (-1, WINDOWS))


def speech_tokens(network: Any, features: Tensor) -> Tensor:
    """`VocaLiST.speech_tokens` with dropout."""
    part = network.speech
    x = part.norm(features.transpose(1, 2)).transpose(1, 2)
    x = part.first(F.dropout(x, DROPOUT)).transpose(1, 2)
    for reach, mix in zip(part.reach, part.mix, strict=True):
        x = x + mix(F.relu(reach(x)))
    return x.transpose(1, 2)


def heard(network: Any, columns: Tensor, speech: Tensor) -> Tensor:
    """`ContrastHead.embed_audio` of (n, windows, 16, d) and (n, windows, 10, d), with dropout."""
    head = network.contrast
    inner = F.dropout(head.speech[:-1](speech.flatten(0, 1)), DROPOUT)
    mel = F.normalize(head.audio(columns.flatten(0, 1)), dim=-1).unflatten(0, columns.shape[:2])
    both = (mel * (torch.rand(len(mel), 1, 1) >= WITHHELD)).flatten(0, 1) + head.speech[-1](inner)
    return head.scaled(F.normalize(both, dim=-1)).unflatten(0, columns.shape[:2])


def loss_of(network: Any, batch: dict[str, Tensor]) -> Tensor:
    """`contrast` of a batch of prepared inputs."""
    lengths = batch["lengths"][:, None]
    here = torch.arange(WINDOWS) < lengths - WINDOW_FRAMES + 1
    with torch.autocast("cpu", torch.bfloat16):
        seen, audio = embeddings(network, batch, torch.arange(LENGTH) < lengths)
    return contrast(seen.float(), audio.float(), here, batch["true"], WIDE)


if __name__ == "__main__":
    main()
