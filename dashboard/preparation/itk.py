"""Arrays to SimpleITK images and back. Only the spacing goes along: these filters do not ask how the patient lies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from dashboard.preparation.tissue import spacing_of
from models.context import RunContext
from models.errors import Cancelled
from models.types import FloatArray, Geometry, Image

_LEAST = 4  # voxels along an axis that splines and derivatives need


def too_small(image: Image) -> str | None:
    """Why a filter in two or three dimensions cannot work on an image, or None."""
    if image.is_colour:
        return "The image is in colour; this step works on the grey values of a scan."
    if min(image.plane_shape) < _LEAST or 1 < image.depth < _LEAST:
        return f"The image is too small: this step needs {_LEAST} pixels along each side, and one slice or at least {_LEAST}."
    return None


def to_itk(values: NDArray[Any], geometry: Geometry | None) -> sitk.Image:
    """(D, H, W) as an image of three dimensions, or (1, H, W) as one of two."""
    slice_mm, row_mm, column_mm = spacing_of(geometry)
    if values.shape[0] == 1:
        image = sitk.GetImageFromArray(np.ascontiguousarray(values[0]))
        image.SetSpacing((column_mm, row_mm))
        return image
    image = sitk.GetImageFromArray(np.ascontiguousarray(values))
    image.SetSpacing((column_mm, row_mm, slice_mm))
    return image


def from_itk(image: sitk.Image) -> FloatArray:
    """(D, H, W) float32; an image of two dimensions has D = 1."""
    values = sitk.GetArrayFromImage(image).astype(np.float32)
    return values if values.ndim == 3 else values[None]


@contextmanager
def watch(running: Any, ctx: RunContext) -> Iterator[None]:
    """While a filter is run: it stops at its next iteration once the work is cancelled."""

    def look() -> None:
        try:
            ctx.check()
        except Cancelled:  # which must not cross the library
            running.Abort()

    running.AddCommand(sitk.sitkIterationEvent, look)
    try:
        yield
    finally:
        running.RemoveAllCommands()  # it holds the filter and the filter it, out of sight of the garbage collector
