"""``python -m dashboard nodule``: a CT in, the measures of a nodule out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from dashboard.folder_runs.output import write_whole
from dashboard.quantify.grid import check_fits, ct_values, geometry_of, mask_of
from dashboard.quantify.nodule import SOLID_HU, Nodule, measure_nodule, outline_nodule
from models.errors import DataError
from models.io import read_case
from models.io.limits import LOCAL_LIMITS
from models.types import Modality

JSON_FILE, MASK_FILE = "nodule.json", "nodule.nii.gz"
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Measured:
    """The measures and the content of the file that tells them."""

    nodule: Nodule
    facts: dict[str, Any]


def nodule_path(scan: Path, mask: Path | None, at: str, out: Path) -> Measured:
    """Measure a nodule and write ``nodule.json`` and its mask on the grid of the scan to a folder.

    Args:
        mask: of the nodule; None to outline it at a point.
        at: "COLUMN,ROW,SLICE" from 0; "" for the middle of the scan.

    Raises:
        DataError, OSError: a file or the folder is unusable, or no nodule can be told from what is around the point.
    """
    case = read_case(scan, limits=LOCAL_LIMITS)
    hu, geometry = ct_values(case.image), geometry_of(case.image)
    if mask is not None:
        marked = read_case(mask, modality=Modality.OTHER, limits=LOCAL_LIMITS).image
        check_fits(marked, case.image, "The nodule mask")
        inside, by, point = mask_of(marked, "The nodule mask") > 0, "supplied mask", None
    else:
        point = _point(at, hu.shape)
        inside, by = outline_nodule(case.image, point), "semi-automatic, from a point"
    found = measure_nodule(inside, geometry, hu)
    facts = facts_of(found, by) | {
        "point": None if point is None else list(point),
        "spacing_mm": [round(mm, 6) for mm in geometry.spacing],
        "sha256": {"scan": case.provenance.sha256},
        "warnings": [*case.provenance.notes, *found.notes],
    }
    out.mkdir(parents=True, exist_ok=True)
    file = nib.Nifti1Image(np.ascontiguousarray(inside.T.astype(np.uint8)), _LPS_TO_RAS @ geometry.affine)
    file.header.set_xyzt_units("mm")
    file.to_filename(out / MASK_FILE)
    write_whole(out / JSON_FILE, (json.dumps(facts, indent=2) + "\n").encode())
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


def _point(text: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
    if not text:
        return shape[2] // 2, shape[1] // 2, shape[0] // 2
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        raise DataError(f"A point is written COLUMN,ROW,SLICE in whole numbers from 0, got {text!r}.")
    column, row, level = (int(part) for part in parts)
    return column, row, level
