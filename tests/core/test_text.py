"""What comes from outside cannot drive a terminal."""

from hypothesis import given
from hypothesis import strategies as st

from avsync.core.text import printable


def test_a_file_name_cannot_send_escape_codes_or_break_the_encoding():
    assert printable("a\x1b[31m\n\udcffb") == "a\\x1b[31m\\n\\udcffb"


@given(st.text())
def test_whatever_the_name_only_printable_characters_remain(text: str):
    shown = printable(text)
    assert shown.isprintable()
    assert shown == text or not text.isprintable()
    shown.encode("utf-8")
