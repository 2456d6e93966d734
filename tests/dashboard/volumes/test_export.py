"""Maps of volumes as files: the same millimetres after reading them back, exact values, table and facts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.ndimage import map_coordinates
from typer.testing import CliRunner

from dashboard.__main__ import app
from dashboard.volumes.export import map_nifti, positions_mm
from dashboard.volumes.types import SliceScores, VolumeMap, VolumeRequest, VolumeResult
from explainers.runtime.hidden import Ways
from models.errors import DataError
from models.io import read_case, read_uploads
from models.preprocess import Fit, InputSpec, prepare
from models.project import grid_to_volume
from models.types import Geometry, Image
from tests.models.io.conftest import dicom_bytes

RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def oblique(spacing: tuple[float, float, float], seed: int = 0) -> np.ndarray:
    """(4, 4) voxel (column, row, slice) to LPS mm: rotated about all axes, right-handed."""
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = turn * np.sign(np.linalg.det(turn)) * np.array(spacing)
    affine[:3, 3] = -41.0, 17.5, 230.0
    return affine


def with_block(affine: np.ndarray, size: tuple[int, int, int], centre: np.ndarray, radius: float) -> np.ndarray:
    """(W, H, D) int16: 1000 within ``radius`` mm of a place in LPS mm, else 0."""
    index = np.stack([*np.meshgrid(*map(np.arange, size), indexing="ij"), np.ones(size)])
    place = np.tensordot(affine[:3], index, axes=1)
    away = np.sqrt(((place - centre[:, None, None, None]) ** 2).sum(axis=0))
    return (1000 * (away < radius)).astype(np.int16)


def brightness_map(image: Image, spec: InputSpec, slices: range) -> VolumeMap:
    """A map that is the picture itself as a network sees it, on the network's own grid."""
    ready = [prepare(image.slice(index), spec) for index in slices]
    to_image = np.eye(4)
    to_image[np.ix_([0, 1, 3], [0, 1, 3])] = ready[0].grid_to_image
    to_image[2, 2:] = slices.step, slices.start
    values = torch.cat([one.tensor[0, :1] for one in ready]).numpy().copy()
    return VolumeMap("Brightness", values, to_image, np.ones(len(slices), bool), False, "")


def centroid_lps(content: bytes, path: Path) -> np.ndarray:
    """Of the values of a NIfTI file, in LPS mm, by nibabel alone."""
    path.write_bytes(content)
    written = nib.load(path)
    data = written.get_fdata()
    index = np.stack([*np.indices(data.shape), np.ones(data.shape)])
    return (RAS @ written.affine @ (index * data).sum(axis=(1, 2, 3)) / data.sum())[:3]


@pytest.mark.parametrize("fit", ["letterbox", "center-crop", "stretch"])
@pytest.mark.parametrize("step", [1, 2])
def test_a_block_in_an_oblique_nifti_lands_at_the_same_millimetres(fit: Fit, step: int, tmp_path: Path) -> None:
    spacing, size = (0.9, 1.3, 2.0), (60, 44, 30)
    affine = oblique(spacing)
    centre = (affine @ [28.4, 19.8, 14.3, 1])[:3]
    nib.Nifti1Image(with_block(affine, size, centre, 9), RAS @ affine).to_filename(tmp_path / "scan.nii.gz")
    image = read_case(tmp_path / "scan.nii.gz").image
    shown = brightness_map(image, InputSpec(64, 48, 1, fit), range(0, image.depth, step))
    np.testing.assert_allclose(centroid_lps(map_nifti(shown, image), tmp_path / "map.nii.gz"), centre, atol=0.35)
    content = map_nifti(shown, image, tmp_path / "scan.nii.gz")
    np.testing.assert_allclose(centroid_lps(content, tmp_path / "map.nii.gz"), centre, atol=0.35)
    written = nib.load(tmp_path / "map.nii.gz")
    assert written.shape == size
    np.testing.assert_allclose(written.affine, RAS @ affine, atol=1e-4)
    assert written.header.get_xyzt_units()[0] == "mm"


