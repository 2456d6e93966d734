"""Results of a volume as files: the map on the scan's own grid, a table of slices, and what is needed to make them again."""

from __future__ import annotations

import io
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboard.nifti import nifti_bytes
from dashboard.volumes.types import VolumeMap, VolumeRequest, VolumeResult
from models.card import ModelCard
from models.errors import DataError
from models.project import grid_to_volume
from models.types import Case, FloatArray, Image

MASS = "attribution_share"
MAP_FILE, TABLE_FILE, FACTS_FILE = "map.nii.gz", "slices.csv", "volume.json"


def on_scan(found: VolumeMap, image: Image) -> FloatArray:
    """The map on the scan's grid, (D, H, W) float32, 0 where nothing is known."""
    return grid_to_volume(found.values, found.grid_to_image, (image.depth, *image.plane_shape), found.known)


def map_nifti(found: VolumeMap, image: Image, like: Path | None = None) -> bytes:
    """The map on the scan's grid as gzipped NIfTI of 16-bit values; see :func:`dashboard.nifti.nifti_bytes`.

    Args:
        like: file that the scan was read from; both then have the same shape and affine.

    Raises:
        DataError: the scan has no geometry.
    """
    if image.geometry is None:
        raise DataError("The map cannot be laid on this volume, which gives no spacing in mm; use DICOM or NIfTI.")
    return nifti_bytes(on_scan(found, image), image.geometry, like, scaled=True)


def positions_mm(image: Image) -> NDArray[np.float64]:
    """(D,) place of each slice's middle along the slices' common normal, in mm; it grows towards the axis of the patient (left,
    back or head) that the normal is nearest to. NaN where the volume has no geometry."""
    if image.geometry is None:
        return np.full(image.depth, np.nan)
    affine = image.geometry.affine
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    normal /= np.linalg.norm(normal)
    normal *= np.sign(normal[np.abs(normal).argmax()])
    height, width = image.plane_shape
    middles = np.array([[(width - 1) / 2, (height - 1) / 2, index] for index in range(image.depth)])
    return np.asarray(image.geometry.to_world(middles) @ normal)


def slices_table(request: VolumeRequest, result: VolumeResult) -> pd.DataFrame:
    """One row a slice: index from 0, number from 1 as on the screen, place, scores, share of the evidence."""
    scores, image = result.scores, request.image
    columns: dict[str, Any] = {
        "slice": np.arange(image.depth),
        "number": np.arange(image.depth) + 1,
        "position_mm": positions_mm(image).round(3),
    }
    for index, name in enumerate(scores.classes):
        columns[f"probability_{name}"] = scores.probabilities[:, index]
    columns[f"logit_{request.target.name}"] = scores.logits[:, request.target.index]
    columns[MASS] = result.mass
    return pd.DataFrame(columns)


def slices_csv(request: VolumeRequest, result: VolumeResult) -> bytes:
    buffer = io.StringIO()
    slices_table(request, result).to_csv(buffer, index=False, float_format="%.6g")
    return buffer.getvalue().encode()


def facts(request: VolumeRequest, result: VolumeResult, card: ModelCard, case: Case) -> dict[str, Any]:
    """What was asked, what came out, and what is needed to compute it again."""
    target, scores, index = request.target, result.scores, request.target.index
    highest = scores.highest(index)
    found = result.map
    threshold = float(scores.thresholds[index])
    over = scores.probabilities[:, index] >= threshold
    told: dict[str, Any] = {
        "model": card.id,
        "model_version": card.version,
        "weights_sha256": card.weights.sha256,
        "file_sha256": case.provenance.sha256,
        "notes": list(case.provenance.notes),
        "target": {
            "class": target.name,
            "index": index,
            "output": target.output,
            "against": target.against_name or None,
        },
        "kind": request.kind,
        "method": None if request.kind == "blocks" else request.method,
        "params": dict(found.params) if found else dict(request.params),
        "seed": request.seed,
        "slices": {"first": request.slices.start, "last": request.slices[-1], "every": request.slices.step},
        "explained_slice": None if request.kind == "slices" else request.at,
        "complete": result.complete,
        "highest_slice": highest,
        "highest_probability": None if highest is None else float(scores.probabilities[highest, index]),
        "threshold": None if scores.exclusive else threshold,
        "slices_over_threshold": None if scores.exclusive else int(over.sum()),
        "warnings": {
            sentence: f"{count} of {request.image.depth} slices" for sentence, count in scores.warnings.items()
        },
        f"{MASS}_is": "sum of the map's positive values in the slice, as a share of that of all slices explained",
        "counting": "slices count from 0 here and in the column slice, from 1 in the column number and on the screen",
    }
    if found is not None:
        told["map"] = {
            "title": found.title,
            "unit": found.unit,
            "signed": found.signed,
            "grid": list(found.values.shape),
            "grid_to_image": found.grid_to_image.tolist(),
            "facts": dict(found.facts),
            "provenance": dict(found.provenance),
            "between_explained_slices": "interpolated linearly; 0 where no explained slice is near",
        }
    return told


def facts_bytes(request: VolumeRequest, result: VolumeResult, card: ModelCard, case: Case) -> bytes:
    """:func:`facts` as JSON, with the versions of what computed them."""
    versions = {name: version(name) for name in ("torch", "timm", "numpy")}
    return (json.dumps({**facts(request, result, card, case), "versions": versions}, indent=2) + "\n").encode()
