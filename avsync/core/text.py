"""Untrusted text, made safe to show."""

from __future__ import annotations

import os
import shlex


def printable(text: str, keep: str = "") -> str:
    """`text` with control and undecodable characters escaped, so that a file name cannot drive the
    terminal or break the output's encoding; those in `keep` stay."""
    return "".join(char if char.isprintable() or char in keep else ascii(char)[1:-1] for char in text)


def spreadsheet_text(text: str) -> str:
    """`text` as a cell that no spreadsheet takes for a formula, as it would "=cmd()" in a file name."""
    shown = printable(text)
    is_number = shown[1:].isdigit()
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) and not is_number else shown


def shell_word(text: str) -> str:
    """`text` as a word of a shell's command line. Control and undecodable characters are escaped the way that
    bash and zsh understand, so that the word can be shown and pasted."""
    if text.isprintable():
        return shlex.quote(text)
    escaped = (_escaped(char) for char in text)
    return f"$'{''.join(escaped)}'"


def _escaped(char: str) -> str:
    if char.isprintable():
        return f"\\{char}" if char in "\\'" else char
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(char))
