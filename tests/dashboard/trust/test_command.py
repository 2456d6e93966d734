"""``trust``: an image in, maps and trust.json out, or one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage
from typer.testing import CliRunner

from dashboard.__main__ import app
from explainers.quality.strip import checks

CHECKS = [check.spec.id for check in checks()]
pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def film(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    PILImage.fromarray(values).save(tmp_path / "film.png")
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[10:30, 10:30] = 255
    PILImage.fromarray(mask).save(tmp_path / "mask.png")
    PILImage.fromarray(np.zeros((64, 64), dtype=np.uint8)).save(tmp_path / "empty.png")
    PILImage.fromarray(np.ones((32, 64), dtype=np.uint8)).save(tmp_path / "small.png")
    return tmp_path / "film.png"


def called(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["trust", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_maps_and_their_evidence_are_written(film: Path, make_model: Callable[..., Path], tmp_path: Path) -> None:
    model, out = make_model(), tmp_path / "out"
    asked = (film, "--model", model, "--methods", "grad-cam", "--target", "Beta", "--out", out)
    code, said, why = called(*asked, "--mask", tmp_path / "mask.png")
    assert code == 0, why
    answer = json.loads(said)
    record = json.loads((out / "trust.json").read_text())
    (made,) = record["maps"]
    assert [one["check"] for one in made["trust"]["checks"]] == CHECKS
    by_check = {one["check"]: one for one in made["trust"]["checks"]}
    assert by_check["localisation"]["level"] != "not assessable"
    assert "the known place, Beta" in by_check["localisation"]["sentence"]
    assert len(by_check["faithfulness"]["curves"]["deletion"]) == len(by_check["faithfulness"]["curves"]["share"])
    assert answer["levels"] == {"grad-cam": made["trust"]["level"]}
    assert np.load(out / made["file"])["values"].shape == tuple(made["grid"])
    assert str(film.name) not in (out / "trust.json").read_text()  # names may tell who the patient is


def test_bad_input_is_one_sentence(film: Path, make_model: Callable[..., Path], tmp_path: Path) -> None:
    model = make_model()
    for wrong, words in (
        (("--mask", tmp_path / "empty.png"), "marks nothing"),
        (("--mask", tmp_path / "small.png"), "give a mask of that image"),
        (("--methods", " , "), "no method"),
        (("--methods", "no-such"), "no-such"),
        (("--target", "Delta"), "Delta"),
        (("--slice", "3"), "no slice 3"),
    ):
        code, said, why = called(film, "--model", model, "--out", tmp_path / "out", *wrong)
        assert code == 2
        assert not said
        assert words in why, why
        assert len(why.strip().splitlines()) == 1
