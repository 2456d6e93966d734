"""Downloads against the map they hold: geometry, values, colours, manifest."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image as PILImage

from dashboard.reports.files import manifest_bytes, manifest_entry, nifti_bytes, npz_bytes, overlay_png
from dashboard.serving.types import Explanation
from explainers.types import Attribution
from models.types import Case, Geometry, Image, Provenance, Target

RNG = np.random.default_rng(0)


def explanation(values: np.ndarray, signed: bool = True) -> Explanation:
    """A map on a grid of half the image's resolution."""
    attribution = Attribution(
        "m", "M", Target("Mass", 0), values.astype(np.float32), signed, "logit", {"steps": 3}, 0, 0.1
    )
    to_image = np.array([[2.0, 0, 0.5], [0, 2.0, 0.5], [0, 0, 1]])
    return Explanation(attribution, to_image, (2 * values.shape[1], 2 * values.shape[2]), {"model": "tiny"})


def test_the_nifti_lies_where_the_image_lies(tmp_path: Path) -> None:
    values = np.zeros((1, 20, 30))
    values[0, 5, 8] = 1
    affine = np.eye(4)
    affine[:3] = RNG.normal(size=(3, 4))
    (tmp_path / "map.nii.gz").write_bytes(nifti_bytes(explanation(values), Geometry(affine)))
    volume = nib.load(tmp_path / "map.nii.gz")
    data = np.asarray(volume.dataobj)
    weights = data / data.sum()
    index = [(np.arange(n) * weights.sum(axis=tuple({0, 1, 2} - {k}))).sum() for k, n in enumerate(data.shape)]
    np.testing.assert_allclose(index, [8 * 2 + 0.5, 5 * 2 + 0.5, 0], atol=1e-5)
    ras = (volume.affine @ [*index, 1])[:3]
    np.testing.assert_allclose(ras * [-1, -1, 1], (affine @ [*index, 1])[:3], atol=1e-5)


def test_the_npz_holds_the_raw_map(tmp_path: Path) -> None:
    values = RNG.normal(size=(3, 8, 10)).astype(np.float32)
    (tmp_path / "map.npz").write_bytes(npz_bytes(explanation(values)))
    with np.load(tmp_path / "map.npz", allow_pickle=False) as arrays:
        np.testing.assert_allclose(arrays["values"], values.sum(0), atol=1e-6)
        np.testing.assert_array_equal(arrays["channels"], values)


def test_the_overlay_shows_the_picture_where_the_map_is_zero(tmp_path: Path) -> None:
    values = np.zeros((1, 10, 10))
    values[0, 2, 2], values[0, 7, 7] = 1, -1
    grey = RNG.random((1, 20, 20)).astype(np.float32)
    (tmp_path / "o.png").write_bytes(overlay_png(Image(grey, "unit interval"), explanation(values)))
    shown = np.asarray(PILImage.open(tmp_path / "o.png")).astype(float)
    np.testing.assert_allclose(shown[10, 2], np.round(grey[0, 10, 2] * 255), atol=1)
    red, _, blue = shown[4:6, 4:6].mean((0, 1))
    assert red > blue  # for the class: orange
    red, _, blue = shown[14:16, 14:16].mean((0, 1))
    assert blue > red  # against it: purple


def test_the_manifest_names_file_and_slice() -> None:
    image = Image(np.zeros((1, 4, 20, 20), np.float32), "HU")
    case = Case("c", "C", image, Provenance("here", "f" * 64, "nifti"))
    entry = manifest_entry(explanation(np.ones((1, 10, 10))), case, 2)
    written = json.loads(manifest_bytes([entry], model="tiny"))
    assert written["maps"][0]["file_sha256"] == "f" * 64
    assert written["maps"][0]["slice"] == 2
    assert written["maps"][0]["target"] == {"class": "Mass", "index": 0, "output": "logit", "against": None}
    assert written["model"] == "tiny"
