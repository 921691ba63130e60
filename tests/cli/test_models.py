"""avsync models: what is listed, described, converted and refused."""

import json
from pathlib import Path

from command import run

from avsync.core.constants import DEFAULT_MODEL


def test_the_list_gives_every_path_whole_on_its_line():
    listed = json.loads(run("models", "list", "--json").stdout)
    lines = run("models", "list").stdout.splitlines()
    for entry in listed:
        (line,) = (line for line in lines if line.split()[0] == entry["name"])
        assert (entry["path"] or "") in line


def test_models_are_listed_with_those_that_could_be_fetched():
    listed = json.loads(run("models", "list", "--json").stdout)
    assert {"mtdvocalist", "vocalist"} <= {entry["name"] for entry in listed}
    assert "avsync models fetch mtdvocalist" in run("models", "list").stdout or any(
        entry["name"] == "mtdvocalist" and entry["path"] for entry in listed
    )


def test_an_unknown_model_is_one_sentence():
    done = run("models", "info", "nope")
    assert done.exit_code == 4
    assert done.stderr.count("\n") == 1


def test_convert_writes_one_kind_of_file_and_replaces_none(tmp_path: Path):
    target = tmp_path / "mine.safetensors"
    assert run("models", "convert", DEFAULT_MODEL, tmp_path / "mine.pth").exit_code == 2
    target.write_bytes(b"somebody else's")
    done = run("models", "convert", DEFAULT_MODEL, target)
    assert (done.exit_code, target.read_bytes()) == (2, b"somebody else's")
    assert "--force" in done.stderr
