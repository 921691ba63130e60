"""A checkpoint is found, verified and loaded, or refused in one sentence."""

import json
import random
import resource
import struct
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import yaml
from disk_factory import short_of_space
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from avsync.core.errors import ModelError, OutputError, UsageError
from avsync.networks import checkpoint, library
from avsync.networks.base import Preprocessing
from avsync.networks.dims import Dims
from avsync.networks.registry import ARCHITECTURES, AnyDims, build_network
from avsync.networks.vocalist import VocaLiST

pytestmark = pytest.mark.usefixtures("user_cache")

TINY = Dims(front_end="frame2d", channels=(4, 4, 8, 8, 16), d_model=16, heads=4, layers=2)

CALIBRATION = {"temperature": 2.0, "weights": [1, 2, 3, 4, 5]}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = VocaLiST(TINY).eval()
    info = {"licence": "none", "calibration": CALIBRATION}
    return checkpoint.save(tmp_path / "tiny", model, Preprocessing("bgr", 1.0), info)


def test_what_was_saved_is_what_loads(saved: Path) -> None:
    loaded = checkpoint.load(saved, "cpu")
    torch.manual_seed(0)
    for key, value in VocaLiST(TINY).state_dict().items():
        torch.testing.assert_close(loaded.model.state_dict()[key], value)
    assert loaded.model.dims == TINY
    assert not loaded.model.training
    assert loaded.preprocessing == Preprocessing("bgr", 1.0)
    assert loaded.calibration == CALIBRATION
    assert loaded.name == "tiny"


def test_a_name_with_a_dot_stays_whole(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path / "v1.5", VocaLiST(TINY), Preprocessing())
    assert path == tmp_path / "v1.5.safetensors"
    assert checkpoint.load(path).name == "v1.5"


def test_half_precision_on_disk_loads_as_float32(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path / "half", VocaLiST(TINY), Preprocessing(), dtype=torch.float16)
    assert checkpoint.load(path, "cpu").model.state_dict()["fc.weight"].dtype == torch.float32
    assert path.stat().st_size < 1.3 * 2 * sum(p.numel() for p in VocaLiST(TINY).parameters()) + 40_000


def test_nothing_else_is_left_in_the_folder(saved: Path) -> None:
    assert sorted(p.name for p in saved.parent.iterdir()) == ["tiny.safetensors", "tiny.yaml"]


def test_a_name_is_looked_up_in_the_users_folder_first(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVSYNC_MODELS", str(saved.parent))
    assert library.find("tiny") == saved
    assert "tiny" in library.available()
    assert checkpoint.describe("tiny")["parameters"] == sum(p.numel() for p in VocaLiST(TINY).parameters())


def test_a_damaged_file_is_refused(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    content[-5] ^= 1
    saved.write_bytes(content)
    with pytest.raises(ModelError, match="damaged"):
        checkpoint.load(saved)
    content[20] ^= 1
    saved.write_bytes(content)
    saved.with_suffix(".yaml").unlink()
    with pytest.raises(ModelError, match="damaged"):
        checkpoint.load(saved)


def test_one_file_is_a_whole_checkpoint(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "moved").mkdir()
    alone = saved.rename(tmp_path / "moved" / "other.safetensors")
    loaded = checkpoint.load(alone, "cpu")
    assert loaded.preprocessing == Preprocessing("bgr", 1.0)
    assert loaded.calibration == CALIBRATION


def test_a_crash_between_weights_and_card_leaves_a_checkpoint(saved: Path) -> None:
    """New weights with the old card beside them are what such a crash leaves."""
    old = saved.with_suffix(".yaml").read_bytes()
    torch.manual_seed(1)
    other = VocaLiST(TINY).eval()
    checkpoint.save(saved, other, Preprocessing("rgb", 0.5))
    saved.with_suffix(".yaml").write_bytes(old)
    loaded = checkpoint.load(saved, "cpu")
    assert loaded.preprocessing == Preprocessing("rgb", 0.5)
    torch.testing.assert_close(loaded.model.state_dict()["fc.weight"], other.state_dict()["fc.weight"])


def changed_card(saved: Path, **changes: object) -> None:
    card = saved.with_suffix(".yaml")
    card.write_text(yaml.safe_dump({**yaml.safe_load(card.read_text()), **changes}))


def test_what_is_added_to_the_card_beside_counts(saved: Path) -> None:
    changed_card(saved, calibration={"temperature": 9.0})
    assert checkpoint.load(saved, "cpu").calibration == {"temperature": 9.0}


@pytest.mark.parametrize(
    "dims",
    [
        {"layers": 3},
        {"d_model": 6000, "channels": [4, 4, 8, 8, 6000]},
        {"d_model": 10**30, "channels": [4, 4, 8, 8, 10**30]},
        {"layers": 10**9},
        {"d_model": [16]},
        {"channels": 5},
        {"channels": [4, "x", 8, 8, 16]},
        {"heads": 0},
        {"layers": "2"},
        {"d_model": 16.5},
        {"family": ["avst"]},
        {"family": "avst", "channels": 3},
    ],
)
def test_a_card_of_another_shape_is_refused_before_a_network_is_built(
    saved: Path, dims: dict[str, object]
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    changed_card(saved, dims={**TINY.to_dict(), **dims})
    with pytest.raises(ModelError, match=r"tiny\.safetensors"):
        checkpoint.load(saved)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize("dims", [*dict.fromkeys(ARCHITECTURES.values()), TINY])
def test_every_architecture_is_known_by_its_shapes(dims: AnyDims) -> None:
    assert checkpoint.build(dims, build_network(dims).state_dict(), Path("x.pth")).dims == dims


@pytest.mark.parametrize(
    "preprocessing",
    [
        None,
        [],
        {"channels": ["rgb"], "scale": 1},
        {"channels": "rgb", "scale": [1]},
        {"channels": "rgb", "scale": float("nan")},
        {"channels": "cmyk", "scale": 1.0},
    ],
)
def test_preprocessing_that_makes_no_sense_is_refused(saved: Path, preprocessing: object) -> None:
    changed_card(saved, preprocessing=preprocessing)
    with pytest.raises(ModelError, match="does not say how frames are preprocessed"):
        checkpoint.load(saved)


BOMB = "format: 1\na: &a [x, x]\n" + "".join(
    f"{name}: &{name} [*{before}, *{before}]\n" for before, name in pairwise("abcdefghijklmnopqrstuvwxyz")
)


@pytest.mark.parametrize(
    "card",
    ["[1, 2", "just words", "format: 99", "[" * 1100, "a: \0", BOMB, "a: " + "b" * 300_000, "t: 2026-99-99"],
)
def test_a_card_that_is_not_ours_is_refused(saved: Path, card: str) -> None:
    saved.with_suffix(".yaml").write_text(card)
    with pytest.raises(ModelError, match=r"tiny\.yaml"):
        checkpoint.load(saved)


LIKE_YAML = st.text(alphabet="abc:-[]{}&*!|>%@#'\" \n\t0123.", max_size=80).map(str.encode)


@pytest.mark.fuzz
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | LIKE_YAML)
def test_whatever_a_card_holds_it_is_refused(saved: Path, card: bytes) -> None:
    for content in (card, b"format: 1\nsha256: 0\n" + card):
        saved.with_suffix(".yaml").write_bytes(b"tensors: [" + content)
        with pytest.raises(ModelError):
            checkpoint.load(saved)


TENSOR = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16", "I64", "F4", "x", 5]),
        "shape": st.lists(st.integers(-2, 1 << 62), max_size=4),
        "data_offsets": st.lists(st.integers(-2, 1 << 62), max_size=3),
    }
)
HEADER = st.dictionaries(st.sampled_from(["fc.weight", "__metadata__", "a"]), TENSOR | st.text(max_size=5))


