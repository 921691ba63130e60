"""Faces are found and their mouths cut in one pass: every window once, each from the frame of its time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_factory import BAR_S, bar_clip

from avsync.core.records import Clip, FaceTrack
from avsync.faces.follow import CUTS, clips, face_clips
from avsync.faces.shots import LOOK_AHEAD
from avsync.faces.track import find_tracks
from avsync.media.frames import frames, shown
from avsync.media.planes import Planes, planes
from avsync.media.probe import probe

HIDDEN = 16
MOUTH = CUTS["mouth"]
GREY = np.eye(3, 4, dtype=np.float32)
"""A conversion that leaves the planes as they are."""


def square(number: int, seen: bool) -> Planes:
    """A frame with a square whose brightness tells the number, unless it is hidden."""
    y = np.full((120, 160), HIDDEN, np.uint8)
    if seen:
        y[30:90, 50:110] = 100 + number
    half = np.full((60, 80), 128, np.uint8)
    return Planes(3.0 + number / 25, y, half, half, GREY)


def bright(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """A detector of such squares."""
    rows, columns = np.nonzero(image.mean(axis=2) > 60)
    if not len(rows):
        return np.empty((0, 5), np.float32)
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, 0.9]
    return np.array([box], np.float32)


def cut(frames: Iterator[Planes], piece: int = 500) -> tuple[list[Clip], list[FaceTrack]]:
    tracks: list[FaceTrack] = []
    return list(
        clips(frames, bright, lambda track, _face: tracks.append(track), 7, piece, 0.0, MOUTH)
    ), tracks


def numbers(clip: Clip) -> list[int]:
    return [round(float(mouth[10:40, 20:76, 0].mean())) - 100 for mouth in clip.mouths]


@settings(max_examples=12, deadline=None)
@given(length=st.integers(12, 130), piece=st.integers(5, 40))
def test_every_window_of_a_face_comes_exactly_once_and_knows_its_time(length: int, piece: int) -> None:
    made, (track,) = cut((square(i, True) for i in range(length)), piece)
    windows = [tuple(numbers(clip)[i : i + 5]) for clip in made for i in range(len(clip.mouths) - 4)]
    assert windows == [tuple(range(i, i + 5)) for i in range(length - 4)]
    for clip in made:
        assert clip.mouths.shape[1:] == (48, 96, 3)
        assert 5 <= len(clip.mouths) <= piece
        assert clip.track == track.track == 7
        assert clip.start_s == pytest.approx(3.0 + numbers(clip)[0] / 25)
    assert (track.start_s, len(track.boxes)) == (3.0, length)


def test_where_the_face_is_hidden_for_long_nothing_is_cut() -> None:
    hidden = range(40, 58)
    made, _ = cut(square(i, i not in hidden) for i in range(100))
    cut_numbers = {n for clip in made for n in numbers(clip)}
    assert not cut_numbers & set(range(45, 55))
    assert cut_numbers >= {*range(35), *range(65, 100)}


def patterned(number: int) -> Planes:
    """A frame with a square that optical flow can follow, a pixel further to the right every five frames."""
    frame = square(number, True)
    pattern = np.random.default_rng(0).integers(-60, 60, (15, 15)).repeat(4, 0).repeat(4, 1)
    y = np.full_like(frame.y, HIDDEN)
    left = 40 + number // 5
    y[30:90, left : left + 60] = 160 + pattern
    return replace(frame, y=y)


def test_where_nobody_speaks_a_face_is_followed_but_not_looked_for() -> None:
    """From frame 40 to 89."""
    tracks: list[FaceTrack] = []
    quiet = [(3.0 + 40 / 25, 3.0 + 90 / 25)]
    read, detected = 0, []

    def coming() -> Iterator[Planes]:
        nonlocal read
        for read in range(130):
            yield patterned(read)

    def detect(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        detected.append(read)
        return bright(image)

    made = list(clips(coming(), detect, lambda track, _: tracks.append(track), 0, 500, 0.0, MOUTH, quiet))
    assert [(round(25 * (clip.start_s - 3.0)), len(clip.mouths)) for clip in made] == [(0, 40), (90, 40)]
    (track,) = tracks
    assert (len(track.boxes), track.seen.all()) == (130, True)
    assert track.boxes[100, 0] * 160 == pytest.approx(60, abs=1.5)
    ahead = LOOK_AHEAD + 1  # frames are read before they are looked at
    assert not set(detected) & set(range(40 + ahead, 90 + ahead))


def test_who_is_first_seen_while_nobody_speaks_is_found_when_someone_does() -> None:
    looks: list[int] = []

    def detect(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        looks.append(1)
        return bright(image)

    tracks: list[FaceTrack] = []
    quiet = [(3.0, 3.0 + 80 / 25)]
    frames_of_it = (square(i, i >= 20) for i in range(130))
    for _ in clips(frames_of_it, detect, lambda track, _: tracks.append(track), 0, 500, 0.0, MOUTH, quiet):
        pass
    (track,) = tracks
    assert track.start_s == pytest.approx(3.0 + 80 / 25, abs=0.4)
    assert len(looks) <= 30


def test_a_frame_that_stays_is_looked_at_and_cut_once() -> None:
    looks, cuts = 0, 0

    def counted(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        nonlocal looks
        looks += 1
        return bright(image)

    def mouth(frame: Planes, box: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        nonlocal cuts
        cuts += 1
        return MOUTH(frame, box)

    still = square(0, True)
    coming = (replace(still, time_s=i / 25) for i in range(2500))
    made = list(clips(coming, counted, lambda *_: None, 0, 254, 0.0, mouth))
    assert sum(len(clip.mouths) - 4 for clip in made) == 2496
    assert looks <= 4
    assert cuts <= 2


def test_frames_that_look_the_same_share_their_planes(tmp_path: Path) -> None:
    still = ("-f", "lavfi", "-i", "smptebars=size=320x240:rate=25:duration=0.4")
    path = bar_clip(tmp_path / "a.mkv", "-map", "1:v", "-c:v", "ffv1", seconds=0.4, inputs=still)
    media = probe(path)
    assert media.video is not None
    found = list(planes(shown(media), media.video))
    assert len(found) == 10
    assert all(frame.y is found[0].y for frame in found)
    moving = probe(bar_clip(tmp_path / "b.mkv", seconds=0.4))
    assert moving.video is not None
    assert len({id(frame.y) for frame in list(planes(shown(moving), moving.video))}) == 10


def test_a_glimpse_does_not_count_as_a_face() -> None:
    assert cut(square(i, i < 6) for i in range(60)) == ([], [])


def test_few_frames_are_held_back() -> None:
    given_out = 0

    def counted() -> Iterator[Planes]:
        nonlocal given_out
        for i in range(120):
            given_out += 1
            yield square(i, True)

    first = next(clips(counted(), bright, lambda *_: None, 0, 25, 0.0, MOUTH))
    assert numbers(first) == list(range(25))
    assert given_out < 25 + 30


def test_closing_early_tells_the_faces_so_far() -> None:
    tracks: list[FaceTrack] = []
    coming = clips(
        (square(i, True) for i in range(120)),
        bright,
        lambda t, _: tracks.append(t),
        0,
        25,
        0.0,
        MOUTH,
    )
    next(coming)
    coming.close()  # type: ignore[attr-defined]
    assert [track.start_s for track in tracks] == [3.0]
    assert 25 <= len(tracks[0].boxes) < 60


def test_crops_of_a_video_show_what_is_on_screen_at_their_time(tmp_path: Path) -> None:
    media = probe(bar_clip(tmp_path / "bar.mp4", rate="30", seconds=5.0, size=(384, 64)))
    assert media.video is not None

    def all_of_it(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return np.array([[0, 0, image.shape[1], image.shape[0], 0.9]], np.float32)

    coming = planes(shown(media), media.video)
    made = list(clips(coming, all_of_it, lambda *_: None, 0, 500, 0.0, MOUTH))
    assert sum(len(clip.mouths) for clip in made) > 100
    for clip in made:
        for i, mouth in enumerate(clip.mouths):
            # The edge runs half a pixel ahead; the nearest of 30 frames a second is up to 17 ms away.
            shown_s = (mouth.mean() / 255 - 0.5 / 384) * BAR_S
            assert shown_s == pytest.approx(clip.start_s + i / 25, abs=0.03)


def test_a_real_talker_gives_a_mouth_for_every_frame(shared: Path) -> None:
    media = probe(shared / "clips/grid-02.mpg")
    tracks: list[FaceTrack] = []
    made = list(face_clips(media, lambda track, _face: tracks.append(track), piece_frames=30))
    (track,) = tracks
    assert sum(len(clip.mouths) - 4 for clip in made) == len(track.boxes) - 4
    for earlier, later in pairwise(made):
        np.testing.assert_array_equal(earlier.mouths[-4:], later.mouths[:4])
    (other,) = find_tracks(media)
    np.testing.assert_allclose(track.boxes, other.boxes, atol=0.03)


@pytest.mark.parametrize("space", ["bt709", "smpte170m"])
@pytest.mark.parametrize("span", ["tv", "pc"])
def test_colours_are_those_of_the_whole_frame(tmp_path: Path, space: str, span: str) -> None:
    filters = [f"scale=out_color_matrix={space}:out_range={span}"]
    tags = ("-colorspace", space, "-color_range", span)
    colours = ("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=0.2", "-map", "1:v")
    path = bar_clip(tmp_path / "a.mkv", *colours[4:], *tags, seconds=0.2, inputs=colours[:4], filters=filters)
    media = probe(path)
    assert media.video is not None
    whole = next(iter(frames(media))).image.astype(float)
    frame = next(planes(shown(media), media.video))
    for row, column in ((20, 40), (100, 160), (200, 280), (60, 220)):
        here = slice(row, row + 16), slice(column, column + 16)
        half = slice(row // 2, row // 2 + 8), slice(column // 2, column // 2 + 8)
        parts = frame.y[here], frame.u[half], frame.v[half]
        mean = [np.full((1, 1), round(part.mean()), np.uint8) for part in parts]
        np.testing.assert_allclose(frame.rgb(*mean)[0, 0], whole[here].mean(axis=(0, 1)), atol=12)
