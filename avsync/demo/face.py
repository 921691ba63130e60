"""A talking face drawn from one image: the public-domain NASA portrait in scikit-image's wheel.

The lips, jaw and teeth are moved by smooth displacement fields, so a frame can be drawn for any instant.
Coordinates named x, y are pixels of the portrait (512 x 512).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from avsync.demo.speech import Pose, ease
from avsync.media.images import cv2

Array = npt.NDArray[np.floating[Any]]

VIEW_X, VIEW_Y, VIEW_SIZE = 123.0, 27.0, 200.0
"""The square of the portrait that a frame shows when the head is at rest."""
MARGIN = 24.0
"""Pixels of the portrait kept around the view for the head's motion."""
MOUTH_BOX = (176.0, 114.0, 272.0, 212.0)
"""x1, y1, x2, y2 of everything that speech moves: lips, cheeks, chin, throat."""
INNER_BOX = (198.0, 138.0, 250.0, 164.0)
"""The area that may be visible between the lips."""
EYE_BOX = (188.0, 88.0, 262.0, 114.0)
EYES = ((203.0, 97.4, 104.6, 12.0), (246.8, 99.8, 107.0, 12.0))
"""Per eye: centre x, y of the upper and the lower lid, half width."""

# The opening between the lips in the portrait, traced by eye: x, y of the upper and lower edge.
UPPER_EDGE = np.array(
    [
        (202.7, 139.6), (206.4, 140.6), (211.4, 141.4), (216.4, 142.1), (220.7, 142.5), (224.3, 142.7),
        (228.6, 142.5), (232.9, 142.1), (237.1, 141.4), (241.4, 140.6), (245.2, 140.0),
    ]
)  # fmt: skip
LOWER_EDGE = np.array(
    [
        (202.7, 139.8), (205.4, 142.9), (207.1, 144.3), (210.7, 146.8), (214.3, 148.8), (218.6, 149.9),
        (223.6, 150.3), (228.6, 150.0), (232.9, 149.0), (236.4, 147.2), (240.0, 145.0), (242.9, 142.9),
        (245.2, 140.2),
    ]
)  # fmt: skip
MOUTH_X = 223.9
HALF_WIDTH = 21.3
CLOSED_Y = 146.6
"""Where closed lips meet in the middle."""
CHIN_Y = 178.0
TONGUE = np.array([92, 44, 44], np.float32)
LOWER_TEETH = np.array([186, 172, 160], np.float32)


@dataclass(frozen=True)
class Canvas:
    """Static images of one frame size. `scale` is canvas pixels per portrait pixel; `face` and
    `teeth` are uint8 (m, m, 3) RGB; `x`, `y` float32 are the portrait coordinates of the mouth box."""

    size: int
    scale: float
    face: npt.NDArray[np.uint8]
    teeth: Array
    x: Array
    y: Array
    map_x: Array
    map_y: Array
    coarse_x: Array
    coarse_y: Array
    inner: tuple[slice, slice]


