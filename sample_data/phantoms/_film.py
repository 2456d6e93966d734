"""The parts of a frontal chest film, as thicknesses along the beam in mm. Positions in mm on a 360 mm square film:
x from the midline to the patient's left (right on the film), y down from the upper edge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from models.types import FloatArray
from sample_data.phantoms._shapes import (
    fill,
    fractal,
    grow,
    line_distance,
    noise,
    signed_distance,
    smooth_curve,
    step,
)

FILM_MM = 360.0
_RIGHT_LUNG = [
    (-44, 40), (-70, 50), (-96, 84), (-119, 135), (-131, 190), (-136, 236), (-138, 272), (-138, 272), (-122, 256), (-98, 240),
    (-70, 233), (-44, 238), (-20, 250), (-20, 250), (-17, 215), (-17, 170), (-16, 130), (-17, 95), (-22, 60),
]  # fmt: skip
_LEFT_LUNG = [
    (44, 41), (70, 51), (96, 85), (119, 136), (131, 190), (137, 238), (140, 281), (140, 281), (124, 266), (100, 252),
    (74, 245), (48, 250), (18, 260), (18, 260), (17, 215), (18, 170), (19, 130), (20, 95), (23, 60),
]  # fmt: skip
_BODY = [
    (-60, -25), (-58, 2), (-80, 22), (-150, 40), (-210, 60), (-225, 130), (-196, 160), (-184, 210), (-186, 290), (-192, 390),
    (192, 390), (186, 290), (184, 210), (196, 160), (225, 130), (210, 60), (150, 40), (80, 22), (58, 2), (60, -25),
]  # fmt: skip
# Half widths of the heart are shares of its transverse diameter: a third to the right of the midline.
_HEART = [
    (-0.18, 148), (-0.26, 172), (-0.32, 200), (-0.333, 222), (-0.27, 248), (0.0, 262), (0.35, 267), (0.58, 258), (0.667, 238),
    (0.62, 214), (0.47, 186), (0.33, 166), (0.24, 148), (0.0, 138),
]  # fmt: skip
_VESSELS = [
    (-15, 40), (-20, 70), (-26, 100), (-27, 135), (-24, 165), (26, 165), (33, 148), (35, 132), (27, 118), (34, 104), (34, 92),
    (24, 84), (20, 60), (16, 40),
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Chest:
    """A drawn chest before findings, all arrays (H, W).

    Attributes:
        dense: thickness of soft tissue and bone in mm of water.
        depth: thickness of air-filled lung along the beam in mm.
        right, left, heart: bool; the lungs include what lies in front of the heart.
    """

    mm: float
    dense: FloatArray
    depth: FloatArray
    right: NDArray[np.bool_]
    left: NDArray[np.bool_]
    heart: NDArray[np.bool_]
    x: FloatArray
    y: FloatArray


def draw_chest(rng: np.random.Generator, size: int, ratio: float) -> Chest:
    """Body, lungs, heart, vessels, ribs, spine, collar bones, shoulder blades; ``ratio`` is the cardiothoracic one."""
    mm = FILM_MM / size
    shape = (size, size)
    centre = np.arange(size, dtype=np.float32) * mm + mm / 2
    x, y = (centre - FILM_MM / 2)[None, :] + np.zeros(shape, np.float32), centre[:, None] + np.zeros(shape, np.float32)

    def outline(points: ArrayLike, jitter: float = 2.0) -> NDArray[np.bool_]:
        p = np.asarray(points, dtype=float)
        moved = (
            p
            + jitter * rng.standard_normal((1, 2)) * (1, 1)
            + 0.6 * jitter * np.sin(p[:, ::-1] / 37 + rng.uniform(0, 6, 2))
        )
        return fill(_pixels(smooth_curve(moved, closed=True), mm), shape)

    body, right, left = outline(_BODY, 1.0), outline(_RIGHT_LUNG), outline(_LEFT_LUNG)
    heart_mm = ratio * width(right | left) * mm
    heart_points = np.asarray(_HEART) * (heart_mm, 1.0)
    outside = smooth_curve(heart_points, closed=True)
    outside[:, 0] *= heart_mm / np.ptp(outside[:, 0])
    heart = fill(_pixels(outside, mm), shape)
    vessels = outline(_VESSELS, 1.0)

    wall = (
        signed_distance(np.pad(body, size // 4, mode="edge"))[size // 4 : -(size // 4), size // 4 : -(size // 4)] * mm
    )
    thick = 205 * _round(wall, 80) * (1 + 0.10 * step(y - 150, 150)) + 3.0 * fractal(rng, shape, 45 / mm, 3)
    # Below the diaphragm the beam meets liver, stomach and spleen instead of lung.
    chest = right | left
    edge = signed_distance(chest) * mm
    depth = 168 * _round(edge, 30) * (0.80 + 0.20 * np.sin(np.clip((y - 30) / 230, 0, 1) * np.pi))
    middle = 78 * _round(signed_distance(heart) * mm, 40) + 46 * _round(signed_distance(vessels) * mm, 16)
    bronchi = _airway(mm, shape)
    depth = np.clip(depth - middle, 0, None)
    dense = thick * body - 0.74 * depth - bronchi
    dense += _lung_vessels(rng, mm, shape) * step(edge, 2) * np.clip(depth / 120, 0, 1)
    dense += 0.9 * fractal(rng, shape, 5 / mm, 3) * step(edge, 3)
    dense += _bones(rng, mm, shape, x, y, right | left)
    dense -= 26 * np.exp(-((((x - 62) / 26) ** 2 + ((y - 285) / 13) ** 2) ** 2)) * (~left)
    breast = np.exp(-((np.hypot((np.abs(x) - 78) / 62, (y - 205) / 58)) ** 6))
    dense += 11 * breast * body
    return Chest(mm, dense.astype(np.float32), depth.astype(np.float32), right, left, heart, x, y)


def expose(rng: np.random.Generator, chest: Chest, noise_percent: float) -> FloatArray:
    """(H, W) float32 film, 0 to 4095, bright where little radiation arrives (MONOCHROME2)."""
    # Beer-Lambert with the effective attenuation of water at 120 kV, and scatter blurred over centimetres.
    primary = np.exp(-0.0155 * np.clip(chest.dense, 0, None))
    scatter = ndimage.zoom(ndimage.gaussian_filter(primary[::8, ::8], 25 / chest.mm / 8), 8, order=1)[
        : primary.shape[0], : primary.shape[1]
    ]
    signal = ndimage.gaussian_filter(primary, 0.25 / chest.mm) + 0.25 * scatter
    quanta = signal * (
        1 + noise_percent / 100 * np.sqrt(0.12 / np.clip(signal, 0.02, None)) * noise_field(rng, signal.shape)
    )
    film = -np.log(np.clip(quanta, 1e-3, None))
    # Latitude processing, as in digital radiography: large-scale contrast down, detail up.
    base = ndimage.zoom(ndimage.gaussian_filter(film[::8, ::8], 30 / chest.mm / 8), 8, order=1)[
        : film.shape[0], : film.shape[1]
    ]
    film = film - 0.35 * base + 0.25 * (film - ndimage.gaussian_filter(film, 3 / chest.mm))
    low, high = np.percentile(film, (2.5, 99.6))
    return np.round(np.clip((film - low) / (high - low), 0, 1) ** 1.1 * 4095).astype(np.float32)


def width(mask: NDArray[np.bool_]) -> int:
    """Columns from the first to the last that a mask touches."""
    columns = np.flatnonzero(mask.any(axis=0))
    return int(columns[-1] - columns[0] + 1)


def noise_field(rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
    """Quantum mottle: nearly white, unit spread."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape).astype(np.float32), 0.55)
    return np.asarray(field / field.std(), dtype=np.float32)


