"""Every face that lasts is found and followed: through missed detections, past other people, shot by shot."""

import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from media_factory import ffmpeg

from avsync.core.errors import MediaError
from avsync.core.records import FaceTrack, Frame
from avsync.faces import detect
from avsync.faces.search import MATCH_LIMIT, distinct, look, mismatch, overlap
from avsync.faces.track import TRUSTED_GAP, associate, between, find_tracks, track_faces
from avsync.media.frames import frames
from avsync.media.images import Image, cv2, resize
from avsync.media.probe import probe

Boxes = npt.NDArray[np.float32]

# --- A made world: red rectangles are faces, and the detector knows it --------------------

WIDTH, HEIGHT = 640, 360


def detect_red(image: Image) -> Boxes:
    """The bounding boxes of red patches; touching ones are one, as a detector would merge them."""
    red = (image[..., 0].astype(int) - image[..., 1] > 100).astype(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(red)
    rows = [(x, y, x + w, y + h, 0.9) for x, y, w, h, area in stats[1:count] if area > 20]
    return np.array(rows, np.float32).reshape(-1, 5)


def background(seed: int) -> Image:
    """A grey image of large blocks, another one for each seed."""
    blocks = np.random.default_rng(seed).integers(0, 255, (9, 16), dtype=np.uint8)
    return np.repeat(np.kron(blocks, np.ones((40, 40), np.uint8))[..., None], 3, axis=2)


Place = tuple[float, float, float]
"""Centre x, y and height of a face, in pixels; its width is 3/4 of the height."""


def film(
    count: int, place: Callable[[int], list[Place]], scene: Callable[[int], int] = lambda _: 1
) -> Iterator[Frame]:
    for i in range(count):
        image = background(scene(i))
        for x, y, high in place(i):
            half = high * 3 / 8
            top, left = (max(0, round(v)) for v in (y - high / 2, x - half))
            image[top : round(y + high / 2), left : round(x + half)] = (255, 30, 30)
        yield Frame(10 + i / 25, image)


def centre(track: FaceTrack, i: int) -> tuple[float, float]:
    x1, y1, x2, y2 = track.boxes[i]
    return float(x1 + x2) / 2 * WIDTH, float(y1 + y2) / 2 * HEIGHT


def test_a_still_face_is_one_track_on_the_clock_of_the_frames() -> None:
    (track,) = track_faces(film(60, lambda _: [(320, 180, 120)]), detect_red)
    assert (track.track, track.shot, track.start_s) == (0, 0, 10)
    assert len(track.boxes) == 60
    assert track.seen.all()
    assert track.confidence == pytest.approx(0.9)
    expected = np.array([275 / WIDTH, 120 / HEIGHT, 365 / WIDTH, 240 / HEIGHT])
    np.testing.assert_allclose(track.boxes, np.tile(expected, (60, 1)), atol=0.01)


@pytest.mark.parametrize("height", [28, 60, 120, 330])
def test_faces_of_every_size_are_measured_to_a_twentieth_of_their_height(height: int) -> None:
    (track,) = track_faces(film(30, lambda _: [(300, 180, height)]), detect_red)
    error = track.boxes * [WIDTH, HEIGHT, WIDTH, HEIGHT] - [
        300 - height * 3 / 8,
        180 - height / 2,
        300 + height * 3 / 8,
        180 + height / 2,
    ]
    assert np.abs(error).max() < max(1.5, height / 20)


def test_a_moving_face_is_followed_frame_by_frame() -> None:
    (track,) = track_faces(film(75, lambda i: [(120 + 5 * i, 180, 100)]), detect_red)
    assert len(track.boxes) == 75
    for i in range(10, 65):
        assert centre(track, i) == pytest.approx((120 + 5 * i, 180), abs=3)


def test_two_people_are_two_tracks_numbered_by_time_and_size() -> None:
    tracks = track_faces(film(60, lambda _: [(160, 180, 80), (480, 180, 120)]), detect_red)
    assert [t.track for t in tracks] == [0, 1]
    assert centre(tracks[0], 30)[0] == pytest.approx(480, abs=3)
    assert centre(tracks[1], 30)[0] == pytest.approx(160, abs=3)


def test_two_people_who_pass_each_other_keep_their_tracks() -> None:
    def place(i: int) -> list[Place]:
        return [(100 + 6 * i, 130, 90), (540 - 6 * i, 240, 90)]

    tracks = track_faces(film(75, place), detect_red)
    assert [len(t.boxes) for t in tracks] == [75, 75]
    rightward, leftward = sorted(tracks, key=lambda t: centre(t, 5)[0])
    assert (centre(rightward, 5)[0], centre(rightward, 69)[0]) == pytest.approx((130, 514), abs=8)
    assert (centre(leftward, 5)[0], centre(leftward, 69)[0]) == pytest.approx((510, 126), abs=8)


@pytest.mark.parametrize(("missing", "trusted"), [(6, True), (21, False)])
def test_a_face_that_is_missed_for_a_while_is_bridged(missing: int, trusted: bool) -> None:
    gap = range(31, 31 + missing)
    (track,) = track_faces(film(90, lambda i: [] if i in gap else [(320, 180, 120)]), detect_red)
    assert len(track.boxes) == 90
    assert track.seen.all() == trusted
    assert track.seen[:30].all()
    assert track.seen[60:].all()
    if not trusted:
        assert not track.seen[35:50].any()


def test_a_face_that_leaves_for_long_comes_back_as_another_track() -> None:
    tracks = track_faces(film(150, lambda i: [(320, 180, 120)] if i < 50 or i >= 90 else []), detect_red)
    assert [t.start_s for t in tracks] == pytest.approx([10, 10 + 90 / 25], abs=0.2)
    assert len(tracks[0].boxes) == pytest.approx(50, abs=5)


def test_a_newcomer_is_found_within_a_second() -> None:
    def place(i: int) -> list[Place]:
        people: list[Place] = [(160, 180, 120), (480, 180, 120)]
        return people if i >= 28 else people[:1]

    tracks = track_faces(film(100, place), detect_red)
    assert len(tracks) == 2
    assert 10 + 28 / 25 <= tracks[1].start_s <= 10 + 53 / 25


def test_tracks_end_where_the_shot_ends() -> None:
    tracks = track_faces(
        film(80, lambda _: [(320, 180, 120)], scene=lambda i: 1 if i < 33 else 2), detect_red
    )
    assert [(t.shot, round(t.start_s * 25) - 250, len(t.boxes)) for t in tracks] == [(0, 0, 33), (1, 33, 47)]


def test_a_face_of_a_quarter_second_does_not_last() -> None:
    assert track_faces(film(60, lambda i: [(320, 180, 120)] if 20 <= i < 27 else []), detect_red) == ()


def test_a_face_below_the_least_height_is_dropped() -> None:
    tracks = track_faces(film(40, lambda _: [(160, 180, 40), (480, 180, 120)]), detect_red, least=0.2)
    assert [round(centre(t, 20)[0]) for t in tracks] == [pytest.approx(480, abs=3)]


def test_memory_holds_a_few_frames_however_many_there_are() -> None:
    alive, most = 0, 0

    def gone() -> None:
        nonlocal alive
        alive -= 1

    def watched() -> Iterator[Frame]:
        nonlocal alive, most
        for frame in film(150, lambda _: [(320, 180, 120)]):
            alive += 1
            weakref.finalize(frame.image, gone)
            most = max(most, alive)
            yield frame

    track_faces(watched(), detect_red)
    assert most <= 12


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 2, 3), (3, 500, 3)])
def test_frames_too_small_for_a_face_have_none(shape: tuple[int, int, int]) -> None:
    small = (Frame(i / 25, np.full(shape, 90, np.uint8)) for i in range(20))
    assert track_faces(small, detect.load("centerface")) == ()


