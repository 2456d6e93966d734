"""From images to a study: the lungs found or supplied, the lesions supplied or marked by a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dashboard.quantify.grid import BoolArray, mask_of
from dashboard.quantify.lesions import CONNECTIVITY
from dashboard.quantify.lungs import Lungs, lungs_of_mask, segment_lungs
from dashboard.quantify.study import Study, study_of
from models.errors import DataError
from models.types import Image

ShowProgress = Callable[[int, int | None], None]


@dataclass(frozen=True, eq=False)
class Marked:
    """Lesions, and where they come from.

    Attributes:
        mask: (D, H, W).
        by: in words.
        minimum_mm3: smaller ones do not count, unless the user says otherwise.
        warnings: sentences a reader of the numbers must know.
    """

    mask: BoolArray
    by: str
    minimum_mm3: float = 0.0
    warnings: tuple[str, ...] = ()


Marker = Callable[[Image, Lungs], Marked]
"""Marks the lesions of an upright scan in its lungs."""


def assess(
    scan: Image | None,
    lesions: Image | None,
    lungs: Image | None,
    marker: Marker | None = None,
    connectivity: int = CONNECTIVITY,
    minimum_mm3: float | None = None,
    warnings: tuple[str, ...] = (),
) -> Study:
    """Everything that a scan, a scan with masks, or masks alone allow.

    Args:
        scan, lesions, lungs: upright, on one grid.
        marker: asked where no lesions are supplied.
        minimum_mm3: None for that of the marker.

    Raises:
        DataError: there is nothing to measure on, or the lungs cannot be had and the marker needs them.
    """
    reference = scan or lesions
    if reference is None or reference.geometry is None:
        raise DataError("There is no grid to measure on: give a CT, or a mask with --lesions.")
    found: Lungs | None = None
    if lungs is not None:
        found = lungs_of_mask(mask_of(lungs, "The lung mask"), reference.geometry)
    elif scan is not None:
        try:
            found = segment_lungs(scan)
        except DataError as error:
            if lesions is None:
                raise
            warnings += (f"Nothing is said in percent of the lungs. {error}",)
    if lesions is not None:
        marked = Marked(mask_of(lesions, "The lesion mask") > 0, "supplied mask")
    elif scan is not None and found is not None and marker is not None:
        marked = marker(scan, found)
    else:
        raise DataError("There are no lesions to measure: give their mask, or a model that marks them.")
    return study_of(
        marked.mask,
        reference.geometry,
        marked.by,
        scan,
        found,
        lungs_grow=lungs is None,
        connectivity=connectivity,  # type: ignore[arg-type]
        minimum_mm3=marked.minimum_mm3 if minimum_mm3 is None else minimum_mm3,
        warnings=warnings + marked.warnings,
    )
