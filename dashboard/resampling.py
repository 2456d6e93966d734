"""Volumes onto another grid in patient millimetres, through any linear motion; grids may be oblique or sheared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError
from models.types import FloatArray, Geometry, Image

Order = Literal["linear", "nearest"]
Matrix = NDArray[np.float64]


def simple_itk() -> Any:
    """SimpleITK, which has no types, loaded where it is first needed: it takes half a second."""
    import SimpleITK

    return SimpleITK


def resample_array(
    values: NDArray[Any],
    source: Geometry,
    geometry: Geometry,
    shape: tuple[int, int, int],
    matrix: Matrix | None = None,
    order: Order = "linear",
    fill: float = 0.0,
) -> FloatArray:
    """(D, H, W) values on another grid, float32.

    Args:
        values: (D, H, W), on the grid ``source``.
        geometry, shape: the grid wanted; (D, H, W).
        matrix: (4, 4), mm of the grid wanted to mm of ``source``; None for the same place.
        order: "nearest" for labels.
        fill: where ``values`` do not reach.
    """
    sitk = simple_itk()
    between = np.eye(4) if matrix is None else np.asarray(matrix, dtype=np.float64)
    index = np.linalg.solve(source.affine, between @ geometry.affine)
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(index[:3, :3].ravel().tolist())
    transform.SetTranslation(index[:3, 3].tolist())
    stored = sitk.GetImageFromArray(np.ascontiguousarray(values, dtype=np.float32))
    kind = sitk.sitkLinear if order == "linear" else sitk.sitkNearestNeighbor
    grid = sitk.ResampleImageFilter()
    grid.SetSize([int(size) for size in reversed(shape)])
    grid.SetTransform(transform)
    grid.SetInterpolator(kind)
    grid.SetDefaultPixelValue(float(fill))
    return np.asarray(sitk.GetArrayFromImage(grid.Execute(stored)), dtype=np.float32)


def resample_to(
    image: Image,
    geometry: Geometry,
    shape: tuple[int, int, int],
    matrix: Matrix | None = None,
    order: Order = "linear",
    fill: float = 0.0,
) -> Image:
    """A volume on another grid, with its unit and windows; arguments as of :func:`resample_array`.

    Raises:
        DataError: the image is no volume or has no geometry.
    """
    if not image.is_volume or image.geometry is None:
        raise DataError("An image is resampled between grids in mm: give a volume whose header states its spacing.")
    source = image.geometry
    values = np.stack(
        [resample_array(channel, source, geometry, shape, matrix, order, fill) for channel in image.values]
    )
    return replace(image, values=values, geometry=geometry, within=None)
