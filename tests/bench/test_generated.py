"""LSE-D and LSE-C of whole videos by SyncNet, and the same measures of other models under their own names."""

import csv
import json
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
from avsync.core.report import Report
from avsync.data.cut import cut_video, face_frames
from avsync.data.shards import StoredClip
from avsync.networks.checkpoint import load
from avsync.networks.scoring import audio_tokens, audio_windows, visual_tokens
from avsync.networks.syncnet import face_distance

FRAMES = 50


@pytest.fixture(scope="session")
def video(talk: Talk) -> Path:
    return talk(seed=1, duration_s=FRAMES / 25)


@pytest.fixture(scope="module")
def syncnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in SyncNet's public format."""
    path = tmp_path_factory.mktemp("syncnet") / "syncnet_v2.model"
    torch.save(state_dict(public_shapes("syncnet_state_dict.json")), path)
    return path


@pytest.fixture(scope="module")
def report(video: Path, syncnet: Path) -> Report:
    return api.check(video, model=syncnet, stride=1)


@pytest.mark.slow
def test_syncnet_checks_whole_videos_and_gives_its_own_answer(report: Report) -> None:
    (track,) = report.tracks
    assert track.syncnet is not None
    assert track.syncnet.windows == FRAMES - 5 and track.windows == FRAMES - 4
    assert track.syncnet.distance > 0 and track.syncnet.confidence >= 0


@pytest.mark.slow
def test_the_distances_are_those_of_the_face_alone(video: Path, syncnet: Path, report: Report) -> None:
    """As the public evaluation has it: cut the face, embed every window of it and of its own audio, pad with
    zeros, take the best of the mean distances of 31 offsets."""
    loaded = load(syncnet, "cpu")
    cut = cut_video(video)
    stored = StoredClip("1", "test", str(video), "", len(cut.frames), len(cut.wave), 25.0)
    clip, n = Clip(0, 0.0, face_frames(stored)), len(cut.frames) - 5
    sound = Waveform(cut.wave.astype(np.float32) / np.float32(32768), 0.0)
    with torch.inference_mode():
        visual = visual_tokens(loaded, clip.mouths, np.arange(n)).numpy()
        audio = audio_tokens(loaded, audio_windows(clip, sound, 0, "mfcc")[:n]).numpy()
    expected, found = face_distance(visual, audio), report.tracks[0].syncnet
    assert found is not None
    assert found.windows == expected.windows == n
    assert found.distance == pytest.approx(expected.distance, rel=0.01)
    assert found.confidence == pytest.approx(expected.confidence, abs=0.02 * expected.distance)


@pytest.mark.slow
def test_a_folder_is_tabulated_by_file_and_face(
    talk: Talk, video: Path, syncnet: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    paths = [video, talk(seed=2, duration_s=FRAMES / 25), tmp_path / "broken.mp4"]
    found = list(generated.measured(paths, "avsync-4", str(syncnet), "cpu"))
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


def test_without_syncnet_the_measures_carry_the_models_name(video: Path) -> None:
    (measured,) = generated.measured([video], "avsync-4", None, "cpu")
    (face,) = measured.faces
    assert set(face.measures) == {"avsync-4 peak", "avsync-4 margin"}
    assert face.measures["avsync-4 margin"] > 0
    assert not any("LSE" in name for name in generated.summarise([measured])["measures"])


def test_lse_of_another_network_is_refused(video: Path) -> None:
    with pytest.raises(UsageError, match="not a SyncNet"):
        list(generated.measured([video], "avsync-4", "avsync-4", "cpu"))
