"""A model in its fastest form on the device that is asked for, and what is made with either form: compiled
and run by onnxruntime, or in PyTorch, which is only imported for that."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from avsync.core import onnx
from avsync.core.constants import Precision
from avsync.core.device import may_have_gpu
from avsync.core.records import Clip, Embeddings, Scores, Waveform
from avsync.networks import compiled, library
from avsync.networks.compiled import Compiled
from avsync.networks.windows import Progress

if TYPE_CHECKING:
    from avsync.networks.checkpoint import Loaded

    Ready = Loaded | Compiled


def load(name: str, device: str, precision: Precision = "auto") -> Ready:
    """The model of that name or path, in its fastest form unless `precision` is "float32"; the errors are
    those of `checkpoint.load`."""
    if precision == "auto" and not library.is_brought(name) and _on_cpu(device):
        found = compiled.find(library.find(name))
        if found is not None:
            return found
    from avsync.networks import checkpoint

    return fastest(checkpoint.load(name, device), precision)


def fastest(loaded: Loaded, precision: Precision) -> Loaded:
    """A loaded checkpoint in its fastest form unless `precision` is "float32"."""
    from avsync.networks.fast import fast

    return loaded if precision == "float32" else fast(loaded)


def _on_cpu(device: str) -> bool:
    """Whether a network would be on the CPU; PyTorch is asked only where there may be something else."""
    if device == "cpu" or (device == "auto" and not may_have_gpu()):
        return True
    from avsync.networks.checkpoint import pick_device

    return pick_device(device).type == "cpu"


def score_clips(
    model: Ready,
    clips: Iterable[Clip],
    waveform: Waveform,
    *,
    max_shift: int,
    stride: int,
    progress: Progress | None = None,
    keep: Callable[..., None] | None = None,
) -> list[Scores]:
    """Scores of every track in `clips`, against audio from `max_shift` frames before to as many after, as
    `windows.score_each` joins them. `keep` is given the tokens of a network in PyTorch."""
    options: dict[str, Any] = {"max_shift": max_shift, "stride": stride, "progress": progress}
    if isinstance(model, Compiled):
        return compiled.score_clips(model, clips, waveform, **options)
    from avsync.networks import scoring

    return scoring.score_clips(model, clips, waveform, **options, keep=keep)


def embed_clips(model: Ready, clips: Iterable[Clip], waveform: Waveform, *, stride: int) -> list[Embeddings]:
    """Embeddings of every track in `clips`; raises ModelError where the network has none."""
    if isinstance(model, Compiled):
        return compiled.embed_clips(model, clips, waveform, stride=stride)
    from avsync.networks import embedding

    return embedding.embed_clips(model, clips, waveform, stride=stride)


def runtime(model: Ready) -> str:
    """What runs the network, for a report: a library with its version, and the type of numbers."""
    if isinstance(model, Compiled):
        return f"onnxruntime {onnx.runtime().__version__}, int8"
    import torch

    kind = getattr(next(model.model.parameters()), "dtype", torch.float32)
    return f"PyTorch {torch.__version__}, {str(kind).removeprefix('torch.')}"