def test_a_block_in_a_dicom_series_lands_at_the_same_millimetres(tmp_path: Path) -> None:
    spacing, size = (0.8, 1.1, 2.5), (40, 32, 16)
    affine = oblique(spacing, seed=3)
    centre = (affine @ [18, 17, 8, 1])[:3]
    volume_ = with_block(affine, size, centre, 8)
    x, y, z = (affine[:3, axis] / spacing[axis] for axis in range(3))
    assert np.allclose(np.cross(x, y), z)
    files = [
        (
            f"{index}.dcm",
            dicom_bytes(
                np.ascontiguousarray(volume_[:, :, index].T),
                ImageOrientationPatient=[f"{value:.10f}" for value in (*x, *y)],
                ImagePositionPatient=[f"{value:.10f}" for value in (affine @ [0, 0, index, 1])[:3]],
                PixelSpacing=[str(spacing[1]), str(spacing[0])],
                SliceThickness=str(spacing[2]),
                SeriesInstanceUID="1.2.3",
                InstanceNumber=str(size[2] - index),
            ),
        )
        for index in range(size[2])
    ]
    (case,) = read_uploads(files).cases
    content = map_nifti(brightness_map(case.image, InputSpec(48, 48, 1), range(size[2])), case.image)
    np.testing.assert_allclose(centroid_lps(content, tmp_path / "map.nii.gz"), centre, atol=0.3)


def test_a_finer_grid_is_interpolated_linearly_and_unknown_slices_have_no_part() -> None:
    """Against scipy's trilinear interpolation inside the grid."""
    values = np.random.default_rng(1).normal(size=(6, 10, 12)).astype(np.float32)
    to_image = np.diag([2.5, 3.0, 2.0, 1.0])
    to_image[:3, 3] = 1.3, 0.7, 1.0
    laid = grid_to_volume(values, to_image, (14, 34, 36))
    points = np.stack(np.meshgrid(*(np.arange(n) for n in (14, 34, 36)), indexing="ij")).reshape(3, -1)
    inner = np.linalg.inv(to_image) @ np.vstack([points[::-1], np.ones(points.shape[1])])
    expected = map_coordinates(values.astype(np.float64), inner[2::-1], order=1, mode="nearest").reshape(laid.shape)
    inside = ((inner[:3] >= 0) & (inner[:3] <= np.array([[11], [9], [5]]))).all(axis=0).reshape(laid.shape)
    assert inside.mean() > 0.4
    np.testing.assert_allclose(laid[inside], expected[inside], atol=1e-5)
    assert laid[0].any()  # up to half a step beside the grid
    assert not laid[13].any()
    holed = values.copy()
    holed[3] = np.nan
    known = np.arange(6) != 3
    part = grid_to_volume(holed, to_image, (14, 34, 36), known)
    assert np.isfinite(part).all()
    assert not part[7].any()  # the unknown slice's own place
    np.testing.assert_array_equal(part[5], laid[5])
    np.testing.assert_allclose(part[6], laid[5], atol=1e-6)  # beside it: what is known of the other neighbour


def test_places_of_slices_run_along_their_normal() -> None:
    shown = Image(np.zeros((1, 4, 8, 6), np.float32), "HU", geometry=Geometry(np.diag([1.0, 1.0, -2.5, 1.0])))
    np.testing.assert_allclose(positions_mm(shown), [0, -2.5, -5, -7.5])  # downwards, as the DICOM slice location
    affine = oblique((0.5, 0.5, 3.0), seed=2)
    places = positions_mm(Image(np.zeros((1, 4, 8, 6), np.float32), "HU", geometry=Geometry(affine)))
    np.testing.assert_allclose(np.abs(np.diff(places)), 3)
    assert np.isnan(positions_mm(Image(np.zeros((1, 2, 8, 6), np.float32), "HU"))).all()
    bare = Image(np.zeros((1, 2, 8, 6), np.float32), "HU")
    flat = VolumeMap("M", np.zeros((2, 8, 6), np.float32), np.eye(4), np.ones(2, bool), True, "logit")
    with pytest.raises(DataError, match="no spacing in mm"):
        map_nifti(flat, bare)


@pytest.fixture
def scan(own_cache: None, ct_volume: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(Ways, "_make", lambda self: None)
    path = tmp_path / "scan.nii.gz"
    data = ct_volume.values[0].transpose(2, 1, 0).astype(np.int16)
    nib.Nifti1Image(data, RAS @ ct_volume.geometry.affine).to_filename(path)
    return path


def run(*given: object) -> tuple[int, str, dict]:
    result = CliRunner().invoke(app, ["volume", *map(str, given)])
    lines = result.stdout.strip().splitlines()
    return result.exit_code, result.output, json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}


