"""What more context, more negatives and harder ones give, on prepared inputs of frozen front-ends.

    python research/heads/study.py INPUTS VALIDATION --out RESULTS --name wide --wide-context both

Trains what follows the frame trunk and the mel front-end of a model of avsync-4's shape: the temporal
contexts, the mixer of a window's frames and the contrast head. INPUTS and VALIDATION are folders of
`research/speech/prepare.py`; every variant gets the same number of runs of frames. RESULTS (JSON) collects,
by name, each validation clip's share of windows within a frame. Minutes on one core.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1] / "speech"))
from contrast import RADIUS, contrast
from prepare import CONTEXT, EDGE, LENGTH
from train import follow, read

from avsync.core.constants import FRAME_RATE as FPS
from avsync.core.constants import MEL_RATE, WINDOW_FRAMES, WINDOW_MELS
from avsync.evaluation.protocol import existing_hits
from avsync.networks import checkpoint
from avsync.networks.frontends import SPEECH_PER_FRAME
from avsync.networks.registry import build_network

EMA, WARMUP = 0.98, 0.1
FRONT_ENDS = ("vid_prenet", "aud_prenet")
LIKE_BY_EAR = 0.85
"""Windows of other places count as the same phonemes by the cosine of their centred speech features."""


@dataclass(frozen=True)
class Variant:
    """`context`: whose context is widened, "none", "frames", "audio" or "both". `batch` runs a step. `wide`:
    weight of the contrast with the windows of other clips; `hard`: by how many nats those count more that
    sound like the window (0: all alike)."""

    name: str
    context: str
    batch: int
    wide: float
    hard: float
    seed: int
    runs: int
    rate: float


def main() -> None:
    given = arguments()
    torch.set_num_threads(1)
    torch.manual_seed(given.seed)
    variant = Variant(
        given.name,
        given.wide_context,
        given.batch,
        given.wide,
        given.hard,
        given.seed,
        given.runs,
        given.rate,
    )
    base = checkpoint.load(given.model, "cpu")
    if base.model.aud_context is not None:
        raise SystemExit(f"{given.model} has a context in audio, which INPUTS hold already; see README.md.")
    network = widened(base, variant.context)
    validation = [safetensors.torch.load_file(path) for path in sorted(given.validation.iterdir())]
    names = [path.stem for path in sorted(given.validation.iterdir())]
    if variant.runs:
        train(network, read(given.inputs), variant)
    hits = {name: share_right(network, clip) for name, clip in zip(names, validation, strict=True)}
    k5, k15 = np.mean(list(hits.values()), axis=0)
    wild = np.mean([h for name, h in hits.items() if name.startswith("wildval")], axis=0)
    print(f"{variant.name}: {k5:.2f} / {k15:.2f}, wild {wild[0]:.2f} / {wild[1]:.2f}", flush=True)
    found = json.loads(given.out.read_text()) if given.out.exists() else {}
    found[variant.name] = {"variant": vars(variant), "model": given.model, "hits": hits}
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    if given.save:
        checkpoint.save(given.save, network, base.preprocessing, {"init": base.name, "study": vars(variant)})


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("inputs", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--save", type=Path)
    parser.add_argument("--model", default="avsync-4")
    parser.add_argument("--wide-context", choices=["none", "frames", "audio", "both"], default="none")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--runs", type=int, default=6400)
    parser.add_argument("--rate", type=float, default=4e-4)
    parser.add_argument("--wide", type=float, default=0.15)
    parser.add_argument("--hard", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def widened(base: checkpoint.Loaded, context: str) -> Any:
    """The network of `base`, with a wider context that adds nothing yet; one that the variant does not have
    stays so."""
    dims = base.model.dims
    network = build_network(replace(dims, wide_context=context != "none" or dims.wide_context))
    network.load_state_dict(base.model.state_dict(), strict=False)
    for name, parameter in network.named_parameters():
        fixed = name.startswith(FRONT_ENDS)
        fixed |= context == "frames" and name.startswith("aud_context")
        fixed |= context == "audio" and name.startswith(("vid_context.reach.2", "vid_context.mix.2"))
        parameter.requires_grad_(not fixed)
    return network.eval()


def train(network: Any, table: dict[str, Tensor], variant: Variant) -> None:
    """Leaves the running average of the weights in `network`."""
    learning = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=variant.rate, weight_decay=0.05, betas=(0.9, 0.98))
    average = copy.deepcopy(network)
    runs, rng = len(table["lengths"]), np.random.default_rng(variant.seed)
    steps = variant.runs // variant.batch
    order = np.concatenate([rng.permutation(runs) for _ in range(variant.runs // runs + 1)])
    for step in range(steps):
        rise = min(1, (step + 1) / (WARMUP * steps))
        for group in optimizer.param_groups:
            group["lr"] = variant.rate * rise * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        chosen = order[step * variant.batch : (step + 1) * variant.batch]
        loss = loss_of(network, {name: values[chosen] for name, values in table.items()}, variant)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learning, 2.0)
        optimizer.step()
        follow(average, network, EMA, step)
        if step % 50 == 49:
            print(f"{variant.name} step {step + 1}: loss {loss.item():.3f}", flush=True)
    network.load_state_dict(average.state_dict())


def embeddings(
    network: Any, batch: dict[str, Tensor], present: Tensor, windows: int
) -> tuple[Tensor, Tensor]:
    """Embeddings (n, windows, width) of the windows of a batch, of their frames and of their audio."""
    tokens = network.in_context(batch["frames"].float(), present).unfold(1, WINDOW_FRAMES, 1)
    tokens = tokens.permute(0, 1, 3, 2)
    seen = network.visual_embeddings(network.mix_window(tokens.flatten(0, 1)))
    columns = batch["columns"].float()
    if network.aud_context is not None:
        columns = network.aud_context(columns)
    first = torch.arange(windows)[:, None] * MEL_RATE // FPS
    heard = columns[:, CONTEXT + first + torch.arange(WINDOW_MELS)]
    heard = network.audio_embeddings(heard.flatten(0, 1))
    return seen.unflatten(0, (-1, windows)), heard.unflatten(0, (-1, windows))


def loss_of(network: Any, batch: dict[str, Tensor], variant: Variant) -> Tensor:
    """`contrast` of a batch of prepared inputs."""
    windows = LENGTH - WINDOW_FRAMES + 1
    lengths = batch["lengths"][:, None]
    here = torch.arange(windows) < lengths - WINDOW_FRAMES + 1
    with torch.autocast("cpu", torch.bfloat16):
        seen, heard = embeddings(network, batch, torch.arange(LENGTH) < lengths, windows)
    favoured = variant.hard * alike(batch["speech"], here) if variant.hard else None
    return contrast(seen.float(), heard.float(), here, batch["true"], variant.wide, favoured)


@torch.no_grad()
def alike(speech: Tensor, here: Tensor) -> Tensor:
    """(n, n) 1 where two windows of different places sound alike to the recogniser: negatives from the same
    phoneme neighbourhood. Windows of one run within the search are never marked, they compete anyway."""
    first = SPEECH_PER_FRAME * (torch.arange(here.shape[1])[:, None] + EDGE)
    around = speech[:, first + torch.arange(SPEECH_PER_FRAME * WINDOW_FRAMES)].float().mean(2)[here]
    around = F.normalize(around - around.mean(0), dim=1)
    run = torch.arange(len(here))[:, None].expand(here.shape)[here]
    return ((around @ around.T > LIKE_BY_EAR) & (run[:, None] != run)).float()


@torch.no_grad()
def share_right(network: Any, clip: dict[str, Tensor]) -> tuple[float, float]:
    """Of a whole validation clip, % of the windows within a frame at K=5 and K=15, candidates that exist."""
    matrix = scores_of(network, clip)
    return tuple(float(existing_hits(matrix, k).mean() * 100) for k in (5, 15))


def scores_of(network: Any, clip: dict[str, Tensor]) -> npt.NDArray[np.float32]:
    """(windows, 31) scores of a clip, NaN where there is no candidate."""
    batch = {name: values[None] for name, values in clip.items() if values.ndim}
    windows = clip["frames"].shape[0] - WINDOW_FRAMES + 1
    seen, heard = embeddings(network, batch, torch.ones(1, len(clip["frames"]), dtype=torch.bool), windows)
    table = (seen[0] @ heard[0].T).numpy()
    index = np.arange(windows)[:, None] + np.arange(-RADIUS, RADIUS + 1)
    found = (index >= 0) & (index < windows)
    return np.where(found, np.take_along_axis(table, index.clip(0, windows - 1), 1), np.nan)


if __name__ == "__main__":
    main()
