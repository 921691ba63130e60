"""What two files hold is compared packet by packet, and chapter by chapter."""

from pathlib import Path

import pytest

from avsync.repair import labels, packets


def test_chapters_must_stay_with_the_video() -> None:
    chapters = [packets.Chapter(0.0, "One"), packets.Chapter(1.0, "Two")]
    later = [packets.Chapter(0.0, "One"), packets.Chapter(1.4, "Two")]
    labels.check_chapters(chapters, later, 0.4)
    for other in (later, chapters[:1], [chapters[0], packets.Chapter(1.0, "Other")]):
        with pytest.raises(packets.DifferentError):
            labels.check_chapters(chapters, other, 0.0)


def test_a_stream_that_nothing_can_decode_is_compared_like_any_other(made, tmp_path: Path) -> None:
    path = tmp_path / "unknown.mkv"
    path.write_bytes(made("plain.mkv").read_bytes().replace(b"A_AAC", b"A_XYZ"))
    file = packets.contents(path)
    assert [stream.kind for stream in file.streams] == ["video", "audio"]
    read = packets.read_packets(file)
    assert len(read) == 2
    assert len(read[1].starts) > 50
