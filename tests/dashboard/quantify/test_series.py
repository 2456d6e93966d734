"""``quantify`` on DICOM series: the ml of the NIfTI copy, tilted scans too, and one sentence for series that mislead."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from dashboard.__main__ import app
from dashboard.quantify.command import Files, quantify_paths
from dashboard.quantify.grid import geometry_of
from models.errors import DataError, SightlineError
from models.types import Geometry
from tests.dashboard.quantify.thorax import Ball, Chest, draw, save
from tests.models.io.conftest import dicom_bytes

BALLS = (Ball(-80, 20, 0, 18, 30), Ball(70, -30, 30, 14, -500))
STEP = 8.0


@pytest.fixture(scope="module")
def chest() -> Chest:
    return draw((4, 4, STEP), BALLS)


def in_order(place: np.ndarray, index: int) -> np.ndarray:
    return place


def write(
    folder: Path,
    values: np.ndarray,
    geometry: Geometry,
    place: Callable[[np.ndarray, int], np.ndarray] = in_order,
    uid: str = "1.2.3",
    **elements: object,
) -> Path:
    """(D, H, W) HU as one file a slice, in no order; ``place`` moves a slice from where it belongs."""
    folder.mkdir(parents=True, exist_ok=True)
    column, row, step = geometry.affine[:3, :3].T
    way = np.concatenate([column / np.linalg.norm(column), row / np.linalg.norm(row)])
    for index, plane in enumerate(values):
        position = place(geometry.affine[:3, 3] + index * step, index)
        said: dict[str, object] = {
            "ImageOrientationPatient": [f"{part:.10f}" for part in way],
            "ImagePositionPatient": [f"{part:.6f}" for part in position],
            "PixelSpacing": [str(np.linalg.norm(row)), str(np.linalg.norm(column))],
            "RescaleSlope": "1",
            "RescaleIntercept": "-1024",
            "RescaleType": "HU",
            "SeriesInstanceUID": uid,
            "InstanceNumber": str(index + 1),
        }
        said = {name: value for name, value in (said | elements).items() if value is not None}
        file = dicom_bytes((plane + 1024).astype(np.uint16), **said)
        (folder / f"{(index * 37) % 1009:04d}.dcm").write_bytes(file)
    return folder


def test_a_series_gives_what_its_nifti_copy_gives(chest: Chest, tmp_path: Path) -> None:
    mask = save(tmp_path / "mask.nii.gz", chest.infected, chest.geometry)
    copies = {
        "nifti": save(tmp_path / "ct.nii.gz", chest.image.values[0], chest.geometry),
        "dicom": write(tmp_path / "series", chest.image.values[0], chest.geometry),
    }
    facts = {}
    for name, scan in copies.items():
        arguments = ["quantify", str(scan), "--lesions", str(mask), "--out", str(tmp_path / name)]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        facts[name] = json.loads((tmp_path / name / "quantities.json").read_text())
        for own in ("sha256", "warnings"):
            facts[name].pop(own)
    ml = 4 * 4 * STEP / 1000
    assert facts["dicom"]["total_lesion_ml"] == pytest.approx(chest.infected.sum() * ml)
    assert _rounded(facts["dicom"]) == _rounded(facts["nifti"])


def _rounded(facts: object) -> object:
    """Numbers to four places: a series states its place in decimals, a NIfTI file in float32."""
    if isinstance(facts, dict):
        return {key: _rounded(value) for key, value in facts.items()}
    if isinstance(facts, list):
        return [_rounded(value) for value in facts]
    return round(facts, 4) + 0.0 if isinstance(facts, float) else facts


def test_a_tilted_series_gives_the_ml_of_its_slanted_voxels(chest: Chest, tmp_path: Path) -> None:
    tilted = chest.geometry.affine.copy()
    tilted[1, 2] = STEP * np.tan(np.radians(15))
    geometry = Geometry(tilted)
    scan = write(tmp_path / "series", chest.image.values[0], geometry)
    mask = save(tmp_path / "mask.nii.gz", chest.infected, geometry)
    quantify_paths(Files(scan, mask), tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "quantities.json").read_text())
    area, apart = 4.0 * 4.0, STEP  # between the planes of the slices, not along the slant
    assert facts["total_lesion_ml"] == pytest.approx(chest.infected.sum() * area * apart / 1000)
    assert facts["spacing_mm"][2] == pytest.approx(STEP / np.cos(np.radians(15)))
    assert any("tilt" in warning for warning in facts["warnings"])


def test_misleading_series_get_one_sentence(chest: Chest, tmp_path: Path) -> None:
    values, geometry = chest.image.values[0], chest.geometry
    mask = save(tmp_path / "mask.nii.gz", chest.infected, geometry)

    def gap(place: np.ndarray, index: int) -> np.ndarray:
        return place + np.array([0, 0, STEP * (index > 10)])

    thin = write(tmp_path / "thin", values[:12], geometry)
    for name in ("0000.dcm", "0037.dcm"):  # cut off while they were copied
        (thin / name).write_bytes((thin / name).read_bytes()[:900])
    (thin / "0185.dcm").write_bytes((thin / "0185.dcm").read_bytes()[:900])
    mixed = write(tmp_path / "mixed", values[:6], geometry)
    sagittal = np.array([[0, 0, 4.0, 0], [4.0, 0, 0, 0], [0, -4.0, 0, 0], [0, 0, 0, 1]])
    write(mixed / "other", values[:6], Geometry(sagittal), uid="1.2.4")
    phases = write(tmp_path / "phases", values[:6], geometry, AcquisitionNumber="1")
    write(phases / "second", values[:6], geometry, AcquisitionNumber="2")
    cases = [
        (write(tmp_path / "gap", values[:20], geometry, gap), "unequal distances (8 to 16 mm"),
        (thin, "unequal distances (8 to 16 mm"),
        (write(tmp_path / "single", values[:1], geometry), "single slice"),
        (write(tmp_path / "unknown", values[:6], geometry, PixelSpacing=None), "does not state its voxel spacing"),
        (mixed, "There are 2 images"),
        (phases, "There are 2 images"),
    ]
    for scan, words in cases:
        with pytest.raises(SightlineError) as caught:
            quantify_paths(Files(scan, mask), tmp_path / "out")
        assert words in str(caught.value), (scan.name, str(caught.value))
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_truncated_nifti_gets_one_sentence(chest: Chest, tmp_path: Path) -> None:
    scan = save(tmp_path / "ct.nii.gz", chest.image.values[0], chest.geometry)
    whole = scan.read_bytes()
    scan.write_bytes(whole[: len(whole) // 2])
    result = CliRunner().invoke(app, ["quantify", str(scan), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_slices_a_little_off_their_places_are_measured(chest: Chest) -> None:
    jitter = Geometry(chest.geometry.affine, uneven_mm=(7.8, 8.2))
    assert geometry_of(replace(chest.image, geometry=jitter)) is jitter
    with pytest.raises(DataError, match=r"7 to 8\.2 mm apart"):
        geometry_of(replace(chest.image, geometry=replace(jitter, uneven_mm=(7.0, 8.2))))