def test_no_frames_have_no_face() -> None:
    assert track_faces([], detect_red) == ()


# --- The parts ----------------------------------------------------------------------------

relaxed = settings(max_examples=50, deadline=None)
sides = st.floats(1, 300)
boxes = st.builds(lambda x, y, w, h: [x, y, x + w, y + h], st.floats(0, 500), st.floats(0, 500), sides, sides)
many = st.lists(boxes, max_size=6).map(lambda rows: np.array(rows, np.float32).reshape(-1, 4))


@relaxed
@given(boxes, boxes)
def test_overlap_is_a_share_and_does_not_depend_on_the_order(a: list[float], b: list[float]) -> None:
    one, other = np.array(a, np.float32), np.array(b, np.float32)
    assert 0 <= overlap(one, other) <= 1.001
    assert overlap(one, other) == pytest.approx(overlap(other, one), abs=1e-4)
    assert overlap(one, one) == pytest.approx(1, abs=1e-3)


@relaxed
@given(many, many)
def test_each_box_is_used_once_and_only_where_it_fits(expected: Boxes, found: Boxes) -> None:
    pairs = associate(expected, found)
    cost = mismatch(expected, found)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    assert all(cost[i, j] < MATCH_LIMIT for i, j in pairs)
    left = np.delete(np.delete(cost, [i for i, _ in pairs], 0), [j for _, j in pairs], 1)
    assert (left >= MATCH_LIMIT).all()


@relaxed
@given(many, st.floats(0.1, 10))
def test_mismatch_is_zero_for_the_same_box_and_has_no_unit(some: Boxes, zoom: float) -> None:
    assert np.diag(mismatch(some, some)) == pytest.approx(0, abs=1e-3)
    np.testing.assert_allclose(mismatch(some * zoom, some * zoom), mismatch(some, some), atol=2e-2)


def test_the_better_fit_goes_first() -> None:
    expected = np.array([[0, 0, 100, 100], [40, 0, 140, 100]], np.float32)
    found = np.array([[45, 0, 145, 100], [10, 0, 110, 100]], np.float32)
    assert sorted(associate(expected, found)) == [(0, 1), (1, 0)]


