"""A closed outline around a seed, between a dark inside and a brighter outside, by dynamic programming in polar axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float64]
ANGLES, RADII = 96, 80
STEP = 3  # radii that the outline may move from one angle to the next


@dataclass(frozen=True)
class Star:
    """Rays from a seed.

    Attributes:
        row, column: of the seed.
        reach: (ANGLES,) length of each ray in pixels; the outline is sought along all of it.
    """

    row: float
    column: float
    reach: Array

    def points(self) -> tuple[Array, Array]:
        """(ANGLES, RADII) rows and columns; angle 0 points right, a quarter turn on down."""
        angle = np.arange(ANGLES) * 2 * np.pi / ANGLES
        radius = self.reach[:, None] * (np.arange(RADII) + 0.5) / RADII
        return self.row + np.sin(angle)[:, None] * radius, self.column + np.cos(angle)[:, None] * radius

    def sample(self, values: Array) -> Array:
        """(ANGLES, RADII) of an image, its edge held beyond."""
        return np.asarray(ndimage.map_coordinates(values, self.points(), order=1, mode="nearest"))

    def mask(self, ends: NDArray[np.int64], shape: tuple[int, int]) -> NDArray[np.bool_]:
        """(H, W) what lies inside the outline through the ``ends``-th point of each ray."""
        rows, columns = np.indices(shape, dtype=np.float64)
        dy, dx = rows - self.row, columns - self.column
        angle = np.mod(np.arctan2(dy, dx), 2 * np.pi) * ANGLES / (2 * np.pi)
        limit = np.append(ends, ends[0]) / RADII * np.append(self.reach, self.reach[0])
        return np.asarray(np.hypot(dy, dx) < np.interp(angle, np.arange(ANGLES + 1), limit))


def outline(cost: Array, stiffness: float) -> NDArray[np.int64]:
    """The closed outline of least cost.

    Args:
        cost: (ANGLES, RADII), of an outline through each point.
        stiffness: cost of moving by one radius from an angle to the next.

    Returns:
        (ANGLES,) index of the radius at each angle. The ends meet: the rays are gone round twice, and the middle is kept.
    """
    unrolled = np.concatenate([cost, cost])
    total = unrolled[0]
    came = np.zeros(unrolled.shape, dtype=np.int64)
    moves = np.arange(-STEP, STEP + 1)
    toll = stiffness * np.abs(moves)
    at = np.arange(RADII)
    for angle in range(1, len(unrolled)):
        padded = np.pad(total, STEP, constant_values=np.inf)
        options = np.stack([padded[STEP + move : STEP + move + RADII] for move in moves]) + toll[:, None]
        best = options.argmin(axis=0)
        came[angle] = np.clip(at + moves[best], 0, RADII - 1)
        total = options[best, at] + unrolled[angle]
    path = np.zeros(len(unrolled), dtype=np.int64)
    path[-1] = int(total.argmin())
    for angle in range(len(unrolled) - 1, 0, -1):
        path[angle - 1] = came[angle, path[angle]]
    half = ANGLES // 2
    return np.roll(path[half : half + ANGLES], half)
