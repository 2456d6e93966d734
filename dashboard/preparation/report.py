"""A trace as files: the prepared image, what the steps left behind, pictures, and trace.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dashboard.nifti import nifti_bytes
from dashboard.preparation.effects import Effects
from dashboard.preparation.outcome import Outcome
from dashboard.preparation.trace import Record, Trace
from dashboard.preparation.types import Measure, voxels

IMAGE_FILE, JSON_FILE, MASK_FILE, MAP_FILE = "prepared.nii.gz", "trace.json", "mask.nii.gz", "map.nii.gz"


def files_of(
    done: Outcome, like: Path | None = None, more: Mapping[str, bytes] | None = None, **about: Any
) -> dict[str, bytes]:
    """Content by name: ``prepared.nii.gz``, ``mask.nii.gz`` where there is a mask, further arrays, pictures, ``trace.json``.

    Args:
        like: file of the scan, whose order of axes is taken by what lies on its grid.
        more: further files, which trace.json is to list.
        about: further entries of trace.json ("model").
    """
    trace, image = done.trace, done.trace.image
    files = {**(more or {}), IMAGE_FILE: nifti_bytes(voxels(image), image.geometry, like)}
    if trace.mask is not None:
        files[MASK_FILE] = nifti_bytes(trace.mask, image.geometry, like)
    for name, (values, geometry) in trace.stages[-1].extras.items():
        files[f"{name.replace(' ', '-')}.nii.gz"] = nifti_bytes(values, geometry, like)
    for number, record in enumerate(done.records, 1):
        for when, shown in (("before", record.before), ("after", record.after), (record.extra_name, record.extra)):
            if shown is not None:
                files[f"{number:02d}-{record.step_id}-{when.replace(' ', '-')}.png"] = shown.png()
    told = as_json(trace, done.records) | about
    if done.effects is not None:
        told["effects"] = effects_json(done.effects)
    told["files"] = [*files, JSON_FILE]
    files[JSON_FILE] = (json.dumps(told, indent=2) + "\n").encode()
    return files


def files_before(out: Path) -> tuple[str, ...]:
    """Names of the files that an earlier trace in a folder lists."""
    try:
        told = json.loads((out / JSON_FILE).read_bytes())
    except (OSError, ValueError):
        return ()
    names = told.get("files", []) if isinstance(told, dict) else []
    return tuple(name for name in names if isinstance(name, str) and Path(name).name == name)


def as_json(trace: Trace, records: tuple[Record, ...]) -> dict[str, Any]:
    """What trace.json holds: the steps with settings, verdicts and measures, and where the prepared voxels lie."""
    geometry = trace.image.geometry
    return {
        "steps": [_record_json(record) for record in records],
        "to_native": trace.to_native.tolist(),
        "shape": list(voxels(trace.image).shape),
        "native_shape": list(voxels(trace.native).shape),
        "affine_lps": None if geometry is None else geometry.affine.tolist(),
        "seed": trace.seed,
        "versions": {name: version(name) for name in ("SimpleITK", "scipy", "numpy", "torch")},
    }


def effects_json(effects: Effects) -> dict[str, Any]:
    """The answers with all steps, without each and with none."""
    return {
        "native_slice": effects.native_slice,
        "sentence": effects.sentence(),
        "flipping": [row.step_id for row in effects.flipping],
        "answers": [
            {
                "name": row.name,
                "step": row.step_id or None,
                "slice": row.slice,
                "decision": list(row.decision),
                "flips": row.flips,
                "probabilities": dict(
                    zip(effects.classes, (round(float(p), 6) for p in row.probabilities), strict=True)
                ),
            }
            for row in effects.rows
        ],
    }


def _record_json(record: Record) -> dict[str, Any]:
    verdict = record.verdict
    return {
        "step": record.step_id,
        "title": record.title,
        "params": dict(record.params),
        "verdict": verdict.level,
        "sentence": verdict.sentence,
        "seconds": round(record.seconds, 4),
        "measures": [_measure_json(measure) for measure in verdict.measures],
    }


def _measure_json(measure: Measure) -> dict[str, Any]:
    return {
        "name": measure.name,
        "value": measure.value,
        "unit": measure.unit,
        "low": measure.low,
        "high": measure.high,
        "source": measure.source,
    }
