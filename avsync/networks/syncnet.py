"""SyncNet and Perfect Match: one embedding of five frames, one of 0.2 s of audio, and their similarity.

State-dict keys are those of the public SyncNet weights. SyncNet's logit is by how much the L2 distance
is under half the margin of its contrastive loss; Perfect Match has the same trunk and a scaled cosine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avsync.core.constants import FRAME_S, PROTOCOL_RADIUS, WHOLE_FACE_SIZE, WINDOW_FRAMES, CropKind
from avsync.core.records import Clip
from avsync.core.report import FaceDistance
from avsync.networks.base import AudioInput, Network

EMBEDDING = 1024
MAX_SCALE = 50.0


@dataclass(frozen=True)
class SyncNetDims:
    """`family` "syncnet" or "perfect-match". `crop`: whole faces, as the public weights take them, or the
    mouths of the prepared cache, which are stretched to 224 x 224. `margin` of the contrastive loss. `width`:
    channels of every layer as a share of the public weights'."""

    family: Literal["syncnet", "perfect-match"] = "syncnet"
    crop: CropKind = "mouth"
    margin: float = 20.0
    width: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.width <= 1:
            raise ValueError(f"width is a share above 0 and up to 1, not {self.width}")

    def channels(self, public: int) -> int:
        """Channels of a layer that has `public` of them in the public weights."""
        return max(1, round(public * self.width))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML."""
        return asdict(self)


def _audio_trunk(c: Callable[[int], int]) -> nn.Sequential:
    """(n, 1, 13, 20) -> (n, 512 at full width, 1, 1)."""
    return nn.Sequential(
        *_conv2d(1, c(64)),
        nn.MaxPool2d(1, 1),
        *_conv2d(c(64), c(192)),
        nn.MaxPool2d(3, (1, 2)),
        *_conv2d(c(192), c(384)),
        *_conv2d(c(384), c(256)),
        *_conv2d(c(256), c(256)),
        nn.MaxPool2d(3, 2),
        *_conv2d(c(256), c(512), (5, 4), 0),
    )


def _lip_trunk(c: Callable[[int], int]) -> nn.Sequential:
    """(n, 3, 5, 224, 224) -> (n, 512 at full width, 1, 1, 1)."""
    flat, half, beside = (1, 3, 3), (1, 2, 2), (0, 1, 1)
    return nn.Sequential(
        *_conv3d(3, c(96), (WINDOW_FRAMES, 7, 7), stride=half),
        nn.MaxPool3d(flat, half),
        *_conv3d(c(96), c(256), (1, 5, 5), stride=half, padding=beside),
        nn.MaxPool3d(flat, half, beside),
        *_conv3d(c(256), c(256), flat, padding=beside),
        *_conv3d(c(256), c(256), flat, padding=beside),
        *_conv3d(c(256), c(256), flat, padding=beside),
        nn.MaxPool3d(flat, half),
        *_conv3d(c(256), c(512), (1, 6, 6)),
    )


def _conv2d(c_in: int, c_out: int, kernel: Any = 3, padding: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(c_in, c_out, kernel, 1, padding), nn.BatchNorm2d(c_out), nn.ReLU()]


def _conv3d(c_in: int, c_out: int, kernel: tuple[int, int, int], **shape: Any) -> list[nn.Module]:
    return [nn.Conv3d(c_in, c_out, kernel, **shape), nn.BatchNorm3d(c_out), nn.ReLU()]


def _projection(c: Callable[[int], int]) -> nn.Sequential:
    width = c(512)
    return nn.Sequential(
        nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, c(EMBEDDING))
    )


class SyncNet(Network):
    """Both networks; see the module's docstring."""

    audio_input: ClassVar[AudioInput] = "mfcc"

    def __init__(self, dims: SyncNetDims = SyncNetDims()) -> None:
        super().__init__()
        self.dims: SyncNetDims = dims
        self.netcnnaud, self.netfcaud = _audio_trunk(dims.channels), _projection(dims.channels)
        self.netcnnlip, self.netfclip = _lip_trunk(dims.channels), _projection(dims.channels)
        if dims.family == "perfect-match":
            self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))

    @property
    def crop(self) -> CropKind:
        return self.dims.crop

    @property
    def embeds(self) -> bool:
        return True

    def visual_tokens(self, frames: Tensor) -> Tensor:
        """(n, 15, height, width) -> embeddings (n, 1024); other sizes are stretched to 224 x 224."""
        if frames.shape[-2:] != (WHOLE_FACE_SIZE, WHOLE_FACE_SIZE):
            frames = F.interpolate(
                frames, (WHOLE_FACE_SIZE, WHOLE_FACE_SIZE), mode="bilinear", align_corners=False
            )
        clips = frames.unflatten(1, (WINDOW_FRAMES, 3)).transpose(1, 2)
        return self._finish(self.netfclip(self.netcnnlip(clips).flatten(1)))

    def audio_tokens(self, audio: Tensor) -> Tensor:
        """MFCCs (n, 1, 13, 20) -> embeddings (n, 1024)."""
        return self._finish(self.netfcaud(self.netcnnaud(audio).flatten(1)))

    def _finish(self, embeddings: Tensor) -> Tensor:
        if self.dims.family == "syncnet":
            return embeddings
        return F.normalize(embeddings, dim=-1) * self.log_scale.exp().clamp(max=MAX_SCALE).sqrt()

    def pair_logits(self, visual: Tensor, audio: Tensor) -> Tensor:
        """Embeddings (n, 1024) of each -> logits (n,)."""
        if self.dims.family == "syncnet":
            return self.dims.margin / 2 - F.pairwise_distance(visual, audio)
        return (visual * audio).sum(-1)


