"""A head as contrast-enhanced T1-weighted MR shows it, drawn on any grid of patient millimetres (LPS).

z = 0 lies near the plane through the anterior and posterior commissures. Intensities are relative: white matter 0.62.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from models.types import FloatArray
from sample_data.phantoms._shapes import fractal, grow, join, noise, smooth_curve, step
from sample_data.phantoms._thorax import Grid

WHITE, GREY, DEEP_GREY, CSF, ENHANCED = 0.62, 0.47, 0.51, 0.13, 0.95
_BRAIN_DEPTH = 14.5  # mm of scalp, skull and fluid over the brain

Push = Callable[[FloatArray, FloatArray, FloatArray], tuple[FloatArray, FloatArray, FloatArray]]


@dataclass(frozen=True, eq=False)
class Head:
    """A drawn head, free of noise.

    Attributes:
        signal: (D, H, W) float32, relative intensity.
        inner: (D, H, W) float32, distance in mm to the inside of the skull, positive inside.
        brain: (D, H, W) bool.
        white: (D, H, W) float32, share of white matter, where swelling spreads.
    """

    signal: FloatArray
    inner: FloatArray
    brain: NDArray[np.bool_]
    white: FloatArray


def draw_head(rng: np.random.Generator, grid: Grid, push: Push | None = None) -> Head:
    """Scalp, skull, folded cortex, ventricles, deep nuclei, cerebellum and vessels.

    Args:
        push: displaces positions (a mass pushes the brain aside); maps x, y, z in mm to where the tissue came from.
    """
    x, y, z = (axis + np.zeros(grid.shape, np.float32) for axis in grid.mm())
    wide = _mm(grid, 55)
    wx = x + 1.6 * noise(rng, grid.shape, wide)
    wy = y + 1.6 * noise(rng, grid.shape, wide)
    depth = skin_depth(wx, wy, z)
    inner = depth - (_BRAIN_DEPTH - 2.0) - 0.5 * noise(rng, grid.shape, _mm(grid, 18))
    if push is not None:
        px, py, pz = push(wx, wy, z)
    else:
        px, py, pz = wx, wy, z
    tissue, brain, white = _draw_brain(rng, grid, px, py, pz, inner)
    signal = np.zeros(grid.shape, dtype=np.float32)
    soft = grid.plane_mm * 0.8
    scalp = (
        0.80
        + 0.07 * fractal(rng, grid.shape, _mm(grid, 7), 3)
        - 0.35 * step(np.cos(np.arctan2(wy, wx) * 2) - 0.55, 0.3) * step(-z + 10, 20)
    )
    marrow = 0.42 + 0.10 * noise(rng, grid.shape, _mm(grid, 5))
    for start, value in (
        (0.0, 0.55), (1.6, scalp), (5.4, 0.06), (7.4, marrow), (10.2, 0.05), (_BRAIN_DEPTH - 2.6, 0.34), (_BRAIN_DEPTH - 1.8, CSF),
    ):  # fmt: skip
        signal = signal + (np.asarray(value, dtype=np.float32) - signal) * step(depth - start, soft)
    signal = signal + (tissue - signal) * step(inner - 1.6, soft)
    signal = _draw_vessels(rng, grid, signal, px, py, pz, inner)
    return Head(signal.astype(np.float32), inner.astype(np.float32), brain & (inner > 1.6), white)


def skin_depth(x: ArrayLike, y: ArrayLike, z: ArrayLike) -> FloatArray:
    """About the distance in mm to the skin, positive inside."""
    x, y, z = (np.asarray(axis, dtype=np.float32) for axis in (x, y, z))
    size = np.sqrt(np.clip(1 - np.where(z > 5, (z - 5) / 92, (z - 5) / 125) ** 2, 0.02, 1))
    back = 1 + 0.05 * y / 95
    ring = (np.abs(x / (77 * size * back)) ** 2.15 + np.abs(y / (96 * size)) ** 2.15) ** (1 / 2.15)
    return np.asarray((1 - ring) * 84 * size, dtype=np.float32)


def _mm(grid: Grid, length: float) -> tuple[float, float, float]:
    """A length in voxels of each axis."""
    return length / grid.slice_mm, length / grid.plane_mm, length / grid.plane_mm


def _ball(x: FloatArray, y: FloatArray, z: FloatArray, centre: ArrayLike, radii: ArrayLike) -> FloatArray:
    """About the distance in mm to an ellipsoid's surface, positive inside; x is mirrored at the midline."""
    (cx, cy, cz), (rx, ry, rz) = np.asarray(centre, dtype=float), np.asarray(radii, dtype=float)
    r = np.sqrt(((np.abs(x) - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 + ((z - cz) / rz) ** 2)
    return np.asarray((1 - r) * min(rx, ry, rz), dtype=np.float32)


def _draw_brain(
    rng: np.random.Generator, grid: Grid, x: FloatArray, y: FloatArray, z: FloatArray, inner: FloatArray
) -> tuple[FloatArray, NDArray[np.bool_], FloatArray]:
    """(relative intensity, what is brain rather than fluid, share of white matter)."""
    soft = grid.plane_mm * 0.8
    depth = inner - 2.0
    sulcus = _sulci(rng, grid, x, y, z) + 0.6 * np.clip(depth - 13 - 5 * noise(rng, grid.shape, _mm(grid, 22)), 0, None)
    wiggle = 1.0 * noise(rng, grid.shape, _mm(grid, 26))
    callosum = np.exp(
        -((np.clip(np.abs(y + 2) - 24, 0, None) / 10) ** 2) - (np.clip(np.abs(z - 12) - 12, 0, None) / 9) ** 2
    )
    fissure = np.abs(x + wiggle) - 0.9 + 12 * callosum
    sylvian = np.maximum(
        np.abs(y + 4 + 0.22 * (np.abs(x) - 45) + 2 * wiggle) - 1.1, np.abs(np.abs(x) - 48) - 14
    ) + 30 * step(np.abs(z + 1) - 18, 5)
    insula = (
        np.hypot((np.abs(x) - 36 + 0.008 * (y + 4) ** 2) * 1.0, np.clip(np.abs(y + 4) - 13, 0, None))
        - 1.0
        + 30 * step(np.abs(z + 1) - 16, 5)
    )
    fluid = np.minimum(np.minimum(sulcus - 0.55, fissure), np.minimum(sylvian, insula))
    below = step(-z - 14, 3)
    fluid = np.where(below > 0.5, np.minimum(depth * 3, fluid + 2.0), fluid)
    cortex = np.minimum(fluid, depth)
    white = step(cortex - 2.4, soft) * step(depth - 2.4, soft)
    tissue = GREY + (WHITE - GREY) * white
    for centre, radii in (((11, 9, 4), (9, 14, 10)), ((25, -3, 3), (5.5, 16, 10)), ((11.5, -20, 9), (5, 10, 12))):
        tissue = tissue + (DEEP_GREY - tissue) * step(_ball(x, y, z, centre, radii), 1.6)
    tissue = tissue * (1 + 0.018 * fractal(rng, grid.shape, _mm(grid, 6), 3))
    tissue, cortex = _draw_hindbrain(rng, grid, tissue, cortex, x, y, z, below)
    chambers = np.maximum(_ventricles(grid, x, y, z), _ball(x, y, z, (0, 2, -3), (2.3, 15, 9)) * 1.0)
    tissue = tissue + (CSF - tissue) * step(chambers, soft)
    plexus = _ball(x, y, z, (19, 28, 12), (2.6, 6, 5))
    tissue = tissue + (0.8 - tissue) * step(plexus, 1.0) * step(chambers, soft)
    tissue = tissue + (CSF - tissue) * step(-cortex, soft)
    falx = step(0.55 - np.abs(x + wiggle), 0.5) * step(6 - callosum * 40, 2) * step(26 - depth, 8) * (z > -8)
    tissue = tissue + (0.52 - tissue) * 0.7 * falx * step(1.0 - fissure, 0.5)
    return (
        tissue.astype(np.float32),
        (cortex > 0) & (chambers < 0),
        np.asarray(white * (chambers < 0), dtype=np.float32),
    )


def _sulci(rng: np.random.Generator, grid: Grid, x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
    """About the distance in mm to the nearest furrow: furrows run inwards, where a function of direction is zero."""
    directions = np.stack([x / 70, y / 90, (z - 10) / 80])
    directions /= np.maximum(np.sqrt((directions**2).sum(axis=0)), 1e-3)
    directions += 0.055 * np.stack([noise(rng, grid.shape, _mm(grid, 16)) for _ in range(3)])
    frequency = 13.0
    fold = np.zeros(grid.shape, dtype=np.float32)
    terms = 8
    for _ in range(terms):
        wave = rng.standard_normal(3)
        wave *= frequency * rng.uniform(0.75, 1.25) / np.linalg.norm(wave)
        fold += np.cos(
            np.tensordot(wave.astype(np.float32), directions, axes=1) + np.float32(rng.uniform(0, 2 * np.pi))
        )
    fold *= np.sqrt(2 / terms)
    return np.asarray(np.abs(fold) * 75 / frequency, dtype=np.float32)


def _draw_hindbrain(
    rng: np.random.Generator,
    grid: Grid,
    tissue: FloatArray,
    cortex: FloatArray,
    x: FloatArray,
    y: FloatArray,
    z: FloatArray,
    below: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Midbrain and its cisterns, cerebellum with leaves; all below z = -14."""
    soft = grid.plane_mm * 0.8
    cerebellum = _ball(x, y, z, (0, 46, -36), (47, 32, 27)) * 1.0
    leaves = np.cos(2.2 * cerebellum + 1.2 * noise(rng, grid.shape, _mm(grid, 9)))
    core = step(cerebellum - 9 + 2 * noise(rng, grid.shape, _mm(grid, 12)), 3)
    leaf = GREY - 0.10 * step(leaves - 0.6, 0.3) * (1 - core) + 0.12 * core
    tissue = tissue + (leaf - tissue) * step(cerebellum, soft) * below
    cortex = np.where((cerebellum > -1.5) & (cerebellum < 0.4) & (below > 0.5), np.minimum(cortex, -0.5), cortex)
    angle = np.arctan2(x, -(y + 12))
    star = 15.5 * (1 + 0.22 * np.cos(5 * angle)) - np.hypot(x, y + 12)
    star = star - 60 * step(np.abs(z + 22) - 9, 4)
    midbrain = np.maximum(_ball(x, y, z, (9, 6, -20), (9, 11, 16)), _ball(x, y, z, (0, 14, -20), (17, 11, 16)))
    around = _ball(x, y, z, (0, 11, -20), (21, 19, 18)) * 1.0
    cistern = np.where(below > 0.5, np.maximum(star, np.minimum(around, -midbrain)), -9)
    cortex = np.where(cistern > -0.5, np.minimum(cortex, -cistern), cortex)
    stalk = np.where(below > 0.5, midbrain, -9)
    cortex = np.where(stalk > 0, np.maximum(cortex, stalk), cortex)
    tissue = tissue + (WHITE - 0.06 - tissue) * step(stalk, soft)
    aqueduct = 1.3 - np.hypot(x, y - 18) - 60 * (1 - below)
    return tissue + (CSF - tissue) * step(aqueduct, 0.6), cortex


def _ventricles(grid: Grid, x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
    """Distance in mm into the lateral ventricles, positive inside."""
    horn = smooth_curve_3d(
        [(5, -36, 1), (8, -27, 8), (8, -10, 17), (10, 8, 20), (17, 24, 15), (23, 36, 8), (24, 48, 3), (23, 57, 1)]
    )
    temporal = smooth_curve_3d([(21, 31, 11), (29, 26, -4), (31, 10, -15), (30, -4, -18)])
    points = np.concatenate([horn, temporal])
    radii = np.concatenate(
        [
            np.interp(np.linspace(0, 1, len(horn)), (0, 0.15, 0.45, 0.7, 1), (2.0, 4.6, 4.4, 6.0, 1.6)),
            np.linspace(4.0, 1.2, len(temporal)),
        ]
    )
    box = (np.abs(x) < 40) & (y > -50) & (y < 70) & (z > -30) & (z < 34)
    result = np.full(grid.shape, np.float32(-9))
    if box.any():
        where = np.stack([np.abs(x[box]), y[box], z[box]], axis=1)
        distance, nearest = cKDTree(points).query(where, distance_upper_bound=14)
        found = np.isfinite(distance)
        inside = np.full(len(where), -9.0)
        inside[found] = radii[nearest[found]] - distance[found]
        result[box] = inside
    return result


def smooth_curve_3d(points: ArrayLike) -> NDArray[np.float64]:
    """A smooth curve through (n, 3) points."""
    p = np.asarray(points, dtype=float)
    flat, height = smooth_curve(p[:, :2], closed=False), smooth_curve(p[:, 1:], closed=False)
    return np.concatenate([flat, height[:, 1:]], axis=1)


def _draw_vessels(
    rng: np.random.Generator,
    grid: Grid,
    signal: FloatArray,
    x: FloatArray,
    y: FloatArray,
    z: FloatArray,
    inner: FloatArray,
) -> FloatArray:
    """Arteries from the base and veins, bright after contrast; the sagittal sinus at the midline."""
    trees = []
    for side in (-1, 1):
        for way in ((1.0, -0.25, 0.35), (0.15, -1.0, 0.5), (0.7, 0.9, 0.3), (1.0, 0.1, 0.9)):
            trees.append(grow(rng, (side * 8, -12, -22), np.array(way) * (side, 1, 1), 26, 1.25, 7, 0.35))
        trees.append(grow(rng, (side * 4, -8, 26), (side * 0.5, 0.4, 1.0), 22, 0.9, 7, 0.45))
        trees.append(grow(rng, (side * 6, 20, 14), (side * 1.0, 0.3, 0.5), 20, 0.8, 7, 0.4))
    tree = join(trees)
    where = np.argwhere(inner > 1)
    index = tuple(where.T)
    share = tree.cover(np.stack([x[index], y[index], z[index]], axis=1).astype(float), grid.plane_mm)
    signal = signal.copy()
    signal[index] += (0.9 - signal[index]) * 0.75 * share
    sinus = 3.2 - np.hypot(x * (1 - 0.2 * np.sign(x)), inner - 1.5) - 30 * step(np.abs(x) - 6, 1)
    return (signal + (ENHANCED - signal) * step(sinus, 0.8) * (z > -25)).astype(np.float32)
