"""The network's input grid to the image grid, by the transform that the preprocessing remembers.

Integer coordinates are pixel centres, and a pixel covers half a unit to either side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.types import FloatArray

_TOLERANCE = 1e-6  # of a pixel; absorbs rounding in grid_to_image


def input_to_image(
    values: FloatArray,
    grid_to_image: NDArray[np.float64],
    image_shape: tuple[int, int],
    outside: float = 0.0,
) -> FloatArray:
    """A map on the input grid, laid onto the image.

    Bilinear where the image is finer than the grid; where it is coarser the triangle widens to the image's
    pixel, so that nothing between two samples is lost. Pixels of the grid that are padding have no weight.

    Args:
        values: (H, W) float32 on the input grid.
        grid_to_image: (3, 3) float64, ``Prepared.grid_to_image``: scaling and shift along the two axes.
        image_shape: (H, W) of the image.
        outside: value of image pixels that the network did not see (cut off by a centre crop).

    Returns:
        (H, W) float32 of the image, same unit.
    """
    rows, columns = _axes(grid_to_image, (values.shape[0], values.shape[1]), image_shape)
    laid = rows @ values.astype(np.float64) @ columns.T
    seen = np.logical_and.outer(rows.any(axis=1), columns.any(axis=1))
    return np.where(seen, laid, outside).astype(np.float32)


def grid_to_volume(
    values: FloatArray,
    grid_to_image: NDArray[np.float64],
    image_shape: tuple[int, int, int],
    known: NDArray[np.bool_] | None = None,
) -> FloatArray:
    """Maps on the input grid, slice over slice, laid into the volume; as :func:`input_to_image` along all three axes.

    Args:
        values: (d, h, w) float32.
        grid_to_image: (4, 4) float64, (column, row, slice, 1) on the grid to the same in the volume: scaling and shift.
        image_shape: (D, H, W) of the volume.
        known: (d,), which slices of the grid count; the others have no weight. None for all.

    Returns:
        (D, H, W) float32, same unit; 0 where the grid does not reach or only unknown slices do.
    """
    plane = grid_to_image[np.ix_([0, 1, 3], [0, 1, 3])]
    rows, columns = _axes(plane, (values.shape[1], values.shape[2]), image_shape[1:])
    slices = _weights(grid_to_image[2, 2], grid_to_image[2, 3], values.shape[0], image_shape[0])
    if known is not None:
        slices = np.where(known, slices, 0.0)
    total = slices.sum(axis=1, keepdims=True)
    slices = np.divide(slices, total, out=np.zeros_like(slices), where=total > 0)
    laid = np.zeros(image_shape, dtype=np.float32)
    for number, weights in enumerate(slices):
        near = np.flatnonzero(weights)
        if near.size:
            mixed = np.tensordot(weights[near], values[near].astype(np.float64), axes=1)
            laid[number] = rows @ mixed @ columns.T
    return laid


def covered(
    grid_to_image: NDArray[np.float64], grid_shape: tuple[int, int], image_shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """(H, W) mask of the image's pixels whose centres lie inside the network's input."""
    rows, columns = _axes(grid_to_image, grid_shape, image_shape)
    return np.logical_and.outer(rows.any(axis=1), columns.any(axis=1))


def within_image(
    grid_to_image: NDArray[np.float64], grid_shape: tuple[int, int], image_shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """(h, w) mask of the grid's pixels whose centres lie on the image, the rest being padding."""
    inside = []
    for (scale, shift), cells, pixels in zip(along(grid_to_image), grid_shape, image_shape, strict=True):
        centre = np.arange(cells) * scale + shift
        inside.append((centre > -0.5) & (centre < pixels - 0.5))
    return np.logical_and.outer(*inside)


def along(grid_to_image: NDArray[np.float64]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Scale and shift along the rows, and along the columns; a (row, column) of the grid lies there on the image."""
    return (grid_to_image[1, 1], grid_to_image[1, 2]), (grid_to_image[0, 0], grid_to_image[0, 2])


def overlap(
    cells: int, step: float, start: float, pixels: int, scale: float = 1.0, shift: float = 0.0
) -> NDArray[np.float64]:
    """(cells, pixels) share of each pixel that lies in each cell, in [0, 1], along one axis.

    Cell i reaches from ``start + i * step`` over ``step``; pixel j is centred at ``j * scale + shift`` and ``scale`` wide.
    """
    low = start + np.arange(cells) * step
    centre = np.arange(pixels) * scale + shift
    shared = np.minimum((low + step)[:, None], centre + scale / 2) - np.maximum(low[:, None], centre - scale / 2)
    return np.asarray(np.maximum(shared, 0) / scale)


def area_means(cells: int, step: float, start: float, pixels: int) -> NDArray[np.float64]:
    """(cells, pixels) weights by area: each row averages the pixels that a cell covers; 0 where it covers none.

    Cells as of :func:`overlap`, pixels 1 wide and centred at integers.
    """
    shared = overlap(cells, step, start, pixels)
    total = shared.sum(axis=1, keepdims=True)
    return np.divide(shared, total, out=np.zeros_like(shared), where=total > 0)


def _axes(
    grid_to_image: NDArray[np.float64], grid_shape: tuple[int, int], image_shape: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Interpolation weights along rows and columns; the transform has no rotation, so the axes separate."""
    if np.abs(grid_to_image[[0, 1], [1, 0]]).max() > _TOLERANCE or min(grid_to_image[0, 0], grid_to_image[1, 1]) <= 0:
        raise ValueError(f"grid_to_image must scale and shift only, got {grid_to_image.tolist()}")
    down, across = along(grid_to_image)
    return _weights(*down, grid_shape[0], image_shape[0]), _weights(*across, grid_shape[1], image_shape[1])


def _weights(scale: float, shift: float, grid_size: int, image_size: int) -> NDArray[np.float64]:
    """(image_size, grid_size) float64: each row sums to 1, or is 0 where the image pixel lies outside the grid."""
    centre = (np.arange(image_size) - shift) / scale  # of each image pixel, in grid coordinates
    cell = np.arange(grid_size)
    reach = max(1.0, 1.0 / scale)  # half-width of the triangle in grid pixels
    weights = np.maximum(0.0, 1.0 - np.abs(centre[:, None] - cell) / reach)
    on_image = np.abs(cell * scale + shift - (image_size - 1) / 2) <= image_size / 2 + _TOLERANCE
    weights[:, ~on_image] = 0.0
    weights[(centre < -0.5 - _TOLERANCE) | (centre > grid_size - 0.5 + _TOLERANCE)] = 0.0
    total = weights.sum(axis=1, keepdims=True)
    return np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
