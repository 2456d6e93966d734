"""Lesions of a CT as a segmentation model sees them, slice by slice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage

from dashboard.quantify.assess import Marked, Marker, ShowProgress
from dashboard.quantify.grid import BoolArray, upright
from dashboard.quantify.lungs import Lungs
from models.card import ModelCard
from models.errors import ModelError
from models.types import Geometry, Image, Prediction

MINIMUM_MM3 = 100.0  # what a network marks below this (a ball of 6 mm) is mostly vessel
MARGIN_MM = 10.0  # of the picture that the model is shown, around the lungs
BATCH = 8
Ask = Callable[[Sequence[Image]], Sequence[Prediction]]


def model_marker(ask: Ask, card: ModelCard, show: ShowProgress) -> Marker:
    """A marker that asks a model, given slices, for its answers."""

    def mark(scan: Image, lungs: Lungs) -> Marked:
        found, warnings = lesions_by_model(scan, lungs, ask, card, show)
        by = f"model {card.id} (weights {card.weights.sha256[:12]}), slice by slice in the lungs"
        return Marked(found, by, MINIMUM_MM3, warnings)

    return mark


def lesions_by_model(
    scan: Image, lungs: Lungs, ask: Ask, card: ModelCard, show: ShowProgress
) -> tuple[BoolArray, tuple[str, ...]]:
    """(D, H, W) voxels in the lungs that reach the threshold of one of the model's classes, and warnings.

    The model is shown every axial slice that holds lung, cropped to the lungs as its training pictures were.

    Args:
        scan: upright (:func:`dashboard.quantify.grid.upright`), like the lungs.
        ask: the model's answers to at most BATCH slices.
        show: called with slices done and in all.

    Raises:
        ModelError: the model does not segment, or cannot run.
    """
    if card.task != "segmentation":
        raise ModelError(f"The model {card.id!r} does not segment ({card.task}); choose a segmentation model.")
    scan = upright(scan)
    inside = lungs.both
    rows, columns, slices = _frame(inside, scan)
    found = np.zeros(inside.shape, dtype=bool)
    cropped = replace(scan, values=scan.values[:, :, rows, columns], geometry=_moved(scan, rows.start, columns.start))
    warned: dict[str, int] = {}
    show(0, len(slices))
    for start in range(0, len(slices), BATCH):
        part = slices[start : start + BATCH]
        for index, answer in zip(part, ask([cropped.slice(i) for i in part]), strict=True):
            if answer.found is None:
                raise ModelError(f"The model {card.id!r} answers without a mask; choose a segmentation model.")
            found[index, rows, columns] = answer.found.any(axis=0)
            for warning in answer.warnings:
                kind = warning.split(":")[0].rstrip(".")  # without the figures of one slice
                warned[kind] = warned.get(kind, 0) + 1
        show(min(start + BATCH, len(slices)), len(slices))
    notes: tuple[str, ...] = (
        f"The lesions are those that the model {card.id!r} marked and nobody checked; look at the lesion mask.",
    )
    notes += tuple(f"{kind} ({count} of {len(slices)} slices)." for kind, count in warned.items())
    return found & inside, notes


def _frame(inside: BoolArray, scan: Image) -> tuple[slice, slice, list[int]]:
    """Rows and columns around the lungs, and the slices that hold some."""
    place = ndimage.find_objects(inside.astype(np.uint8))[0]
    column_mm, row_mm = scan.plane_spacing
    rows, columns = (
        slice(max(0, part.start - round(MARGIN_MM / mm)), min(size, part.stop + round(MARGIN_MM / mm)))
        for part, mm, size in zip(place[1:], (row_mm, column_mm), scan.plane_shape, strict=True)
    )
    return rows, columns, [int(index) for index in np.flatnonzero(inside.any(axis=(1, 2)))]


def _moved(scan: Image, row: int, column: int) -> Geometry | None:
    if scan.geometry is None:
        return None
    affine = scan.geometry.affine.copy()
    affine[:3, 3] = scan.geometry.to_world(np.array([[column, row, 0]], dtype=float))[0]
    return replace(scan.geometry, affine=affine)
