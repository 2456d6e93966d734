"""Volumes as NIfTI: on the grid of the file they belong to, voxel by voxel, by nibabel's reading alone."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import inv_ornt_aff

from dashboard.nifti import nifti_bytes
from dashboard.quantify.grid import upright
from models.io import read_case
from models.types import Geometry

PLACE = ("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
SHAPE = (9, 8, 5)


def oblique() -> Geometry:
    turn, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = turn * np.sign(np.linalg.det(turn)) * (0.7, 1.1, 3.0)
    affine[:3, 3] = -41.0, 17.5, 230.0
    return Geometry(affine)


def source(path: Path, affine: np.ndarray | None, shape: tuple[int, ...] = SHAPE, unit: str = "mm") -> Path:
    """Random whole numbers; without an affine the file gives voxel sizes alone."""
    data = np.random.default_rng(0).integers(-500, 900, shape).astype(np.int16)
    image = nib.Nifti1Image(data, affine)
    if affine is None:
        image.header.set_zooms((0.7, 1.1, 3.0)[: len(shape)])
        image = nib.Nifti1Image(data, None, image.header)
    image.header.set_xyzt_units(unit)
    path.write_bytes(gzip.compress(image.to_bytes()))
    return path


def axes(order: list[list[int]]) -> np.ndarray:
    """The RAS affine of :func:`oblique` with axes swapped and flipped."""
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ oblique().affine
    return affine @ inv_ornt_aff(np.array(order), SHAPE)


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.nii", "SCAN.NII.GZ", "scan"])
def test_without_a_place_the_file_keeps_order_affine_and_codes(name: str, tmp_path: Path) -> None:
    """Also where the name tells the wrong compression."""
    path = source(tmp_path / name, None)
    image = read_case(path).image
    assert image.geometry is not None
    assert image.geometry.frame == "plane"
    check_same(nifti_bytes(image.values[0].astype(np.int16), image.geometry, path), path)


@pytest.mark.parametrize("shape", [(9, 8, 1), (9, 1, 5), (1, 8, 5), (9, 8)])
@pytest.mark.parametrize("placed", [False, True])
def test_a_single_slice_goes_back_to_its_place(shape: tuple[int, ...], placed: bool, tmp_path: Path) -> None:
    path = source(tmp_path / "slice.nii.gz", np.diag([1.0, 1.1, 3.0, 1.0]) if placed else None, shape)
    image = read_case(path).image
    check_same(nifti_bytes(image.values.astype(np.int16), image.geometry, path), path)


@pytest.mark.parametrize("unit", ["mm", "unknown", "micron"])
@pytest.mark.parametrize("order", [[[0, 1], [1, 1], [2, 1]], [[2, -1], [0, 1], [1, -1]], [[1, 1], [0, -1], [2, -1]]])
def test_swapped_and_flipped_oblique_axes_are_given_back(order: list[list[int]], unit: str, tmp_path: Path) -> None:
    path = source(tmp_path / "scan.nii.gz", axes(order), unit=unit)
    image = upright(read_case(path).image)
    check_same(
        nifti_bytes(image.values[0].astype(np.int16), image.geometry, path), path, 1e-3 if unit == "micron" else 1
    )


def check_same(content: bytes, path: Path, factor: float = 1.0) -> None:
    """The voxels and, to the last bit, what places them."""
    made = nib.Nifti1Image.from_bytes(gzip.decompress(content))
    given = nib.Nifti1Image.from_bytes(gzip.decompress(path.read_bytes()))
    np.testing.assert_array_equal(np.asarray(made.dataobj), np.asarray(given.dataobj).reshape(made.shape))
    if factor == 1:
        np.testing.assert_array_equal(made.affine, given.affine)
        assert [made.header[name] for name in PLACE] == [given.header[name] for name in PLACE]
    else:
        np.testing.assert_allclose(made.affine, np.diag([factor] * 3 + [1]) @ given.affine, rtol=1e-6)
    assert made.header.get_xyzt_units()[0] == "mm"


def test_values_on_another_grid_keep_their_own_order(tmp_path: Path) -> None:
    path = source(tmp_path / "scan.nii.gz", axes([[2, -1], [0, 1], [1, -1]]))
    values = np.random.default_rng(1).normal(size=(4, 6, 7)).astype(np.float32)
    made = nib.Nifti1Image.from_bytes(gzip.decompress(nifti_bytes(values, oblique(), path)))
    np.testing.assert_array_equal(np.asarray(made.dataobj), values.T)
    np.testing.assert_allclose(made.affine, np.diag([-1, -1, 1, 1]) @ oblique().affine, rtol=1e-6)


def test_no_place_is_claimed_where_none_is_known(tmp_path: Path) -> None:
    """And this program's own reader finds the same picture again."""
    values = np.random.default_rng(2).normal(size=(4, 6, 7)).astype(np.float32)
    for geometry in (Geometry(np.diag([0.5, 0.6, 2.0, 1.0]), "plane"), None):
        (tmp_path / "film.nii.gz").write_bytes(nifti_bytes(values, geometry))
        header = nib.load(tmp_path / "film.nii.gz").header
        assert (int(header["qform_code"]), int(header["sform_code"])) == (0, 0)
        image = read_case(tmp_path / "film.nii.gz").image
        np.testing.assert_array_equal(image.values[0], values)
        assert image.geometry is not None
        expected = (1, 1, 1) if geometry is None else geometry.spacing
        np.testing.assert_allclose(image.geometry.spacing, expected, rtol=1e-6)


def test_whole_numbers_take_the_smallest_type() -> None:
    for highest, lowest, kind in ((1, 0, "uint8"), (300, 0, "int16"), (60_000, 0, "uint16"), (70_000, -1, "int32")):
        values = np.array([[[lowest, highest]]])
        made = nib.Nifti1Image.from_bytes(gzip.decompress(nifti_bytes(values, oblique())))
        assert made.get_data_dtype() == kind
        assert made.get_fdata().max() == highest


def test_scaled_values_are_kept_to_the_16th_bit_and_zero_is_zero(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(5, 7, 9)).astype(np.float32)
    values[2] = 0
    (tmp_path / "map.nii.gz").write_bytes(nifti_bytes(values, oblique(), scaled=True))
    data = nib.load(tmp_path / "map.nii.gz").get_fdata().T
    assert np.abs(data - values).max() <= np.abs(values).max() / 65534 * 1.001
    assert not data[2].any()
    assert nifti_bytes(values, oblique(), scaled=True) == nifti_bytes(values, oblique(), scaled=True)
    (tmp_path / "empty.nii.gz").write_bytes(nifti_bytes(0 * values, oblique(), scaled=True))
    assert not nib.load(tmp_path / "empty.nii.gz").get_fdata().any()
