"""Mouth crops: the lower half of the face box at 96x96, the same at every resolution, every window once."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_factory import BAR_S, bar_clip
from scipy.ndimage import gaussian_filter

from avsync.core.records import Clip, FaceTrack, Frame
from avsync.faces.crop import crop, cut, mouth_clips, portrait, spans
from avsync.faces.track import find_tracks
from avsync.media.probe import probe

Picture = npt.NDArray[np.uint8]


def track_of(
    seen: list[bool],
    *,
    number: int = 0,
    start_s: float = 0.0,
    box: tuple[float, ...] = (0.25, 0.25, 0.75, 0.75),
) -> FaceTrack:
    boxes = np.tile(np.array(box, np.float32), (len(seen), 1))
    return FaceTrack(number, 0, start_s, boxes, np.array(seen, bool), 0.9)


def counting(count: int, start_s: float = 0.0) -> Iterator[Frame]:
    """Frames whose brightness is their number."""
    for i in range(count):
        yield Frame(start_s + i / 25, np.full((8, 8, 3), i % 256, np.uint8))


def numbers(clip: Clip) -> list[int]:
    return [int(mouth[0, 0, 0]) for mouth in clip.mouths]


def ramp(width: int, height: int) -> Picture:
    """Red tells the column and green the row, as 0..250 over the whole picture."""
    x, y = (np.arange(width) + 0.5) / width * 250, (np.arange(height) + 0.5) / height * 250
    return np.stack(np.broadcast_arrays(x[None], y[:, None], 0.0), axis=2).round().astype(np.uint8)


# --- Geometry -----------------------------------------------------------------------------

fractions = st.tuples(st.floats(0, 0.6), st.floats(0, 0.6), st.floats(0.15, 0.4), st.floats(0.15, 0.4))


@settings(max_examples=40, deadline=None)
@given(fractions, st.sampled_from([(160, 120), (640, 360), (1280, 720)]))
def test_the_box_maps_linearly_onto_96_pixels_at_every_resolution(
    place: tuple[float, float, float, float], size: tuple[int, int]
) -> None:
    x, y, w, h = place
    face = crop(ramp(*size), np.array([x, y, x + w, y + h], np.float32))
    middles = (np.arange(96) + 0.5) / 96
    inner = slice(4, 92)
    tolerance = 250 / min(size) + 1
    np.testing.assert_allclose(face[48, inner, 0], (x + w * middles)[inner] * 250, atol=tolerance)
    np.testing.assert_allclose(face[inner, 48, 1], (y + h * middles)[inner] * 250, atol=tolerance)


@settings(max_examples=40, deadline=None)
@given(fractions, st.sampled_from([(160, 120), (1280, 720)]))
def test_the_mouth_is_the_lower_half_of_the_face(
    place: tuple[float, float, float, float], size: tuple[int, int]
) -> None:
    x, y, w, h = place
    box = np.array([x, y, x + w, y + h], np.float32)
    face, mouth = crop(ramp(*size), box), crop(ramp(*size), box, top=48)
    assert mouth.shape == (48, 96, 3)
    np.testing.assert_allclose(mouth.astype(int), face[48:], atol=2)


def test_a_picture_and_its_half_give_the_same_crop() -> None:
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(720, 960, 3)), (8, 8, 0))
    large = ((noise - noise.min()) / np.ptp(noise) * 255).astype(np.uint8)
    small = large.reshape(360, 2, 480, 2, 3).mean((1, 3)).round().astype(np.uint8)
    box = np.array([0.31, 0.22, 0.63, 0.71], np.float32)
    difference = crop(large, box).astype(int) - crop(small, box)
    assert np.abs(difference).max() <= 4
    assert abs(difference.mean()) < 0.2


def test_fine_detail_of_a_large_face_is_averaged_not_skipped() -> None:
    checks = np.zeros((800, 800, 3), np.uint8)
    checks[::2, ::2] = checks[1::2, 1::2] = 255
    face = crop(checks, np.array([0.1, 0.1, 0.9, 0.9], np.float32))
    assert np.abs(face.astype(int) - 127).max() < 30


def test_beyond_the_picture_its_edge_goes_on() -> None:
    face = crop(ramp(100, 100), np.array([-0.5, 0.0, 0.5, 1.0], np.float32))
    assert (face[:, :44, 0] == face[:, :1, 0]).all()
    assert face[48, 90, 0] > 80


@pytest.mark.parametrize("box", [(-3, -3, -2, -2), (5, 5, 6, 6), (0.5, 0.5, 0.5, 0.5)])
def test_a_box_outside_or_empty_gives_a_picture_all_the_same(box: tuple[float, ...]) -> None:
    assert crop(ramp(50, 40), np.array(box, np.float32)).shape == (96, 96, 3)


def test_one_pixel_is_enough() -> None:
    assert (crop(np.full((1, 1, 3), 7, np.uint8), np.array([0, 0, 1, 1], np.float32)) == 7).all()


# --- Pieces -------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(5, 20))
def test_every_window_of_five_seen_frames_comes_exactly_once(seen: list[bool], piece: int) -> None:
    windows = [
        tuple(numbers(clip)[i : i + 5])
        for clip in cut(counting(len(seen)), [track_of(seen)], piece_frames=piece)
        for i in range(len(clip.mouths) - 4)
    ]
    wanted = [tuple(range(i, i + 5)) for i in range(len(seen) - 4) if all(seen[i : i + 5])]
    assert windows == wanted


@settings(max_examples=40, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(5, 20))
def test_clips_are_short_and_know_their_time(seen: list[bool], piece: int) -> None:
    for clip in cut(counting(len(seen), 3.0), [track_of(seen, start_s=3.0)], piece_frames=piece):
        assert 5 <= len(clip.mouths) <= piece
        assert clip.mouths.shape[1:] == (48, 96, 3)
        assert clip.start_s == pytest.approx(3 + numbers(clip)[0] / 25)


def test_faces_side_by_side_are_cut_in_one_pass() -> None:
    tracks = [track_of([True] * 20, number=4), track_of([True] * 30, number=7, start_s=0.4)]
    clips = list(cut(counting(60), tracks, piece_frames=12))
    by_track = {n: sorted({i for c in clips if c.track == n for i in numbers(c)}) for n in (4, 7)}
    assert by_track == {4: list(range(20)), 7: list(range(10, 40))}


def test_pieces_are_handed_on_before_the_next_frames_are_read() -> None:
    read = 0

    def counted() -> Iterator[Frame]:
        nonlocal read
        for frame in counting(200):
            read += 1
            yield frame

    next(cut(counted(), [track_of([True] * 200)], piece_frames=25))
    assert read == 25


def test_each_track_gets_one_portrait_from_the_middle_of_what_was_seen() -> None:
    faces: dict[int, Picture] = {}
    track = track_of([True] * 10 + [False] * 20 + [True] * 11, number=3)
    list(cut(counting(41), [track], on_face=faces.__setitem__))
    assert portrait(track) == 30
    assert list(faces) == [3]
    assert (faces[3] == 30).all()
    assert faces[3].shape == (96, 96, 3)


def test_a_face_never_seen_gives_nothing() -> None:
    assert list(cut(counting(20), [track_of([False] * 20)])) == []


def test_only_stretches_with_faces_are_decoded() -> None:
    tracks = [track_of([True] * 25, start_s=s) for s in (100.0, 10.0, 10.5, 12.0)]
    assert spans(tracks) == [(10.0, 13.0), (100.0, 101.0)]
    assert spans([]) == []


# --- Video --------------------------------------------------------------------------------


def test_crops_of_a_video_show_what_is_on_screen_at_their_time(tmp_path: Path) -> None:
    media = probe(bar_clip(tmp_path / "bar.mp4", rate="30", seconds=6.0, size=(384, 64)))
    whole = (0.0, 0.0, 1.0, 1.0)
    tracks = [track_of([True] * 20, start_s=s, box=whole, number=i) for i, s in enumerate((0.6, 4.2))]
    shares: list[float] = []
    clips = list(mouth_clips(media, tracks, progress=shares.append))
    assert [(c.track, c.start_s, len(c.mouths)) for c in clips] == [
        (0, pytest.approx(0.6), 20),
        (1, pytest.approx(4.2), 20),
    ]
    for clip in clips:
        for i, mouth in enumerate(clip.mouths):
            # The edge runs half a pixel ahead; the nearest of 30 pictures a second is up to 17 ms away.
            shown_s = (mouth.mean() / 255 - 0.5 / 384) * BAR_S
            assert shown_s == pytest.approx(clip.start_s + i / 25, abs=0.022)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)


def test_a_real_talker_gives_a_mouth_for_every_frame(shared: Path) -> None:
    media = probe(shared / "clips/grid-02.mpg")
    (track,) = find_tracks(media)
    clips = list(mouth_clips(media, [track], piece_frames=30))
    assert [len(c.mouths) for c in clips] == [30, 30, 23]
    for earlier, later in pairwise(clips):
        np.testing.assert_array_equal(earlier.mouths[-4:], later.mouths[:4])


def test_no_tracks_give_no_clips(tmp_path: Path) -> None:
    media = probe(bar_clip(tmp_path / "bar.mp4", seconds=0.4))
    assert list(mouth_clips(media, [])) == []
