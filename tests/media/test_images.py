"""OpenCV loads in one place; when it cannot, one sentence says what is missing and what to run."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avsync.media.images import cv2, explain, resize, thumbnail


def python(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (env.pop("PYTHONPATH", ""), root)))
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | env | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("library", ["libGL.so.1", "libxcb.so.1", "libgthread-2.0.so.0"])
def test_a_missing_library_is_named_with_how_to_install_it(tmp_path: Path, library: str) -> None:
    broken = f"raise ImportError('{library}: cannot open shared object file: No such file or directory')"
    (tmp_path / "cv2.py").write_text(broken)
    code = (
        "from avsync.core.errors import SetupError\n"
        "try:\n    import avsync.media.images\n"
        "except SetupError as error:\n    print(error)"
    )
    said = python(code, PYTHONPATH=str(tmp_path)).stdout
    assert f"the system library {library} is missing" in said
    assert said.strip().endswith("pip install --force-reinstall --no-deps opencv-python-headless")
    assert said.count("\n") == 1


def test_any_other_reason_is_passed_on() -> None:
    assert "No module named 'cv2'" in explain(ImportError("No module named 'cv2'"))


def test_importing_leaves_the_threads_of_opencv_alone() -> None:
    code = "import cv2; cv2.setNumThreads(3); import avsync.media.images; print(cv2.getNumThreads())"
    assert python(code).stdout.strip() == "3"


def test_resize_averages_when_it_shrinks_and_leaves_the_same_size_alone() -> None:
    stripes = np.zeros((8, 8, 3), np.uint8)
    stripes[:, ::2] = 200
    assert (resize(stripes, 4, 4) == 100).all()
    assert resize(stripes, 8, 8) is stripes
    assert resize(stripes, 20, 12).shape == (12, 20, 3)
    assert cv2.__version__


@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_a_thumbnail_looks_like_the_image(width, height, seed):
    """Smooth ones, of any size: nothing is moved by more than a twentieth of the width."""
    coarse = np.random.default_rng(seed).integers(0, 255, (3, 4), dtype=np.uint8)
    image = resize(coarse, max(width, 4), max(height, 3))
    found = thumbnail(image, 32, 24)
    assert found.shape == (24, 32)
    assert np.abs(found.astype(int) - resize(image, 32, 24)).mean() < 12


def test_a_thumbnail_of_whole_cells_is_an_average_of_rows_from_top_to_bottom():
    rows = np.repeat(np.arange(240, dtype=np.uint8), 640).reshape(240, 640)
    assert np.abs(thumbnail(rows, 32, 24)[:, 0] - (np.arange(24) * 10 + 4.5)).max() <= 1
