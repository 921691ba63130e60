"""Whatever a file holds that someone hands over, it is read or refused in one sentence: profiles,
avsync.toml, recipes, lists of training data, delays, groups, prepared data, reports.

Lists of videos, playlists, ledgers, cards and weights have tests of their own beside their modules.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avsync.bench.data import read_groups
from avsync.core.config import SETTINGS, read_config
from avsync.core.document import from_dict, to_dict
from avsync.core.errors import AvsyncError
from avsync.core.options import check_options
from avsync.core.profiles import load_profile
from avsync.core.report import Report
from avsync.data.labels import read_delays, read_recordings
from avsync.data.shards import read_shards
from avsync.data.sources import find_sources
from avsync.distill.recipe import read_recipe

pytestmark = pytest.mark.fuzz

unhurried = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(
        ["ebu", "mtd", "avsync-4", "..", "/etc/passwd", "1e999", "\0", "!!python/name:os.system"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def mappings(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    """A mapping with some of these names, and perhaps another."""
    return st.dictionaries(st.sampled_from(names) | st.text(max_size=6), PLAIN, max_size=4)


def contents(write: Callable[[Any], str], *names: str) -> st.SearchStrategy[bytes]:
    """Bytes of any kind, and such mappings as `write` writes them."""
    written = (mappings(*names) | PLAIN).map(write).map(lambda text: text.encode("utf-8", "surrogatepass"))
    return st.binary(max_size=80) | written


as_yaml = partial(yaml.safe_dump, allow_unicode=True)


def as_toml(values: Any) -> str:
    lines = [f"{json.dumps(name)} = {json.dumps(value)}" for name, value in dict(values).items()]
    return "[check]\n" + "\n".join(lines)


def refused_in_a_sentence(read: Callable[[], Any]) -> None:
    """Reads, or raises an error of avsync's whose sentence is short."""
    try:
        read()
    except AvsyncError as error:
        assert 10 < len(str(error)) < 3000


PROFILE = ("standard", "tolerance_ms", "max_drift_ms_per_min", "min_judged", "min_fault_s", "source")


@unhurried
@given(contents(as_yaml, *PROFILE))
def test_a_profile(tmp_path: Path, content: bytes):
    path = tmp_path / "house.yaml"
    path.write_bytes(content)
    refused_in_a_sentence(lambda: check_options(profile=str(path), **load_profile(str(path)).options))


@unhurried
@given(st.binary(max_size=80) | mappings(*SETTINGS).map(as_toml).map(str.encode))
def test_the_defaults_of_a_project(tmp_path: Path, content: bytes):
    path = tmp_path / "avsync.toml"
    path.write_bytes(content)
    refused_in_a_sentence(lambda: check_options(**read_config(path)))


RECIPE = (
    "method",
    "student",
    "teacher",
    "weighting",
    "weights",
    "layers",
    "terms",
    "augment",
    "delays",
    "seed",
)
RECIPE += ("epochs", "batch", "learning_rate", "data", "cache", "temperature")


@unhurried
@given(contents(as_yaml, *RECIPE))
def test_a_recipe(tmp_path: Path, content: bytes):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    refused_in_a_sentence(lambda: read_recipe(path))


@pytest.mark.parametrize(
    "text", ["a: &a [x]\nb: [*a, *a]\n", "[" * 20_000, "a: " + "9" * 5000 + "\n", "\ufeff{", ""]
)
def test_a_recipe_of_a_kind_that_parsers_fall_for(tmp_path: Path, text: str):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    refused_in_a_sentence(lambda: read_recipe(path))


@unhurried
@given(contents(json.dumps, "a/b", "c"), st.sampled_from([".json", ".yaml"]))
def test_delays_and_groups(tmp_path: Path, content: bytes, suffix: str):
    path = tmp_path / f"known{suffix}"
    path.write_bytes(content)
    refused_in_a_sentence(lambda: read_delays(str(path)))
    refused_in_a_sentence(lambda: read_groups(path))


@pytest.mark.parametrize(
    "text", ["[" * 200_000, "9" * 10_000, '{"a/b": NaN}', '{"a/b": 1e999}', '{"a/b": {}}']
)
def test_delays_of_a_kind_that_parsers_fall_for(tmp_path: Path, text: str):
    path = tmp_path / "known.json"
    path.write_text(text)
    with pytest.raises(AvsyncError):
        read_delays(str(path))
    refused_in_a_sentence(lambda: read_groups(path))


CSV = st.binary(max_size=200) | st.text('pathsplitidrecording,;"\r\n\0 .mp4train', max_size=120).map(
    str.encode
)


@unhurried
@given(CSV, st.sampled_from([b"", b"path,split\n", b"id,recording\n", b"path,split,id\na.mp4,"]))
def test_lists_of_training_data(tmp_path: Path, rows: bytes, head: bytes):
    path = tmp_path / "clips.csv"
    path.write_bytes(head + rows)
    refused_in_a_sentence(lambda: find_sources(path))
    refused_in_a_sentence(lambda: read_recordings(path))


@pytest.mark.parametrize(
    "rows", [b"\0.mp4,train\n", b'"' + b"x" * 200_000, b"a.mp4,train\n\0,val\n", b"\xff,train\n"]
)
def test_lists_of_a_kind_that_parsers_fall_for(tmp_path: Path, rows: bytes):
    path = tmp_path / "clips.csv"
    path.write_bytes(b"path,split\n" + rows)
    refused_in_a_sentence(lambda: find_sources(path))
    refused_in_a_sentence(lambda: read_recordings(path))


@unhurried
@given(contents(json.dumps, "format", "clips", "broken"))
def test_prepared_data(tmp_path: Path, content: bytes):
    (tmp_path / "00000.json").write_bytes(content)
    refused_in_a_sentence(lambda: read_shards(tmp_path))


@unhurried
@given(mappings(*to_dict(Report("a.mp4", "in-sync"))))
def test_a_report(changed: dict[str, Any]):
    document = {**to_dict(Report("a.mp4", "in-sync")), **changed}
    with suppress(ValueError):  # which those that read documents expect
        from_dict(document)
