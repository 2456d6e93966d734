"""A study as files: quantities.json, tables, masks on the grid of the scan."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.orientations import io_orientation, ornt_transform
from numpy.typing import NDArray

from dashboard.folder_runs.output import write_whole
from dashboard.quantify.grid import voxel_ml
from dashboard.quantify.lesions import Lesion
from dashboard.quantify.lungs import LEFT, RIGHT
from dashboard.quantify.measures import AERATION_SOURCE, EDGES_HU, SEVERITY_SOURCE, LungMeasures
from dashboard.quantify.study import Study
from models.types import Geometry

JSON_FILE, LESIONS_FILE, LUNGS_FILE, HISTOGRAM_FILE = "quantities.json", "lesions.csv", "lungs.csv", "histogram.csv"
LESION_MASK, LUNG_MASK = "lesions.nii.gz", "lungs.nii.gz"
COMPRESSION = 6  # 9 takes eight times as long and makes masks a quarter smaller
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_LESION_COLUMNS = ("number", "side", "volume_ml", "voxels", "mean_hu", "diameter_mm", "x_mm", "y_mm", "z_mm")


def write_report(study: Study, out: Path, like: Path | None = None, **about: Any) -> tuple[str, ...]:
    """Write every file of a study; their names.

    Args:
        like: NIfTI file whose order of axes the masks take; if not given, that of the study.
        about: further entries of quantities.json ("sha256" of the files read).

    Raises:
        OSError: the folder cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    files = report_files(study, like, **about)
    for stale in {LUNGS_FILE, LUNG_MASK, HISTOGRAM_FILE} - set(files):
        (out / stale).unlink(missing_ok=True)
    for name, content in files.items():
        write_whole(out / name, content)
    return tuple(files)


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


def nifti_bytes(values: NDArray[np.number], geometry: Geometry, like: Path | None) -> bytes:
    """(D, H, W) whole numbers as gzipped NIfTI in mm, LPS turned to RAS, the same bytes each time.

    Args:
        values: labels from 0 to 65,535, or HU.
        like: NIfTI file whose order of axes is taken; None for that of the values.
    """
    low, high = values.min(initial=0), values.max(initial=0)
    kind = np.int16 if low < 0 else np.uint8 if high < 256 else np.uint16
    affine = _LPS_TO_RAS @ geometry.affine
    image = nib.Nifti1Image(np.ascontiguousarray(values.T.astype(kind)), affine)
    if like is not None:
        wanted = nib.load(like)
        order = ornt_transform(io_orientation(affine), io_orientation(wanted.affine))
        image = image.as_reoriented(order)
        if wanted.header.get_xyzt_units()[0] in ("mm", "unknown"):  # to the last bit, where nothing was converted
            image = nib.Nifti1Image(np.asanyarray(image.dataobj), wanted.affine)
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), COMPRESSION, mtime=0)


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
