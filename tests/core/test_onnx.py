"""onnxruntime tells nobody what it is used for, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import avsync

CODE = "from avsync.core import onnx\nonnx.runtime().SessionOptions()"


def test_onnxruntime_writes_no_identifier_and_no_file(tmp_path: Path) -> None:
    """Where CI is set it never does, so it is not set here."""
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    kept = {name: value for name, value in os.environ.items() if not re.search("CI|ORT_|GITHUB", name)}
    places = {"HOME": str(home), "TMPDIR": str(temporary), "XDG_CACHE_HOME": str(home / "cache")}
    subprocess.run([sys.executable, "-c", CODE], env=kept | places, check=True, timeout=120, cwd=tmp_path)
    assert sorted(tmp_path.rglob("*")) == [home, temporary]


def test_onnxruntime_is_imported_in_one_place_only() -> None:
    package = Path(str(avsync.__file__)).parent
    importing = [path for path in package.rglob("*.py") if "import onnxruntime\n" in path.read_text()]
    assert [str(path.relative_to(package)) for path in importing] == ["core/onnx.py"]
