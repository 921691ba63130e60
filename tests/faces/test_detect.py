"""Detectors share one interface; one that is not available says in a sentence what to do instead."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from avsync.core.constants import DETECTORS
from avsync.core.errors import ModelError, UsageError
from avsync.faces import detect as detectors
from avsync.media.frames import frames
from avsync.media.images import Image, resize
from avsync.media.probe import probe

DOWNLOADED = [name for name in DETECTORS if name != "centerface"]


@pytest.fixture(scope="module")
def talker(shared: Path) -> Image:
    """One frame of a real talker, 360x288, the face about 140 pixels high."""
    return next(frames(probe(shared / "clips/grid-02.mpg"))).image


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty download cache, and nothing that answers on the network."""
    for name in ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch/hub/checkpoints"


def test_centerface_finds_the_face_of_a_talker(talker: Image) -> None:
    (face,) = detectors.load("centerface")(talker)
    assert 100 < face[3] - face[1] < 180
    assert 130 < (face[0] + face[2]) / 2 < 230
    assert 0.7 < face[4] <= 1


def test_centerface_answers_the_same_after_images_of_other_sizes(talker: Image) -> None:
    detect = detectors.load("centerface")
    sizes = ((160, 128), (320, 256), (90, 160), (320, 256), (160, 128))
    after_others = [detect(resize(talker, *size)) for size in sizes]
    for size, found in zip(sizes, after_others, strict=True):
        np.testing.assert_allclose(found, detectors.load("centerface")(resize(talker, *size)), rtol=1e-4)


@pytest.mark.parametrize("cut", [0.2, 0.4, 0.55])
def test_a_close_up_cut_at_the_top_has_the_box_of_its_whole_face(talker: Image, cut: float) -> None:
    """Of the mouth alone, say: the lower half of the whole face is the mouth, of what is seen the chin."""
    detect = detectors.load("centerface")
    x1, y1, x2, y2 = detect(talker)[0][:4]
    left, top = round(x1 - 0.1 * (x2 - x1)), round(y1 + cut * (y2 - y1))
    part = talker[top : round(y2), left : round(x2 + 0.1 * (x2 - x1))]
    scale = 160 / max(part.shape[:2])
    found = detect(resize(part, round(part.shape[1] * scale), round(part.shape[0] * scale)))[0][:4] / scale
    middle = (found[1] + 3 * found[3]) / 4 + top  # of the lower half, which is the mouth crop
    assert abs(middle - (y1 + 3 * y2) / 4) < 0.07 * (y2 - y1)
    assert 0.7 < (found[3] - found[1]) / (y2 - y1) < 1.2


def test_a_face_that_begins_left_of_the_image_is_not_pushed_into_it(talker: Image) -> None:
    detect = detectors.load("centerface")
    x1, _, x2, _ = detect(talker)[0][:4]
    hidden = round(x1 + 0.1 * (x2 - x1))
    found = detect(np.ascontiguousarray(talker[:, hidden:]))[0]
    assert abs((found[0] + found[2]) / 2 + hidden - (x1 + x2) / 2) < 0.05 * (x2 - x1)


def test_an_image_of_one_pixel_has_no_face() -> None:
    assert detectors.load("centerface")(np.zeros((1, 1, 3), np.uint8)).shape == (0, 5)


def test_an_unknown_name_is_refused_with_the_choice() -> None:
    with pytest.raises(UsageError, match="no face detector 'dlib'; choose one of: centerface, sfd"):
        detectors.load("dlib")


@pytest.mark.parametrize("name", DOWNLOADED)
def test_without_a_network_it_says_what_is_missing_and_what_to_do(
    name: str, offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detectors, "_PACKAGES", {})
    with pytest.raises(ModelError) as caught:
        detectors.load(name)
    said = str(caught.value)
    assert f"the face detector {name} is not" in said
    assert "https://" in said
    known = all(file.sha256 for file in detectors._FILES[name])
    assert ("could not be downloaded" if known else "no checksum of it is known") in said
    assert str(offline) in said
    assert "--face-detector centerface" in said
    assert "\n" not in said
    assert not offline.exists() or list(offline.iterdir()) == []


@pytest.mark.parametrize(("name", "package"), [("retinaface", "torchvision")])
def test_a_package_that_is_missing_is_asked_for_before_anything_is_downloaded(
    name: str, package: str, offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModelError, match=rf"needs the Python package {package}.*pip install {package}"):
        detectors.load(name)
    assert not offline.exists()


@pytest.mark.parametrize("name", ["sfd", "yunet"])
def test_a_damaged_download_is_named(name: str, offline: Path) -> None:
    file_name = detectors._FILES[name][0].name
    offline.mkdir(parents=True)
    (offline / file_name).write_bytes(b"<html>404</html>")
    with pytest.raises(ModelError, match=r"cannot be loaded from .*delete that") as caught:
        detectors.load(name)
    assert str(offline / file_name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_laid_into_the_cache_by_hand_are_used(offline: Path) -> None:
    """Untrained weights load through face_alignment; looking for faces with them may never end."""
    import torch
    from face_alignment.detection.blazeface.net_blazeface import BlazeFace

    offline.mkdir(parents=True)
    torch.save(BlazeFace().state_dict(), offline / "blazeface.pth")
    np.save(offline / "anchors.npy", np.full((896, 4), 0.5, np.float32))
    assert callable(detectors.load("blazeface"))


def test_the_default_detector_needs_neither_torch_nor_face_alignment() -> None:
    code = (
        "import sys; from avsync.faces import crop, detect, track; detect.load('centerface');"
        "print([m for m in ('torch', 'face_alignment') if m in sys.modules])"
    )
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    ran = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert ran.stdout.strip() == "[]", ran.stderr
