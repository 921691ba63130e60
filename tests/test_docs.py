"""What the documents say is there: paths, commands with their options, and code that runs."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from talk_factory import EARLY_MS, Talk
from typer.main import get_command

from avsync.cli.app import app

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "models/*.md", "research/**/*.md")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"  # which names what was there once
)
TEXTS = PAGES + sorted(
    path
    for pattern in ("avsync/**/*.py", "research/**/*.py", "models/**/*.yaml", "tests/**/*.py")
    for path in ROOT.glob(pattern)
    if path.name != Path(__file__).name
)
SAMPLES = [path for path in PAGES if "```python" in path.read_text(encoding="utf-8")]

OUR_PATH = re.compile(
    r"(?<![\w/.-])(?:docs|labels|research|models|tests)/[\w./-]*\w\.(?:md|py|json|yaml|png|gram)\b"
)
LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#\s]+)")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_files_of_the_repository_that_are_named_exist(path: Path) -> None:
    named = set(OUR_PATH.findall(path.read_text(encoding="utf-8")))
    assert [file for file in sorted(named) if not (ROOT / file).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def commands(page: Path) -> list[str]:
    """Command lines of avsync in the page's blocks of shell code, and between backticks."""
    text = page.read_text(encoding="utf-8")
    lines = [line for kind, body in BLOCK.findall(text) if kind != "python"
             for line in body.replace("\\\n", " ").splitlines()]  # fmt: skip
    lines += [span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", BLOCK.sub("", text))]
    called = [re.match(r"\$? ?(?:time |\.venv/bin/|python -m )*avsync (.+)", line.strip()) for line in lines]
    return [call[1] for call in called if call]


def wrong(command: str) -> str | None:
    """What of a command line does not exist: a subcommand or an option."""
    node = get_command(app)
    node.name = "avsync"
    for word in shlex.split(command.partition(" #")[0].replace("...", ""), posix=True):
        known = getattr(node, "commands", None)
        if known and word in known:
            node = known[word]
        elif word.startswith("--"):
            options = [option for p in node.params for option in (*p.opts, *p.secondary_opts)]
            if word.partition("=")[0] not in {*options, "--help", "--version"}:
                return f"{node.name} has no option {word}"
        elif known and re.fullmatch(r"[a-z-]+", word) and not getattr(node, "invoke_without_command", False):
            return f"{node.name} has no command {word}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_and_their_options_exist(page: Path) -> None:
    found = {command: wrong(command.replace("|", " ").replace("'", "")) for command in commands(page)}
    assert {command: fault for command, fault in found.items() if fault} == {}


def test_a_command_that_is_not_there_is_noticed() -> None:
    assert wrong("check clip.mp4 --json") is None
    assert wrong("chekc clip.mp4") == "avsync has no command chekc"
    assert wrong("check clip.mp4 --jason") == "check has no option --jason"


@pytest.mark.slow
@pytest.mark.parametrize("page", SAMPLES, ids=name)
def test_samples_of_python_run(page: Path, talk: Talk, tmp_path: Path) -> None:
    video = tmp_path / "interview.mp4"  # the name that samples give to a video
    shutil.copy(talk(EARLY_MS, duration_s=8), video)
    for code in re.findall(
        r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    ):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_site_builds(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Measure by how much" in (tmp_path / "python.html").read_text(encoding="utf-8")
