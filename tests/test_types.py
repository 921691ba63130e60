"""A type checker finds what is wrong with a call of the public functions."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SNIPPET = """
import avsync
avsync.check("x.mp4", standard="itu", max_offset_ms=1000, device="cpu")
avsync.check("x.mp4", standart="itu")
avsync.check("x.mp4", standard="smpte")
avsync.fix_offset("x.mp4", "y.mp4", method="retime", audio_track=1)
avsync.fix_offset("x.mp4", "y.mp4", method="move")
avsync.fix_offset("x.mp4", "y.mp4", stride="many")
"""


@pytest.mark.slow
def test_pyright_finds_wrong_names_and_values(tmp_path: Path):
    (tmp_path / "snippet.py").write_text(SNIPPET)
    (tmp_path / "pyrightconfig.json").write_text("{}")
    root = str(Path(__file__).parents[1])
    config = {"extraPaths": [root], "include": ["snippet.py"]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(config))
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", tmp_path],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    found = json.loads(done.stdout)["generalDiagnostics"]
    lines = {item["range"]["start"]["line"] for item in found if item["severity"] == "error"}
    assert lines == {3, 4, 6, 7}, found
