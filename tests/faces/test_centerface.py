"""Boxes of faces that the upper edge of the image cuts."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from avsync.faces.centerface import HEIGHT_TO_WIDTH, boxes, whole

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
