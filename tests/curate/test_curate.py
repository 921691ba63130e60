"""`avsync curate` end to end: a made video with a known offset becomes clips that are in sync."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from clap_factory import PAIRS, clap, lag_ms
from command import run
from talk_factory import Talk

import avsync
from avsync.audio.waveform import waveform
from avsync.core.records import Waveform
from avsync.curate.cut import SIZE, corrected, cut, square
from avsync.curate.select import Stretch
from avsync.data.sources import find_sources
from avsync.media.probe import probe


def test_early_audio_is_taken_from_before_the_stretch_and_late_audio_from_after():
    audio = Waveform(np.arange(16_000, dtype=np.float32), 0.0)
    assert corrected(audio, 0.5, 0.6, 100)[0] == 6_400
    assert corrected(audio, 0.5, 0.6, -100)[0] == 9_600
    assert len(corrected(audio, 0.5, 0.6, 100)) == 1_600


def test_beyond_the_audio_there_is_silence():
    audio = Waveform(np.ones(16_000, np.float32), 0.2)
    assert corrected(audio, 0.0, 1.4, 0).sum() == 16_000


@pytest.mark.parametrize("start_s", [1.0, 1.013, 1.02, 1.039])
def test_audio_and_frames_of_a_clip_begin_together_wherever_the_stretch_does(tmp_path: Path, start_s: float):
    media = probe(clap(tmp_path / "clap.mkv", *PAIRS["h264-pcm_s16le.mkv"]))
    boxes = ((0.0, 0.2, 0.2, 0.8, 0.8), (3.0, 0.2, 0.2, 0.8, 0.8))
    stretch = Stretch(start_s, 3.0, 0, 0.0, 9.0, 0.97, 0.97, 1.0, 100.0, boxes)
    clip = cut(media, waveform(media), stretch, tmp_path / "cut.mp4")
    assert lag_ms(clip) == pytest.approx(0, abs=8)


def test_the_square_is_centred_on_the_face():
    image = np.zeros((200, 300, 3), np.uint8)
    image[90:110, 190:210] = 255
    cut = square(image, 200, 100, 80)
    rows, columns = np.nonzero(cut[..., 0] > 128)
    assert cut.shape == (SIZE, SIZE, 3)
    assert (rows.mean(), columns.mean()) == pytest.approx((SIZE / 2 - 0.5, SIZE / 2 - 0.5), abs=1)
    assert rows.max() - rows.min() == pytest.approx(20 * SIZE / 80, abs=2)


@pytest.fixture(scope="module")
def curated(talk: Talk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("curated")
    (folder / "in").mkdir()
    shutil.copy(talk(240, duration_s=8), folder / "in/talk.mp4")
    (folder / "in/broken.mp4").write_bytes(b"no video")
    done = run("curate", folder / "in", "--out", folder / "list.csv", "--cut", folder / "clips", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["kept"] >= 1
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_the_list_has_offsets_and_clips_and_what_was_dropped(curated: Path):
    kept = rows(curated / "list.csv")
    assert all(float(row["offset_ms"]) == pytest.approx(240, abs=25) for row in kept)
    assert all((curated / row["path"]).is_file() for row in kept)
    assert {row["why"] for row in rows(curated / "list.dropped.csv")} >= {"error"}


@pytest.mark.slow
def test_what_was_cut_is_in_sync_and_is_training_data(curated: Path):
    sources = find_sources(curated / "list.csv")
    assert len(sources) == len(rows(curated / "list.csv"))
    longest = max(sources, key=lambda source: probe(source.path).duration_s)
    video = probe(longest.path).video
    assert video is not None
    assert (video.width, video.height) == (SIZE, SIZE)
    report = avsync.check(longest.path, stride=1)
    assert report.offset_ms == pytest.approx(0, abs=30)


@pytest.mark.slow
def test_a_second_run_does_nothing_again(curated: Path):
    clips = {path: path.stat().st_mtime_ns for path in curated.glob("clips/**/*.mp4")}
    before = (curated / "list.csv").read_bytes()
    done = run("curate", curated / "in", "--out", curated / "list.csv", "--cut", curated / "clips")
    assert done.exit_code == 0, done.stderr
    assert "1 of 2 videos are done already" in done.stderr
    assert (curated / "list.csv").read_bytes() == before
    assert {path: path.stat().st_mtime_ns for path in curated.glob("clips/**/*.mp4")} == clips


def test_a_list_never_replaces_a_file_of_another_kind(early: Path, tmp_path: Path):
    (tmp_path / "mine.csv").write_text("name,phone\n")
    done = run("curate", early, "--out", tmp_path / "mine.csv")
    assert done.exit_code == 2
    assert (tmp_path / "mine.csv").read_text() == "name,phone\n"
