"""Index grids that follow from one another, and arrays carried between them.

A map is a (4, 4) affine from (column, row, slice, 1) on one grid to the same on another; integers are voxel centres.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dashboard.preparation.types import BoolArray, Matrix
from models.types import FloatArray, Geometry, Image

_ROUNDING = 1e-6  # of a voxel
_SIGMA = 0.5  # of a step of the new grid: sums over it are then kept to 2 %


def inverse(matrix: Matrix) -> Matrix:
    """The map the other way."""
    return np.linalg.inv(matrix).astype(np.float64)


def shape_of(image: Image) -> tuple[int, int, int]:
    """(D, H, W); a plane image has D = 1."""
    return image.depth, *image.plane_shape


def between(source: Geometry, target: Geometry) -> Matrix:
    """Index on ``source`` to index on ``target``, both in the same millimetres."""
    return np.asarray(inverse(target.affine) @ source.affine)


def resampled(values: NDArray[Any], to_values: Matrix, shape: tuple[int, int, int], fill: float = 0.0) -> FloatArray:
    """An array on another grid, linear; where that grid is coarser the values are smoothed first, so that none is skipped.

    Args:
        values: (D, H, W).
        to_values: index on the new grid to index on that of ``values``.
        shape: (D, H, W) of the new grid.
        fill: outside of ``values``, half a voxel beyond the outermost centres.

    Returns:
        (D, H, W) float32.
    """
    source = np.asarray(values, dtype=np.float32)
    # Steps of the new grid in voxels of the old one, by axis of the array.
    steps = np.linalg.norm(to_values[:3, :3], axis=1)[::-1]
    sigma = [float(np.sqrt(max(0.0, step**2 - 1)) * _SIGMA) for step in steps]
    if any(sigma):
        source = ndimage.gaussian_filter(source, sigma, mode="nearest")
    turn, shift = _by_axes(to_values)
    found = np.asarray(ndimage.affine_transform(source, turn, shift, shape, order=1, mode="nearest", output=np.float32))
    for index, plane in enumerate(found):
        plane[~_inside(to_values, index, plane.shape, values.shape)] = fill
    return found


def carried(mask: BoolArray, to_mask: Matrix, shape: tuple[int, int, int]) -> BoolArray:
    """A mask on another grid, by the nearest voxel; False outside."""
    turn, shift = _by_axes(to_mask)
    found = ndimage.affine_transform(mask.astype(np.uint8), turn, shift, shape, order=0, mode="grid-constant", cval=0)
    return np.asarray(found > 0)


def _by_axes(matrix: Matrix) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The map as a matrix and a shift of (slice, row, column)."""
    return matrix[2::-1, 2::-1], matrix[2::-1, 3]


def _places(matrix: Matrix, index: int, plane: tuple[int, ...]) -> list[NDArray[np.float64]]:
    """Where the pixels of a slice are mapped, as (H, W) each along column, row and slice."""
    row, column = np.arange(plane[0])[:, None], np.arange(plane[1])[None, :]
    return [line[0] * column + line[1] * row + line[2] * index + line[3] for line in matrix[:3]]


def _inside(matrix: Matrix, index: int, plane: tuple[int, ...], shape: tuple[int, ...]) -> BoolArray:
    """(H, W) the pixels of a slice that are mapped into an array of ``shape``, or half a voxel beyond its outer centres."""
    held = [
        (place >= -0.5 - _ROUNDING) & (place <= size - 0.5 + _ROUNDING)
        for place, size in zip(_places(matrix, index, plane), shape[::-1], strict=True)
    ]
    return np.asarray(held[0] & held[1] & held[2])


def at(matrix: Matrix, point: tuple[float, float, float]) -> NDArray[np.float64]:
    """(3,) where a map puts (column, row, slice)."""
    return np.asarray((matrix @ np.array([*point, 1.0]))[:3])


def slice_to_native(values: FloatArray, index: int, to_native: Matrix, shape: tuple[int, int, int]) -> FloatArray:
    """A map of one slice of the prepared grid, laid onto the native grid.

    The map holds through the thickness of its slice or, where that is more, of a native one: the reader sees it on
    the native slice that the prepared one was made of.

    Args:
        values: (H, W) on slice ``index`` of the prepared grid.
        to_native: prepared index to native index.
        shape: (D, H, W) of the native grid.

    Returns:
        (D, H, W) float32, NaN where the slice does not reach: nothing is known there.
    """
    laid = np.empty(shape, np.float32)
    for number in range(shape[0]):
        laid[number] = plane_to_native(values, index, to_native, (shape[1], shape[2]), number)
    return laid


def plane_to_native(
    values: FloatArray, index: int, to_native: Matrix, shape: tuple[int, int], native_slice: int
) -> FloatArray:
    """What :func:`slice_to_native` lays on one native slice, (H, W) float32."""
    here = inverse(to_native)
    here[:3, 3] += native_slice * here[:3, 2]
    half = 0.5 * max(1.0, float(np.abs(here[2, :3]).sum()))
    reached = np.abs(_places(here, 0, shape)[2] - index) <= half + _ROUNDING
    if not reached.any():
        return np.full(shape, np.nan, np.float32)
    flat = here.copy()
    flat[2] = 0.0  # the map is the same at every depth
    return np.where(reached, resampled(values[None], flat, (1, *shape), fill=np.nan)[0], np.float32(np.nan))
