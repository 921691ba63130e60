"""Mouth crops: the lower half of the face box at 96x96, the same at every resolution."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from avsync.faces.crop import Roll, crop, rest

Image = npt.NDArray[np.uint8]


def ramp(width: int, height: int) -> Image:
    """Red tells the column and green the row, as 0..250 over the whole image."""
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


def test_an_image_and_its_half_give_the_same_crop() -> None:
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


def test_beyond_the_image_its_edge_goes_on() -> None:
    face = crop(ramp(100, 100), np.array([-0.5, 0.0, 0.5, 1.0], np.float32))
    assert (face[:, :44, 0] == face[:, :1, 0]).all()
    assert face[48, 90, 0] > 80


@pytest.mark.parametrize("box", [(-3, -3, -2, -2), (5, 5, 6, 6), (0.5, 0.5, 0.5, 0.5)])
def test_a_box_outside_or_empty_gives_an_image_all_the_same(box: tuple[float, ...]) -> None:
    assert crop(ramp(50, 40), np.array(box, np.float32)).shape == (96, 96, 3)


def test_one_pixel_is_enough() -> None:
    assert (crop(np.full((1, 1, 3), 7, np.uint8), np.array([0, 0, 1, 1], np.float32)) == 7).all()


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=4), piece=st.integers(6, 20))
def test_a_clip_is_whole_if_it_is_all_of_its_stretch(lengths: list[int], piece: int) -> None:
    """`lengths`: of stretches of one face, in frames."""
    roll, mouth, number = Roll(0, 0.0), np.zeros((48, 96, 3), np.uint8), 0
    for length in lengths:
        made = []
        for _ in range(length):
            roll.take(number, mouth)
            number += 1
            if len(roll.mouths) == piece:
                made.append(roll.handed_on())
        made += rest(roll)
        assert [clip.whole for clip in made] == ([True] if 5 <= length < piece else [False] * len(made))
        number += 10
