"""Boxes of one face are averaged; those that the upper edge of the image cuts are those of whole faces."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from avsync.faces.centerface import HEIGHT_TO_WIDTH, boxes, merged, whole

sizes = st.floats(8, 400)


@given(left=st.floats(-50, 300), below=st.floats(0.11, 2), wide=sizes, tall=st.floats(0.4, 2))
def test_a_face_away_from_the_edge_stays_as_it_was_found(
    left: float, below: float, wide: float, tall: float
) -> None:
    high = tall * wide
    box = np.array([[left, below * high, left + wide, (1 + below) * high, 0.9]], np.float32)
    np.testing.assert_allclose(whole(box), box)


@given(top=st.floats(-50, 0), wide=sizes, tall=st.floats(0.4, 2))
def test_a_face_at_the_edge_has_at_least_a_faces_height_above_the_same_chin(
    top: float, wide: float, tall: float
) -> None:
    box = np.array([[0, top, wide, top + tall * wide, 0.9]], np.float32)
    found = whole(box)[0]
    np.testing.assert_allclose(found[[0, 2, 3, 4]], box[0, [0, 2, 3, 4]])
    np.testing.assert_allclose(found[3] - found[1], max(tall, HEIGHT_TO_WIDTH) * wide, rtol=1e-3)


def test_boxes_go_on_beyond_the_image() -> None:
    heat = np.zeros((1, 1, 8, 8), np.float32)
    heat[0, 0, 2, 0] = 0.8
    scale = np.full((1, 2, 8, 8), np.log(5), np.float32)  # 20 pixels
    found = boxes(heat, scale, np.zeros((1, 2, 8, 8), np.float32), 0.5)
    np.testing.assert_allclose(found, [[-8, 0, 12, 20, 0.8]], rtol=1e-5, atol=1e-4)


@given(shifts=st.lists(st.floats(-3, 3), min_size=1, max_size=6), data=st.data())
def test_cells_of_one_face_become_one_box_among_theirs(shifts: list[float], data: st.DataObject) -> None:
    scores = [data.draw(st.floats(0.2, 1)) for _ in shifts]
    cells = np.array([[s, s, 50 + s, 66 + s, p] for s, p in zip(shifts, scores, strict=True)], np.float32)
    (found,) = merged(cells)
    assert cells[:, 0].min() - 1e-4 <= found[0] <= cells[:, 0].max() + 1e-4
    assert found[4] == cells[:, 4].max()


def test_faces_apart_stay_apart_and_a_small_part_of_one_does_not_move_it() -> None:
    one, other, part = [0, 0, 50, 66, 0.9], [100, 0, 150, 66, 0.6], [10, 20, 45, 60, 0.8]
    np.testing.assert_allclose(merged(np.array([other, part, one], np.float32)), [one, other])
    assert merged(np.empty((0, 5), np.float32)).shape == (0, 5)
