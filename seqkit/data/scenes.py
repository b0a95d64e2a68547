"""Drawing people of round limbs before backgrounds that move, without jagged edges.

Shapes: H and W, a picture's height and width; N joints. Pictures are (H, W, 3) float32, RGB from 0 to 1; places are
pixels, x to the right and y down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from seqkit.data.poses import JOINTS

Colour = tuple[float, float, float]
"""Red, green and blue, 0 to 1."""

_AT = {name: number for number, name in enumerate(JOINTS)}
_SHADE = 0.78  # what the far side has of the near side's light


@dataclass(frozen=True)
class Look:
    """How a person looks; lengths are shares of the standing height."""

    skin: Colour
    hair: Colour
    shirt: Colour
    trousers: Colour
    shoes: Colour
    bulk: float
    """How thick the limbs are; 1 is usual."""
    head: float
    """Radius."""
    long_sleeves: bool
    long_legs: bool
    long_hair: bool


def colour(hue: float, saturation: float, lightness: float) -> Colour:
    """A colour of a hue in turns, with a saturation of 0 to 1 and a lightness of 0 to 1."""
    reach = saturation * min(lightness, 1 - lightness)
    red, green, blue = (lightness + reach * np.cos(2 * np.pi * (hue - third / 3)) for third in range(3))
    return float(red), float(green), float(blue)


def draw_limb(
    picture: np.ndarray, start: np.ndarray, end: np.ndarray, radii: tuple[float, float], paint: Colour
) -> None:
    """Draw a line from one place (2,) to another, as thick as the radii at its ends, into a picture."""
    height, width = picture.shape[:2]
    reach = max(radii) + 1
    left, top = np.floor(np.minimum(start, end) - reach).astype(int).tolist()
    right, bottom = np.ceil(np.maximum(start, end) + reach).astype(int).tolist()
    left, top, right, bottom = max(left, 0), max(top, 0), min(right + 1, width), min(bottom + 1, height)
    if left >= right or top >= bottom:
        return
    x = np.arange(left, right, dtype=np.float32)[None] - np.float32(start[0])
    y = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(start[1])
    across, down = (np.float32(side) for side in end - start)
    along = (x * across + y * down) / max(across * across + down * down, np.float32(1e-6))
    along = np.minimum(np.maximum(along, 0), 1)
    away = np.sqrt((x - along * across) ** 2 + (y - along * down) ** 2)
    cover = radii[0] + 0.5 + along * (radii[1] - radii[0]) - away
    cover = np.minimum(np.maximum(cover, 0), 1)[..., None]
    part = picture[top:bottom, left:right]
    part += cover * (np.array(paint, np.float32) - part)


def draw_person(picture: np.ndarray, places: np.ndarray, height: float, look: Look) -> None:
    """Draw a person `height` pixels tall, whose joints are at `places` (N, 2)."""
    at = {name: places[number] for name, number in _AT.items()}
    thick = look.bulk * height
    shoulder = at["hip"] + 0.94 * (at["neck"] - at["hip"])
    for side, light in (("far_", _SHADE), ("", 1.0)):
        shirt, skin, trousers, shoes = (
            _shaded(paint, light) for paint in (look.shirt, look.skin, look.trousers, look.shoes)
        )
        elbow, hand, knee, foot, toe = (at[side + name] for name in ("elbow", "hand", "knee", "foot", "toe"))
        leg = ((at["hip"], knee, (0.054, 0.042), trousers), (knee, foot, (0.040, 0.026), trousers))
        if not look.long_legs:
            leg = (leg[0], (knee, foot, (0.036, 0.024), skin))
        arm = (
            (shoulder, elbow, (0.038, 0.030), shirt),
            (elbow, hand, (0.027, 0.022), shirt if look.long_sleeves else skin),
            (hand, hand, (0.027, 0.027), skin),
        )
        limbs = [*leg, (foot, toe, (0.026, 0.021), shoes)]
        # The far arm is behind everything, the near one before it.
        for start, end, (first, last), paint in [*arm, *limbs] if side else limbs:
            draw_limb(picture, start, end, (first * thick, last * thick), paint)
        if not side:
            _draw_trunk(picture, at, height, look)
            for start, end, (first, last), paint in arm:
                draw_limb(picture, start, end, (first * thick, last * thick), _shaded(paint, 0.92))


def _draw_trunk(picture: np.ndarray, at: Mapping[str, np.ndarray], height: float, look: Look) -> None:
    thick, radius = look.bulk * height, look.head * height
    chest = at["hip"] + 0.86 * (at["neck"] - at["hip"])
    draw_limb(picture, at["hip"], at["hip"], (0.062 * thick, 0.062 * thick), look.trousers)
    draw_limb(picture, at["hip"] + 0.15 * (at["neck"] - at["hip"]), chest, (0.064 * thick, 0.076 * thick), look.shirt)
    draw_limb(picture, at["neck"], at["head"], (0.03 * thick, 0.03 * thick), look.skin)
    up = (at["head"] - at["neck"]) / max(float(np.hypot(*(at["head"] - at["neck"]))), 1e-6)
    hair = at["head"] + 0.3 * radius * up
    draw_limb(picture, hair, at["neck"] if look.long_hair else hair, (radius, 0.8 * radius), look.hair)
    draw_limb(picture, at["head"] - 0.1 * radius * up, at["head"], (0.85 * radius, 0.85 * radius), look.skin)


def _shaded(paint: Colour, light: float) -> Colour:
    red, green, blue = paint
    return red * light, green * light, blue * light


# Backgrounds ---------------------------------------------------------------------------------------------------------


def background(kind: str, height: int, width: int, colours: tuple[Colour, Colour], seed: int) -> np.ndarray:
    """A picture (height, width, 3) of a kind of `PATTERNS`, between two colours."""
    rng = np.random.RandomState(seed)  # its numbers are the same in every version of NumPy
    y, x = np.mgrid[:height, :width] / height
    share = np.clip(PATTERNS[kind](x, y, rng), 0, 1).astype(np.float32)[..., None]  # (height, width, 1)
    first, second = (np.array(paint, np.float32) for paint in colours)
    picture: np.ndarray = first + share * (second - first)
    return picture


def _wall(x: np.ndarray, y: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    return 0.5 + 0.5 * np.sin(x * rng.uniform(0.3, 1.2) + y * rng.uniform(-2, 2) + rng.uniform(0, 6))


def _clouds(x: np.ndarray, y: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    waves = np.zeros_like(x)
    for _ in range(6):
        across, down = rng.uniform(-9, 9, 2)
        waves += np.sin(across * x + down * y + rng.uniform(0, 6))
    return 0.5 + waves / 6


def _stripes(x: np.ndarray, y: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    return np.asarray(0.5 + 0.5 * np.tanh(3 * np.sin(x * rng.uniform(8, 20) + y * rng.uniform(-5, 5))))


def _checks(x: np.ndarray, y: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    scale = rng.uniform(8, 16)
    return np.asarray(0.5 + 0.5 * np.tanh(4 * np.sin(scale * x) * np.sin(scale * y + rng.uniform(0, 6))))


def _grid(x: np.ndarray, y: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    scale = rng.uniform(5, 10)
    return np.where((scale * x % 1 < 0.12) | (scale * y % 1 < 0.12), 0.1, 0.8)


def _hills(x: np.ndarray, y: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    ridge = rng.uniform(0.4, 0.7) + 0.08 * np.sin(x * rng.uniform(2, 6)) + 0.04 * np.sin(x * rng.uniform(6, 12))
    return 0.5 + 0.5 * np.tanh((y - ridge) * 30) * (0.5 + 0.5 * y)


def _planks(x: np.ndarray, y: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    place = y * rng.uniform(5, 9)
    return np.asarray(0.35 + 0.4 * np.floor(place) % 3 / 2 + 0.25 * np.sin(x * 3 + np.floor(place) * 5))


def _rings(x: np.ndarray, y: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    return 0.5 + 0.5 * np.sin(rng.uniform(12, 22) * np.hypot(x - rng.uniform(0, 2), y - rng.uniform(0, 1)))


def _bricks(x: np.ndarray, y: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    rows = y * rng.uniform(6, 10)
    columns = x * rng.uniform(3, 5) + np.floor(rows) % 2 / 2
    return np.where((rows % 1 < 0.15) | (columns % 1 < 0.08), 0.1, 0.7 + 0.1 * np.sin(7 * np.floor(columns)))


def _dots(x: np.ndarray, y: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    scale = rng.uniform(4, 8)
    return 0.5 + 0.5 * np.tanh(8 * (0.3 - np.hypot(scale * x % 1 - 0.5, scale * y % 1 - 0.5)))


def _dunes(x: np.ndarray, y: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    return 0.5 + 0.5 * np.sin(rng.uniform(8, 16) * y + 1.5 * np.sin(x * rng.uniform(2, 5)))


PATTERNS: Mapping[str, Callable[[np.ndarray, np.ndarray, np.random.RandomState], np.ndarray]] = {
    **{"wall": _wall, "clouds": _clouds, "stripes": _stripes, "checks": _checks, "grid": _grid, "hills": _hills},
    **{"planks": _planks, "rings": _rings, "bricks": _bricks, "dots": _dots, "dunes": _dunes},
}
"""Shares (H, W) of the second colour, by x and y in heights of the picture."""


def view(picture: np.ndarray, left: float, top: float, size: tuple[int, int]) -> np.ndarray:
    """The part of a picture, of `size` (H, W), whose corner is at a place between its pixels."""
    (column, across), (row, down) = ((int(np.floor(place)), place - np.floor(place)) for place in (left, top))
    part = picture[row : row + size[0] + 1, column : column + size[1] + 1]
    part = part[:, :-1] * np.float32(1 - across) + part[:, 1:] * np.float32(across)
    seen: np.ndarray = part[:-1] * np.float32(1 - down) + part[1:] * np.float32(down)
    return seen
