"""Compile a checkpoint for the CPU: see `networks.compiled` for what is made, and who runs it.

The convolutions, nine tenths of a network's work, are quantised: activations to eight bits, whose ranges
are those of real crops and real mels, and weights to seven, since the sums of eight-bit ones overflow on
processors without instructions for them (VNNI), which would give other scores. All else stays in float32.
"""

from __future__ import annotations

import copy
import io
import json
import tempfile
import warnings
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from avsync.core.constants import FACE_SIZE, MEL_BANDS, MOUTH_HEIGHT, WINDOW_FRAMES, WINDOW_MELS
from avsync.core.errors import SetupError, UsageError
from avsync.core.files import file_sha256, write_whole
from avsync.core.onnx import runtime
from avsync.core.records import Clip, Waveform
from avsync.data.shards import Store
from avsync.networks import checkpoint, compiled
from avsync.networks.blocks import BLOCK_FRAMES, Blocks
from avsync.networks.checkpoint import Loaded
from avsync.networks.frozen import fold_norms
from avsync.networks.vocalist import VocaLiST
from avsync.networks.windows import first_columns

OPSET = 17
CONVOLUTIONS = ("Conv", "Add", "Relu")
"""Layers of ONNX in the convolutional blocks; the projection after them stays as it is."""
TINY_WEIGHTS = 1024
"""Weights of fewer numbers are stored as they are."""


