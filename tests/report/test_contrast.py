"""The colours of the page meet WCAG 2.1's contrast, in light and in dark: 4.5 for text, 3 for the parts
of a chart or a verdict that carry meaning."""

import re
from importlib.resources import files

import pytest

STYLE = files("avsync.report.pages").joinpath("style.css").read_text(encoding="utf-8")
DARK = STYLE.index("prefers-color-scheme: dark")

TEXT = {
    "text": ("back", "card", "good-tint", "bad-tint", "amber-tint", "unsure-tint"),
    "muted": ("back", "card"),
    "link": ("back",),
    "good": ("back", "good-tint"),
    "bad": ("back", "bad-tint"),
    "amber": ("back", "amber-tint"),
    "unsure": ("back", "unsure-tint"),
}
"""Letters and the grounds on which they stand."""
SHAPES = {
    "good": ("band", "card", "back"),
    "bad": ("band", "card", "back"),
    "text": ("band", "card"),
    "muted": ("band", "card", "back"),
    "amber": ("back",),
    "unsure": ("back",),
}
"""Bars, needles, edges of the tolerance band, zero lines, hatching, frames of a verdict's panel, and what is
behind them."""


def colours(scheme: str) -> dict[str, tuple[float, float, float]]:
    """The custom properties of a scheme, as sRGB from 0 to 1."""
    rules = STYLE[:DARK] if scheme == "light" else STYLE[DARK : STYLE.index("* {", DARK)]
    found = re.findall(r"--([\w-]+): #([0-9a-f]{3}|[0-9a-f]{6});", rules)
    whole = {
        name: value if len(value) == 6 else "".join(2 * digit for digit in value) for name, value in found
    }
    return {
        name: (int(value[:2], 16) / 255, int(value[2:4], 16) / 255, int(value[4:], 16) / 255)
        for name, value in whole.items()
    }


def luminance(colour: tuple[float, float, float]) -> float:
    """Relative luminance by WCAG 2.1."""
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    """From 1 (the same) to 21 (black and white)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def over(
    front: tuple[float, float, float], back: tuple[float, float, float], opacity: float
) -> tuple[float, float, float]:
    """What a translucent colour looks like on another."""
    red, green, blue = (opacity * f + (1 - opacity) * b for f, b in zip(front, back, strict=True))
    return red, green, blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("pairs", "least"), [pytest.param(TEXT, 4.5, id="letters"), pytest.param(SHAPES, 3, id="shapes")]
)
def test_letters_can_be_read_and_shapes_stand_out(
    pairs: dict[str, tuple[str, ...]], least: float, scheme: str
):
    found = colours(scheme)
    low = {
        f"{front} on {back}": round(contrast(found[front], found[back]), 2)
        for front, backs in pairs.items()
        for back in backs
    }
    assert min(low.values()) >= least, low


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_hatching_of_what_was_not_judged_stands_out(scheme: str):
    rule = re.search(r"\.hatch \{[^}]*stroke: var\(--(\w+)\);[^}]*?(?:opacity: ([\d.]+))?;? \}", STYLE)
    assert rule
    found = colours(scheme)
    seen = over(found[rule[1]], found["card"], float(rule[2] or 1))
    assert contrast(seen, found["card"]) >= 3


def test_every_colour_of_the_page_is_held_by_these_tests():
    held = {*TEXT, *SHAPES, *(back for backs in (*TEXT.values(), *SHAPES.values()) for back in backs)}
    decoration = {"edge", "grid"}
    assert set(colours("light")) == set(colours("dark")) == held | decoration
