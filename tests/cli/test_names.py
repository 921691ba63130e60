"""Names that the locale cannot write, or that are no text at all, work as input, output, folder and in every
kind of report."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems store names as text")

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
LOCALES = {"C": ASCII, "POSIX": {"LC_ALL": "POSIX"}, "ascii output": {"PYTHONIOENCODING": "ascii"}}
REPORTS = ("--csv", "o.csv", "--jsonl", "o.jsonl", "--junit", "o.xml", "--report", "o.html")
UMLAUT, LATIN_1, LINE, COLOUR = b"\xc3\xbc.mp4", b"caf\xe9.mp4", b"a\nb\xc3\xa9.mp4", b"a\x1b[31m\xff.mp4"


def avsync(folder: Path, locale: str, *arguments: bytes | str) -> subprocess.CompletedProcess[bytes]:
    kept = {key: value for key, value in os.environ.items() if key != "LANG" and not key.startswith("LC_")}
    call = [sys.executable, "-m", "avsync", *arguments]
    done = subprocess.run(
        call, check=False, cwd=folder, env=kept | LOCALES[locale], capture_output=True, timeout=300
    )
    said = done.stdout + done.stderr
    assert b"Traceback" not in said and b"bug in avsync" not in said and b"\x1b[31m" not in said, said
    return done


@pytest.mark.parametrize(
    ("locale", "folder", "name"),
    [
        ("C", b"d\xff", LATIN_1),
        *(
            pytest.param(*values, marks=pytest.mark.slow)
            for values in (
                ("C", b"d", UMLAUT),
                ("C", b"d", LINE),
                ("POSIX", b"d\xff", LATIN_1),
                ("POSIX", b"d\xc3\xbc", UMLAUT),
                ("ascii output", b"d\xc3\xbc", UMLAUT),
                ("ascii output", b"d", COLOUR),
                ("ascii output", b"d\xff", LINE),
            )
        ),
    ],
)
def test_any_name_works_in_any_locale(
    made: Callable[[str], Path], tmp_path: Path, locale: str, folder: bytes, name: bytes
) -> None:
    inside = tmp_path / os.fsdecode(folder)
    inside.mkdir()
    (inside / os.fsdecode(name)).write_bytes(made("plain.mp4").read_bytes())
    checked = avsync(inside, locale, "check", name, "--json", *REPORTS)
    assert checked.returncode == 3, checked.stderr
    assert json.loads(checked.stdout)["verdict"] == "cannot-tell"
    assert json.loads((inside / "o.jsonl").read_text("utf-8"))["verdict"] == "cannot-tell"
    assert len(list(csv.reader(io.StringIO((inside / "o.csv").read_text("utf-8", "surrogateescape"))))) >= 2
    assert ElementTree.fromstring((inside / "o.xml").read_text("utf-8")).tag == "testsuites"  # noqa: S314
    assert "<html" in (inside / "o.html").read_text("utf-8")
    out = b"out\xc3\xb6\xfe.mp4"
    repaired = avsync(inside, locale, "fix-offset", name, out, "--offset-ms", "50", "--json")
    assert repaired.returncode == 0 and json.loads(repaired.stdout)["written"]
    assert (inside / os.fsdecode(out)).exists()
    refused = avsync(inside, locale, "fix-offset", name, out, "--offset-ms", "50")
    assert refused.returncode == 2 and refused.stderr.count(b"\n") == 1
