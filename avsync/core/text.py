"""Untrusted text, made safe to show."""

from __future__ import annotations


def printable(text: str, keep: str = "") -> str:
    """`text` with control and undecodable characters escaped, so that a file name cannot drive the
    terminal or break the output's encoding; those in `keep` stay."""
    return "".join(char if char.isprintable() or char in keep else ascii(char)[1:-1] for char in text)


def spreadsheet_text(text: str) -> str:
    """`text` as a cell that no spreadsheet takes for a formula, as it would "=cmd()" in a file name."""
    shown = printable(text)
    is_number = shown[1:].isdigit()
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) and not is_number else shown
