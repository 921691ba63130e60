"""The wheel: what it holds, and that what it installs works away from the checkout."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typed_calls import assert_wrong_lines_found

import avsync
from avsync.core.errors import EXIT_OUT_OF_SYNC
from avsync.demo.clip import write_demo

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MODEL_FILES = sorted(
    p.name for p in (ROOT / "models").glob("*") if p.suffix in {".safetensors", ".yaml", ".md", ".zip"}
)


def run(*command: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "AVSYNC_MODELS"}}
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env=kept | env, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the source distribution of what git would commit, and of the wheel made from it."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for file in checkout():
        (source / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, source / file)
    done = run(sys.executable, "-m", "build", "--no-isolation", "--outdir", target, source, cwd=target)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning" not in done.stderr, done.stderr
    return target


def checkout() -> list[str]:
    """The files of the project: those of git in a checkout, all but leftovers in a source distribution."""
    if (ROOT / ".git").exists():
        listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).stdout
        return [file for file in listed.splitlines() if (ROOT / file).is_file()]
    unwanted = {"__pycache__", ".venv", "build", "dist"}
    return [
        file.relative_to(ROOT).as_posix()
        for file in ROOT.rglob("*")
        if file.is_file() and not unwanted & set(file.relative_to(ROOT).parts)
    ]


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def unpacked(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked."""
    (archive,) = built.glob("*.tar.gz")
    folder = tmp_path_factory.mktemp("sdist")
    shutil.unpack_archive(archive, folder)
    return next(folder.iterdir())


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A fresh environment with the wheel in it; its dependencies are looked up in the running one."""
    home = tmp_path_factory.mktemp("elsewhere")
    made = run(sys.executable, "-m", "venv", "--without-pip", home / "venv", cwd=home)
    assert made.returncode == 0, made.stderr
    python = home / "venv/bin/python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    done = run(*pip, cwd=home)
    assert done.returncode == 0, done.stderr
    (site,) = (home / "venv/lib").glob("python*/site-packages")
    packages = [folder for folder in sys.path if Path(folder).name == "site-packages"]
    (site / "dependencies.pth").write_text("\n".join(packages) + "\n")
    yield home
    shutil.rmtree(home)


@pytest.mark.slow
def test_every_module_and_the_type_marker_are_in_the_wheel(names: set[str]) -> None:
    modules = {p.relative_to(ROOT).as_posix() for p in (ROOT / "avsync").rglob("*.py")}
    assert modules | {"avsync/py.typed"} <= names


@pytest.mark.slow
def test_the_models_ship_beside_the_code(names: set[str]) -> None:
    assert MODEL_FILES, "no model in models/"
    assert {f"avsync/models/{name}" for name in MODEL_FILES} <= names


@pytest.mark.slow
def test_the_templates_of_the_page_ship(names: set[str]) -> None:
    templates = {p.relative_to(ROOT).as_posix() for p in (ROOT / "avsync/report/pages").iterdir()}
    assert len(templates) > 1
    assert templates <= names


@pytest.mark.slow
def test_nothing_else_is_in_the_wheel(names: set[str]) -> None:
    assert {name.split("/")[0] for name in names} == {"avsync", f"avsync-{avsync.__version__}.dist-info"}
    assert not [name for name in names if "test" in Path(name).name]


@pytest.mark.slow
@pytest.mark.parametrize("licence", ["LICENSE", "models/LICENSE"])
def test_the_licences_of_code_and_weights_ship(licence: str, names: set[str]) -> None:
    assert f"avsync-{avsync.__version__}.dist-info/licenses/{licence}" in names


@pytest.mark.slow
def test_a_package_index_takes_both(built: Path) -> None:
    done = run(sys.executable, "-m", "twine", "check", "--strict", *built.iterdir(), cwd=built)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_no_link_of_the_readme_is_relative_on_the_index(unpacked: Path) -> None:
    metadata = (unpacked / "PKG-INFO").read_text(encoding="utf-8")
    assert "How to read the answer" in metadata
    assert re.findall(r"\]\((?!https://|#)[^)]*\)", metadata) == []


@pytest.mark.slow
def test_the_source_distribution_runs_its_own_tests(unpacked: Path) -> None:
    assert {
        "install.sh",
        "constraints.txt",
        "mkdocs.yml",
        "docs",
        "tests",
        "models",
        "research",
    } <= {path.name for path in unpacked.iterdir()}
    collected = run(sys.executable, "-m", "pytest", "--collect-only", "-q", "-n", "0", "-m", "", cwd=unpacked)
    assert collected.returncode == 0, collected.stdout[-2000:]
    few = (
        "tests/audio/test_mfcc.py",
        "tests/core",
        "tests/evaluation/test_protocol.py",
        "tests/test_docs.py",
    )
    done = run(sys.executable, "-m", "pytest", "-q", "-n", "0", *few, cwd=unpacked)
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.slow
def test_the_command_runs_from_another_folder(installed: Path) -> None:
    said = run(installed / "venv/bin/avsync", "--version", cwd=installed)
    assert said.returncode == 0, said.stderr
    assert avsync.__version__ in said.stdout


@pytest.mark.slow
def test_the_module_that_runs_is_the_installed_one(installed: Path) -> None:
    said = run(installed / "venv/bin/python", "-c", "import avsync; print(avsync.__file__)", cwd=installed)
    assert Path(said.stdout.strip()).is_relative_to(installed), said.stderr


@pytest.mark.slow
def test_the_shipped_model_finds_a_known_error(installed: Path) -> None:
    write_demo(installed / "clip.mp4", offset_ms=120)
    said = run(installed / "venv/bin/avsync", "check", "clip.mp4", "--json", cwd=installed)
    assert said.returncode == EXIT_OUT_OF_SYNC, said.stdout + said.stderr
    report = json.loads(said.stdout)
    assert report["verdict"] == "out-of-sync"
    assert report["offset_ms"] == pytest.approx(120, abs=20)


@pytest.mark.slow
def test_a_type_checker_finds_wrong_calls_of_what_is_installed(installed: Path, tmp_path: Path) -> None:
    assert_wrong_lines_found(tmp_path, installed / "venv/bin/python")


def test_the_command_runs_from_a_source_checkout() -> None:
    said = run(sys.executable, "-m", "avsync", "--version", cwd=ROOT)
    assert said.returncode == 0, said.stderr
    assert avsync.__version__ in said.stdout


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


EXTRAS = PROJECT["optional-dependencies"]
WANTED = [
    name
    for name in PROJECT["dependencies"] + EXTRAS["dev"] + EXTRAS["docs"]
    if not name.startswith("avsync[")
]


@pytest.mark.parametrize("requirement", sorted(WANTED))
def test_every_requirement_is_pinned_inside_its_range(requirement: str) -> None:
    wanted = Requirement(requirement)
    assert wanted.specifier.contains(pins()[canonicalize_name(wanted.name)])


def test_every_package_that_is_imported_is_required_by_name() -> None:
    required = {canonicalize_name(Requirement(name).name) for name in PROJECT["dependencies"]}
    required |= {canonicalize_name(Requirement(name).name) for part in EXTRAS.values() for name in part}
    required |= {"pydantic-core"}  # half of pydantic, of one version with it
    modules = set()
    for path in (ROOT / "avsync").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module.partition(".")[0])
    brought = packages_distributions()
    foreign = modules - set(sys.stdlib_module_names) - {"avsync"}
    unnamed = {m for m in foreign if not required & set(map(canonicalize_name, brought.get(m, [m])))}
    assert unnamed == set()


def test_both_builds_of_opencv_are_pinned_to_one_version() -> None:
    assert pins()["opencv-python"] == pins()["opencv-python-headless"]


def test_ci_runs_the_test_command_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    steps = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    command, _, markers = steps[-1].partition(" -m ")
    assert re.search(rf"^{re.escape(command)}( +#.*)?$", readme, re.MULTILINE)
    assert markers == '"not fuzz"', "CI runs the slow tests too"
    assert any(step.endswith("pytest -q -m fuzz") for step in steps)
