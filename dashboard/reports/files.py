"""An explanation as files: raw maps, a picture, a manifest that can be checked."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from importlib.metadata import version
from io import BytesIO
from typing import Any

import matplotlib
import nibabel as nib
import numpy as np
from PIL import Image as PILImage

from dashboard.serving.types import Explanation
from explainers.reduce import reduce_channels, robust_scale
from models.project import input_to_image
from models.types import Case, FloatArray, Geometry, Image, Prediction

OVERLAY_OPACITY = 0.55
SIGNED_MAP, UNSIGNED_MAP = "PuOr_r", "inferno"
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def npz_bytes(explanation: Explanation) -> bytes:
    """An npz: ``values`` (H, W) float32, signed, on the model-input grid, channels summed; ``channels`` (C, H, W) before
    the sum where there are several; ``layer`` (h, w) where the method works on a layer grid; ``grid_to_image`` (3, 3)."""
    attribution = explanation.attribution
    arrays = {"values": reduce_channels(attribution.values), "grid_to_image": explanation.grid_to_image}
    if attribution.values.shape[0] > 1:
        arrays["channels"] = attribution.values
    if attribution.native is not None:
        arrays["layer"] = attribution.native
    buffer = BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def on_image(explanation: Explanation) -> FloatArray:
    """The map on the image grid, (H, W) float32, 0 where the network did not look."""
    values = reduce_channels(explanation.attribution.values)
    return input_to_image(values, explanation.grid_to_image, explanation.image_shape)


def nifti_bytes(explanation: Explanation, geometry: Geometry) -> bytes:
    """The map on the image grid as gzipped NIfTI with the image's geometry."""
    return plane_nifti(on_image(explanation), geometry)


def plane_nifti(values: FloatArray, geometry: Geometry) -> bytes:
    """An (H, W) float32 plane as gzipped NIfTI (LPS turned to RAS), the same bytes each time."""
    plane = values.T[:, :, None]  # (column, row, slice)
    return gzip.compress(nib.Nifti1Image(plane, _LPS_TO_RAS @ geometry.affine).to_bytes(), mtime=0)


def mask_file(values: FloatArray, geometry: Geometry | None) -> tuple[str, bytes]:
    """Ending and content of a file with (H, W) probabilities: NIfTI where the image has a geometry, else an 8-bit
    PNG of the probability times 255."""
    if geometry is not None:
        return ".nii.gz", plane_nifti(values, geometry)
    buffer = BytesIO()
    PILImage.fromarray((values * 255).round().astype(np.uint8)).save(buffer, format="PNG")
    return ".png", buffer.getvalue()


def overlay_png(image: Image, explanation: Explanation) -> bytes:
    """The map over the grey image, as PNG at the image's size; colours span plus or minus the 99.5 percentile."""
    base = image.display()
    colour = np.repeat(base, 3, axis=0) if base.shape[0] == 1 else base
    values = on_image(explanation)
    limit = robust_scale(values)
    signed = explanation.attribution.signed
    position = np.clip(values / limit, -1, 1) / 2 + 0.5 if signed else np.clip(values / limit, 0, 1)
    rgb = matplotlib.colormaps[SIGNED_MAP if signed else UNSIGNED_MAP](position)[..., :3]
    alpha = (OVERLAY_OPACITY * np.clip(np.abs(values) / limit, 0, 1))[..., None]
    blended = colour.transpose(1, 2, 0) * (1 - alpha) + rgb * alpha
    buffer = BytesIO()
    PILImage.fromarray((blended * 255).round().astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def manifest_entry(explanation: Explanation, case: Case, slice_index: int) -> dict[str, Any]:
    """Everything needed to compute the same map again, given the file, the model folder and these versions."""
    attribution = explanation.attribution
    target = attribution.target
    return {
        "method": attribution.method,
        "target": {
            "class": target.name,
            "index": target.index,
            "output": target.output,
            "against": target.against_name or None,
        },
        "params": dict(attribution.params),
        "seed": attribution.seed,
        "signed": attribution.signed,
        "unit": attribution.unit,
        "completeness_error": attribution.completeness_error,
        "facts": dict(attribution.facts),
        "runtime_s": round(attribution.runtime_s, 4),
        "grid": list(attribution.values.shape[-2:]),
        "grid_to_image": explanation.grid_to_image.tolist(),
        "image_shape": list(explanation.image_shape),
        "file_sha256": case.provenance.sha256,
        "slice": slice_index if case.image.is_volume else None,
        "provenance": dict(explanation.provenance),
    }


def manifest_bytes(entries: Sequence[dict[str, Any]], **head: Any) -> bytes:
    """Manifest JSON of several explanations."""
    versions = {name: version(name) for name in ("torch", "timm", "numpy")}
    return (json.dumps({**head, "versions": versions, "maps": list(entries)}, indent=2) + "\n").encode()


def scores_of(prediction: Prediction) -> dict[str, dict[str, float]]:
    """Probability, logit and threshold of each class."""
    columns = zip(prediction.classes, prediction.probabilities, prediction.logits, prediction.thresholds, strict=True)
    return {name: {"probability": float(p), "logit": float(z), "threshold": float(t)} for name, p, z, t in columns}