def _pixels(points: NDArray[np.float64], mm: float) -> NDArray[np.float64]:
    return (points + np.array([FILM_MM / 2, 0.0])) / mm - 0.5


def _round(distance: FloatArray, reach: float) -> FloatArray:
    """Thickness profile of a rounded body, 0 at its edge, 1 from ``reach`` mm inwards."""
    return np.sqrt(np.clip(1 - (1 - np.clip(distance / reach, 0, 1)) ** 2, 0, 1))


def _tube(
    lines: list[NDArray[np.float64]], radius: float, mm: float, shape: tuple[int, int], wall: float | None = None
) -> FloatArray:
    """Length of the beam inside tubes along the lines, in mm; with ``wall``, inside the walls of pipes."""
    distance = line_distance([_pixels(line, mm) for line in lines], shape) * mm
    chord = 2 * np.sqrt(np.clip(radius**2 - distance**2, 0, None))
    if wall is not None:
        chord = chord - 1.5 * np.sqrt(np.clip((radius - wall) ** 2 - distance**2, 0, None))
    return chord.astype(np.float32)


def _airway(mm: float, shape: tuple[int, int]) -> FloatArray:
    """Trachea and main bronchi: air seen through the mediastinum."""
    trachea = smooth_curve([(0, -10), (0, 40), (-2, 85), (-3, 112)], closed=False)
    right = smooth_curve([(-3, 110), (-14, 128), (-30, 142)], closed=False)
    left = smooth_curve([(-3, 110), (14, 127), (36, 138)], closed=False)
    return ndimage.gaussian_filter(
        0.9 * _tube([trachea], 8.5, mm, shape) + 0.8 * _tube([right, left], 5.5, mm, shape), 1.2 / mm
    )


