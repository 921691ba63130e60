"""A moving mouth is distinguished from a still face, even if the head or the camera shakes."""

import numpy as np
import pytest

from avsync.core.records import Clip
from avsync.faces import motion


def face(opening: float, x: int = 0, y: int = 0, seed: int = 0) -> np.ndarray:
    """The lower half of a drawn face whose mouth is open by `opening` pixels, moved as a whole."""
    rows, columns = np.mgrid[0:48, 0:96]
    skin = 150 + 40 * np.cos((columns - x - 48) / 25) + 8 * np.sin((columns - x) / 3) * np.sin((rows - y) / 3)
    skin[((columns - x - 48) / 16) ** 2 + ((rows - y - 18) / (0.5 + opening)) ** 2 < 1] = 40
    noise = np.random.default_rng(seed).normal(0, 1.5, skin.shape)
    return np.repeat((skin + noise).clip(0, 255)[..., None], 3, axis=2).astype(np.uint8)


def clip(openings, xs=None) -> Clip:
    xs = np.zeros(len(openings), int) if xs is None else xs
    frames = [face(o, x, seed=i) for i, (o, x) in enumerate(zip(openings, xs, strict=True))]
    return Clip(3, 10.0, np.stack(frames))


TALK = 4 + 4 * np.sin(np.arange(100) * 0.9)
STILL = np.full(100, 3.0)
SHAKE = np.rint(2 * np.sin(np.arange(100) * 0.5)).astype(int)


@pytest.mark.parametrize("xs", [None, SHAKE], ids=["steady", "shaken"])
def test_a_talking_mouth_moves_and_a_still_one_does_not(xs):
    assert np.median(motion.mouth_motion(clip(TALK, xs).mouths)) > 2 * motion.MOVES
    assert np.median(motion.mouth_motion(clip(STILL, xs).mouths)) < motion.MOVES


def test_windows_are_told_apart_in_time():
    pieces: dict[int, motion.Pieces] = {}
    clips = [clip(np.concatenate([TALK, STILL]))]
    assert list(motion.watched(clips, pieces)) == clips
    times = np.arange(10.0, 17.6, 0.4)
    moving = motion.moves(pieces[3], times)
    assert moving[times < 13.2].all()
    assert not moving[times > 14.8].any()


def test_nothing_visible_is_no_motion():
    assert motion.mouth_motion(clip(STILL[:1]).mouths).size == 0
    assert not motion.moves([], np.arange(3.0)).any()
    assert not motion.moves([(np.zeros(0), np.zeros(0))], np.arange(3.0)).any()
