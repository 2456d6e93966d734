"""Nodules of known size: balls and rods in drawn lungs, and real ones where the data are there."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from typer.testing import CliRunner

from dashboard.__main__ import app
from dashboard.quantify.lesions import axial_diameter
from dashboard.quantify.nodule import measure_nodule, outline_nodule
from dashboard.quantify.nodule_command import _point
from models.errors import DataError
from models.types import Geometry, Image, Modality

SPACING = (0.7, 0.7, 1.25)  # column, row, slice
SHAPE = (40, 90, 90)
LUNG, TISSUE, WALL = -850.0, 30.0, 40.0
MIDDLE = (45, 45, 20)
GEOMETRY = Geometry(np.diag([*SPACING, 1.0]))


def distance(column: float = 45, row: float = 45, level: float = 20) -> NDArray[np.float64]:
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]].astype(float)
    return np.sqrt(((x - column) * SPACING[0]) ** 2 + ((y - row) * SPACING[1]) ** 2 + ((z - level) * SPACING[2]) ** 2)


def scan(hu: NDArray[np.float64], blur_mm: float = 0.6, geometry: Geometry = GEOMETRY) -> Image:
    smooth = ndimage.gaussian_filter(hu, blur_mm / np.array(geometry.spacing[::-1]))
    noisy = smooth + np.random.default_rng(0).normal(0, 15, hu.shape)
    return Image(noisy.astype(np.float32)[None], "HU", Modality.CT, geometry)


def lung(nodule: NDArray[np.bool_], hu: float = TISSUE) -> NDArray[np.float64]:
    return np.where(nodule, hu, LUNG)


def test_a_ball_has_its_volume_and_diameters() -> None:
    mask = distance() <= 8
    found = measure_nodule(mask, GEOMETRY, np.where(mask, 50, -800).astype(np.float32))
    assert found.volume_ml == pytest.approx(4 / 3 * np.pi * 8**3 / 1000, rel=0.02)
    assert found.longest_mm == pytest.approx(16, abs=0.7)
    assert found.perpendicular_mm == pytest.approx(16, abs=0.7)
    assert found.mean_mm == (found.longest_mm + found.perpendicular_mm) / 2
    assert found.longest_mm == pytest.approx(axial_diameter(mask, GEOMETRY))
    assert (found.mean_hu, found.solid_share) == (50, 1)
    assert found.slice_index == 20
    assert found.notes == ()


def test_part_solid_density_and_share() -> None:
    whole, core = distance() <= 10, distance() <= 5
    hu = np.where(core, 0.0, np.where(whole, -600.0, LUNG)).astype(np.float32)
    found = measure_nodule(whole, GEOMETRY, hu)
    share = core.sum() / whole.sum()
    assert found.solid_share == pytest.approx(share)
    assert found.mean_hu == pytest.approx(-600 * (1 - share), rel=1e-4)


def test_turned_grids_measure_the_same() -> None:
    mask = (distance() <= 9) & (np.indices(SHAPE)[2] < 48)
    plain = measure_nodule(mask, GEOMETRY)
    affine = GEOMETRY.affine[:, [2, 0, 1, 3]]  # stored along another axis: the same place
    turned = measure_nodule(np.ascontiguousarray(mask.transpose(1, 2, 0)), Geometry(affine))
    assert turned.volume_ml == pytest.approx(plain.volume_ml)
    assert turned.longest_mm == pytest.approx(plain.longest_mm)
    assert turned.perpendicular_mm == pytest.approx(plain.perpendicular_mm)
    assert (plain.slice_index is not None, turned.slice_index) == (True, None)


def test_few_slices_and_edges_are_noted() -> None:
    mask = np.zeros((2, 20, 20), dtype=bool)
    mask[1, 8:20, 8:12] = True
    notes = measure_nodule(mask, GEOMETRY).notes
    assert any("1 slice only" in note for note in notes)
    assert any("edge of the picture" in note for note in notes)
    assert any("last slice of the scan" in note for note in notes)
    with pytest.raises(DataError, match="empty"):
        measure_nodule(np.zeros_like(mask), GEOMETRY)


@pytest.mark.parametrize(("radius", "hu"), [(4.0, TISSUE), (8.0, TISSUE), (12.0, 300.0), (8.0, -600.0)])
def test_a_ball_in_lung_is_outlined_from_a_point_beside_its_middle(radius: float, hu: float) -> None:
    truth = distance() <= radius
    found = outline_nodule(scan(lung(truth, hu)), (47, 44, 20))
    # At a quarter of the step, a blurred edge lies 0.67 standard deviations of the blur outside: 0.4 mm.
    assert found.sum() == pytest.approx(truth.sum(), rel=3 * 0.9 / radius)
    assert found.sum() >= 0.9 * truth.sum()
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.85


def test_a_vessel_is_cut_off() -> None:
    truth = distance() <= 8
    z, y, _ = np.indices(SHAPE)
    vessel = np.hypot((y - 45) * SPACING[1], (z - 20) * SPACING[2]) <= 1.8
    found = outline_nodule(scan(lung(truth | vessel)), MIDDLE)
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.85
    assert measure_nodule(found, GEOMETRY).longest_mm < 22


def test_a_nodule_on_the_chest_wall_is_cut_off() -> None:
    truth = distance() <= 8
    wall = np.indices(SHAPE)[2] >= 45 + 9.5 / SPACING[0]  # touches the ball at one side
    found = outline_nodule(scan(np.where(wall, WALL, lung(truth))), MIDDLE)
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.8


@pytest.mark.parametrize(
    ("hu", "point", "said"),
    [
        (lung(distance() <= 0), MIDDLE, "denser than the lung"),
        (np.full(SHAPE, WALL), MIDDLE, "hardly any lung"),
        (np.where(np.indices(SHAPE)[2] >= 40, WALL, LUNG), MIDDLE, "cannot be told from the chest wall"),
        (lung(distance() <= 8), (0, 0, 99), "outside the scan"),
    ],
)
def test_what_cannot_be_outlined_is_said_in_a_sentence(
    hu: NDArray[np.float64], point: tuple[int, int, int], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        outline_nodule(scan(hu), point)


def test_a_scan_without_hu_or_spacing_is_refused() -> None:
    values = np.zeros((1, 4, 8, 8), np.float32)
    for image in (Image(values, "stored value", geometry=GEOMETRY), Image(values, "HU")):
        with pytest.raises(DataError):
            outline_nodule(image, (4, 4, 2))


def save(path: Path, values: NDArray[np.generic]) -> Path:
    nib.save(nib.Nifti1Image(values.T, np.diag([-1.0, -1, 1, 1]) @ GEOMETRY.affine), path)
    return path


def test_the_command_writes_what_it_measures(tmp_path: Path) -> None:
    truth = distance() <= 8
    ct = save(tmp_path / "ct.nii.gz", scan(lung(truth)).values[0].round().astype(np.int16))
    mask = save(tmp_path / "mask.nii.gz", truth.astype(np.uint8))
    run = CliRunner().invoke(app, ["nodule", str(ct), "--mask", str(mask), "--out", str(tmp_path / "out")])
    assert run.exit_code == 0, run.output
    facts = json.loads((tmp_path / "out" / "nodule.json").read_text())
    assert facts["volume_ml"] == pytest.approx(truth.sum() * np.prod(SPACING) / 1000, rel=1e-4)
    assert facts["mean_diameter_mm"] == pytest.approx(16, abs=0.7)
    written = nib.load(tmp_path / "out" / "nodule.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(written.dataobj).T, truth)
    np.testing.assert_array_equal(written.affine, nib.load(ct).affine)
    several = tmp_path / "several.nii.gz"
    nib.save(nib.Nifti1Image(np.stack([np.asarray(nib.load(ct).dataobj)] * 2, -1), nib.load(ct).affine), several)
    failed = CliRunner().invoke(app, ["nodule", str(several), "--mask", str(mask), "--out", str(tmp_path / "no")])
    assert (failed.exit_code, "4-D" in failed.stderr) == (2, True)
    turned = tmp_path / "turned.nii.gz"
    nib.save(nib.load(ct).as_reoriented(np.array([[0, -1], [1, 1], [2, -1]])), turned)
    run = CliRunner().invoke(app, ["nodule", str(turned), "--mask", str(mask), "--out", str(tmp_path / "out")])
    assert run.exit_code == 0, run.output
    written = nib.load(tmp_path / "out" / "nodule.nii.gz")
    np.testing.assert_array_equal(written.affine, nib.load(turned).affine)
    np.testing.assert_array_equal(np.asanyarray(written.dataobj), truth.T[::-1, :, ::-1])

    point = CliRunner().invoke(app, ["nodule", str(ct), "--at", "45,45,20", "--out", str(tmp_path / "point")])
    assert json.loads(point.stdout)["volume_ml"] == pytest.approx(facts["volume_ml"], rel=0.3)
    for options in (["--at", "1,2"], ["--at", "500,0,0"]):
        failed = CliRunner().invoke(app, ["nodule", str(ct), *options, "--out", str(tmp_path / "no")])
        assert failed.exit_code == 2
        assert failed.stderr.count("\n") == 1


def test_a_vessel_along_the_slices_is_cut_off_where_the_scan_goes_on() -> None:
    shape = (60, 60, 60)
    z, y, x = np.indices(shape)
    away = np.hypot((x - 30) * SPACING[0], (y - 30) * SPACING[1])
    truth = np.hypot(away, (z - 30) * SPACING[2]) <= 6
    hu = np.where(truth | (away <= 1.8), TISSUE, LUNG)
    found = outline_nodule(scan(hu), (30, 30, 30))
    assert np.ptp(np.flatnonzero(found.any(axis=(1, 2)))) * SPACING[2] < 20
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.8


def test_a_point_in_millimetres_is_the_same_point() -> None:
    turned = Geometry(np.array([[0, 0.7, 0, -50.0], [0.7, 0, 0, 20.0], [0, 0, 1.25, -300.0], [0, 0, 0, 1.0]]))
    assert _point("-36.0,34.0,-275mm", SHAPE, turned) == (20, 20, 20)
    assert _point("20,20,20", SHAPE, turned) == (20, 20, 20)
    for text in ("1,2mm", "a,b,c", "1.5,2,3", "nan,1,2mm"):
        with pytest.raises(DataError, match="COLUMN,ROW,SLICE"):
            _point(text, SHAPE, turned)
