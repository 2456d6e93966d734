"""Drawing tools: smooth noise, outlines, star-shaped bodies and branching vessels. Lengths in pixels unless said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image as Pillow
from PIL import ImageDraw
from scipy import ndimage
from scipy.spatial import cKDTree

from models.types import FloatArray

Floats = NDArray[np.floating]


def noise(rng: np.random.Generator, shape: Sequence[int], scale: float | Sequence[float]) -> FloatArray:
    """Smooth random field of zero mean and unit spread; ``scale`` is the size of its bumps on each axis."""
    scales = np.broadcast_to(np.asarray(scale, dtype=float), (len(shape),))
    coarse = [max(4, int(np.ceil(n / max(s, 1.0))) + 3) for n, s in zip(shape, scales, strict=True)]
    field = rng.standard_normal(coarse).astype(np.float32)
    axes = [
        np.linspace(1.0, 1.0 + n / max(s, 1.0), n, dtype=np.float32) if n > 1 else np.array([1.5], dtype=np.float32)
        for n, s in zip(shape, scales, strict=True)
    ]
    # Separable: interpolate one axis at a time, which is many times faster than a full grid of coordinates.
    for axis, position in enumerate(axes):
        field = _interpolate(field, np.minimum(position, coarse[axis] - 2.001), axis)
    field -= field.mean()
    return (field / max(float(field.std()), 1e-6)).astype(np.float32)


def _interpolate(field: FloatArray, position: FloatArray, axis: int) -> FloatArray:
    """Cubic B-spline of the samples along one axis (approximating, so without overshoot)."""
    low = np.floor(position).astype(int)
    t = (position - low).astype(np.float32)
    weights = ((1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6)
    shape = [1] * field.ndim
    shape[axis] = -1
    total = np.zeros(1, dtype=np.float32)
    for offset, weight in enumerate(weights):
        index = np.clip(low - 1 + offset, 0, field.shape[axis] - 1)
        total = total + np.take(field, index, axis=axis) * weight.reshape(shape)
    return np.asarray(total, dtype=np.float32)


def fractal(
    rng: np.random.Generator, shape: Sequence[int], scale: float | Sequence[float], octaves: int = 4
) -> FloatArray:
    """Sum of smooth fields, each half as large and 0.55 as strong as the one before; unit spread."""
    scales = np.broadcast_to(np.asarray(scale, dtype=float), (len(shape),))
    total = np.zeros(shape, dtype=np.float32)
    for octave in range(octaves):
        total += np.float32(0.55**octave) * noise(rng, shape, scales / 2**octave)
    return (total / max(float(total.std()), 1e-6)).astype(np.float32)


def grain(rng: np.random.Generator, shape: Sequence[int], sigma: float | Sequence[float] = 0.6) -> FloatArray:
    """Detector noise: white noise with a slight blur, unit spread."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape).astype(np.float32), sigma, mode="wrap")
    return (field / max(float(field.std()), 1e-6)).astype(np.float32)


def step(distance: ArrayLike, softness: float) -> FloatArray:
    """0 to 1 across ``distance`` = 0 (negative: outside), over about ``softness`` on each side."""
    t = np.clip(np.asarray(distance, dtype=np.float32) / (2 * softness) + 0.5, 0.0, 1.0)
    return (t * t * (3 - 2 * t)).astype(np.float32)


def smooth_curve(points: ArrayLike, closed: bool, steps: int = 16) -> NDArray[np.float64]:
    """Catmull-Rom curve through (n, 2) points; a point given twice in a row is a corner."""
    p = np.asarray(points, dtype=float)
    before, after = (p[-1:], p[:2]) if closed else (2 * p[:1] - p[1:2], 2 * p[-1:] - p[-2:-1])
    p = np.concatenate([before, p, after])
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    a, b, c, d = (p[i : len(p) - 3 + i, None, :] for i in range(4))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    flat = curve.reshape(-1, 2)
    return flat if closed else np.concatenate([flat, p[-2:-1]])


