"""Stages depend one way only, and what is slow to import is imported late."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from avsync.core.errors import EXIT_OUT_OF_SYNC

PACKAGE = Path(__file__).parents[1] / "avsync"

ROOMS = (
    *("core", "media", "audio", "faces", "networks", "estimate", "report", "pipeline", "repair", "batch"),
    *("api", "curate", "live", "demo", "data", "evaluation", "distill", "bench", "cli"),
)
"""A folder may import those before it in this list, and itself."""

OWED = {}
"""Arrows upwards that are still to be cut."""

RANK = {name: rank for rank, name in enumerate(ROOMS)}
TORCH_FREE = (
    "core.options core.files media.frames media.probe faces.track faces.crop estimate.offset "
    "estimate.verdict "
    "report.words report.reasons report.summary "
    "report.document report.html report.plot report.junit report.jsonl "
    "report.terminal "
    "pipeline.run pipeline.stages repair.fix batch.run batch.ray_engine api cli.app cli.progress cli.console"
)


def imported(module: Path) -> Iterator[str]:
    """First-level modules of avsync that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "avsync":
            yield from (alias.name for alias in node.names if alias.name in RANK)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("avsync."):
            yield str(node.module).split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("avsync."))


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if not path.stem.startswith("__")]


def home(module: Path) -> str:
    """The first-level name of a module: a subpackage counts as one."""
    parts = module.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else module.stem


def loaded_after(code: str) -> set[str]:
    """Modules in a fresh interpreter after `code`."""
    program = f"import sys\n{code}\nprint('\\n'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    return set(done.stderr.splitlines())


@pytest.mark.parametrize("module", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_stage_imports_a_later_one(module: Path):
    assert home(module) in RANK, f"{home(module)} is no room; see ROOMS"
    later = {name for name in imported(module) if RANK[name] > RANK[home(module)]}
    assert not later - OWED.get(str(module.relative_to(PACKAGE)), set())


def test_the_contributors_page_lists_the_rooms_in_this_order():
    page = (PACKAGE.parent / "docs" / "contributing.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^\| `(\w+)(?:/|\.py)` \|", page, re.MULTILINE)) == ROOMS


def test_the_check_sees_imports_inside_functions(tmp_path: Path):
    file = tmp_path / "x.py"
    file.write_text("def f():\n    from avsync import api, __version__\n    import avsync.cli\n")
    assert set(imported(file)) == {"api", "cli"}


def test_importing_avsync_is_cheap_and_complete():
    code = "import avsync\nassert set(avsync.__all__) <= set(dir(avsync))\nassert avsync.__version__"
    assert not loaded_after(code) & {"torch", "cv2", "numpy", "av", "matplotlib"}


@pytest.mark.parametrize("arguments", [["--help"], ["check", "--help"], ["--version"], ["check", "--wrong"]])
def test_help_and_wrong_usage_answer_without_torch(arguments: list[str]):
    code = f"""
from avsync.cli.app import main
sys.argv = ["avsync", *{arguments!r}]
try:
    main()
except SystemExit as end:
    pass
sys.stderr = sys.__stderr__"""
    assert not loaded_after(code) & {"torch", "cv2", "numpy", "av", "matplotlib"}


def test_stages_before_the_model_do_without_torch_and_slow_parts_of_scipy():
    code = "\n".join(f"import avsync.{name}" for name in TORCH_FREE.split())
    assert not loaded_after(code) & {"torch", "scipy.signal", "scipy.stats"}


@pytest.mark.parametrize("command", ["check", "fix-offset"])
def test_a_check_with_the_bundled_model_on_a_cpu_does_without_torch(
    early: Path, tmp_path: Path, command: str
):
    more = [str(tmp_path / "fixed.mp4")] if command == "fix-offset" else []
    code = f"""
from avsync.cli.app import main
sys.argv = ["avsync", {command!r}, {str(early)!r}, *{more!r}, "--device", "cpu", "--quiet"]
try:
    main()
except SystemExit as end:
    assert end.code == {0 if more else EXIT_OUT_OF_SYNC}, end.code
sys.stderr = sys.__stderr__"""
    modules = loaded_after(code)
    assert "onnxruntime" in modules
    assert not modules & {"torch", "matplotlib", "scipy", "sympy", "skimage", "onnx"}
