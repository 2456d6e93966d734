"""The command line as a script sees it: files, columns, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from PIL import Image as PILImage
from typer.testing import CliRunner

from dashboard.__main__ import app
from models.card import read_card
from models.handle import ModelHandle
from models.io import read_case
from models.types import Image, Modality

MakeModel = Callable[..., Path]
run = CliRunner().invoke


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures and a file that is none."""
    root = tmp_path / "in"
    root.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.jpg", "c.tif"):
        PILImage.fromarray(rng.integers(0, 255, (70, 90), dtype=np.uint8)).save(root / name)
    (root / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    return root


def test_explain_writes_maps_overlays_and_a_manifest(make_model: MakeModel, folder: Path, tmp_path: Path) -> None:
    out, model = tmp_path / "out", make_model()
    methods = "grad-cam,integrated-gradients,occlusion"
    result = run(
        app, ["explain", str(folder / "a.png"), str(folder / "broken.png"), "--model", str(model), "--methods", methods,
              "--target", "beta", "--out", str(out)]
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    for method in methods.split(","):
        with np.load(out / f"a.{method}.Beta.npz", allow_pickle=False) as arrays:
            assert arrays["values"].shape == (64, 64)
            assert arrays["values"].dtype == np.float32
            assert np.isfinite(arrays["values"]).all()
        assert PILImage.open(out / f"a.{method}.Beta.png").size == (90, 70)
    manifest = json.loads((out / "manifest.json").read_text())
    assert [entry["method"] for entry in manifest["maps"]] == methods.split(",")
    assert manifest["maps"][0]["provenance"]["weights sha256"] == read_card(model).weights.sha256
    assert list(manifest["skipped"]) == ["broken.png"]


def test_integrated_gradients_add_up_to_the_logit_difference(
    make_model: MakeModel, folder: Path, tmp_path: Path
) -> None:
    """The written map against the network itself: sum of values = logit(x) - logit(black)."""
    root = make_model()
    out = tmp_path / "out"
    args = [
        "explain",
        str(folder / "a.png"),
        "--model",
        str(root),
        "--methods",
        "integrated-gradients",
        "--target",
        "Alpha",
        "--out",
        str(out),
    ]
    assert run(app, args).exit_code == 0
    values = np.load(out / "a.integrated-gradients.Alpha.npz")["values"]
    handle = ModelHandle.load(read_card(root))
    case = read_case(folder / "a.png")
    black = read_case(_save(tmp_path / "black.png", np.zeros((70, 90), np.uint8)))
    difference = handle.predict([case.image])[0].logits[0] - handle.predict([black.image])[0].logits[0]
    error = json.loads((out / "manifest.json").read_text())["maps"][0]["completeness_error"]
    assert values.sum() - difference == pytest.approx(error * abs(difference), abs=2e-3)


def _save(path: Path, pixels: np.ndarray) -> Path:
    PILImage.fromarray(pixels).save(path)
    return path


def test_predict_writes_one_row_an_image(make_model: MakeModel, folder: Path, tmp_path: Path) -> None:
    root, out = make_model(), tmp_path / "scores.parquet"
    result = run(app, ["predict", str(folder), "--model", str(root), "--out", str(out)])
    assert result.exit_code == 0, result.output
    table = pd.read_parquet(out)
    assert list(table.columns) == ["image", "score_Alpha", "score_Beta", "score_Gamma"]
    assert sorted(table.image) == ["a.png", "b.jpg", "c.tif"]
    handle = ModelHandle.load(read_card(root))
    for row in table.itertuples():
        (alone,) = handle.predict([read_case(folder / row.image).image])
        np.testing.assert_allclose([row.score_Alpha, row.score_Beta, row.score_Gamma], alone.probabilities, atol=1e-5)
    assert list(json.loads((tmp_path / "scores.manifest.json").read_text())["skipped"]) == ["broken.png"]
    said = json.loads(result.stdout.strip().splitlines()[-1])
    assert said.pop("images_per_second") > 0
    assert said == {"images": 3, "skipped": 1, "warned": 3, "scores": str(out)}


def test_equal_names_in_two_folders_stay_apart(make_model: MakeModel, folder: Path, tmp_path: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "a.png").rename(folder / "sub" / "b.jpg")
    out = tmp_path / "scores.parquet"
    assert run(app, ["predict", str(folder), "--model", str(make_model()), "--out", str(out)]).exit_code == 0
    assert sorted(pd.read_parquet(out).image) == ["b.jpg", "c.tif", "sub/b.jpg"]


def test_a_folder_that_cannot_be_written_is_one_sentence(make_model: MakeModel, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = run(
        app, ["explain", str(folder / "a.png"), "--model", str(make_model()), "--out", str(tmp_path / "file" / "out")]
    )
    assert result.exit_code == 2
    assert "cannot be written" in result.output


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"--model": "no-such-model"}, "no-such-model"),
        ({"--methods": "grad-cam,guess"}, "guess"),
        ({"--target": "Delta"}, "Delta"),
    ],
)
def test_wrong_words_are_one_sentence_and_exit_code_two(
    make_model: MakeModel, folder: Path, tmp_path: Path, change: dict[str, str], reason: str
) -> None:
    options = {"--model": str(make_model()), "--out": str(tmp_path / "out"), "--methods": "grad-cam"} | change
    result = run(app, ["explain", str(folder / "a.png"), *[word for pair in options.items() for word in pair]])
    assert result.exit_code == 2
    assert reason in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", ["explain", "predict"])
