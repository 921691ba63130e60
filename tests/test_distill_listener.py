"""What the speech recogniser hears lies where the window is, and a file that is none is refused."""

import numpy as np
import pytest
import torch
from distill_factory import made_cache

from avsync.distill import listener
from avsync.distill.inputs import Streamed
from avsync.distill.listener import Listener, SpeechEncoder
from avsync.distill.recipe import recipe_from
from avsync.distill.runs import Runs, fetch_runs
from avsync.distill.store import Store
from avsync.errors import ModelError, UsageError

onnx = pytest.importorskip("onnx", reason="the packages onnx and onnxruntime (extra dev) are not installed")
pytest.importorskip("onnxruntime", reason="the package onnxruntime (extra speech) is not installed")

KERNEL = 2 * listener.FIRST_CENTRE + 1
"""Samples that the first feature sees."""


def recogniser(path, inputs=("input_values", "attention_mask")):
    """An encoder with Moonshine's face: its two features are the sample in the middle of what it sees, and
    the mean loudness there."""
    from onnx import TensorProto, helper, numpy_helper

    taps = np.zeros((1, 1, KERNEL), np.float32)
    taps[0, 0, listener.FIRST_CENTRE] = 1
    nodes = [
        helper.make_node("Unsqueeze", [inputs[0], "one"], ["wave"]),
        helper.make_node("Conv", ["wave", "middle"], ["centre"], strides=[listener.HOP]),
        helper.make_node("Abs", ["wave"], ["loud"]),
        helper.make_node("Conv", ["loud", "mean"], ["level"], strides=[listener.HOP]),
        helper.make_node("Concat", ["centre", "level"], ["both"], axis=1),
        helper.make_node("Transpose", ["both"], ["last_hidden_state"], perm=[0, 2, 1]),
    ]
    kinds = (TensorProto.FLOAT, TensorProto.INT64)
    graph = helper.make_graph(
        nodes,
        "ears",
        [helper.make_tensor_value_info(n, k, ["b", "s"]) for n, k in zip(inputs, kinds, strict=False)],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["b", "t", 2])],
        [
            numpy_helper.from_array(np.array([1]), "one"),
            numpy_helper.from_array(taps, "middle"),
            numpy_helper.from_array(np.full_like(taps, 1 / KERNEL), "mean"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_features_are_those_of_the_windows_place(tmp_path):
    """A click in the middle of one window is heard at the middle feature of that window, and a window later
    in the earlier features of those that follow."""
    encoder = SpeechEncoder(recogniser(tmp_path / "ears.onnx"))
    assert encoder.features == 18
    runs = Runs(*(np.array([v]) for v in (0, 0.0, 30, 1.0, 1.0, 0.0, 0.0)))
    store = Store(made_cache(tmp_path / "cache", {"train": [30]}))
    for context in (0, 40):
        raw = fetch_runs(Streamed(store, torch.device("cpu")), runs, context)
        waves = torch.zeros_like(raw.waves)
        first = context * 200 + 400  # the sample at which window 0 begins
        window = 6
        middle = first + window * 640 + 1600
        waves[0, middle - 200 : middle + 200] = 0.05
        heard = encoder.hear(waves, np.array([26]), runs.tempo, context).reshape(26, 9, 2)[..., 0]
        assert heard.shape == (26, 9)
        assert heard[window].argmax() == listener.AROUND
        assert heard[window - 3].argmax() > listener.AROUND
        assert heard[window + 3].argmax() < listener.AROUND


def test_at_a_higher_tempo_features_come_sooner(tmp_path):
    encoder = SpeechEncoder(recogniser(tmp_path / "ears.onnx"))
    waves = torch.zeros(1, 20_000)
    middle = 400 + 2 * (6 * 640 + 1600)  # of window 6, as played at twice the speed
    waves[0, middle - 200 : middle + 200] = 0.05
    heard = encoder.hear(waves, np.array([10]), np.array([2.0])).reshape(10, 9, 2)[..., 0]
    assert heard[6].argmax() == listener.AROUND


def test_quiet_and_loud_speech_sound_alike():
    rng = np.random.default_rng(0)
    wave = rng.standard_normal((1, 8000)).astype(np.float32)
    quiet, loud = listener.at_speech_level(0.02 * wave), listener.at_speech_level(0.3 * wave)
    np.testing.assert_allclose(quiet, loud, rtol=1e-5)
    hiss = listener.at_speech_level(1e-5 * wave)
    assert np.abs(hiss).max() < 1e-3, "silence is not amplified into speech"


def test_the_listener_gives_directions():
    torch.manual_seed(0)
    spoken = Listener(12, 8)(torch.randn(5, 12))
    torch.testing.assert_close(spoken.norm(dim=1), torch.ones(5))
    assert float(listener.hint_loss(3 * spoken, spoken)) == pytest.approx(0, abs=1e-5)
    assert float(listener.hint_loss(-spoken, spoken)) == pytest.approx(2, abs=1e-5)


def test_what_is_no_speech_encoder_is_refused(tmp_path):
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        SpeechEncoder(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("words")
    with pytest.raises(ModelError, match="no ONNX model"):
        SpeechEncoder(tmp_path / "text.onnx")
    other = recogniser(tmp_path / "other.onnx", ("mel", "mask"))
    with pytest.raises(ModelError, match="no encoder of Moonshine: it takes"):
        SpeechEncoder(other)
    with pytest.raises(UsageError, match="--objective dense only"):
        recipe_from({"speech_encoder": "ears.onnx", "method": "bce"})
