"""A region filled in smoothly from its rim: each pixel becomes the weighted mean of its neighbours."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import convolve1d, zoom

from dashboard.whatif.types import Mask
from explainers.quality._imputation import DIAGONAL, STRAIGHT, impute
from models.errors import DataError
from models.types import FloatArray

_DIRECT = 4e8  # missing pixels times their square number in a row: up to here the equations are solved at once
_SWEEPS = 40  # of relaxation after a coarser solution, which is off near the rim only
_MARGIN = 2


def fill_in(planes: FloatArray, missing: Mask) -> FloatArray:
    """Planes with the missing pixels filled in by the equations of :func:`explainers.quality._imputation.impute`.

    A large region is solved on a grid half as fine, that solution made finer and relaxed: differences to the direct
    solution are a few thousandths of the range of the rim.

    Args:
        planes: (n, H, W) float32.
        missing: (H, W).

    Raises:
        DataError: all pixels are missing.
    """
    if missing.all():
        raise DataError(
            "The region covers the whole picture, so that nothing is left to fill it in from; draw a smaller one."
        )
    if not missing.any():
        return planes
    rows, columns = (np.flatnonzero(missing.any(axis=axis)) for axis in (1, 0))
    near = (
        slice(max(0, int(rows[0]) - _MARGIN), int(rows[-1]) + 1 + _MARGIN),
        slice(max(0, int(columns[0]) - _MARGIN), int(columns[-1]) + 1 + _MARGIN),
    )
    filled = planes.copy()
    filled[:, near[0], near[1]] = _solve(planes[:, near[0], near[1]], missing[near])
    return filled


def _solve(planes: FloatArray, missing: Mask) -> FloatArray:
    band = int(missing.sum(axis=int(missing.shape[1] <= missing.shape[0])).max()) + 1
    if int(missing.sum()) * band**2 <= _DIRECT or min(missing.shape) < 8:
        return impute(planes, missing)
    height, width = missing.shape
    odd = ((0, height % 2), (0, width % 2))
    known = np.pad(~missing, odd, mode="edge").astype(np.float32)
    values = np.pad(np.where(missing, np.float32(0), planes), ((0, 0), *odd), mode="edge")
    count = _quarters(known[None])
    means = (_quarters(values) / np.maximum(count, 1)).astype(np.float32)
    coarse = _solve(means, count[0] == 0)
    finer = zoom(coarse, (1, 2, 2), order=1, mode="nearest", grid_mode=True)[:, :height, :width]
    found: FloatArray = np.where(missing, finer, planes).astype(np.float32)
    weights = _neighbours(np.ones((1, height, width), dtype=np.float32))
    for _ in range(_SWEEPS):
        found = np.where(missing, _neighbours(found) / weights, planes).astype(np.float32)
    return found


def _quarters(planes: FloatArray) -> FloatArray:
    """Sums over blocks of 2 x 2 pixels."""
    count, height, width = planes.shape
    total: FloatArray = planes.reshape(count, height // 2, 2, width // 2, 2).sum(axis=(2, 4))
    return total


def _neighbours(planes: FloatArray) -> FloatArray:
    """The weighted sum of each pixel's eight neighbours, nothing beyond the edge.

    The weights are the product of (1, 2, 1) with itself but for the middle.
    """
    ramp = np.array([1.0, STRAIGHT / DIAGONAL, 1.0], dtype=np.float32)
    spread = convolve1d(convolve1d(planes, ramp, axis=1, mode="constant"), ramp, axis=2, mode="constant")
    summed: FloatArray = (spread - np.float32(ramp[1] ** 2) * planes) * np.float32(DIAGONAL)
    return summed
