"""LSE-D and LSE-C of whole videos by SyncNet, and the same measures of other models under their own names."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from seeded import public_shapes, state_dict
from talk_factory import Talk

from avsync import api
from avsync.bench import generated
from avsync.core.errors import UsageError
from avsync.core.records import Clip, Waveform
from avsync.data.cut import cut_video, face_frames
from avsync.data.shards import StoredClip
from avsync.networks.checkpoint import load
from avsync.networks.scoring import audio_tokens, audio_windows, visual_tokens
from avsync.networks.syncnet import face_distance

FRAMES = 50


@pytest.fixture(scope="module")
def ground(talk: Talk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two synthetic talking heads, a file without video, and random weights in SyncNet's public format."""
    root = tmp_path_factory.mktemp("generated")
    (root / "videos").mkdir()
    for seed in (1, 2):
        shutil.copy(talk(seed=seed, duration_s=FRAMES / 25), root / "videos" / f"{seed}.mp4")
    (root / "videos" / "broken.mp4").write_bytes(b"no video")
    torch.save(state_dict(public_shapes("syncnet_state_dict.json")), root / "syncnet_v2.model")
    return root


@pytest.fixture(scope="module")
def report(ground: Path):
    return api.check(ground / "videos" / "1.mp4", model=ground / "syncnet_v2.model", stride=1)


@pytest.mark.slow
def test_syncnet_checks_whole_videos_and_gives_its_own_answer(report) -> None:
    (track,) = report.tracks
    assert track.syncnet is not None
    assert track.syncnet.windows == FRAMES - 5 and track.windows == FRAMES - 4
    assert track.syncnet.distance > 0 and track.syncnet.confidence >= 0


def test_the_distances_are_those_of_the_face_alone(ground: Path, report) -> None:
    """As the public evaluation has it: cut the face, embed every window of it and of its own audio, pad with
    zeros, take the best of the mean distances of 31 offsets."""
    path = ground / "videos" / "1.mp4"
    loaded = load(ground / "syncnet_v2.model", "cpu")
    cut = cut_video(path)
    stored = StoredClip("1", "test", str(path), "", len(cut.frames), len(cut.wave), 25.0)
    clip, n = Clip(0, 0.0, face_frames(stored)), len(cut.frames) - 5
    sound = Waveform(cut.wave.astype(np.float32) / np.float32(32768), 0.0)
    with torch.inference_mode():
        video = visual_tokens(loaded, clip.mouths, np.arange(n)).numpy()
        audio = audio_tokens(loaded, audio_windows(clip, sound, 0, "mfcc")[:n]).numpy()
    expected, found = face_distance(video, audio), report.tracks[0].syncnet
    assert found.windows == expected.windows == n
    assert found.distance == pytest.approx(expected.distance, rel=0.01)
    assert found.confidence == pytest.approx(expected.confidence, abs=0.02 * expected.distance)


@pytest.mark.slow
def test_a_folder_is_tabulated_by_file_and_face(ground: Path) -> None:
    paths = sorted((ground / "videos").glob("*.mp4"))
    found = list(generated.measured(paths, "avsync-4", str(ground / "syncnet_v2.model"), "cpu"))
    assert [video.verdict == "error" for video in found] == [False, False, True]
    assert set(found[0].faces[0].measures) == {"LSE-D", "LSE-C"}
    summary = generated.summarise(found)
    assert (summary["videos"], summary["with_a_face"]) == (3, 2)
    lse = summary["measures"]["LSE-D"]
    values = [video.faces[0].measures["LSE-D"] for video in found[:2]]
    assert lse["count"] == 2 and lse["mean"] == pytest.approx(np.mean(values), abs=1e-3)
    assert lse["low"] <= lse["mean"] <= lse["high"]
    rows = list(csv.DictReader(generated.to_csv(found).splitlines()))
    assert [row["LSE-D"] != "" for row in rows] == [True, True, False] and rows[2]["message"]
    json.dumps([generated.as_dict(video) for video in found], allow_nan=False)


def test_without_syncnet_the_measures_bear_the_models_name(ground: Path) -> None:
    (video,) = generated.measured([ground / "videos" / "1.mp4"], "avsync-4", None, "cpu")
    (face,) = video.faces
    assert set(face.measures) == {"avsync-4 peak", "avsync-4 margin"}
    assert face.measures["avsync-4 margin"] > 0
    assert not any("LSE" in name for name in generated.summarise([video])["measures"])


def test_lse_of_another_network_is_refused(ground: Path) -> None:
    with pytest.raises(UsageError, match="not a SyncNet"):
        list(generated.measured([ground / "videos" / "1.mp4"], "avsync-4", "avsync-4", "cpu"))
