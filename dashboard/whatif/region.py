"""Edits of a drawn region: covered, blurred, or filled in from its surroundings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter

from dashboard.whatif.fill import fill_in
from dashboard.whatif.types import EditSpec, Mask, Move, Through
from explainers.types import Param, ParamValue
from models.types import FloatArray, Image

_REACH = 3.0  # standard deviations of a blur that count


class _Region:
    def start(self, image: Image, through: Through, mask: Mask | None) -> dict[str, ParamValue]:
        return {}

    def move(self, image: Image, params: Mapping[str, ParamValue]) -> Move | None:
        return None


class Cover(_Region):
    """One grey value, or colour, over the region."""

    spec = EditSpec(
        "cover",
        "Cover",
        "square",
        "Covers the region with one shade.",
        region=True,
        params=(
            Param(
                "shade",
                "Shade",
                "choice",
                "mean",
                help="black: as dark as the picture gets; mean: the mean of the whole picture as the network sees it.",
                choices=("mean", "black"),
            ),
        ),
    )

    def apply(self, image: Image, params: Mapping[str, ParamValue], mask: Mask | None, through: Through) -> Image:
        if mask is None:
            return image
        values = image.values
        axes = tuple(range(1, values.ndim))
        if params["shade"] == "black":
            shade = np.full((len(values),) + (1,) * len(axes), through.black(values), dtype=np.float32)
        else:  # clipped: the air around a CT slice, or a metal clip, is no darker or brighter to the network
            shade = np.clip(values, through.low, through.high).mean(axis=axes, keepdims=True, dtype=np.float64)
        return replace(image, values=np.where(mask, shade.astype(np.float32), values))


class Blur(_Region):
    """A Gaussian blur of the region, as wide along rows as along columns in mm."""

    spec = EditSpec(
        "blur",
        "Blur",
        "blur_on",
        "Takes the detail out of the region.",
        region=True,
        params=(
            Param(
                "strength",
                "Strength",
                "float",
                4.0,
                help="Standard deviation of the blur, as a share of the picture's shorter side.",
                low=0.5,
                high=15.0,
                step=0.5,
                unit="%",
            ),
        ),
    )

    def apply(self, image: Image, params: Mapping[str, ParamValue], mask: Mask | None, through: Through) -> Image:
        if mask is None or not mask.any():
            return image
        (height, width), (column_mm, row_mm) = image.plane_shape, image.plane_spacing
        sigma_mm = float(params["strength"]) / 100 * min(height * row_mm, width * column_mm)
        sigma = sigma_mm / row_mm, sigma_mm / column_mm
        reach = [int(np.ceil(_REACH * one)) for one in sigma]
        near = _around(mask, reach[0], reach[1])
        part = image.values[..., near[0], near[1]]
        blurred = gaussian_filter(part, (0.0,) * (part.ndim - 2) + sigma, mode="nearest", truncate=_REACH)
        values = image.values.copy()
        values[..., near[0], near[1]] = np.where(mask[near], blurred, part)
        return replace(image, values=values)


class Inpaint(_Region):
    """The region filled in smoothly from its rim (see :func:`dashboard.whatif.fill.fill_in`)."""

    spec = EditSpec(
        "inpaint", "Fill in", "healing", "Fills the region in smoothly from what surrounds it.", region=True
    )

    def apply(self, image: Image, params: Mapping[str, ParamValue], mask: Mask | None, through: Through) -> Image:
        if mask is None or not mask.any():
            return image
        planes: FloatArray = image.values.reshape(-1, *image.plane_shape)
        return replace(image, values=fill_in(planes, mask).reshape(image.values.shape))


def _around(mask: Mask, rows: int, columns: int) -> tuple[slice, slice]:
    """The rectangle that holds the mask and a margin."""
    found = []
    for axis, margin in ((1, rows), (0, columns)):
        places = np.flatnonzero(mask.any(axis=axis))
        found.append(slice(max(0, int(places[0]) - margin), int(places[-1]) + 1 + margin))
    return found[0], found[1]
