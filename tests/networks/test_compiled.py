"""A compiled checkpoint gives the scores of its network in PyTorch, and is used for that checkpoint alone."""

import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from talk_factory import EARLY_MS, Talk

import avsync
from avsync.audio.waveform import waveform
from avsync.core.errors import ModelError
from avsync.core.records import Clip, Waveform
from avsync.media.probe import probe
from avsync.networks import checkpoint, compiled, embedding, ready, scoring
from avsync.networks.blocks import BLOCK_FRAMES
from avsync.networks.compiled import Compiled
from avsync.networks.library import find
from avsync.networks.windows import MIRRORED_FRAMES, window_starts

NEAR = 0.2
"""Root mean square of the differences between logits, which spread by 3: 0.16 on a made face."""


@pytest.fixture(scope="module")
def model() -> Compiled:
    made = compiled.find(find("avsync-4"))
    assert made is not None, "the bundled model is compiled anew after its weights have changed"
    return made


@pytest.fixture(scope="module")
def spoken(talk: Talk) -> tuple[Clip, Waveform]:
    video = talk(EARLY_MS)
    return next(avsync.mouth_crops(video)), waveform(probe(video))


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the bundled model, with its card and its compiled form."""
    path = find("avsync-4")
    for file in (path, path.with_suffix(".yaml"), compiled.beside(path)):
        shutil.copy(file, tmp_path / file.name)
    return tmp_path / path.name


# --- The same scores ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start_s", "frames"), [(0.0, None), (3.0, None), (0.2137, None), (0.0, MIRRORED_FRAMES)]
)
def test_scores_are_those_of_the_network_in_pytorch(
    model: Compiled, spoken: tuple[Clip, Waveform], start_s: float, frames: int | None
) -> None:
    clip, audio = spoken
    clip = Clip(0, start_s, clip.mouths[:frames], whole=frames is not None)
    audio = Waveform(audio.samples, start_s + audio.start_s)
    starts = window_starts(clip, 1)
    exact = scoring.score_clip(checkpoint.load("avsync-4", "cpu"), clip, starts, audio, 15)
    found = compiled.score_clip(model, clip, starts, audio, 15)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(exact))
    assert np.sqrt(np.nanmean((found - exact) ** 2)) < NEAR < np.nanstd(exact) / 10
    best = np.nanargmax(np.nanmean(exact, axis=0))
    assert np.nanargmax(np.nanmean(found, axis=0)) == best


def test_embeddings_are_those_of_the_network_in_pytorch(
    model: Compiled, spoken: tuple[Clip, Waveform]
) -> None:
    clip, audio = spoken
    cut = Waveform(audio.samples, audio.start_s, gaps=((1.0, 1.5),))
    (exact,) = embedding.embed_clips(checkpoint.load("avsync-4", "cpu"), [clip], cut, stride=3)
    (found,) = compiled.embed_clips(model, [clip], cut, stride=3)
    np.testing.assert_array_equal(found.times_s, exact.times_s)
    heard = np.isfinite(exact.audio)
    np.testing.assert_array_equal(np.isfinite(found.audio), heard)
    error = np.linalg.norm((found.audio - exact.audio)[heard])
    assert error < 0.06 * np.linalg.norm(exact.audio[heard])
    assert np.isnan(exact.audio).any() and not np.isnan(exact.audio).all()
    assert np.linalg.norm(found.visual - exact.visual) < 0.05 * np.linalg.norm(exact.visual)


@pytest.mark.parametrize("stride", [3, 20])
def test_windows_far_apart_score_as_among_all_others(
    model: Compiled, spoken: tuple[Clip, Waveform], stride: int
) -> None:
    clip, audio = spoken
    count = len(window_starts(clip, 1))
    every = compiled.score_clip(model, clip, np.arange(count), audio, 3)
    some = compiled.score_clip(model, clip, np.arange(0, count, stride), audio, 3)
    np.testing.assert_allclose(some, every[::stride], atol=1e-4)


def test_faces_seen_at_once_share_what_is_made_of_their_audio(
    model: Compiled, spoken: tuple[Clip, Waveform]
) -> None:
    """Whatever frame each of them begins at."""
    clip, audio = spoken
    first, second = Clip(0, 0.0, clip.mouths[:60]), Clip(1, 7 / 25, clip.mouths[7:90])
    alone = compiled.score_clip(model, second, np.arange(10, 70), audio, 3)
    blocks = compiled.audio_blocks(model, audio)
    compiled.score_clip(model, first, np.arange(10, 50), audio, 3, blocks)
    made = dict(blocks.kept)
    np.testing.assert_array_equal(
        compiled.score_clip(model, second, np.arange(10, 70), audio, 3, blocks), alone
    )
    assert made and blocks.kept == made


def test_audio_windows_are_the_same_on_either_side_of_the_edge_of_a_block(
    model: Compiled, spoken: tuple[Clip, Waveform]
) -> None:
    clip, audio = spoken
    edge_s = BLOCK_FRAMES / 25
    later = Waveform(audio.samples, edge_s - 2.0)
    frames = np.arange(30)
    whole = compiled.audio_embeddings(
        compiled.audio_blocks(model, later), Clip(0, edge_s, clip.mouths), frames
    )
    across = compiled.audio_embeddings(
        compiled.audio_blocks(model, later), Clip(0, edge_s - 1.0, clip.mouths), frames + 25
    )
    np.testing.assert_allclose(across, whole, atol=1e-4)


# --- Of which checkpoint ------------------------------------------------------------------


def test_a_model_of_a_name_is_compiled_on_the_cpu_unless_float32_is_asked_for() -> None:
    assert isinstance(ready.load("avsync-4", "cpu"), Compiled)
    assert isinstance(ready.load("avsync-4", "cpu", "float32"), checkpoint.Loaded)


def test_it_has_the_name_and_the_calibration_of_its_checkpoint(copied: Path) -> None:
    found, loaded = compiled.find(copied), checkpoint.load(copied, "cpu")
    assert found is not None
    assert (found.name, found.path, found.calibration) == (loaded.name, loaded.path, loaded.calibration)
    assert (found.family, found.crop, found.embeds) == (loaded.family, loaded.crop, loaded.embeds)


def another_checkpoint(path: Path) -> None:
    model = checkpoint.load(path, "cpu")
    checkpoint.save(path, model.model, model.preprocessing, model.info)


def another_card(path: Path) -> None:
    path.with_suffix(".yaml").unlink()


def no_file(path: Path) -> None:
    compiled.beside(path).unlink()


def no_archive(path: Path) -> None:
    compiled.beside(path).write_bytes(b"PK" + bytes(100))


def another_version(path: Path) -> None:
    rewritten(path, lambda content: content.replace(b'"format": 1', b'"format": 2'))


def no_number(path: Path) -> None:
    rewritten(path, lambda content: re.sub(rb'("audio_context": )(\d+)', rb'\1"\2"', content))


def no_object(path: Path) -> None:
    rewritten(path, lambda _: b"[1, 2]")


def deep(path: Path) -> None:
    rewritten(path, lambda _: b"[" * 100_000)


def encrypted(path: Path) -> None:
    content = compiled.beside(path).read_bytes()
    at = content.index(b"PK\x01\x02") + 8  # the flags in the archive's table
    compiled.beside(path).write_bytes(content[:at] + b"\x01" + content[at + 1 :])


def damaged_graph(path: Path) -> None:
    content = bytearray(compiled.beside(path).read_bytes())
    content[2000:6000] = bytes(4000)
    compiled.beside(path).write_bytes(content)


def no_graph(path: Path) -> None:
    with zipfile.ZipFile(compiled.beside(path)) as archive:
        about = archive.read("about.json")
    with zipfile.ZipFile(compiled.beside(path), "w") as archive:
        archive.writestr("about.json", about)


def compressed(path: Path) -> None:
    rewritten(path, lambda content: content, zipfile.ZIP_DEFLATED)


def rewritten(path: Path, about, kind: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(compiled.beside(path)) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(compiled.beside(path), "w", kind) as archive:
        for name, each in content.items():
            archive.writestr(name, about(each) if name == "about.json" else each)


@pytest.mark.parametrize(
    "change",
    [
        another_checkpoint,
        another_card,
        no_file,
        no_archive,
        another_version,
        no_number,
        no_object,
        deep,
        encrypted,
        compressed,
        damaged_graph,
        no_graph,
    ],
    ids=lambda change: change.__name__,
)
def test_without_a_compiled_form_of_its_own_a_checkpoint_is_run_by_pytorch(copied: Path, change) -> None:
    change(copied)
    assert compiled.find(copied) is None
    assert isinstance(ready.load(str(copied), "cpu"), checkpoint.Loaded)


@pytest.mark.parametrize("graph", compiled.GRAPHS)
def test_a_graph_that_does_not_belong_to_the_others_is_named(copied: Path, graph: str) -> None:
    other = {"frames": "lips", "lips": "audio", "audio": "lips"}[graph]
    with zipfile.ZipFile(compiled.beside(copied)) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(compiled.beside(copied), "w") as archive:
        for name in content:
            archive.writestr(name, content[f"{other}.onnx" if name == f"{graph}.onnx" else name])
    found = compiled.find(copied)
    assert found is not None
    with pytest.raises(ModelError, match=f"is damaged .the graph {graph} is another's"):
        getattr(found, graph)


def test_the_report_names_what_ran_the_model(talk: Talk) -> None:
    """And either way gives the same answer."""
    quick = avsync.check(talk(EARLY_MS), device="cpu")
    exact = avsync.check(talk(EARLY_MS), device="cpu", precision="float32")
    assert quick.runtime is not None and exact.runtime is not None
    assert quick.runtime.startswith("onnxruntime 1.") and quick.runtime.endswith(", int8")
    assert exact.runtime.startswith("PyTorch 2.") and exact.runtime.endswith(", float32")
    assert quick.verdict == exact.verdict == "out-of-sync"
    assert quick.offset_ms == pytest.approx(exact.offset_ms, abs=5)
