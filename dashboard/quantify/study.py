"""All quantities of one study: a scan with its lesions and lungs, or a mask alone."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.quantify.grid import BoolArray, ct_values, voxel_ml
from dashboard.quantify.lesions import CONNECTIVITY, Connectivity, Lesions, find_lesions, take_in
from dashboard.quantify.lungs import Lungs
from dashboard.quantify.measures import LungMeasures, measure_lungs
from models.types import Geometry, Image


@dataclass(frozen=True, eq=False)
class Study:
    """What was measured, and on what.

    Attributes:
        lungs: None where there are none: nothing is then said in percent.
        measures: the right lung, the left, and both; empty without lungs.
        lesions_by: where the lesions come from, in words.
        warnings: sentences a reader of the numbers must know.
    """

    geometry: Geometry
    lesions: Lesions
    lungs: Lungs | None
    measures: tuple[LungMeasures, ...]
    lesions_by: str
    warnings: tuple[str, ...]

    @property
    def both(self) -> LungMeasures | None:
        return self.measures[2] if self.measures else None


def study_of(
    mask: BoolArray,
    geometry: Geometry,
    lesions_by: str,
    scan: Image | None = None,
    lungs: Lungs | None = None,
    *,
    lungs_grow: bool = False,
    connectivity: Connectivity = CONNECTIVITY,
    minimum_mm3: float = 0.0,
    warnings: tuple[str, ...] = (),
) -> Study:
    """Every quantity that the arguments allow.

    Args:
        mask: (D, H, W), the lesions.
        scan: CT on the same grid; None for masks alone, which have no HU.
        lungs: on the same grid.
        lungs_grow: lesions that meet the lungs become a part of them; for lungs that were segmented by air.
        minimum_mm3: smaller lesions are left out of everything.

    Raises:
        DataError: the scan is no CT in HU, or an argument is out of range.
    """
    hu = None if scan is None else ct_values(scan)
    lesions = find_lesions(mask, geometry, hu, lungs, connectivity, minimum_mm3)
    if lungs is None:
        return Study(geometry, lesions, None, (), lesions_by, warnings)
    if lungs_grow:
        lungs = take_in(lungs, lesions, geometry)
    outside = float((lesions.mask & ~lungs.both).sum()) * voxel_ml(geometry)
    warnings = (*warnings, *lungs.warnings)
    if outside > 0:
        warnings += (
            f"{outside:.1f} ml of the lesions lie outside the lungs: in the total, but not in the share of the lungs.",
        )
    return Study(geometry, lesions, lungs, measure_lungs(lungs, lesions, geometry, hu), lesions_by, warnings)
