"""The boxes of an MP4 file, as they are and as a hostile file has them."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest

from avsync.media.fragments import MAX_BOXES, demuxer_delay, top_boxes


def box(name: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


def test_outermost_boxes_are_named_with_the_place_and_size_of_their_content() -> None:
    file = io.BytesIO(box(b"ftyp", b"isom") + struct.pack(">I4sQ", 1, b"mdat", 19) + b"abc" + box(b"moov"))
    assert list(top_boxes(file)) == [(b"ftyp", 8, 4), (b"mdat", 28, 3), (b"moov", 39, 0)]


@pytest.mark.parametrize("size", [0, 2, 2**63 - 1, 2**64 - 1])
def test_a_box_that_lies_about_its_size_ends_the_walk(size: int) -> None:
    file = io.BytesIO(box(b"ftyp") + struct.pack(">I4sQ", 1, b"moof", size))
    assert [name for name, *_ in top_boxes(file)] == [b"ftyp", b"moof"]


def test_a_file_of_nothing_but_empty_boxes_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "empty.mp4"
    path.write_bytes(2 * MAX_BOXES * box(b"free"))
    assert demuxer_delay(path, 1) == 0
    with path.open("rb") as file:
        assert len(list(top_boxes(file))) == MAX_BOXES
