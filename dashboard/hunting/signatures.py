"""A map as a vector that can be compared with the map of another picture, and back to a picture.

Every map is laid onto the same grid of cells over the whole picture, as much as lies in a cell added up, turned the way
the geometry says that the patient lies, and scaled to a sum of 1: size, padding, crop, orientation and strength no
longer tell two maps apart, only where they lie (the preprocessing of Lapuschkin et al. 2019, arXiv:1902.10178).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dashboard.serving.types import Explanation
from explainers.reduce import marked, reduce_channels
from models.project import along, area_means, overlap, within_image
from models.types import FloatArray, Image

SIDE = 28  # cells along each side
SMOOTH = 1.0  # standard deviation of the smoothing, in cells

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def signature(explanation: Explanation, image: Image, side: int = SIDE, smooth: float = SMOOTH) -> FloatArray | None:
    """Where a map lies, on the common grid.

    Args:
        explanation: of the plane ``image``.
        side: cells along each side.
        smooth: standard deviation in cells; fine maps are never alike cell by cell.

    Returns:
        (side * side,) float32, 0 or more, sum 1, row by row; None for a map that is 0 on all of the picture.
    """
    weight = strength(explanation)
    if weight is None:
        return None
    sizes = zip(explanation.image_shape, weight.shape, along(explanation.grid_to_image), strict=True)
    rows, columns = (overlap(side, size / side, -0.5, pixels, *placed) for size, pixels, placed in sizes)
    cells = turned(rows @ weight @ columns.T, image)
    cells = ndimage.gaussian_filter(cells, smooth, mode="reflect") if smooth else cells
    return (cells / cells.sum()).astype(np.float32).ravel()


def strength(explanation: Explanation) -> Array | None:
    """(h, w) on the input grid, what the map marks (:func:`explainers.reduce.marked`); None where it is the same everywhere."""
    return marked(reduce_channels(explanation.attribution.values), on_picture(explanation))


def on_picture(explanation: Explanation) -> Mask:
    """(h, w) pixels of the input whose centres lie on the picture, the rest being padding."""
    height, width = explanation.attribution.values.shape[-2:]
    return within_image(explanation.grid_to_image, (height, width), explanation.image_shape)


def shares_of(explanation: Explanation, parts: Mapping[str, Mask]) -> dict[str, tuple[float, float]]:
    """Of each part of the picture: its share of the map, and its share of the area that the network saw, in [0, 1].

    Args:
        parts: (H, W) masks of the image by name.
    """
    weight = strength(explanation)
    seen = on_picture(explanation).astype(np.float64)
    sizes = zip(along(explanation.grid_to_image), seen.shape, explanation.image_shape, strict=True)
    rows, columns = (
        overlap(cells, scale, shift - scale / 2, pixels) / scale for (scale, shift), cells, pixels in sizes
    )
    found = {}
    for name, mask in parts.items():
        held = rows @ mask.astype(np.float64) @ columns.T
        held = np.minimum(held, 1) * seen
        marked = 0.0 if weight is None else float((weight * held).sum() / weight.sum())
        found[name] = (marked, float(held.sum() / seen.sum()))
    return found


def picture(vector: FloatArray | Array) -> FloatArray:
    """(side, side) float32 of a (side * side,) signature, as the patient lies on the common grid."""
    side = round(np.sqrt(vector.size))
    return np.asarray(vector, dtype=np.float32).reshape(side, side)


def on_image(cells: NDArray[np.generic], image: Image) -> NDArray[np.generic]:
    """(H, W) of the image: each pixel takes the value of its cell; the other way round than :func:`signature`.

    Args:
        cells: (side, side), a region or a mean map on the common grid.
    """
    own = turned(cells, image)
    rows, columns = ((np.arange(size) * own.shape[0]) // size for size in image.plane_shape)
    return np.ascontiguousarray(own[np.ix_(rows, columns)])


def on_cells(mask: Mask, image: Image, side: int = SIDE) -> FloatArray:
    """(side, side) float32 in [0, 1] on the common grid: how much of each cell an (H, W) mask of the image covers."""
    rows, columns = (area_means(side, size / side, -0.5, size) for size in image.plane_shape)
    return np.asarray(turned(rows @ mask.astype(np.float64) @ columns.T, image), dtype=np.float32)


def turned(cells: NDArray[np.generic], image: Image) -> NDArray[np.generic]:
    """Cells of the image turned onto the common grid, or back: doing it twice changes nothing.

    Columns then run to the patient's left and rows to the back or the feet, as pictures are usually shown. Nothing is
    turned where the geometry does not place the image in the patient (a film, a photograph).
    """
    if image.geometry is None or image.geometry.frame != "patient":
        return cells
    for axis, place in ((1, 0), (0, 1)):  # of cells, and of (column, row) in the affine
        step = image.geometry.affine[:3, place]
        main = int(np.abs(step).argmax())
        usual = -1.0 if main == 2 else 1.0  # LPS: x grows to the left, y to the back, z to the head
        if step[main] * usual < 0:
            cells = np.flip(cells, axis)
    return cells