def draw(pose: Pose, size: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Yields one uint8 (size, size, 3) RGB frame for each instant of `pose`."""
    canvas = _canvas(size)
    for i in range(len(pose.times_s)):
        face = canvas.face.copy()
        _draw_mouth(face, canvas, pose, i)
        if pose.blink[i] > 0.02:
            _draw_blink(face, canvas, float(pose.blink[i]))
        yield _place_head(face, canvas, pose, i)


@lru_cache(maxsize=4)
def _canvas(size: int) -> Canvas:
    from skimage import data

    scale = size / VIEW_SIZE
    side = round((VIEW_SIZE + 2 * MARGIN) * scale)
    to_canvas = np.array([[scale, 0, -(VIEW_X - MARGIN) * scale], [0, scale, -(VIEW_Y - MARGIN) * scale]])
    face = _warp(data.astronaut(), to_canvas, side, cv2.INTER_CUBIC)
    rows, columns = _slices(MOUTH_BOX, scale)
    y, x = np.mgrid[rows, columns].astype(np.float32)
    x, y = x / scale + VIEW_X - MARGIN, y / scale + VIEW_Y - MARGIN
    coarse = (round(MOUTH_BOX[2] - MOUTH_BOX[0]), round(MOUTH_BOX[3] - MOUTH_BOX[1]))
    inner_rows, inner_columns = _slices(INNER_BOX, scale)
    return Canvas(
        size=size,
        scale=scale,
        face=face,
        teeth=np.roll(_teeth(face[rows, columns], x, y), -round(scale), axis=0),
        x=x,
        y=y,
        map_x=(x - VIEW_X + MARGIN) * np.float32(scale),
        map_y=(y - VIEW_Y + MARGIN) * np.float32(scale),
        coarse_x=cv2.resize(x, coarse, interpolation=cv2.INTER_AREA),
        coarse_y=cv2.resize(y, coarse, interpolation=cv2.INTER_AREA),
        inner=(
            slice(inner_rows.start - rows.start, inner_rows.stop - rows.start),
            slice(inner_columns.start - columns.start, inner_columns.stop - columns.start),
        ),
    )


def _slices(box: tuple[float, float, float, float], scale: float) -> tuple[slice, slice]:
    x1, y1, x2, y2 = box
    left, top = (VIEW_X - MARGIN), (VIEW_Y - MARGIN)
    return (
        slice(round((y1 - top) * scale), round((y2 - top) * scale)),
        slice(round((x1 - left) * scale), round((x2 - left) * scale)),
    )


def _edge(curve: npt.NDArray[np.float64], x: Array) -> Array:
    return np.interp(x, curve[:, 0], curve[:, 1]).astype(np.float32)


def _teeth(mouth: npt.NDArray[np.uint8], x: Array, y: Array) -> Array:
    """The upper teeth of the smile with the dark of the mouth below them, and above them the gum."""
    upper, lower = _edge(UPPER_EDGE, x[0]) + 0.6, _edge(LOWER_EDGE, x[0]) - 0.9
    row = np.clip(y, upper, np.maximum(upper, lower))
    image = cv2.remap(
        mouth.astype(np.float32),
        (x - x[0, 0]) * _pitch(x),
        ((row - y[0, 0]) * _pitch(x)).astype(np.float32),
        cv2.INTER_LINEAR,
    )
    depth = np.clip((y - lower) / 0.8, 0, 1)[..., None]
    inside = np.clip(1 - np.abs(x - MOUTH_X) / 19.5, 0, 1)[..., None] ** 0.5
    dark = np.array([52, 20, 20], np.float32)
    return (image * (0.35 + 0.65 * inside)) * (1 - depth) + dark * depth


def _pitch(x: Array) -> float:
    return float(1 / (x[0, 1] - x[0, 0]))


def _draw_mouth(face: npt.NDArray[np.uint8], canvas: Canvas, pose: Pose, i: int) -> None:
    """Move the lips, jaw and cheeks of the canvas `face` into pose `i`, in place."""
    opening, lift, jaw = float(pose.opening[i]), float(pose.lift[i]), float(pose.jaw[i])
    lips = _lips(canvas.x[0], opening, lift, float(pose.spread[i]))
    coarse = _lips(canvas.coarse_x[0], opening, lift, float(pose.spread[i]))
    fields = _displacement(canvas.coarse_x, canvas.coarse_y, coarse, pose, i)
    across, rise, settle = (
        cv2.resize(f, canvas.x.shape[::-1], interpolation=cv2.INTER_LINEAR) for f in fields
    )
    down = np.where(canvas.y < (lips.upper + lips.lower) / 2, rise, settle)
    rows, columns = _slices(MOUTH_BOX, canvas.scale)
    map_x = canvas.map_x + canvas.scale * across
    map_y = canvas.map_y - canvas.scale * down
    mixed = cv2.remap(canvas.face, map_x, map_y, cv2.INTER_LINEAR).astype(np.float32)
    _fill_mouth(mixed, canvas, lips, opening + lift, jaw)
    edge = _feather(canvas.x.shape)
    face[rows, columns] = np.clip(mixed, 0, 255) * edge + face[rows, columns] * (1 - edge)


@dataclass(frozen=True)
class Lips:
    """Where the lips' inner edges go, one value per column (m,): `squeeze` is how far to look outwards
    for the frame of a column, `n` the column in half mouth widths, `line` where the lips would
    meet, `upper` and `lower` the edges and `upper_from`, `lower_from` their places in the portrait."""

    squeeze: Array
    n: Array
    arch: Array
    line: Array
    upper: Array
    lower: Array
    upper_from: Array
    lower_from: Array


def _lips(x: Array, opening: float, lift: float, spread: float) -> Lips:
    half = HALF_WIDTH * (0.86 + (0.12 if spread > 0 else 0.26) * spread)
    column = x - MOUTH_X
    squeeze = (HALF_WIDTH / half - 1) * column * np.exp(-((column / 24) ** 4))
    n = column / half
    arch = np.clip(1 - n * n, 0, 1) ** 0.8
    upper_from = _edge(UPPER_EDGE, x + squeeze) - 0.35
    lower_from = _edge(LOWER_EDGE, x + squeeze) + 0.45
    corner = CLOSED_Y - (1.2 + 2.2 * max(spread, 0.0) - 0.28 * opening)
    fade = np.exp(-((np.clip(np.abs(n) - 1, 0, None) / 0.45) ** 2))
    inner = CLOSED_Y + (corner - CLOSED_Y) * n * n
    line = np.where(np.abs(n) < 1, inner, upper_from + (corner - upper_from) * fade)
    return Lips(squeeze, n, arch, line, line - lift * arch, line + opening * arch, upper_from, lower_from)


def _displacement(x: Array, y: Array, lips: Lips, pose: Pose, i: int) -> tuple[Array, Array, Array]:
    """How far the face moves across, and down above and below the mouth, in portrait pixels."""
    opening, jaw = float(pose.opening[i]), float(pose.jaw[i])
    above, below = lips.upper - y, y - lips.lower
    thick = 0.9 + 1.0 * max(-float(pose.spread[i]), 0.0) - 1.4 * float(pose.press[i])
    inside = np.clip(1.3 - np.abs(lips.n), 0, 1)
    rise = (lips.upper - lips.upper_from) * np.exp(-((above / 10) ** 2))
    rise -= thick * inside * np.exp(-(((above - 5) / 3.5) ** 2))
    settle = (lips.line - lips.lower_from) * np.exp(-((below / 12) ** 2))
    settle += thick * inside * np.exp(-(((below - 6) / 3.5) ** 2))
    chin = ease(below / 15)
    drop = opening * lips.arch * (1 - chin) + jaw * np.exp(-(((x - MOUTH_X) / 33) ** 4)) * chin
    settle += drop * (1 - ease((y - CHIN_Y - jaw) / 26))
    return lips.squeeze * np.exp(-(((y - CLOSED_Y) / 17) ** 2)), rise, settle


def _fill_mouth(skin: Array, canvas: Canvas, lips: Lips, gap: float, jaw: float) -> None:
    """Draw the inside of the mouth into `skin`, in place."""
    rows, columns = canvas.inner
    soft = 0.55
    x, y, teeth = canvas.x[rows, columns], canvas.y[rows, columns], canvas.teeth[rows, columns]
    n, above, below = lips.n[columns], lips.upper[columns] - y, y - lips.lower[columns]
    hole = np.clip(0.5 - above / soft, 0, 1) * np.clip(0.5 - below / soft, 0, 1)
    hole *= np.clip((1 - np.abs(n)) * 8, 0, 1)
    crease = 0.45 * np.exp(-gap) * np.exp(-(((y - lips.line[columns]) / 0.7) ** 2))
    crease *= np.clip((1.02 - np.abs(n)) * 6, 0, 1)

    side = np.abs(x - MOUTH_X)
    free = np.clip((y - _edge(LOWER_EDGE, x[0]) + 1.9) / 0.8, 0, 1)
    tongue = free * np.clip((y - (149.5 + 0.55 * jaw)) / 4, 0, 1) * np.clip(1.25 - side / 14, 0, 1)
    lower_top = 150.2 + 0.95 * jaw - (side / 16) ** 2 * 2.0
    lower = free * np.clip((y - lower_top) / 0.6, 0, 1) * np.clip(1.2 - side / 13, 0, 1)
    inside = teeth + tongue[..., None] * TONGUE
    inside += 0.8 * lower[..., None] * (LOWER_TEETH - inside)
    shade = (0.5 + 0.5 * ease(-above / 2.6)) * (0.75 + 0.25 * ease(-below / 2.0))
    shade *= np.clip(1.35 - np.abs(n), 0.2, 1)
    part = skin[rows, columns]
    part *= ((1 - hole) * (1 - crease))[..., None]
    part += (hole * shade)[..., None] * inside


@lru_cache(maxsize=4)
def _feather(shape: tuple[int, int]) -> Array:
    """1 inside the box, falling to 0 at its border, so that no seam shows."""
    ramps = [np.clip(np.minimum(np.arange(n), np.arange(n)[::-1]) / (0.06 * n), 0, 1) for n in shape]
    return (ramps[0][:, None] * ramps[1][None]).astype(np.float32)[..., None]


def _draw_blink(face: npt.NDArray[np.uint8], canvas: Canvas, closed: float) -> None:
    """Draw the upper lids over the eyes, `closed` 0..1, in place."""
    rows, columns = _slices(EYE_BOX, canvas.scale)
    y, x = np.mgrid[rows, columns].astype(np.float32)
    px, py = x / canvas.scale + VIEW_X - MARGIN, y / canvas.scale + VIEW_Y - MARGIN
    map_y = y.copy()
    for centre, top, bottom, half in EYES:
        n = np.clip(1 - ((px - centre) / half) ** 2, 0, 1)
        lid = closed * (bottom - top - 0.6) * n
        # The lid's skin stretches from above; the eye below it is squeezed against the lower lid.
        edge = top + lid
        skin = np.clip(1 - (edge - py) / (6 + lid), 0, 1) * lid
        eye = lid * np.clip((bottom - py) / np.maximum(bottom - edge, 0.3), 0, 1)
        map_y -= np.where(py < edge, skin, eye) * canvas.scale
    face[rows, columns] = cv2.remap(face, x, map_y, cv2.INTER_LINEAR)


def _place_head(face: npt.NDArray[np.uint8], canvas: Canvas, pose: Pose, i: int) -> npt.NDArray[np.uint8]:
    """Rotate, scale and move the canvas about the neck and crop the frame from it."""
    pivot = np.array([MOUTH_X - VIEW_X + MARGIN, 190.0 - VIEW_Y + MARGIN]) * canvas.scale
    turn = cv2.getRotationMatrix2D(
        (float(pivot[0]), float(pivot[1])), float(pose.roll[i]), float(pose.zoom[i])
    )
    turn[:, 2] += (np.array([pose.sway[i], pose.nod[i]]) - MARGIN) * canvas.scale
    return _warp(face, turn, canvas.size, cv2.INTER_LINEAR)


def _warp(
    image: npt.NDArray[np.uint8], matrix: npt.NDArray[Any], side: int, flags: int
) -> npt.NDArray[np.uint8]:
    warped = cv2.warpAffine(image, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.uint8)
