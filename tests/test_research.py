"""The scripts in research/ use what avsync has, and its labels hold what their README says."""

import ast
import json
from pathlib import Path
from statistics import median

import pytest

SCRIPTS = sorted((Path(__file__).parents[1] / "research").rglob("*.py"))
LABELS = Path(__file__).parents[1] / "research/labels"
FALSE_PEAK_MS = 250
"""As `FAR_MS` of research/closures/second_opinion.py."""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_what_a_script_imports_from_avsync_exists(script: Path) -> None:
    tree = ast.parse(script.read_text(encoding="utf-8"))
    imports = [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "avsync"
    ]
    exec("\n".join(imports), {})  # noqa: S102


@pytest.mark.parametrize(
    "name", ["val-delays.json", "lrs2-mini/val-delays.json", "lrs2-mini/test-clips.json"]
)
def test_no_truth_of_a_word_is_a_false_peak(name: str) -> None:
    """At the edge of the search, or far from every other word of its anchor, a peak is of chance."""
    delays = json.loads((LABELS / name).read_text(encoding="utf-8"))
    words: dict[str, list[float]] = {}
    for clip, delay_ms in delays.items():
        if clip.startswith("ar"):
            words.setdefault(clip.split("/")[0], []).append(delay_ms)
    assert words
    assert [
        k for k, found in words.items() if max(abs(d - median(found)) for d in found) > FALSE_PEAK_MS
    ] == []
