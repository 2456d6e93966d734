"""The command line as a script sees it: files, columns, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image as PILImage
from typer.testing import CliRunner

from dashboard.__main__ import app
from models.card import read_card
from models.handle import ModelHandle
from models.io import read_case

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
    out = tmp_path / "out"
    methods = "grad-cam,integrated-gradients,occlusion"
    result = run(
        app, ["explain", str(folder / "a.png"), str(folder / "broken.png"), "--model", str(make_model()), "--methods", methods,
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
    assert manifest["maps"][0]["provenance"]["weights sha256"] == read_card(make_model("again")).weights.sha256
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
    assert json.loads(result.stdout.strip().splitlines()[-1]) == {
        "images": 3,
        "skipped": 1,
        "warned": 3,
        "scores": str(out),
    }


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
