"""Where the charts of a page put things: percent of the width, pixels from the top."""

import cv2
import numpy as np
import pytest

from avsync.core.report import Report, ScoreMap, Segment, Unjudged
from avsync.report.html_charts import (
    HEIGHT,
    MAP_ROWS,
    TIME_LABELS,
    Axes,
    data_address,
    map_chart,
    map_image,
    offset_chart,
    offset_ticks,
    time_ticks,
)

LATE = Report(
    "late.mp4",
    "out-of-sync",
    -120.0,
    segments=(Segment(10.0, 40.0, -120.0, 10.0, 0.9), Segment(40.0, 100.0, 20.0, 10.0, 0.9)),
    unjudged=(Unjudged(0.0, 10.0, "no-face"),),
    duration_s=100.0,
)


def test_a_bar_lies_at_its_time_and_its_offset():
    drawn = offset_chart(LATE)
    late, good = drawn.bars
    assert (late.left, late.width) == (10.0, 30.0)
    assert (good.left, good.width) == (40.0, 60.0)
    assert drawn.early_y < good.y < drawn.zero_y < drawn.late_y < late.y < HEIGHT
    assert late.top < late.y < late.top + late.height


def test_what_is_outside_is_marked_and_named_where_there_is_room():
    late, good = offset_chart(LATE).bars
    assert (late.bad, late.label) == (True, "120 ms late")
    assert (good.bad, good.label) == (False, "20 ms early")
    assert offset_chart(LATE).gaps[0].label == ""


@pytest.mark.parametrize("seconds", [0.3, 1.0, 6.0, 61.0, 900.0, 7200.0, 40_000.0])
def test_times_have_few_round_labels_inside_the_chart(seconds: float):
    ticks = time_ticks(Axes(0.0, seconds, -1, 1))
    assert 1 <= len(ticks) <= TIME_LABELS
    assert ticks[0].at == 0
    assert all(0 <= tick.at <= 100 for tick in ticks)


@pytest.mark.parametrize("reach", [60.0, 120.0, 660.0, 2000.0, 60_000.0])
def test_offsets_have_few_round_labels_and_zero_is_one(reach: float):
    ticks = offset_ticks(Axes(0, 1, -reach, reach))
    assert 3 <= len(ticks) <= 8
    assert "0" in [tick.label for tick in ticks]
    assert ticks[-1].label.startswith("+")
    assert ticks[-1].at < ticks[0].at


def decoded(png: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return image


def test_the_map_has_early_on_top_is_brighter_where_it_fits_and_clear_where_nothing_is():
    values = np.full((4, 3), -1.5, np.float32)
    values[:, 0] = 2.0
    values[2] = np.nan
    image = decoded(map_image(values))
    assert image.shape == (3, 4, 4)
    assert image[0, 0, :3].sum() > image[1, 0, :3].sum()
    assert image[:, 2, 3].tolist() == [0, 0, 0]
    assert (image[:, 0, 3] == 255).all()


def test_a_wide_search_is_drawn_with_fewer_rows_that_keep_the_peak():
    values = np.full((2, 3001), -1.5, np.float32)
    values[:, 1500] = 2.0
    image = decoded(map_image(values))
    assert len(image) <= MAP_ROWS
    assert (image[..., 2].max(axis=0) > 200).all()


def test_the_map_lies_at_its_time_and_the_answer_at_its_row():
    scores = ScoreMap(20.0, 1.0, np.arange(600.0, -601.0, -40.0), np.zeros((60, 31), np.float32))
    drawn = map_chart(LATE, scores)
    assert (drawn.image_left, drawn.image_width) == (20.0, 60.0)
    assert drawn.answer_y == pytest.approx(HEIGHT * (15.5 + 3) / 31, abs=0.1)
    assert drawn.image.startswith("data:image/png;base64,")


def test_an_address_holds_the_content():
    assert data_address(b"abc", "image/png") == "data:image/png;base64,YWJj"
