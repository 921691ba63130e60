"""A face is carried on by optical flow where that is sure, and only there."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from avsync.core.records import Frame
from avsync.faces import flow
from avsync.faces.track import MEASURE_EVERY, track_faces
from avsync.media.images import Image, cv2, resize

Boxes = npt.NDArray[np.float32]
WIDTH, HEIGHT = 640, 360


def texture(seed: int, width: int, height: int, grain: float = 2.0) -> Image:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(height, width)), grain)
    grey = ((noise - noise.min()) / np.ptp(noise) * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


SCENE = texture(1, WIDTH, HEIGHT, grain=6.0)
HEAD = texture(2, 240, 320, grain=14.0)


def frame(x: float, y: float, high: float, scene: Image = SCENE) -> Image:
    """A head of that height, three quarters as wide, with its middle at (x, y)."""
    scale = high / HEAD.shape[0]
    matrix = np.array([[scale, 0, x - scale * 120], [0, scale, y - scale * 160]])
    size = (WIDTH, HEIGHT)
    head = cv2.warpAffine(HEAD, matrix, size, flags=cv2.INTER_AREA)
    mask = cv2.warpAffine(np.full(HEAD.shape[:2], 255, np.uint8), matrix, size)[..., None] > 127
    return np.where(mask, head, scene).astype(np.uint8)


def box(x: float, y: float, high: float) -> Boxes:
    return np.array([x - high * 3 / 8, y - high / 2, x + high * 3 / 8, y + high / 2, 0.9], np.float32)


@pytest.mark.parametrize("high", [40, 120, 300])
@pytest.mark.parametrize(("dx", "dy", "grown"), [(0, 0, 1), (0.1, 0, 1), (-0.05, 0.08, 1), (0, 0, 1.06)])
def test_a_head_that_shifts_and_grows_is_followed_to_a_fiftieth_of_its_height(high, dx, dy, grown):
    before = flow.view(frame(320, 180, high), box(320, 180, high))
    x, y = 320 + dx * high, 180 + dy * high
    now = flow.moved(before, frame(x, y, grown * high), box(320, 180, high)[:4])
    assert now is not None
    assert now[:4] == pytest.approx(box(x, y, grown * high)[:4], abs=high / 50)
    assert now[4] == pytest.approx(0.9)


def test_a_quick_head_is_followed_where_it_is_expected():
    before = flow.view(frame(200, 180, 100), box(200, 180, 100))
    now = flow.moved(before, frame(330, 190, 100), box(328, 188, 100)[:4])
    assert now is not None
    assert now[:4] == pytest.approx(box(330, 190, 100)[:4], abs=2)


@pytest.mark.parametrize(
    "image",
    [SCENE, texture(3, WIDTH, HEIGHT), np.zeros((HEIGHT, WIDTH, 3), np.uint8), frame(320, 180, 160)],
    ids=["gone", "another scene", "black", "far larger"],
)
def test_what_is_not_surely_the_same_head_is_left_to_the_detector(image: Image):
    before = flow.view(frame(320, 180, 100), box(320, 180, 100))
    assert flow.moved(before, image, box(320, 180, 100)[:4]) is None


@pytest.mark.parametrize(("x", "y"), [(10, 180), (630, 350), (320, 5)])
def test_a_head_cut_by_the_frame_is_followed_or_left_alone(x: float, y: float):
    before = flow.view(frame(x, y, 120), box(x, y, 120))
    now = flow.moved(before, frame(x + 3, y, 120), box(x, y, 120)[:4])
    assert now is None or now[:4] == pytest.approx(box(x + 3, y, 120)[:4], abs=3)


def test_a_known_face_is_detected_every_fifteenth_frame_and_followed_between():
    looked: list[int] = []

    def detect(image: Image) -> Boxes:
        """Where the head is at the moment, in a cut-out or in all of the frame: found by its texture."""
        looked.append(1)
        best = cv2.minMaxLoc(cv2.matchTemplate(image, scaled(image), cv2.TM_CCOEFF_NORMED))
        if best[1] < 0.6:
            return np.empty((0, 5), np.float32)
        high, wide = scaled(image).shape[:2]
        left, top = best[3]
        return np.array([[left, top, left + wide, top + high, 0.9]], np.float32)

    def scaled(image: Image) -> Image:
        # A cut-out shows the head at 89 of its 160 pixels; the search sees half of the frame's 640.
        high = 89 if image.shape[0] == image.shape[1] else 60
        return resize(HEAD, high * 3 // 4, high)

    count = 200
    places = [(250 + 40 * np.sin(i / 12), 180 + 15 * np.cos(i / 9)) for i in range(count)]
    video = (Frame(i / 25, frame(*places[i], 120)) for i in range(count))
    (track,) = track_faces(video, detect)
    assert len(track.boxes) == count
    assert track.seen.all()
    middle = (track.boxes[:, :2] + track.boxes[:, 2:]) / 2 * [WIDTH, HEIGHT]
    assert np.abs(middle - places)[10:-10].max() < 4
    # One detection each, and a search a second; without the flow it was every fifth frame.
    assert len(looked) < count / MEASURE_EVERY + 3 * count / 25


edge = st.floats(-2000, 4000)


@given(edge, edge, st.floats(0.5, 3000), edge, edge, st.integers(1, WIDTH), st.integers(1, HEIGHT))
def test_a_face_anywhere_beyond_the_frame_is_followed_or_not_but_never_an_error(x, y, high, to_x, to_y, w, h):
    scene = SCENE[:h, :w]
    now = flow.moved(flow.view(scene, box(x, y, high)), scene, box(to_x, to_y, high)[:4])
    assert now is None or np.isfinite(now).all()


def test_nothing_is_followed_out_of_the_frame():
    before = flow.view(frame(620, 180, 120), box(620, 180, 120))
    assert flow.moved(before, frame(760, 180, 120), box(760, 180, 120)[:4]) is None
