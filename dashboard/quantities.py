"""Quantities of a mask on one slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dashboard.cases import readable
from models.types import Case, Geometry, Prediction

_TOUCHING = np.ones((3, 3), dtype=int)  # pixels that meet at a corner belong together


@dataclass(frozen=True)
class Extent:
    """How much of a slice a mask takes up.

    Attributes:
        share: of the image's area, [0, 1].
        area_mm2: None where the pixel spacing is not known.
        parts: separate areas; pixels that touch at an edge or a corner are one.
    """

    share: float
    area_mm2: float | None
    parts: int


def extent(mask: NDArray[np.bool_], geometry: Geometry | None) -> Extent:
    """Quantities of an (H, W) mask on an image with that geometry."""
    area = None
    if geometry is not None:
        column_mm, row_mm, _ = geometry.spacing
        area = float(mask.sum()) * column_mm * row_mm
    _, parts = ndimage.label(mask, _TOUCHING)
    return Extent(float(mask.mean()), area, int(parts))


def dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Overlap 2 |A and B| / (|A| + |B|) of two masks of one shape (Dice 1945), in [0, 1]; 1 where both are empty."""
    total = int(one.sum()) + int(other.sum())
    return 2.0 * int((one & other).sum()) / total if total else 1.0


def reference_of(case: Case, name: str, slice_index: int) -> NDArray[np.bool_] | None:
    """(H, W) reference mask of a class on a slice; None where the case brings none of that name."""
    for region in case.regions:
        if region.mask is not None and readable(region.name).casefold() == readable(name).casefold():
            return region.mask[slice_index] if region.mask.ndim == 3 else region.mask
    return None


def sentence(case: Case, prediction: Prediction, index: int, slice_index: int) -> str:
    """What a segmentation network found of a class on the slice, with units; "" for another network.

    "Infection: 7.4 % of the slice, 42.1 cm² in 3 separate areas. Dice 0.71 against the reference."
    """
    if prediction.found is None:
        return ""
    mask, name = prediction.found[index], readable(prediction.classes[index])
    found = extent(mask, case.image.geometry)
    said = "no pixel reaches the threshold"
    if found.parts:
        area = "" if found.area_mm2 is None else f", {_area(found.area_mm2)}"
        whole = "picture" if case.image.is_colour else "slice"
        said = f"{found.share:.1%} of the {whole}{area}, in {found.parts} separate area{'s' if found.parts > 1 else ''}"
    truth = reference_of(case, name, slice_index)
    compared = "" if truth is None else f" Dice {dice(mask, truth):.2f} against the reference."
    return f"{name}: {said.replace('%', ' %')}.{compared}"


def _area(mm2: float) -> str:
    return f"{mm2:.0f} mm²" if mm2 < 100 else f"{mm2 / 100:.1f} cm²"
