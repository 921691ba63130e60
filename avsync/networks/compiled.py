"""A checkpoint compiled for the CPU: its network as graphs that onnxruntime runs, without PyTorch.

NAME.onnx.zip beside NAME.safetensors, which `evaluation.compile` writes, holds `about.json` (see `About`) and
three graphs:

- frames.onnx: mouth crops uint8 (n, 48, 96, 3) -> tokens (n, d), in whole numbers of eight bits;
- lips.onnx: tokens (frames, d) of consecutive frames -> embeddings (frames - 4, e) of all their windows;
- audio.onnx: mel (80, `audio_columns`) -> embeddings (125, e) of the windows of a block of audio, its
  convolutions in eight bits likewise.
"""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from avsync.core import onnx
from avsync.core.constants import FACE_SIZE, MOUTH_HEIGHT, CropKind
from avsync.core.errors import ModelError
from avsync.core.files import file_sha256
from avsync.core.records import Clip, Embeddings, Scores, Waveform
from avsync.networks import card
from avsync.networks.blocks import BLOCK_FRAMES, Blocks
from avsync.networks.windows import (
    Progress,
    audio_exists,
    audio_starts,
    embed_each,
    frames_of_windows,
    mirrored,
    number,
    pairs,
    score_each,
)

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Floats = npt.NDArray[np.float32]

log = logging.getLogger(__name__)

SUFFIX = ".onnx.zip"
FORMAT = 1
"""Version of the file."""
GRAPHS = ("frames", "lips", "audio")
MOST_BYTES = 1 << 26
"""More than any graph has."""
FRAMES_AT_ONCE = 16
"""Frames that are encoded together: what layers make of so few stays in the processor's cache."""


@dataclass(frozen=True)
class About:
    """`sha256`: of the checkpoint that was compiled. `channels`: "rgb" or "bgr", of the crops that it wants;
    `frame_context` and `audio_context`: frames and mel columns before and after a window that reach into
    it; `audio_columns`: those of the audio graph, context included."""

    sha256: str
    channels: str
    frame_context: int
    audio_context: int
    audio_columns: int
    format: int = FORMAT

    def __post_init__(self) -> None:
        sizes = (self.frame_context, self.audio_context, self.audio_columns)
        if self.channels not in ("rgb", "bgr") or not all(isinstance(n, int) and n >= 0 for n in sizes):
            raise ValueError(f"{self} describes no network")


@dataclass(frozen=True)
class Compiled:
    """A compiled checkpoint, ready to score; `name`, `path`, `calibration` and `info` as of a `Loaded`."""

    family: ClassVar[str] = "vocalist"
    crop: ClassVar[CropKind] = "mouth"
    embeds: ClassVar[bool] = True
    on_cpu: ClassVar[bool] = True

    name: str
    path: Path
    about: About
    calibration: Mapping[str, Any] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def frames(self) -> InferenceSession:
        return self._session("frames")

    @cached_property
    def lips(self) -> InferenceSession:
        return self._session("lips")

    @cached_property
    def audio(self) -> InferenceSession:
        return self._session("audio")

    def _session(self, graph: str) -> InferenceSession:
        file = beside(self.path)
        try:
            with zipfile.ZipFile(file) as archive:
                content = _member(archive, f"{graph}.onnx")
            made = onnx.session(content, few_sizes=graph != "lips")
            if made.get_inputs()[0].shape[1:] != self._given(graph):
                raise ValueError(f"the graph {graph} is another's")
            return made
        except (MemoryError, ModelError):
            raise
        except Exception as error:  # onnxruntime's own errors share no base class
            what = next(iter(str(error).splitlines()), type(error).__name__)
            raise ModelError(
                f"{file} is damaged ({what}); install avsync again, or delete that file: PyTorch then runs "
                "the model."
            ) from error

    def _given(self, graph: str) -> list[int]:
        """The shape of what a graph is given, without its first dimension."""
        if graph == "lips":
            return self.frames.get_outputs()[0].shape[1:]
        return [self.about.audio_columns] if graph == "audio" else [MOUTH_HEIGHT, FACE_SIZE, 3]


def beside(path: Path) -> Path:
    """Where the compiled form of the checkpoint at `path` is, if there is one."""
    return path.with_suffix(SUFFIX)


