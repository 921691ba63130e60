"""Whole faces come from the clips' own files, frame for frame as they were prepared."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from distill_factory import wav2lip_clip
from talk_factory import Talk

from avsync.core.constants import WHOLE_FACE_SIZE
from avsync.core.errors import MediaError
from avsync.data.cut import cut_video, face_frames
from avsync.data.shards import StoredClip
from avsync.faces.crop import padded_face


def clip(path: Path, frames: int) -> StoredClip:
    return StoredClip("a/1", "test", str(path), "", frames, 0, 25.0)


def test_a_prepared_folder_gives_its_frames(tmp_path: Path) -> None:
    wav2lip_clip(tmp_path / "clip", 0, frames=12)
    assert face_frames(clip(tmp_path / "clip", 12)).shape == (12, WHOLE_FACE_SIZE, WHOLE_FACE_SIZE, 3)


def test_a_video_gives_as_many_faces_as_mouths(talk: Talk) -> None:
    video = talk(duration_s=1.0)
    mouths = cut_video(video).frames
    faces = face_frames(clip(video, len(mouths)))
    assert faces.shape == (len(mouths), WHOLE_FACE_SIZE, WHOLE_FACE_SIZE, 3)
    assert faces.std() > 10


def test_a_file_that_is_gone_or_changed_is_reported(tmp_path: Path) -> None:
    wav2lip_clip(tmp_path / "clip", 0, frames=12)
    with pytest.raises(MediaError, match="has changed"):
        face_frames(clip(tmp_path / "clip", 13))
    with pytest.raises(MediaError, match="is gone"):
        face_frames(replace(clip(tmp_path / "clip", 12), source=str(tmp_path / "nothing")))


@pytest.mark.parametrize("size", [(400, 300), (2400, 1800)])
def test_the_face_s_centre_lies_above_the_middle_whatever_the_size(size: tuple[int, int]) -> None:
    width, height = size
    image = np.zeros((height, width, 3), np.uint8)
    box = np.array([0.25, 0.2, 0.75, 0.8], np.float32)
    radius = width // 40
    image[height // 2 - radius : height // 2 + radius, width // 2 - radius : width // 2 + radius] = 255
    rows, columns = np.nonzero(padded_face(image, box)[..., 0] > 127)
    assert columns.mean() == pytest.approx(WHOLE_FACE_SIZE / 2 - 0.5, abs=0.6)
    assert rows.mean() == pytest.approx(WHOLE_FACE_SIZE / 2.8 - 0.5, abs=0.6)
