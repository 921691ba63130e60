"""What two files hold is compared packet by packet, and chapter by chapter."""

import pytest

from avsync.repair import packets


def test_chapters_must_stay_with_the_video() -> None:
    chapters = [packets.Chapter(0.0, "One"), packets.Chapter(1.0, "Two")]
    later = [packets.Chapter(0.0, "One"), packets.Chapter(1.4, "Two")]
    packets.check_chapters(chapters, later, 0.4)
    for other in (later, chapters[:1], [chapters[0], packets.Chapter(1.0, "Other")]):
        with pytest.raises(packets.DifferentError):
            packets.check_chapters(chapters, other, 0.0)
