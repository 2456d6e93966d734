"""A follow-up as files: followup.json, the table of changes, the prior on the grid of the current study."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dashboard.folder_runs.output import write_files
from dashboard.nifti import nifti_bytes
from dashboard.quantify.followup import Delta, FollowUp
from dashboard.quantify.matching import LIMIT, OUTLINE, SHARED, WITHIN_MM, Change
from dashboard.quantify.measures import EDGES_HU
from dashboard.quantify.report import (
    CHANGES_FILE,
    FOLLOW_UP_FILE,
    FOLLOW_UP_FILES,
    PRIOR_LESIONS,
    PRIOR_SCAN,
    csv_bytes,
    short,
)
from dashboard.quantify.study import Study
from dashboard.registration import LEAST_CORRELATION, LEAST_INFORMATION, LEAST_OVERLAP, Registration

_COLUMNS = (
    "verdict", "reason", "relation", "prior", "current", "side", "prior_ml", "current_ml", "change_ml", "change_percent",
    "limit_percent", "prior_hu", "current_hu", "apart_mm", "overlap", "x_mm", "y_mm", "z_mm",
)  # fmt: skip


def write_follow_up(found: FollowUp, study: Study, out: Path, like: Path | None = None) -> tuple[str, ...]:
    """Write every file of a follow-up; their names.

    Args:
        study: the current one.
        like: NIfTI file whose order of axes the volumes take.

    Raises:
        OSError: the folder cannot be written.
    """
    return write_files(out, follow_up_files(found, study, like), FOLLOW_UP_FILES)


def follow_up_files(found: FollowUp, study: Study, like: Path | None = None) -> dict[str, bytes]:
    """The files of :func:`write_follow_up` by name; of a refused comparison, the reason alone."""
    files = {FOLLOW_UP_FILE: (json.dumps(as_json(found), indent=2) + "\n").encode()}
    if found.reason:
        return files
    files[CHANGES_FILE] = csv_bytes(_COLUMNS, [_row(change) for change in found.changes])
    if found.prior_scan is not None:
        hu = np.rint(np.clip(found.prior_scan.values[0], -32768, 32767)).astype(np.int16)
        files[PRIOR_SCAN] = nifti_bytes(hu, study.geometry, like)
    if found.prior_labels is not None:
        name = PRIOR_LESIONS if found.prior_scan is not None else PRIOR_SCAN
        files[name] = nifti_bytes(found.prior_labels, study.geometry, like)
    return files


def summary(found: FollowUp) -> dict[str, Any]:
    """What quantities.json holds of it."""
    return {
        "compared": not found.reason,
        "reason": found.reason or None,
        "registration": _registration(found.registration),
        "counts": found.counts,
        "deltas": [_delta(delta) for delta in found.deltas],
    }


def as_json(found: FollowUp) -> dict[str, Any]:
    """The content of followup.json; null where a number cannot be had."""
    bins: Iterable[Sequence[float]] = () if found.histogram_percent is None else found.histogram_percent.T.tolist()
    return summary(found) | {
        "changes": [_change(change) for change in found.changes],
        "histogram_change_points": [
            {"low_hu": low, "high_hu": high, "right": short(right), "left": short(left)}
            for low, high, (right, left) in zip(EDGES_HU[:-1], EDGES_HU[1:], bins, strict=False)
        ],
        "rules": {
            "paired_from_shared_part_of_the_smaller": SHARED,
            "or_from_balls_within_mm": WITHIN_MM,
            "change_above_percent": 100 * LIMIT,
            "and_above_voxels_of_the_outline": OUTLINE,
        },
        "prior_lesions_by": found.prior.lesions_by,
        "coordinates": "millimetres of the current scan, x to the patient's left, y to the back, z to the head",
        "warnings": list(found.warnings),
    }


def _registration(found: Registration | None) -> dict[str, Any] | None:
    if found is None:
        return None
    quality = found.quality
    return {
        "kind": found.kind,
        "current_to_prior_lps_mm": [[short(value) for value in row] for row in found.matrix],
        "shift_mm": short(found.shift_mm),
        "rotation_degrees": short(found.rotation_degrees),
        "mutual_information": {"before": short(quality.information_before), "after": short(quality.information_after)},
        "correlation": {"before": short(quality.correlation_before), "after": short(quality.correlation_after)},
        "overlap": short(quality.overlap),
        "floors": {
            "mutual_information": LEAST_INFORMATION,
            "correlation": LEAST_CORRELATION,
            "overlap": LEAST_OVERLAP,
        },
        "accepted": found.accepted,
    }


def _delta(delta: Delta) -> dict[str, Any]:
    return {
        "name": delta.name,
        "where": delta.where,
        "unit": delta.unit,
        "prior": short(delta.prior),
        "current": short(delta.current),
        "difference": short(delta.difference),
        "change_percent": short(delta.percent),
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "verdict": change.verdict,
        "reason": change.reason,
        "relation": change.relation,
        "prior": list(change.prior),
        "current": list(change.current),
        "side": change.side,
        "prior_ml": short(change.prior_ml),
        "current_ml": short(change.current_ml),
        "change_ml": short(change.change_ml),
        "change_percent": short(change.change_percent),
        "limit_percent": short(change.limit_percent),
        "prior_hu": short(change.prior_hu),
        "current_hu": short(change.current_hu),
        "apart_mm": short(change.apart_mm),
        "overlap": short(change.overlap),
        "centre_mm": [short(mm) for mm in change.centre_mm],
    }


def _row(change: Change) -> Mapping[str, Any]:
    row = _change(change)
    places = dict(zip(("x_mm", "y_mm", "z_mm"), row.pop("centre_mm"), strict=True))
    return row | places | {when: " ".join(map(str, row[when])) for when in ("prior", "current")}
