"""Progress bars are shown to a person at a terminal only."""

import io

import pytest

from avsync.cli.progress import progress_bars, staged


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, *, quiet: bool = False) -> str:
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bars(quiet=quiet) as bar:
        bar("", "finding faces", 1, 3)
    return stream.getvalue()


def test_a_terminal_gets_bars_and_a_file_or_a_quiet_command_nothing(monkeypatch: pytest.MonkeyPatch):
    assert "finding faces" in shown(Terminal(), monkeypatch)
    assert shown(Terminal(), monkeypatch, quiet=True) == ""
    assert shown(io.StringIO(), monkeypatch) == ""


def test_stages_are_shown_in_words_and_unknown_ones_by_name():
    steps: list[tuple[str, str, float, float | None]] = []
    tell = staged(lambda *step: steps.append(step))
    tell("probe", 0, None)
    tell("polishing", 1, 2)
    assert steps == [("", "reading the file", 0, None), ("", "polishing", 1, 2)]