def find(path: Path) -> Compiled | None:
    """The compiled form of the checkpoint at `path`; None where there is none, or it is of another checkpoint
    or version, or cannot be read to its end."""
    file = beside(path)
    if path.suffix != ".safetensors" or not file.is_file():
        return None
    try:
        with zipfile.ZipFile(file) as archive:
            about = About(**json.loads(_member(archive, "about.json")))
            for graph in GRAPHS:
                _member(archive, f"{graph}.onnx")
    except (zipfile.BadZipFile, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        log.warning("%s cannot be read: %s", file, error)
        return None
    info = card.beside(path) or {}
    if about.format != FORMAT or not file_sha256(path) == about.sha256 == info.get("sha256"):
        log.warning("%s is of another checkpoint than %s, or of another version", file, path)
        return None
    return Compiled(path.stem, path, about, info.get("calibration") or {}, info)


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A file of the archive; raises ValueError where it is compressed or too large, KeyError where there is
    none, and BadZipFile where its checksum is another."""
    member = archive.getinfo(name)
    if member.compress_type != zipfile.ZIP_STORED or member.file_size > MOST_BYTES:
        raise ValueError(f"{name} is compressed or too large")
    return archive.read(member)


def score_clips(
    model: Compiled,
    clips: Iterable[Clip],
    waveform: Waveform,
    *,
    max_shift: int = 15,
    stride: int = 1,
    progress: Progress | None = None,
) -> list[Scores]:
    """Scores of every track in `clips`, against audio from `max_shift` frames before to as many after, as
    `score_each` joins them."""
    blocks = audio_blocks(model, waveform)

    def score(clip: Clip, starts: npt.NDArray[np.int64]) -> Floats:
        return score_clip(model, clip, starts, waveform, max_shift, blocks)

    return score_each(clips, score, max_shift=max_shift, stride=stride, progress=progress)


def score_clip(
    model: Compiled,
    clip: Clip,
    starts: npt.NDArray[np.int64],
    waveform: Waveform,
    max_shift: int,
    blocks: Blocks[Floats] | None = None,
) -> Floats:
    """Logits (len(starts), 2 * max_shift + 1) of one clip, NaN where there is no audio for a pair; `blocks`
    are shared by the clips of a file."""
    found = pairs(clip, starts, waveform, max_shift)
    logits = np.full((len(starts), 2 * max_shift + 1), np.nan, np.float32)
    if len(found.needed):
        seen = lips_embeddings(model, clip.mouths, starts)
        if (mirror := mirrored(clip)) is not None:
            seen = (seen + lips_embeddings(model, mirror, starts)) / 2
        frames = audio_starts(clip, max_shift)[found.needed]
        heard = audio_embeddings(blocks or audio_blocks(model, waveform), clip, frames)
        logits[found.windows, found.shifts] = (seen @ heard.T)[found.windows, found.places]
    return logits


def embed_clips(
    model: Compiled, clips: Iterable[Clip], waveform: Waveform, *, stride: int = 1
) -> list[Embeddings]:
    """Embeddings of every track in `clips` that has at least one window, ordered by track number; NaN where
    there is no audio."""
    blocks = audio_blocks(model, waveform)

    def embed(clip: Clip, starts: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
        seen = lips_embeddings(model, clip.mouths, starts)
        heard = np.full_like(seen, np.nan)
        there = audio_exists(clip, waveform, 0)[starts]
        if there.any():
            heard[there] = audio_embeddings(blocks, clip, starts[there])
        return seen, heard

    return embed_each(clips, embed, stride=stride)


def lips_embeddings(model: Compiled, mouths: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64]) -> Floats:
    """Embeddings (len(starts), e) of the windows of `mouths` (n, 48, 96, 3) RGB that begin at `starts`."""
    used, distinct, places = frames_of_windows(mouths, starts, model.about.frame_context)
    crops = mouths[distinct] if model.about.channels == "rgb" else mouths[distinct][..., ::-1]
    parts = [crops[first : first + FRAMES_AT_ONCE] for first in range(0, len(crops), FRAMES_AT_ONCE)]
    tokens = np.concatenate([_run(model.frames, np.ascontiguousarray(part)) for part in parts])
    # Frames that no window needs stay zero; by their context they are too far from any window to matter.
    whole = np.zeros((len(mouths), tokens.shape[1]), np.float32)
    whole[used] = tokens[places]
    return _run(model.lips, whole)[starts]


def audio_blocks(model: Compiled, waveform: Waveform) -> Blocks[Floats]:
    """Embeddings (125, e) of the audio windows that begin in each block of a waveform."""
    context = model.about.audio_context
    columns = model.about.audio_columns - 2 * context
    return Blocks(waveform, context, columns, lambda mel: _run(model.audio, mel))


def audio_embeddings(blocks: Blocks[Floats], clip: Clip, frames: npt.NDArray[np.int64]) -> Floats:
    """Embeddings (n, e) of the audio windows at `frames` (n,), ascending, counted from those of a clip."""
    block, row = np.divmod(number(clip) + frames, BLOCK_FRAMES)
    return np.concatenate([blocks.of(clip, int(each))[row[block == each]] for each in np.unique(block)])


def _run(graph: InferenceSession, values: npt.NDArray) -> Floats:
    return np.asarray(graph.run(None, {graph.get_inputs()[0].name: values})[0])
