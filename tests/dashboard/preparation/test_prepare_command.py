"""``python -m dashboard prepare``: files that say what was done, and one sentence for bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from dashboard.__main__ import app
from dashboard.preparation.command import prepare_path
from models.errors import DataError
from models.io import read_case
from models.types import Modality
from tests.dashboard.preparation.phantoms import block, centroid_mm, tissues, turned

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "head.nii.gz"
    affine = turned((2.0, 2.0, 3.0), 12, (-30.0, -25.0, 10.0))
    nib.save(nib.Nifti1Image(tissues((12, 28, 30))[0].T.astype(np.float32), LPS_TO_RAS @ affine), path)
    return path


def test_files_hold_the_prepared_image_at_its_place(scan: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    steps = ["bias-field", "z-score", "resample"]
    given = {"resample": {"mm": "2.5"}, "bias-field": {"levels": "1", "iterations": "5"}}
    done = prepare_path(scan, out, steps, settings=given, modality=Modality.MR)
    told = json.loads((out / "trace.json").read_text())
    assert [step["step"] for step in told["steps"]] == steps
    assert told["steps"][0]["params"] == {"shrink": 4, "levels": 1, "iterations": 5}
    assert all(step["verdict"] in ("pass", "warn") for step in told["steps"])
    assert {"low", "high", "source", "unit"} <= set(told["steps"][0]["measures"][0])
    assert set(done.files) == {path.name for path in out.iterdir()}
    assert "log-bias-field.nii.gz" in done.files
    assert "01-bias-field-before.png" in done.files
    again = read_case(out / "prepared.nii.gz", modality=Modality.MR).image
    trace = done.outcome.trace
    np.testing.assert_allclose(again.values, trace.image.values, atol=1e-6)
    assert again.geometry is not None
    assert trace.image.geometry is not None
    np.testing.assert_allclose(again.geometry.affine, trace.image.geometry.affine, atol=1e-4)
    np.testing.assert_allclose(told["to_native"], trace.to_native)


def test_the_models_answers_and_its_map_on_the_grid_of_the_scan(
    scan: Path, tmp_path: Path, make_model: Callable[..., Path]
) -> None:
    folder = make_model(input={"height": 64, "width": 64, "modality": ["mr"]}, task="multiclass")
    out = tmp_path / "out"
    chosen = ["z-score", "resample"]
    prepare_path(scan, out, chosen, model=str(folder), method="grad-cam", modality=Modality.MR, slice_index=4)
    told = json.loads((out / "trace.json").read_text())
    answers = told["effects"]["answers"]
    assert [answer["step"] for answer in answers] == [None, "z-score", "resample", None]
    assert answers[-1]["slice"] == 4
    assert all(sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-4) for answer in answers)
    assert [step["step"] for step in told["steps"]][2:] == [
        "model-grey-values",
        "model-channels",
        "model-size",
        "model-scale",
    ]
    laid, source = nib.load(out / "map.nii.gz"), nib.load(scan)
    assert laid.shape == source.shape
    np.testing.assert_allclose(laid.affine, source.affine, atol=1e-4)
    filled = np.abs(np.asarray(laid.dataobj)).sum(axis=(0, 1))
    assert filled.argmax() == 4
    assert not np.delete(filled, 4).any()


def test_prepared_voxels_lie_where_the_file_says(tmp_path: Path) -> None:
    """A block at known mm of an oblique scan is there in prepared.nii.gz too, by another library's reading."""
    affine = turned((1.0, 1.4, 3.0), 25, (10.0, -40.0, 5.0))
    place = tuple(affine[:3, :3] @ [20, 14, 6] + affine[:3, 3])
    values = block((14, 30, 40), affine, place, 5.0)
    path = tmp_path / "block.nii.gz"
    nib.save(nib.Nifti1Image(values.T * 100, LPS_TO_RAS @ affine), path)
    prepare_path(path, tmp_path / "out", ["resample"], settings={"resample": {"mm": "1"}}, modality=Modality.MR)
    made = nib.load(tmp_path / "out" / "prepared.nii.gz")
    found = centroid_mm(np.asarray(made.dataobj).T, LPS_TO_RAS @ made.affine)
    np.testing.assert_allclose(found, centroid_mm(values, affine), atol=0.15)


def test_what_lies_on_the_grid_of_the_scan_has_its_order_and_nothing_stale_stays(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 900, (9, 14, 12, 2)).astype(np.int16)
    affine = np.array([[0, 0, -1.5, 9], [2.0, 0, 0, -4], [0, -1.2, 0, 30], [0, 0, 0, 1]])
    path, out = tmp_path / "scan.nii.gz", tmp_path / "out"
    nib.save(nib.Nifti1Image(values, affine), path)
    steps = ["percentile", "denoise"]
    first = prepare_path(path, out, steps, modality=Modality.MR)
    made = nib.load(out / "prepared.nii.gz")
    np.testing.assert_array_equal(made.affine, nib.load(path).affine)
    assert made.shape == values.shape[:3]
    (out / "mine.png").write_bytes(b"kept")
    done = prepare_path(path, out, ["percentile"], modality=Modality.MR)
    assert {one.name for one in out.iterdir()} == {*done.files, "mine.png"} < {*first.files, "mine.png"}
    made = nib.load(out / "prepared.nii.gz")
    assert np.corrcoef(made.get_fdata().ravel(), values[..., 0].ravel())[0, 1] > 0.99
    told = json.loads((out / "trace.json").read_text())
    assert told["files"] == list(done.files)
    assert told["notes"] == list(done.notes)
    assert "Volume 1 of 2" in done.notes[0]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--steps", "polish"], "There is no preparation step named 'polish'"),
        (["--steps", "z-score", "--set", "z-score"], "is not of the form STEP.NAME=VALUE"),
        (["--steps", "z-score", "--set", "denoise.size=3"], "settings for the step 'denoise', which is not run"),
        (["--steps", "denoise", "--set", "denoise.size=99"], "size must lie between 3 and 7"),
        (["--preset", "knee"], "There is no preset 'knee'"),
        (["--steps", "z-score", "--slice", "99"], "Slice 99 does not exist"),
        (["--steps", "z-score", "--explain", "grad-cam"], "needs a model"),
    ],
)
def test_bad_input_gets_one_sentence(scan: Path, tmp_path: Path, words: list[str], sentence: str) -> None:
    result = CliRunner().invoke(app, ["prepare", str(scan), "--out", str(tmp_path / "out"), "--modality", "mr", *words])
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert result.stderr.strip().count("\n") == 0
    assert not (tmp_path / "out").exists()


def test_the_answer_is_one_line_of_json(scan: Path, tmp_path: Path) -> None:
    words = ["prepare", str(scan), "--out", str(tmp_path / "out"), "--modality", "mr", "--steps", "hu-window,z-score"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["steps"] == {"hu-window": "fail", "z-score": "pass"}
    assert "Only a CT has Hounsfield units" in result.stderr


def test_an_unreadable_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        prepare_path(tmp_path / "absent.nii.gz", tmp_path / "out")