def compile_model(
    model: str | Path, cache: Path, splits: Sequence[str], count: int = 400, seed: int = 0
) -> Path:
    """Write the compiled form of a checkpoint beside it, and return its path. The ranges of activations are
    those of `count` crops and half as many blocks of audio of the prepared clips in `splits`.

    Raises:
        UsageError: the network is of another kind, or there are no such clips.
        SetupError: the package `onnx` is missing.
    """
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise SetupError("Compiling a model needs the package onnx; run: pip install onnx.") from error
    loaded = checkpoint.load(model, "cpu")
    network = _compilable(loaded)
    store = Store(cache, list(splits))
    if not len(store):
        raise UsageError(f"{cache} has no clip in the splits {','.join(splits)}.")
    channels = loaded.preprocessing.channels
    crops = some_crops(store, count, seed)
    wanted = crops if channels == "rgb" else crops[..., ::-1]
    pixels = np.ascontiguousarray(wanted.transpose(0, 3, 1, 2), np.float32)
    frames = _exported(_Frames(network, loaded.preprocessing.scale), torch.from_numpy(pixels[:1]))
    width = int(first_columns(np.array(BLOCK_FRAMES - 1))) + WINDOW_MELS + 2 * network.audio_context
    mels = some_mels(store, network.audio_context, width, count // 2, seed)
    audio = _exported(_Audio(network), torch.zeros(MEL_BANDS, width), dynamic=False)
    parts = np.array_split(pixels, -(-len(pixels) // compiled.FRAMES_AT_ONCE))
    graphs = {
        "frames": _taking_bytes(_quantised(frames, parts)),
        "lips": _lean(_exported(_Lips(network), torch.zeros(WINDOW_FRAMES + 5, network.dims.d_model))),
        "audio": _lean(_quantised(audio, mels, CONVOLUTIONS)),
    }
    about = compiled.About(
        file_sha256(loaded.path), channels, network.frame_context, network.audio_context, width
    )
    content = {"about.json": json.dumps(asdict(about), indent=1).encode()}
    content |= {f"{name}.onnx": graph for name, graph in graphs.items()}
    return write_whole(compiled.beside(loaded.path), _archive(content), what="the compiled model")


def _compilable(loaded: Loaded) -> VocaLiST:
    """Its network, if it is of the kind that is compiled."""
    network = loaded.model
    if (
        not isinstance(network, VocaLiST)
        or not (network.embeds and network.shares_frames and network.audio_context)
        or network.hears_speech
        or loaded.path.suffix != ".safetensors"
    ):
        raise UsageError(
            f"{loaded.path} cannot be compiled; that is for .safetensors files of networks that compare "
            "embeddings, share frames and columns, and take no features of a speech recogniser."
        )
    return network


def some_crops(store: Store, count: int, seed: int) -> npt.NDArray[np.uint8]:
    """Up to `count` mouth crops (n, 48, 96, 3), each of another clip as long as there are any."""
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(len(store)) for _ in range(-(-count // len(store)))])[:count]
    crops = []
    for index in order:
        mouths = store.mouths(int(index))
        crops.append(np.array(mouths[rng.integers(len(mouths))]))
    return np.stack(crops)


def some_mels(store: Store, context: int, width: int, count: int, seed: int) -> list[npt.NDArray[np.float32]]:
    """The first blocks (80, `width`) of up to `count` clips, with their `context`."""
    order = np.random.default_rng(seed).permutation(len(store))[:count]
    mels: list[npt.NDArray[np.float32]] = []
    for index in order:
        wave = Waveform(store.samples(int(index)), 0.0)
        blocks = Blocks(wave, context, width - 2 * context, mels.append)
        blocks.of(Clip(0, 0.0, np.zeros((0, MOUTH_HEIGHT, FACE_SIZE, 3), np.uint8)), 0)
    return mels


class _Frames(nn.Module):
    """Pixels 0..255 (n, 3, 48, 96) as float32 -> tokens (n, d)."""

    def __init__(self, network: VocaLiST, scale: float) -> None:
        super().__init__()
        self.layers = copy.deepcopy(network.vid_prenet).eval()
        fold_norms(self.layers)
        first: Any = self.layers[0]
        first.conv_block[0].weight.data *= scale

    def forward(self, pixels: Tensor) -> Tensor:
        return self.layers(pixels).flatten(1)


class _Lips(nn.Module):
    """Tokens (frames, d) -> embeddings (frames - 4, e)."""

    def __init__(self, network: VocaLiST) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor) -> Tensor:
        row = self.network.in_context(tokens[None])[0]
        last = WINDOW_FRAMES - 1
        frames = [row[i : i - last] if i < last else row[i:] for i in range(WINDOW_FRAMES)]
        return self.network.visual_embeddings(self.network.mix_window(torch.stack(frames, 1)))


class _Audio(nn.Module):
    """Mel (80, columns) of a block, with its context -> embeddings (125, e)."""

    def __init__(self, network: VocaLiST) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval()
        fold_norms(self.network.aud_prenet)
        first = network.audio_context + first_columns(np.arange(BLOCK_FRAMES))
        self.columns = torch.from_numpy(first[:, None] + np.arange(WINDOW_MELS))

    def forward(self, mel: Tensor) -> Tensor:
        return self.network.audio_embeddings(self.network.column_tokens(mel[None])[0][self.columns])


def _exported(module: nn.Module, example: Tensor, dynamic: bool = True) -> bytes:
    """The ONNX graph of a module of one input and output; `dynamic`: of any first dimension."""
    written = io.BytesIO()
    axes = {"input": {0: "n"}, "output": {0: "m"}} if dynamic else None
    with warnings.catch_warnings(action="ignore"), torch.inference_mode():
        torch.onnx.export(
            module.eval(),
            (example,),
            written,  # pyright: ignore[reportArgumentType]
            dynamo=False,
            opset_version=OPSET,
            input_names=["input"],
            output_names=["output"],
            dynamic_axes=axes,
        )
    return written.getvalue()


def _quantised(
    graph: bytes, examples: Iterable[npt.NDArray[np.float32]], kinds: Sequence[str] | None = None
) -> bytes:
    """The same graph with its layers, or those of these `kinds`, quantised by example inputs."""
    runtime()
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import CalibrationDataReader
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Examples(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(examples)

        def get_next(self) -> Any:
            part = next(self.left, None)
            return None if part is None else {"input": part}

    with tempfile.TemporaryDirectory(prefix="avsync-") as folder:
        plain, prepared, made = (Path(folder) / f"{name}.onnx" for name in ("plain", "prepared", "made"))
        plain.write_bytes(graph)
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            made,
            Examples(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            op_types_to_quantize=None if kinds is None else list(kinds),
        )
        return made.read_bytes()


def _taking_bytes(graph: bytes) -> bytes:
    """The same graph with the bytes of crops (n, 48, 96, 3) as its input, in place of the quantised pixels:
    they are whole numbers of eight bits already."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load_from_string(graph)
    first = next(node for node in model.graph.node if "input" in node.input)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for name, value in zip(first.input[1:], (np.float32(1), np.uint8(0)), strict=True):
        constants[name].CopyFrom(numpy_helper.from_array(np.array(value), name))
    turned = helper.make_node("Transpose", ["mouths"], list(first.output), perm=[0, 3, 1, 2])
    nodes = [turned, *(node for node in model.graph.node if node is not first)]
    shape = ["n", MOUTH_HEIGHT, FACE_SIZE, 3]
    del model.graph.node[:], model.graph.input[:]
    model.graph.node.extend(nodes)
    model.graph.input.append(helper.make_tensor_value_info("mouths", TensorProto.UINT8, shape))
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _lean(graph: bytes) -> bytes:
    """The same graph with weights as float16 where that changes none of them, as it does not for those of a
    checkpoint that is stored so."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load_from_string(graph)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < TINY_WEIGHTS:
            continue
        half = values.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), values):
            continue
        name, stored = tensor.name, f"{tensor.name}.half"
        tensor.CopyFrom(numpy_helper.from_array(half, stored))
        model.graph.node.insert(0, helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _archive(content: dict[str, bytes]) -> bytes:
    """An archive that is the same whenever it is made."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_STORED) as archive:
        for name, each in content.items():
            archive.writestr(zipfile.ZipInfo(name), each)
    return written.getvalue()