def test_of_boxes_on_one_face_the_surest_stays() -> None:
    found = np.array([[0, 0, 90, 90, 0.6], [5, 5, 95, 95, 0.9], [200, 0, 290, 90, 0.5]], np.float32)
    assert distinct(found)[:, 4] == pytest.approx([0.9, 0.5])


@relaxed
@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.data())
def test_between_detections_boxes_stay_within_their_range(gaps: list[int], data: st.DataObject) -> None:
    keys = np.cumsum([7, *gaps]).tolist()
    known = data.draw(hnp.arrays(np.float32, (len(keys), 4), elements=st.floats(0, 500, width=32)))
    filled, seen = between(keys, known)
    assert filled.shape == (keys[-1] - keys[0] + 1, 4)
    assert (filled >= known.min(0) - 1e-2).all()
    assert (filled <= known.max(0) + 1e-2).all()
    assert seen.sum() == len(seen) - sum(gap - 1 for gap in gaps if gap > TRUSTED_GAP)
    assert seen[np.array(keys) - keys[0]].all()


def test_between_detections_a_steady_motion_stays_steady() -> None:
    keys = list(range(0, 41, 5))
    filled, seen = between(keys, np.array([[k, 0, k + 10, 10] for k in keys], np.float32))
    np.testing.assert_allclose(filled[12:29, 0], np.arange(12, 29), atol=0.01)
    assert seen.all()


# --- Real footage -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["grid-02.mpg", "interviews-04.mp4", "mixed-07.mp4"])
def test_a_real_talker_is_one_track_from_first_to_last_frame(shared: Path, name: str) -> None:
    media = probe(shared / "clips" / name)
    shares: list[float] = []
    (track,) = find_tracks(media, progress=shares.append)
    count = sum(1 for _ in frames(media, long_side=64))
    assert len(track.boxes) == count
    assert track.seen.all()
    assert shares[-1] == 1


def test_a_real_cut_ends_the_tracks(shared: Path) -> None:
    tracks = find_tracks(probe(shared / "clips/late/panel-show-02.mp4"))
    assert [(t.shot, t.start_s) for t in tracks] == [(0, 0.0), (0, 0.0), (1, pytest.approx(0.52))]


def test_only_the_asked_stretch_is_looked_at(shared: Path) -> None:
    (track,) = find_tracks(probe(shared / "clips/grid-02.mpg"), start_s=1.0, end_s=2.0)
    assert (track.start_s, len(track.boxes)) == (1.0, 25)


@pytest.fixture(scope="module")
def talker(shared: Path) -> list[Image]:
    """Three quarters of a second of a real talker, 360x288, the face about 140 pixels high."""
    return [f.image for f in frames(probe(shared / "clips/grid-02.mpg"), start_s=0.0, end_s=0.75)]


def test_a_face_that_fills_the_frame_is_found(talker: list[Image]) -> None:
    whole = track_faces((Frame(i / 25, image) for i, image in enumerate(talker)), detect.load("centerface"))
    x1, y1, x2, y2 = (whole[0].boxes.mean(0) * [360, 288, 360, 288]).round().astype(int)
    close = [resize(image[y1:y2, x1:x2], 480, 640) for image in talker]
    (track,) = track_faces((Frame(i / 25, image) for i, image in enumerate(close)), detect.load("centerface"))
    assert len(track.boxes) == len(talker)
    assert (track.boxes[:, 2:] - track.boxes[:, :2]).min() > 0.8


def test_a_small_face_in_a_wide_shot_is_found(talker: list[Image]) -> None:
    def wide() -> Iterator[Frame]:
        for i, image in enumerate(talker):
            wide_image = np.full((360, 640, 3), 120, np.uint8)
            wide_image[200:240, 500:550] = resize(image, 50, 40)
            yield Frame(i / 25, wide_image)

    (track,) = track_faces(wide(), detect.load("centerface"))
    assert len(track.boxes) == len(talker)
    assert centre(track, 5) == pytest.approx((525, 225), abs=8)


@pytest.mark.parametrize("upright", [False, True])
@pytest.mark.parametrize("place", [0.05, 0.4, 0.47, 0.55, 0.88])
def test_small_faces_are_found_once_wherever_they_are(
    talker: list[Image], place: float, upright: bool
) -> None:
    frame = np.full((640, 360, 3) if upright else (360, 640, 3), 120, np.uint8)
    left, top = (100, round(640 * place)) if upright else (round(640 * place), 100)
    frame[top : top + 40, left : left + 50] = resize(talker[0], 50, 40)
    (box,) = look(frame, detect.load("centerface"), [], [], everywhere=True)
    assert (box[:2] + box[2:4]) / 2 == pytest.approx((left + 25, top + 25), abs=8)


def test_a_video_without_a_face_has_no_tracks(tmp_path: Path) -> None:
    path = tmp_path / "bars.mp4"
    ffmpeg("-f", "lavfi", "-i", "smptebars=size=320x240:rate=25:duration=1", "-pix_fmt", "yuv420p", path)
    assert find_tracks(probe(path)) == ()


def test_a_file_without_video_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", path)
    with pytest.raises(MediaError, match="no video"):
        find_tracks(probe(path))
