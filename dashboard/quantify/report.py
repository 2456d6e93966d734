"""A study as files: quantities.json, tables, masks on the grid of the scan."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dashboard.folder_runs.output import write_files
from dashboard.nifti import nifti_bytes
from dashboard.quantify.grid import voxel_ml
from dashboard.quantify.lesions import Lesion
from dashboard.quantify.lungs import LEFT, RIGHT
from dashboard.quantify.measures import AERATION_SOURCE, EDGES_HU, SEVERITY_SOURCE, LungMeasures
from dashboard.quantify.study import Study

JSON_FILE, LESIONS_FILE, LUNGS_FILE, HISTOGRAM_FILE = "quantities.json", "lesions.csv", "lungs.csv", "histogram.csv"
LESION_MASK, LUNG_MASK = "lesions.nii.gz", "lungs.nii.gz"
FOLLOW_UP_FILE, CHANGES_FILE, PRIOR_FOLDER = "followup.json", "changes.csv", "prior"
PRIOR_SCAN, PRIOR_LESIONS = "prior_on_current.nii.gz", "prior_lesions_on_current.nii.gz"
_STUDY_FILES = (JSON_FILE, LESIONS_FILE, LUNGS_FILE, HISTOGRAM_FILE, LESION_MASK, LUNG_MASK)
FOLLOW_UP_FILES = (FOLLOW_UP_FILE, CHANGES_FILE, PRIOR_SCAN, PRIOR_LESIONS)
ALL_FILES = (*_STUDY_FILES, *FOLLOW_UP_FILES, *(f"{PRIOR_FOLDER}/{name}" for name in _STUDY_FILES))
_LESION_COLUMNS = ("number", "side", "volume_ml", "voxels", "mean_hu", "diameter_mm", "x_mm", "y_mm", "z_mm")


def write_report(study: Study, out: Path, like: Path | None = None, **about: Any) -> tuple[str, ...]:
    """Write every file of a study; their names. Those of an earlier one there, with its follow-up, are removed.

    Args:
        like: NIfTI file whose order of axes the masks take; if not given, that of the study.
        about: further entries of quantities.json ("sha256" of the files read).

    Raises:
        OSError: the folder cannot be written.
    """
    return write_files(out, report_files(study, like, **about), ALL_FILES)


def report_files(study: Study, like: Path | None = None, **about: Any) -> dict[str, bytes]:
    """The files of :func:`write_report` by name."""
    files = {
        LESIONS_FILE: csv_bytes(_LESION_COLUMNS, [_lesion_row(lesion) for lesion in study.lesions.items]),
        LESION_MASK: nifti_bytes(study.lesions.labels, study.geometry, like),
    }
    if study.lungs is not None:
        sides = np.where(study.lungs.right, RIGHT, np.where(study.lungs.left, LEFT, 0))
        rows = [_lung_row(lung) for lung in study.measures]
        files |= {LUNGS_FILE: csv_bytes(tuple(rows[0]), rows), LUNG_MASK: nifti_bytes(sides, study.geometry, like)}
        if study.measures[0].histogram_ml.size:
            columns = ("low_hu", "high_hu", "right_ml", "left_ml")
            files[HISTOGRAM_FILE] = csv_bytes(columns, _histogram_rows(study.measures))
    return files | {JSON_FILE: (json.dumps(as_json(study) | about, indent=2) + "\n").encode()}


def as_json(study: Study) -> dict[str, Any]:
    """The content of quantities.json; null where a number cannot be had."""
    lesions, both = study.lesions, study.both
    sides = {side: [one for one in lesions.items if one.side == side] for side in ("right", "left", "unknown")}
    return {
        "lesion_count": len(lesions.items),
        "total_lesion_ml": short(lesions.total_ml),
        "lung_ml": None if both is None else short(both.volume_ml),
        "involvement_percent": None if both is None else short(both.involvement_percent),
        "severity": None if both is None else both.severity,
        "severity_words": None if both is None else both.severity_words,
        "lungs": {lung.where: _lung(lung) for lung in study.measures},
        "lesions_by_side": {
            side: {"lesion_count": len(found), "lesion_ml": short(sum(one.volume_ml for one in found))}
            for side, found in sides.items()
            if found or side != "unknown"
        },
        "lesions": [_lesion(lesion) for lesion in lesions.items],
        "spacing_mm": [short(mm) for mm in study.geometry.spacing],
        "voxel_ml": voxel_ml(study.geometry),
        "voxels": list(reversed(lesions.labels.shape)),
        "connectivity": lesions.connectivity,
        "minimum_mm3": lesions.minimum_mm3,
        "below_minimum": {"count": lesions.left_out, "total_ml": short(lesions.left_out_ml)},
        "lesions_by": study.lesions_by,
        "lungs_by": None if study.lungs is None else study.lungs.method,
        "sides_by": lesions.side_by,
        "severity_source": SEVERITY_SOURCE,
        "aeration_source": AERATION_SOURCE,
        "coordinates": "millimetres, x to the patient's left, y to the back, z to the head",
        "warnings": list(study.warnings),
    }


def _lesion(lesion: Lesion) -> dict[str, Any]:
    return {
        "number": lesion.number,
        "side": lesion.side,
        "volume_ml": short(lesion.volume_ml),
        "voxels": lesion.voxels,
        "mean_hu": short(lesion.mean_hu),
        "diameter_mm": short(lesion.diameter_mm),
        "centroid_mm": [short(mm) for mm in lesion.centroid_mm],
    }


def _lesion_row(lesion: Lesion) -> dict[str, Any]:
    row = _lesion(lesion)
    return row | dict(zip(("x_mm", "y_mm", "z_mm"), row.pop("centroid_mm"), strict=True))


def _lung(lung: LungMeasures) -> dict[str, Any]:
    return {
        "volume_ml": short(lung.volume_ml),
        "lesion_count": lung.lesion_count,
        "lesion_ml": short(lung.lesion_ml),
        "involvement_percent": short(lung.involvement_percent),
        "severity": lung.severity,
        "severity_words": lung.severity_words,
        "mean_hu": short(lung.mean_hu),
        "aeration": [
            {
                "name": band.name,
                "low_hu": band.low_hu if np.isfinite(band.low_hu) else None,
                "high_hu": band.high_hu if np.isfinite(band.high_hu) else None,
                "volume_ml": short(band.volume_ml),
                "percent": short(band.percent),
            }
            for band in lung.aeration
        ],
    }


def _lung_row(lung: LungMeasures) -> dict[str, Any]:
    row = {"lung": lung.where} | _lung(lung)
    for band in row.pop("aeration"):
        name = band["name"].replace(" ", "_").replace("-", "_")
        row |= {f"{name}_ml": band["volume_ml"], f"{name}_percent": band["percent"]}
    return row


def _histogram_rows(measures: Sequence[LungMeasures]) -> list[dict[str, Any]]:
    right, left = measures[0].histogram_ml, measures[1].histogram_ml
    return [
        {"low_hu": low, "high_hu": high, "right_ml": short(one), "left_ml": short(other)}
        for low, high, one, other in zip(EDGES_HU[:-1], EDGES_HU[1:], right, left, strict=True)
    ]


def csv_bytes(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """A table with a header line."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def short(value: float | None) -> float | None:
    """To a millionth: a microlitre's thousandth, a micrometre's thousandth."""
    return None if value is None else round(float(value), 6)