def _lung_vessels(rng: np.random.Generator, mm: float, shape: tuple[int, int]) -> FloatArray:
    """Hila and the vessels that branch from them, thicker towards the bases."""
    total = np.zeros(shape, dtype=np.float32)
    column, row = np.arange(shape[1]) * mm - FILM_MM / 2, np.arange(shape[0]) * mm
    spots: dict[tuple[float, int], list[NDArray[np.int_]]] = {}
    for side in (-1, 1):
        hilum = (side * 32, 150 if side < 0 else 143)
        for angle in rng.uniform(-8, 8, 9) + np.array([-75, -55, -35, -12, 8, 28, 45, 60, 76]):
            way = (side * np.cos(np.radians(angle)), np.sin(np.radians(angle)))
            root = 2.4 if angle < 20 else 3.3
            tree = grow(rng, hilum, way, 30, root, 6, 0.33)
            pixel = np.round(_pixels(tree.points, mm)).astype(int)
            seen = ((pixel >= 0) & (pixel < shape[0])).all(axis=1)
            for level in range(6):
                spots.setdefault((root * 0.72**level, level), []).append(pixel[seen & (tree.level == level)])
        across, down = np.exp(-(((column - side * 36) / 14) ** 2)), np.exp(-(((row - hilum[1]) / 20) ** 2))
        total += (9 * down[:, None] * across[None, :]).astype(np.float32)
    for (radius, _), places in spots.items():
        spot = np.zeros(shape, dtype=np.float32)
        x, y = np.concatenate(places).T
        spot[y, x] = 1
        total += _stamp(spot, radius / mm) * 3.4 * radius
    return total


def _stamp(spot: FloatArray, radius: float) -> FloatArray:
    """Discs of a radius around the marked pixels, with soft edges, height about 1."""
    return np.clip(ndimage.gaussian_filter(spot, max(radius * 0.55, 0.5)) * max(2.2 * radius, 1.2), 0, 1)


def _bones(
    rng: np.random.Generator, mm: float, shape: tuple[int, int], x: FloatArray, y: FloatArray, lungs: NDArray[np.bool_]
) -> FloatArray:
    """Extra attenuation of bone in mm of water."""
    back, front = [], []
    for k in range(10):
        top = 34 + 23.5 * k + rng.normal(0, 0.8)
        reach = float(np.interp(top + 20, (40, 90, 140, 200, 280), (62, 104, 126, 138, 146)))
        t = np.linspace(0, 1, 60)
        for side in (-1, 1):
            shift = rng.normal(0, 0.8)
            px = side * (16 + (reach - 16) * np.sin(t * np.pi / 2) ** 0.92)
            py = (
                top
                + shift
                - (7 + k * 0.2) * np.sin(np.pi * np.minimum(t * 1.25, 1))
                + (20 + 2.6 * k) * (1 - np.cos(t * np.pi / 2)) ** 1.25
            )
            back.append(np.stack([px, py], axis=1))
            if k < 7:
                qx = side * (reach - (reach - 58 - 3.5 * k) * (1 - np.cos(t * np.pi / 2)))
                qy = py[-1] + (46 + 2.2 * k) * np.sin(t * np.pi / 2) ** 1.15
                front.append(np.stack([qx, qy], axis=1))
    total = np.zeros(shape, dtype=np.float32)
    for lines, radius, weight in (
        (back[0::4] + back[1::4], 6.0, 1.75),
        (back[2::4] + back[3::4], 6.0, 1.75),
        (front, 6.8, 1.05),
    ):
        total += weight * _tube(lines, radius, mm, shape, wall=1.3)
    collar = [
        smooth_curve([(s * 13, 62), (s * 40, 52), (s * 80, 42), (s * 128, 30), (s * 165, 30)], closed=False)
        for s in (-1, 1)
    ]
    total += 1.7 * _tube(collar, 6.8, mm, shape, wall=1.5)
    blades = [
        smooth_curve(
            [(s * 132, 45), (s * 112, 70), (s * 108, 105), (s * 120, 150), (s * 136, 120), (s * 150, 70)], closed=True
        )
        for s in (-1, 1)
    ]
    for blade in blades:
        inside = signed_distance(fill(_pixels(blade, mm), shape)) * mm
        total += 5.0 * step(inside, 1.0) + 10 * np.exp(-(((inside - 1.5) / 1.8) ** 2))
    level = (y + 8) / 25.5
    disc = np.abs(level - np.round(level)) * 25.5
    half = 14.5 + 0.012 * y
    width = half - np.abs(x) + 1.2 * np.cos(2 * np.pi * (level - 0.5))
    vertebra = step(width, 0.8) * (
        16 + 7 * np.exp(-(((disc - 10.2) / 1.4) ** 2)) - 9 * step(disc - 11.3, 0.6) + 5 * np.exp(-((width / 1.6) ** 2))
    )
    spine = (
        vertebra
        + 12 * np.exp(-((x / 3.2) ** 2 + ((disc - 6) / 6.5) ** 2))
        + 8 * np.exp(-(((np.abs(x) - 9) / 2.2) ** 2 + (disc / 4.0) ** 2))
    )
    arms = [smooth_curve([(s * 158, 42), (s * 172, 75), (s * 186, 120)], closed=False) for s in (-1, 1)]
    total += 0.9 * _tube(arms, 13, mm, shape, wall=3.0)
    return total + spine * (0.55 + 0.03 * noise(rng, shape, 4 / mm))