@pytest.mark.fuzz
@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    HEADER.map(lambda header: json.dumps(header).encode()) | st.binary(max_size=60),
    st.none() | st.integers(0, 1 << 63),
)
def test_whatever_the_head_of_weights_claims_it_is_refused(
    tmp_path: Path, head: bytes, length: int | None
) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(head) if length is None else length) + head + bytes(64))
    with pytest.raises(ModelError):
        checkpoint.load(path)


@pytest.mark.fuzz
@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 1 << 30), st.integers(1, 40))
def test_whatever_was_done_to_a_pickle_it_is_read_or_refused(tmp_path: Path, seed: int, changes: int) -> None:
    chance, path = random.Random(seed), tmp_path / "a.pth"
    torch.save({"state_dict": {"fc.weight": torch.zeros(4, 2), "n": torch.tensor(1)}}, path)
    damaged = bytearray(path.read_bytes())
    for _ in range(changes):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    path.write_bytes(damaged)
    with pytest.raises(ModelError):
        checkpoint.load(path)


def test_a_missing_card_or_file_or_name_says_what_to_do(saved: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.safetensors"
    save_file({"fc.weight": torch.zeros(2)}, bare)
    with pytest.raises(ModelError, match="holds no card, and there is none beside it"):
        checkpoint.load(bare)
    with pytest.raises(ModelError, match="no checkpoint at"):
        checkpoint.load(tmp_path / "none.pth")
    with pytest.raises(ModelError, match="models list"):
        checkpoint.load("unheard-of")
    with pytest.raises(ModelError, match="mtdvocalist"):
        checkpoint.load("mtdvocalist")
    with pytest.raises(ModelError, match="vskadandale/vocalist"):
        checkpoint.load("vocalist")


def test_a_full_disk_is_one_sentence_and_leaves_nothing(saved: Path, tmp_path: Path) -> None:
    """A limit on the size of files ends writing as a full disk does: with an error from the system."""
    target = tmp_path / "full" / "copy.safetensors"
    with short_of_space(), pytest.raises(OutputError) as error:
        checkpoint.convert(saved, target)
    assert str(error.value) == f"Cannot write the checkpoint {target}: File too large."
    assert list(target.parent.iterdir()) == []


def test_cuda_without_a_gpu_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert checkpoint.pick_device("auto") == torch.device("cpu")
    with pytest.raises(UsageError, match="no CUDA GPU"):
        checkpoint.pick_device("cuda")
    with pytest.raises(UsageError, match="no device called"):
        checkpoint.pick_device("abacus")
