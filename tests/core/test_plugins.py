"""Detectors and models of other packages, found by the entry points of what is installed."""

from pathlib import Path

import numpy as np
import pytest

from avsync.core import plugins
from avsync.core.errors import ModelError, OptionError, SetupError
from avsync.core.options import check_options
from avsync.faces import detect as detectors
from avsync.networks import checkpoint, library

PACKAGE = """
import numpy as np

def make_detector():
    return lambda image: np.array([[0, 0, image.shape[1] / 2, image.shape[0], 0.9]], np.float32)

def load(device):
    import avsync
    return avsync.load_model("avsync-4", device)

def wrong(device):
    return "a model"
"""
ENTRY_POINTS = """
[avsync.detectors]
left-half = brought:make_detector
centerface = brought:make_detector
gone = brought.missing:make_detector

[avsync.models]
borrowed = brought:load
wrong = brought:wrong
"""


@pytest.fixture(autouse=True)
def brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package on sys.path with metadata, as pip leaves it."""
    metadata = tmp_path / "brought-1.0.dist-info"
    metadata.mkdir()
    (tmp_path / "brought.py").write_text(PACKAGE)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: brought\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(tmp_path)


def test_a_detector_of_another_package_is_an_option_and_detects():
    assert check_options(face_detector="left-half").face_detector == "left-half"
    boxes = detectors.load("left-half")(np.zeros((40, 60, 3), np.uint8))
    assert boxes[0, 2] == 30


def test_a_name_of_avsync_cannot_be_taken_over():
    boxes = detectors.load("centerface")(np.zeros((64, 64, 3), np.uint8))
    assert len(boxes) == 0


def test_for_an_unknown_detector_the_known_ones_are_listed():
    with pytest.raises(OptionError, match="left-half"):
        check_options(face_detector="eyes")


def test_a_package_that_cannot_be_imported_is_named():
    with pytest.raises(SetupError, match="gone comes from the package brought"):
        detectors.load("gone")


def test_a_model_of_another_package_loads_by_its_name():
    assert "borrowed" in plugins.names("avsync.models")
    library.require("borrowed")
    loaded = checkpoint.load("borrowed", "cpu")
    assert loaded.name == "borrowed"
    assert not loaded.model.training


def test_what_is_not_a_model_is_refused():
    with pytest.raises(ModelError, match="wrong"):
        checkpoint.load("wrong", "cpu")


def test_for_an_unknown_model_the_known_ones_are_listed():
    with pytest.raises(ModelError, match="borrowed"):
        library.require("nothing")