def test_nothing_readable_is_exit_code_two(make_model: MakeModel, folder: Path, tmp_path: Path, command: str) -> None:
    result = run(
        app, [command, str(folder / "broken.png"), "--model", str(make_model()), "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 2


def test_samples_are_listed_with_their_licence() -> None:
    result = run(app, ["samples"])
    assert result.exit_code == 0
    assert len(json.loads(result.stdout.strip().splitlines()[-1])["samples"]) >= 10


def nifti_of(volume: Image, path: Path) -> Path:
    """The volume as the reader will give it back: (column, row, slice) and RAS."""
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.geometry.affine
    nib.save(nib.Nifti1Image(volume.values[0].T.astype(np.int16), affine), path)
    return path


def test_a_segmentation_model_writes_masks_and_quantities(
    segmenter: MakeModel, folder: Path, ct_volume: Image, tmp_path: Path
) -> None:
    root, out = segmenter(thresholds={"default": 0.4}), tmp_path / "new" / "scores.csv"
    (folder / "sub").mkdir()
    (folder / "a.png").rename(folder / "sub" / "b.jpg")
    nifti_of(ct_volume, folder / "sub" / "ct.nii.gz")
    result = run(app, ["predict", str(folder), "--model", str(root), "--out", str(out)])
    assert result.exit_code == 0, result.output
    table = pd.read_csv(out).set_index("image")
    assert sorted(table.index) == ["b.jpg", "c.tif", "sub/b.jpg", "sub/ct.nii.gz"]
    handle = ModelHandle.load(read_card(root))
    files = [out.parent / name for column in ("mask_Infection", "mask_Effusion") for name in table[column]]
    assert len(set(files)) == 8
    assert sorted(files) == sorted((tmp_path / "new" / "scores.masks").iterdir())
    for name, row in table.iterrows():
        image = read_case(folder / name).image
        (alone,) = handle.predict([image.slice(image.depth // 2)])
        for k, finding in enumerate(("Infection", "Effusion")):
            assert row[f"score_{finding}"] == pytest.approx(alone.probabilities[k], abs=1e-5)
            assert row[f"share_{finding}"] == pytest.approx(alone.found[k].mean(), abs=2e-3)
            written = out.parent / row[f"mask_{finding}"]
            if name.endswith(".nii.gz"):
                assert row[f"area_mm2_{finding}"] == pytest.approx(alone.found[k].sum() * 0.7 * 0.8, abs=2)
                volume = nib.load(written)
                np.testing.assert_allclose(np.asarray(volume.dataobj)[:, :, 0].T, alone.masks[k], atol=1e-4)
                corner = volume.affine @ [4, 9, 0, 1]
                np.testing.assert_allclose(corner, [-4 * 0.7, -9 * 0.8, 3 * 1.5, 1], atol=1e-5)
            else:
                assert np.isnan(row[f"area_mm2_{finding}"])
                pixels = np.asarray(PILImage.open(written))
                assert pixels.dtype == np.uint8
                np.testing.assert_allclose(pixels / 255, alone.masks[k], atol=0.003)


@pytest.mark.parametrize("index", [None, 0, 5])
def test_a_model_of_several_slices_scores_the_slice_between_its_neighbours(
    nodule_model: Path, ct_volume: Image, tmp_path: Path, index: int | None
) -> None:
    root = tmp_path / "in"
    root.mkdir()
    path, out = nifti_of(ct_volume, root / "ct.nii.gz"), tmp_path / "scores.parquet"
    chosen = [] if index is None else ["--slice", str(index)]
    result = run(app, ["predict", str(root), "--model", str(nodule_model), "--out", str(out), *chosen])
    assert result.exit_code == 0, result.output
    handle, volume = ModelHandle.load(read_card(nodule_model)), read_case(path, modality=Modality.CT).image
    (expected,) = handle.predict([volume.slice(3 if index is None else index)])
    (alone,) = handle.predict([replace(volume.slice(3 if index is None else index), within=None)])
    (row,) = pd.read_parquet(out).itertuples()
    assert row.image == "ct.nii.gz"
    assert row.score_Malignant == pytest.approx(expected.probabilities[0], abs=1e-6)
    assert row.score_Malignant != pytest.approx(alone.probabilities[0], abs=1e-6)


def test_a_ct_patch_scores_alike_whether_or_not_its_file_says_what_it_is(
    nodule_model: Path, ct_volume: Image, tmp_path: Path
) -> None:
    """A patch from inside a lung, which holds no air of -1000 HU."""
    patch = replace(ct_volume, values=np.clip(ct_volume.values, -850, 300))
    path, out = nifti_of(patch, tmp_path / "patch.nii.gz"), tmp_path / "scores.parquet"
    assert run(app, ["predict", str(path), "--model", str(nodule_model), "--out", str(out)]).exit_code == 0
    (known,) = ModelHandle.load(read_card(nodule_model)).predict([read_case(path, modality=Modality.CT).image.slice(3)])
    assert pd.read_parquet(out).score_Malignant[0] == pytest.approx(known.probabilities[0], abs=1e-6)


def test_an_image_the_model_cannot_be_shown_stops_no_other(
    nodule_model: Path, folder: Path, ct_volume: Image, tmp_path: Path
) -> None:
    nifti_of(ct_volume, folder / "ct.nii.gz")
    out = tmp_path / "scores.parquet"
    result = run(app, ["predict", str(folder), "--model", str(nodule_model), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert list(pd.read_parquet(out).image) == ["ct.nii.gz"]
    skipped = json.loads((tmp_path / "scores.manifest.json").read_text())["skipped"]
    assert sorted(skipped) == ["a.png", "b.jpg", "broken.png", "c.tif"]
    assert "pixel spacing" in skipped["a.png"]
    nothing = run(app, ["predict", str(folder / "a.png"), "--model", str(nodule_model), "--out", str(out)])
    assert nothing.exit_code == 2
    assert "pixel spacing" in nothing.output
    mapped = run(
        app, ["explain", str(folder / "a.png"), "--model", str(nodule_model), "--out", str(tmp_path), "--methods", "grad-cam"]
    )  # fmt: skip
    assert mapped.exit_code == 2
    assert "pixel spacing" in mapped.output


def test_a_note_that_is_true_of_many_images_is_written_once(make_model: MakeModel, tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    for number in range(6):
        _save(root / f"{number}.png", np.full((20, 20), 40 * number, np.uint8))
    result = run(app, ["predict", str(root), "--model", str(make_model()), "--out", str(tmp_path / "s.csv")])
    assert result.output.count("does not say what made it") == 1
    assert "0.png, 1.png, 2.png and 3 more" in result.output
    assert len(json.loads((tmp_path / "s.manifest.json").read_text())["warnings"]) == 6


def test_progress_away_from_a_terminal_is_a_line_now_and_then(
    make_model: MakeModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.commands.shared.SECONDS", 0.0)
    monkeypatch.setattr("dashboard.folder_runs.listing.SIGN", 3)
    command = ["predict", str(folder), "--model", str(make_model()), "--out", str(tmp_path / "s.csv")]
    result = run(app, command)
    assert "scoring: looking through the files" in result.stderr
    assert "scoring: 4 of 4, " in result.stderr
    assert "a second, 0:00:00 left" in result.stderr
    again = run(app, command)
    assert "scoring: 3 of 4, starting" in again.stderr
    assert json.loads(again.stdout)["images"] == 3
