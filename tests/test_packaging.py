"""What is in packaging/ names what is there, and the script of the GitHub action does what it says."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import jinja2
import pytest
import yaml
from talk_factory import Talk

import avsync

ROOT = Path(__file__).parents[1]
FILES = ROOT / "packaging"
ACTION = yaml.safe_load((FILES / "action/action.yml").read_text(encoding="utf-8"))
STEPS = {step.get("name", step.get("uses", "")): step for step in ACTION["runs"]["steps"]}


def test_no_input_of_the_action_is_pasted_into_a_script():
    assert all("${{" not in step.get("run", "") for step in STEPS.values())


@pytest.mark.slow
@pytest.mark.parametrize(("offset_ms", "code"), [(0, 0), (240, 1)])
def test_the_action_checks_what_is_named_and_runs_none_of_it(
    talk: Talk, tmp_path: Path, offset_ms: float, code: int
):
    (tmp_path / "temp/avsync/bin").mkdir(parents=True)
    command = tmp_path / "temp/avsync/bin/avsync"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m avsync "$@"\n')
    command.chmod(0o755)
    shutil.copy(talk(offset_ms), tmp_path / "a $(touch hit) b.mp4")
    env = {
        **os.environ,
        "RUNNER_TEMP": str(tmp_path / "temp"),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "PATHS": "a $(touch hit) b.mp4\n\n",
        "STANDARD": ACTION["inputs"]["standard"]["default"],
    }
    call = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEPS["Check"]["run"]]
    done = subprocess.run(call, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert (tmp_path / "output").read_text() == f"exit-code={code}\n"
    assert (tmp_path / "avsync.xml").exists()
    assert (tmp_path / "avsync.html").exists()
    assert not (tmp_path / "hit").exists()


def test_the_image_gets_all_that_the_build_needs():
    kept = re.findall(r"^!(.+)$", (FILES / "Dockerfile.dockerignore").read_text(), re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    named = {
        "pyproject.toml",
        "setup.py",
        "constraints.txt",
        "README.md",
        *project["project"]["license-files"],
    }
    packages = {name.split(".")[0] for name in project["tool"]["setuptools"]["packages"]} | {"models"}
    assert {Path(name).parts[0] for name in named} | packages <= set(kept)
    assert all((ROOT / name).exists() for name in kept)


def test_the_conda_recipe_has_the_version_and_every_requirement():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    text = (FILES / "conda/meta.yaml").read_text(encoding="utf-8")
    rendered = jinja2.Template(text).render(load_file_data=lambda *_, **__: project, PYTHON="python")
    recipe = yaml.safe_load(rendered)
    assert recipe["package"]["version"] == avsync.__version__
    wanted = recipe["requirements"]["run"]
    assert len(wanted) == len(project["project"]["dependencies"]) + 1
    assert {"av >=18", "pytorch-cpu >=2.13", "py-opencv >=4.9"} <= set(wanted)


def test_the_notebook_was_run_without_errors():
    notebook = yaml.safe_load((FILES / "avsync.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in cells)
    assert all(output["output_type"] != "error" for cell in cells for output in cell["outputs"])