def face_distance(
    video: npt.NDArray[np.float32], audio: npt.NDArray[np.float32], radius: int = PROTOCOL_RADIUS
) -> FaceDistance:
    """SyncNet's own evaluation of one face: from one embedding a frame of each stream, (n, d), with zeros for
    the audio beyond the ends."""
    padded = np.pad(audio, ((radius, radius), (0, 0)))
    shifted = np.stack([padded[i : i + len(video)] for i in range(2 * radius + 1)], 1)
    # 1e-6 keeps PyTorch's pairwise distance, which the public evaluation uses, from an infinite slope.
    mean = np.linalg.norm(video[:, None] - shifted + 1e-6, axis=-1).mean(axis=0)
    best = int(mean.argmin())
    return FaceDistance(radius - best, float(mean[best]), float(np.median(mean) - mean[best]), len(video))


class FaceEmbeddings:
    """The embeddings of faces by track, kept while their clips are scored at every frame."""

    def __init__(self) -> None:
        self._runs: dict[int, list[tuple[float, npt.NDArray[np.float32], npt.NDArray[np.float32]]]] = {}

    def keep(self, clip: Clip, frames: npt.NDArray[np.int64], video: Tensor, audio: Tensor) -> None:
        """Embeddings (n, d) of the windows at the consecutive `frames` (n,) of a clip, of both streams. A
        clip that goes on where the last one of its track ended is joined to it. Ctrl-C leaves the rows as
        they were."""
        if not len(frames):
            return
        start_s = clip.start_s + float(frames[0]) * FRAME_S
        seen, heard = video.float().cpu().numpy(), audio.float().cpu().numpy()
        runs = self._runs.get(clip.track, [])
        if runs and abs(runs[-1][0] + len(runs[-1][1]) * FRAME_S - start_s) < FRAME_S / 2:
            *runs, (start_s, seen_before, heard_before) = runs
            seen, heard = np.concatenate([seen_before, seen]), np.concatenate([heard_before, heard])
        self._runs[clip.track] = [*runs, (start_s, seen, heard)]

    def distances(self) -> dict[int, FaceDistance]:
        """Of every track, over the longest stretch in which its face is seen. As in the public evaluation its
        last window does not count."""
        longest = {track: max(runs, key=lambda run: len(run[1])) for track, runs in self._runs.items()}
        return {
            track: face_distance(video[:-1], audio[:-1])
            for track, (_, video, audio) in longest.items()
            if len(video) > 1
        }
