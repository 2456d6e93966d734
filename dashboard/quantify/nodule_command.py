"""``python -m dashboard nodule``: a CT in, the measures of a nodule out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dashboard.folder_runs.output import write_files
from dashboard.nifti import nifti_bytes
from dashboard.quantify.grid import check_fits, check_single, ct_values, geometry_of, mask_of
from dashboard.quantify.nodule import SOLID_HU, Nodule, measure_nodule, outline_nodule
from models.errors import DataError
from models.io import read_case
from models.io.limits import LOCAL_LIMITS
from models.types import Geometry, Modality

JSON_FILE, MASK_FILE = "nodule.json", "nodule.nii.gz"


@dataclass(frozen=True, eq=False)
class Measured:
    """The measures and the content of the file that tells them."""

    nodule: Nodule
    facts: dict[str, Any]


def nodule_path(scan: Path, mask: Path | None, at: str, out: Path) -> Measured:
    """Measure a nodule and write ``nodule.json`` and its mask on the grid of the scan to a folder.

    Args:
        mask: of the nodule; None to outline it at a point.
        at: "COLUMN,ROW,SLICE" from 0, of the scan as its reader turns it; "X,Y,Zmm" in patient coordinates (LPS); "" for
            the middle of the scan.

    Raises:
        DataError, OSError: a file or the folder is unusable, or no nodule can be told from what is around the point.
    """
    case = read_case(scan, limits=LOCAL_LIMITS)
    check_single(case, "The scan")
    hu, geometry = ct_values(case.image), geometry_of(case.image)
    if mask is not None:
        given = read_case(mask, modality=Modality.OTHER, limits=LOCAL_LIMITS)
        check_single(given, "The nodule mask")
        marked = given.image
        check_fits(marked, case.image, "The nodule mask")
        inside, by, point = mask_of(marked, "The nodule mask") > 0, "supplied mask", None
    else:
        point = _point(at, hu.shape, geometry)
        inside, by = outline_nodule(case.image, point), "semi-automatic, from a point"
    found = measure_nodule(inside, geometry, hu)
    facts = facts_of(found, by) | {
        "point": None if point is None else list(point),
        "spacing_mm": [round(mm, 6) for mm in geometry.spacing],
        "sha256": {"scan": case.provenance.sha256},
        "warnings": [*case.provenance.notes, *found.notes],
    }
    told = (json.dumps(facts, indent=2) + "\n").encode()
    write_files(out, {MASK_FILE: nifti_bytes(inside, geometry, scan), JSON_FILE: told})
    return Measured(found, facts)


def facts_of(nodule: Nodule, by: str) -> dict[str, Any]:
    """The measures as nodule.json has them."""
    return {
        "volume_ml": round(nodule.volume_ml, 6),
        "longest_axial_mm": round(nodule.longest_mm, 4),
        "perpendicular_mm": round(nodule.perpendicular_mm, 4),
        "mean_diameter_mm": round(nodule.mean_mm, 4),
        "slice": nodule.slice_index,
        "mean_hu": None if nodule.mean_hu is None else round(nodule.mean_hu, 2),
        "solid_share": None if nodule.solid_share is None else round(nodule.solid_share, 4),
        "solid_from_hu": SOLID_HU,
        "outline_by": by,
    }


def _point(text: str, shape: tuple[int, ...], geometry: Geometry) -> tuple[int, int, int]:
    """(column, row, slice)."""
    if not text:
        return shape[2] // 2, shape[1] // 2, shape[0] // 2
    in_mm = text.endswith("mm")
    try:
        numbers = [(float if in_mm else int)(part) for part in text.removesuffix("mm").split(",")]
        first, second, third = numbers
    except ValueError:
        raise DataError(
            f"A point is written COLUMN,ROW,SLICE in whole numbers from 0, or X,Y,Zmm in millimetres, got {text!r}."
        ) from None
    if not in_mm:
        return int(first), int(second), int(third)
    if geometry.frame != "patient" or not np.isfinite(numbers).all():
        raise DataError("The scan does not say where it lies, so a point is written COLUMN,ROW,SLICE from 0.")
    index = np.rint(np.linalg.solve(geometry.affine, np.array([first, second, third, 1.0]))[:3])
    return int(index[0]), int(index[1]), int(index[2])
