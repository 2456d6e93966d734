"""``abcd`` as a script sees it: files, one JSON line, one sentence for bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage
from typer.testing import CliRunner, Result

from dashboard.__main__ import app
from dashboard.quantify.abcd_ranges import read_ranges
from dashboard.quantify.dermoscopy import NOT_A_DIAGNOSIS, abcd
from dashboard.quantities import dice
from dashboard.settings import ZOO
from models.errors import DataError
from models.types import Case
from sample_data.samples import load_sample

OUTLINE = ZOO / "skin-lesion-outline"


@pytest.fixture(scope="module")
def case() -> Case:
    return load_sample("phantom-skin-irregular")


@pytest.fixture(scope="module")
def files(case: Case, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("skin")
    rgb = (np.moveaxis(case.image.values, 0, -1) * 255).round().astype(np.uint8)
    PILImage.fromarray(rgb).save(folder / "skin.png")
    PILImage.fromarray(case.regions[0].mask.astype(np.uint8) * 255).save(folder / "mask.png")
    return folder / "skin.png", folder / "mask.png"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["abcd", *map(str, arguments)])


def test_a_supplied_outline_gives_the_measures_of_the_page(
    case: Case, files: tuple[Path, Path], tmp_path: Path
) -> None:
    picture, mask = files
    done = run(picture, "--outline", mask, "--out", tmp_path)
    assert done.exit_code == 0, done.output
    facts = json.loads((tmp_path / "abcd.json").read_text())
    expected = abcd(case.image, case.regions[0].mask)
    for one in expected.measures:
        found = facts["measures"][one.id]
        scale = 0.03 if one.id == "diameter" else 1.0  # a PNG does not say how large a pixel is
        assert scale * found["value"] == pytest.approx(one.value, abs=1e-4), one.id
    assert facts["measures"]["diameter"]["unit"] == "px"
    assert facts["note"] == NOT_A_DIAGNOSIS
    assert facts["outline_by"] == "supplied mask"
    rows, columns = np.nonzero(case.regions[0].mask)
    assert facts["axes"]["centre"] == pytest.approx([columns.mean(), rows.mean()], abs=1)
    assert sum(facts["colour_shares"].values()) <= 1
    with PILImage.open(tmp_path / "outline.png") as written:
        np.testing.assert_array_equal(np.asarray(written) > 0, case.regions[0].mask)
    assert json.loads(done.stdout)["colours"] == facts["measures"]["colours"]["value"]


def test_the_model_outlines_and_the_lesion_is_compared(case: Case, files: tuple[Path, Path], tmp_path: Path) -> None:
    done = run(files[0], "--out", tmp_path)
    assert done.exit_code == 0, done.output
    facts = json.loads((tmp_path / "abcd.json").read_text())
    with PILImage.open(tmp_path / "outline.png") as written:
        assert dice(np.asarray(written) > 0, case.regions[0].mask) > 0.85
    shares = facts["measures"]["compactness"]["share_below"]
    assert set(shares) >= {"Melanocytic nevus", "Melanoma"}
    assert all(0 <= share <= 1 for share in shares.values())
    assert facts["outline_by"].startswith("model skin-lesion-outline")
    assert "share_below" in facts["measures"]["diameter"]
    assert facts["measures"]["diameter"]["share_below"] == {}


def test_bad_input_is_one_sentence(files: tuple[Path, Path], tmp_path: Path) -> None:
    picture, mask = files
    empty = tmp_path / "empty.png"
    PILImage.new("L", (600, 450)).save(empty)
    for arguments, said in (
        ((mask, "--outline", mask), "colour picture"),
        ((picture, "--outline", empty), "same everywhere"),
        ((picture, "--model", "lung-nodule"), "gives no outline"),
    ):
        done = run(*arguments, "--out", tmp_path / "out")
        assert done.exit_code == 2
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_the_shipped_ranges_are_those_of_enough_lesions() -> None:
    ranges = read_ranges(OUTLINE)
    assert ranges is not None
    for outline in ("reference", "model"):
        nevi = ranges.of(outline, "Melanocytic nevus", "compactness")
        melanomas = ranges.of(outline, "Melanoma", "compactness")
        assert nevi is not None
        assert melanomas is not None
        assert nevi.n > melanomas.n >= 80
        # Irregular borders are commoner in melanomas, but the two overlap widely.
        assert 0.5 < nevi.below(melanomas.quantiles[20]) < 0.95


def test_a_damaged_file_of_ranges_is_one_sentence(tmp_path: Path) -> None:
    assert read_ranges(tmp_path) is None
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "abcd.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        read_ranges(tmp_path)