def fill(outline: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels whose centre lies inside a closed outline of (column, row) points."""
    canvas = Pillow.new("L", (shape[1] * 2, shape[0] * 2))
    ImageDraw.Draw(canvas).polygon([(2 * x + 0.5, 2 * y + 0.5) for x, y in outline], fill=1)
    doubled = np.asarray(canvas, dtype=np.uint8)
    return np.asarray(doubled.reshape(shape[0], 2, shape[1], 2).sum((1, 3)) >= 2)


def signed_distance(mask: NDArray[np.bool_]) -> FloatArray:
    """Distance to the edge of a mask, positive inside."""
    inside = ndimage.distance_transform_edt(mask)
    outside = ndimage.distance_transform_edt(~mask)
    return np.where(mask, inside - 0.5, 0.5 - outside).astype(np.float32)


def line_distance(lines: Sequence[NDArray[np.float64]], shape: tuple[int, int]) -> FloatArray:
    """Distance of every pixel to the nearest of the polylines of (column, row) points."""
    canvas = Pillow.new("L", (shape[1], shape[0]), 1)
    pen = ImageDraw.Draw(canvas)
    for line in lines:
        pen.line([(float(x), float(y)) for x, y in line], fill=0)
    drawn = np.asarray(canvas, dtype=bool)
    if drawn.all():
        return np.full(shape, np.float32(1e6))
    return np.asarray(ndimage.distance_transform_edt(drawn), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Star:
    """A star-shaped surface: radius as a smooth function of direction, about 1 on average.

    ``size`` is set so that the unit shape encloses exactly the volume of the unit ball (``dims`` = 3) or, in the
    plane z = 0, the area of the unit disc (``dims`` = 2).
    """

    waves: NDArray[np.float64]
    phases: NDArray[np.float64]
    weights: NDArray[np.float64]
    size: float = 1.0

    @classmethod
    def random(cls, rng: np.random.Generator, roughness: float, dims: int, detail: float = 2.5) -> Star:
        """Relative spread of the radius ``roughness``; ``detail`` is about the number of bumps in a half turn."""
        waves = rng.standard_normal((12, 3)) * detail
        if dims == 2:
            waves[:, 2] = 0.0
        phases = rng.uniform(0, 2 * np.pi, 12)
        shape = cls(waves, phases, np.full(12, roughness * np.sqrt(2 / 12)))
        radius = shape.radius(_directions(dims))
        return cls(waves, phases, shape.weights, float(np.mean(radius**dims) ** (-1 / dims)))

    def radius(self, directions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Radius along unit vectors (..., 3)."""
        bumps = np.cos(directions @ self.waves.T + self.phases) @ self.weights
        return np.asarray(self.size * np.clip(1 + bumps, 0.3, 2.0))

    def relative(self, x: Floats, y: Floats, z: Floats | float = 0.0) -> FloatArray:
        """Distance from the centre over the radius in that direction: below 1 is inside.

        Beyond a distance of 4 the mean radius is used, which saves most of the work on a large grid.
        """
        x, y, z = np.broadcast_arrays(x, y, z)
        ratio = np.sqrt(x**2 + y**2 + z**2).astype(np.float32)
        near = ratio < 4
        offset = np.stack([x[near], y[near], z[near]], axis=-1).astype(float)
        directions = offset / np.maximum(ratio[near], 1e-9)[..., None]
        ratio[near] /= self.radius(directions)
        return ratio


def _directions(dims: int) -> NDArray[np.float64]:
    """Evenly spread unit vectors: a circle in z = 0, or a Fibonacci sphere."""
    n = 4000
    if dims == 2:
        angle = np.arange(n) * 2 * np.pi / n
        return np.stack([np.cos(angle), np.sin(angle), np.zeros(n)], axis=-1)
    z = 1 - (2 * np.arange(n) + 1) / n
    angle = np.arange(n) * np.pi * (3 - np.sqrt(5))
    return np.stack([np.sqrt(1 - z * z) * np.cos(angle), np.sqrt(1 - z * z) * np.sin(angle), z], axis=-1)


@dataclass(frozen=True, eq=False)
class Tree:
    """Points along branching tubes: positions (n, dims) and radii (n,) in mm, ``level`` (n,) branch generation."""

    points: NDArray[np.float64]
    radii: NDArray[np.float64]
    level: NDArray[np.int_]

    def cover(self, positions: NDArray[np.float64], voxel_mm: float) -> FloatArray:
        """Share of a voxel of size ``voxel_mm`` at each position (n, dims) that lies in a tube, in [0, 1]."""
        distance, nearest = cKDTree(self.points).query(
            positions, distance_upper_bound=float(self.radii.max()) + voxel_mm
        )
        hit = np.isfinite(distance)
        share = np.zeros(len(positions), dtype=np.float32)
        radius = self.radii[nearest[hit]]
        thin = np.minimum(1.0, 2.6 * radius / voxel_mm)
        share[hit] = np.clip((np.maximum(radius, 0.5 * voxel_mm) - distance[hit]) / voxel_mm + 0.5, 0, 1) * thin
        return share


def grow(
    rng: np.random.Generator,
    root: ArrayLike,
    heading: ArrayLike,
    length: float,
    radius: float,
    levels: int,
    spread: float = 0.55,
) -> Tree:
    """A branching tree from ``root``: each branch bends a little, then splits in two thinner and shorter ones.

    Radii follow Murray's law (the cubes of the daughters' radii add up to the cube of the parent's).
    """
    start = np.asarray(root, dtype=float)[None]
    way = np.asarray(heading, dtype=float)[None]
    way = way / np.linalg.norm(way, axis=1, keepdims=True)
    radii = np.array([float(radius)])
    lengths = np.array([float(length)])
    points, thickness, generation = [], [], []
    for level in range(levels):
        steps = max(6, int(np.ceil(lengths.max() / 0.8)))
        bend = rng.standard_normal(way.shape) * 0.25
        t = np.linspace(0, 1, steps)[None, :, None]
        path = start[:, None] + lengths[:, None, None] * (way[:, None] * t + bend[:, None] * t**2 * 0.5)
        points.append(path.reshape(-1, start.shape[1]))
        thickness.append(np.repeat(radii, steps) * np.tile(np.linspace(1.0, 0.86, steps), len(radii)))
        generation.append(np.full(len(radii) * steps, level))
        split = rng.uniform(0.35, 0.65, len(radii))
        turn = rng.standard_normal(way.shape) * spread
        ahead = way + bend
        way = np.concatenate([ahead + turn, ahead - turn])
        way /= np.linalg.norm(way, axis=1, keepdims=True)
        start = np.concatenate([path[:, -1], path[:, -1]])
        radii = 0.9 * np.concatenate([radii * split ** (1 / 3), radii * (1 - split) ** (1 / 3)])
        lengths = np.concatenate([lengths, lengths]) * rng.uniform(0.7, 1.0, len(radii))
    return Tree(np.concatenate(points), np.concatenate(thickness), np.concatenate(generation))


def join(trees: Sequence[Tree]) -> Tree:
    """Several trees as one."""
    return Tree(
        np.concatenate([t.points for t in trees]),
        np.concatenate([t.radii for t in trees]),
        np.concatenate([t.level for t in trees]),
    )
