"""A shot begins at a hard cut; not at a flash, in a fade, in a pan, nor where frames repeat."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_factory import ffmpeg
from scipy.ndimage import gaussian_filter

from avsync.core.records import Frame
from avsync.faces.shots import LOOK_AHEAD, change, shots, structure
from avsync.media.frames import frames
from avsync.media.probe import probe

Image = npt.NDArray[np.uint8]


def scene(seed: int, width: int = 160, height: int = 96, grain: float = 6.0) -> Image:
    """A made photograph: smooth coloured blobs over the whole range of brightness."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    smooth = gaussian_filter(noise, (grain, grain, 0.5))
    return ((smooth - smooth.min()) / np.ptp(smooth) * 255).astype(np.uint8)


def film(images: list[Image]) -> Iterator[Frame]:
    """The images at 25 a second, each with its own sensor noise."""
    random = np.random.default_rng(0)
    for i, image in enumerate(images):
        noisy = image + random.normal(0, 3, image.shape)
        yield Frame(i / 25, noisy.clip(0, 255).astype(np.uint8))


def cuts(images: list[Image]) -> list[int]:
    """Where shots begin, after the first."""
    return [i for i, (_, first, _) in enumerate(shots(film(images))) if first][1:]


def blend(a: Image, b: Image, share: float) -> Image:
    return (a * (1 - share) + b * share).astype(np.uint8)


def test_a_hard_cut_is_found_at_its_frame() -> None:
    assert cuts([scene(1)] * 30 + [scene(2)] * 30) == [30]


def test_shots_of_half_a_second_are_told_apart() -> None:
    assert cuts([scene(i) for i in range(5) for _ in range(12)]) == [12, 24, 36, 48]


def test_a_cut_that_conversion_blended_over_a_frame_is_one_cut() -> None:
    (at,) = cuts([scene(1)] * 30 + [blend(scene(1), scene(2), 0.5)] + [scene(2)] * 30)
    assert at in (30, 31)


@pytest.mark.parametrize("length", [1, 2, 3, 5])
@pytest.mark.parametrize("gain", [0.2, 3.0, 100.0])
def test_a_flash_is_not_a_cut(length: int, gain: float) -> None:
    flash = (scene(1) * gain + 20).clip(0, 255).astype(np.uint8)
    assert cuts([scene(1)] * 30 + [flash] * length + [scene(1)] * 30) == []


def test_a_fade_through_black_is_at_most_one_cut() -> None:
    down = [(scene(1) * (1 - t)).astype(np.uint8) for t in np.linspace(0, 1, 20)]
    up = [(scene(2) * t).astype(np.uint8) for t in np.linspace(0, 1, 20)]
    assert len(cuts([scene(1)] * 20 + down + up + [scene(2)] * 20)) <= 1


def test_a_dissolve_is_at_most_one_cut() -> None:
    mixed = [blend(scene(1), scene(2), t) for t in np.linspace(0, 1, 25)]
    assert len(cuts([scene(1)] * 20 + mixed + [scene(2)] * 20)) <= 1


@pytest.mark.parametrize("pixels", [2, 8, 20])
def test_a_pan_is_not_a_cut(pixels: int) -> None:
    wide = scene(3, width=160 + 60 * pixels)
    assert cuts([wide[:, i * pixels : i * pixels + 160] for i in range(60)]) == []


def test_motion_stored_at_10_frames_a_second_is_not_a_cut() -> None:
    wide = scene(3, width=1200)
    seen = [wide[:, x : x + 160] for i in range(60) for x in [int(i / 2.5) * 20]]
    assert cuts(seen) == []


def test_a_cut_between_moving_shots_is_found() -> None:
    one, two = scene(3, width=400), scene(4, width=400)
    assert cuts(
        [one[:, 4 * i : 4 * i + 160] for i in range(40)] + [two[:, i : i + 160] for i in range(40)]
    ) == [40]


def test_a_jump_within_a_still_scene_is_a_cut() -> None:
    wide = scene(3, width=200)
    assert cuts([wide[:, :160]] * 30 + [wide[:, 10:170]] * 30) == [30]


def test_a_head_that_turns_in_a_close_up_is_not_a_cut() -> None:
    """The scene stirs, swings aside within a quarter of a second, and stirs on."""
    wide = scene(7, width=260, grain=10)
    places = (
        [int(3 * np.sin(i)) + 20 for i in range(30)]
        + [24, 30, 37, 44, 50, 55]
        + [int(3 * np.sin(i)) + 60 for i in range(30)]
    )
    assert cuts([wide[:, x : x + 160] for x in places]) == []


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_every_frame_comes_once_and_each_shot_has_one_first_and_one_last(lengths: list[int]) -> None:
    given_frames = list(film([scene(i, 40, 32) for i, n in enumerate(lengths) for _ in range(n)]))
    out = list(shots(given_frames))
    assert [frame.time_s for frame, _, _ in out] == [frame.time_s for frame in given_frames]
    assert out[0][1] and out[-1][2]
    assert all(last == following for (_, _, last), (_, following, _) in pairwise(out))


def test_no_frames_give_no_shots() -> None:
    assert list(shots([])) == []


def test_only_a_few_frames_are_held_back() -> None:
    taken = 0

    def counted() -> Iterator[Frame]:
        nonlocal taken
        for frame in film([scene(1, 40, 32)] * 100):
            taken += 1
            yield frame

    for given_on, _ in enumerate(shots(counted())):
        assert taken - given_on <= LOOK_AHEAD + 2


def test_brightness_and_contrast_do_not_count_as_change() -> None:
    image = scene(5)
    dimmer = (image * 0.5 + 30).astype(np.uint8)
    assert change(structure(image), structure(dimmer)) < 0.01
    assert change(structure(image), structure(scene(6))) > 0.5


def test_cuts_of_an_encoded_film_are_found_at_their_times(tmp_path: Path) -> None:
    images = (
        "testsrc2=size=320x180:rate=30",
        "smptehdbars=size=320x180:rate=30",
        "mandelbrot=size=320x180:rate=30",
    )
    parts = [f"{image},trim=duration=1" for image in images]
    inputs = [word for part in parts for word in ("-f", "lavfi", "-i", part)]
    join = "[0][1][2]concat=n=3:v=1,format=yuv420p"
    path = tmp_path / "cuts.mp4"
    ffmpeg(*inputs, "-filter_complex", join, "-c:v", "libx264", "-preset", "ultrafast", path)
    begun = [frame.time_s for frame, first, _ in shots(frames(probe(path), long_side=320)) if first]
    assert begun == pytest.approx([0.0, 1.0, 2.0], abs=0.04)