def test_the_command_writes_map_table_and_facts(scan: Path, nodule_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, said, told = run(scan, "--model", nodule_model, "--every", 3, "--out", out)
    assert code == 0, said
    assert (told["slices"], told["explained"], told["target"]) == (7, 3, "Malignant")
    table = pd.read_csv(out / "slices.csv")
    assert list(table.columns) == [
        "slice",
        "number",
        "position_mm",
        "probability_Malignant",
        "logit_Malignant",
        "attribution_share",
    ]
    assert table.slice.tolist() == list(range(7))
    np.testing.assert_allclose(table.position_mm.diff().dropna(), 1.5)
    assert told["highest_slice"] == table.probability_Malignant.idxmax()
    assert table.attribution_share.notna().tolist() == [True, False, False] * 2 + [True]
    facts = json.loads((out / "volume.json").read_text())
    assert facts["slices"] == {"first": 0, "last": 6, "every": 3}
    assert facts["complete"]
    assert len(facts["file_sha256"]) == 64
    assert nib.load(out / "map.nii.gz").shape == (50, 40, 7)
    np.testing.assert_array_equal(nib.load(out / "map.nii.gz").affine, nib.load(scan).affine)


def test_the_command_hides_blocks_and_explains_a_slice_in_depth(
    scan: Path, nodule_model: Path, make_model: Callable[..., Path], tmp_path: Path
) -> None:
    code, said, told = run(
        scan, "--model", nodule_model, "--occlusion-3d", "--passes", 60, "--slice", 1, "--out", tmp_path / "a"
    )
    assert code == 0, said
    facts = json.loads((tmp_path / "a" / "volume.json").read_text())
    assert (facts["kind"], facts["explained_slice"], facts["map"]["unit"]) == ("blocks", 1, "logit / ml")
    code, said, told = run(scan, "--model", nodule_model, "--around", "--method", "saliency", "--out", tmp_path / "b")
    assert code == 0, said
    facts = json.loads((tmp_path / "b" / "volume.json").read_text())
    assert facts["explained_slice"] == told["highest_slice"]
    data = nib.load(tmp_path / "b" / "map.nii.gz").get_fdata()
    seen = np.flatnonzero(data.any(axis=(0, 1)))
    assert set(seen) <= set(range(told["highest_slice"] - 2, told["highest_slice"] + 3))


def test_another_run_leaves_no_map_of_the_one_before_and_tells_of_further_volumes(
    scan: Path, nodule_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "map.nii.gz").write_bytes(b"of another scan")
    (out / "mine.txt").write_text("kept")
    note = "Volume 1 of 2 is shown"
    stored = nib.load(scan)
    nib.Nifti1Image(np.stack([np.asarray(stored.dataobj)] * 2, -1), stored.affine).to_filename(scan)
    monkeypatch.setattr("dashboard.volumes.command.explain_slices", no_map)
    code, said, _ = run(scan, "--model", nodule_model, "--out", out)
    assert code == 0, said
    assert {path.name for path in out.iterdir()} == {"slices.csv", "volume.json", "mine.txt"}
    assert note in said
    assert note in json.loads((out / "volume.json").read_text())["notes"][0]


def no_map(desk: object, request: VolumeRequest, owner: str, ctx: object, *, scores: SliceScores) -> VolumeResult:
    return VolumeResult(scores, None, np.full(request.image.depth, np.nan, np.float32), 0, 0, True)


def test_blocks_of_more_slices_than_memory_holds_are_refused(
    scan: Path, make_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_model(input={"height": 64, "width": 64, "modality": ["ct"]})
    monkeypatch.setattr("dashboard.volumes.scan.MOST_VALUES", 3 * 64 * 64 + 1)
    code, said, _ = run(scan, "--model", folder, "--occlusion-3d", "--out", tmp_path / "out")
    assert code == 2
    assert "A map of 7 slices takes too much memory; 3 fit" in said


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (["--target", "Benign"], "has no class 'Benign'"),
        (["--method", "guess"], "guess"),
        (["--around", "--occlusion-3d"], "not both"),
        (["--around", "--slice", "9"], "slices 0 to 6"),
    ],
)
def test_bad_requests_are_one_sentence(
    changes: list[str], sentence: str, scan: Path, nodule_model: Path, tmp_path: Path
) -> None:
    code, said, _ = run(scan, "--model", nodule_model, "--out", tmp_path / "out", *changes)
    assert code == 2
    assert sentence in said.replace("\n", " ")
    assert "Traceback" not in said
