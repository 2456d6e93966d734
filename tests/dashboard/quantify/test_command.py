"""``quantify`` as a script sees it: known ml from files in any order of axes and bytes, one sentence for bad input."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from dashboard.__main__ import app
from dashboard.quantify.command import Files, quantify_paths
from models.errors import DataError, SightlineError
from models.types import Geometry
from sample_data.samples import data_folder
from tests.dashboard.quantify.thorax import Ball, Chest, draw, save

BALLS = (Ball(-80, 20, 0, 15, 30), Ball(70, -30, 30, 10, -500), Ball(-134, 0, 10, 16, 40))


@pytest.fixture(scope="module")
def chest() -> Chest:
    return draw((3, 3, 6), BALLS)


def run(out: Path, scan: Path | None = None, lesions: Path | None = None, lungs: Path | None = None, **more):
    done = quantify_paths(Files(scan, lesions, lungs), out, **more)
    return done, json.loads((out / "quantities.json").read_text())


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_known_lesions_and_every_file(chest: Chest, tmp_path: Path) -> None:
    scan = save(tmp_path / "ct.nii.gz", chest.image.values[0], chest.geometry)
    mask = save(tmp_path / "mask.nii.gz", chest.infected, chest.geometry)
    done, facts = run(tmp_path / "out", scan, mask)
    ml = 0.054
    known = sorted((lesion.sum() * ml for lesion in chest.lesions), reverse=True)
    assert facts["lesion_count"] == 3
    assert [lesion["volume_ml"] for lesion in facts["lesions"]] == pytest.approx(known)
    assert facts["total_lesion_ml"] == pytest.approx(sum(known))
    assert [facts["lesions_by_side"][side]["lesion_count"] for side in ("right", "left")] == [2, 1]
    assert facts["spacing_mm"] == pytest.approx([3, 3, 6])
    assert (facts["connectivity"], facts["minimum_mm3"]) == (26, 0)
    lung_ml = (chest.right | chest.left).sum() * ml
    assert facts["involvement_percent"] == pytest.approx(100 * sum(known) / lung_ml, rel=0.03)
    assert facts["severity_words"] == "below 5 %"
    assert facts["lungs"]["right"]["lesion_ml"] == pytest.approx((chest.lesions[0].sum() + chest.lesions[2].sum()) * ml)
    assert [row["lung"] for row in rows(tmp_path / "out" / "lungs.csv")] == ["right", "left", "both"]
    table = rows(tmp_path / "out" / "lesions.csv")
    assert [float(row["volume_ml"]) for row in table] == pytest.approx(known)
    histogram = rows(tmp_path / "out" / "histogram.csv")
    for side in ("right", "left"):
        assert sum(float(row[f"{side}_ml"]) for row in histogram) == pytest.approx(facts["lungs"][side]["volume_ml"])
    lungs = nib.load(tmp_path / "out" / "lungs.nii.gz")
    assert (np.asanyarray(lungs.dataobj) == 1).sum() * ml == pytest.approx(facts["lungs"]["right"]["volume_ml"])
    assert set(done.files) == {path.name for path in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize(("codes", "dtype"), [("ASR", ">i2"), ("RIP", "<f4")])
def test_turned_and_big_endian_copies_give_the_same(chest: Chest, tmp_path: Path, codes: str, dtype: str) -> None:
    plain = [save(tmp_path / f"{name}.nii.gz", values, chest.geometry) for name, values in _both(chest)]
    other = [save(tmp_path / f"{name}2.nii.gz", values, chest.geometry, codes, dtype) for name, values in _both(chest)]
    _, expected = run(tmp_path / "a", *plain)
    _, mixed = run(tmp_path / "b", other[0], plain[1])
    _, facts = run(tmp_path / "c", *other)
    for one in (mixed, facts):
        for key in ("lesions", "total_lesion_ml", "involvement_percent", "lungs", "lesions_by_side"):
            assert one[key] == expected[key], key
    written, source = nib.load(tmp_path / "c" / "lesions.nii.gz"), nib.load(other[1])
    np.testing.assert_array_equal(written.affine, source.affine)
    np.testing.assert_array_equal(np.asanyarray(written.dataobj) > 0, np.asanyarray(source.dataobj) > 0)


def _both(chest: Chest):
    return (("ct", chest.image.values[0]), ("mask", chest.infected))


def test_a_mask_alone_gives_what_it_allows(chest: Chest, tmp_path: Path) -> None:
    mask = save(tmp_path / "mask.nii.gz", chest.infected, chest.geometry)
    _, facts = run(tmp_path / "out", lesions=mask)
    assert facts["lesion_count"] == 3
    assert facts["total_lesion_ml"] == pytest.approx(chest.infected.sum() * 0.054)
    assert facts["involvement_percent"] is None
    assert facts["lesions"][0]["mean_hu"] is None
    assert facts["sides_by"] == "half of the picture"
    assert not (tmp_path / "out" / "lungs.csv").exists()
    labels = save(tmp_path / "lungs.nii.gz", chest.right + 2 * chest.left, chest.geometry)
    _, facts = run(tmp_path / "out", lesions=mask, lungs=labels)
    share = 100 * chest.infected.sum() / (chest.right | chest.left).sum()
    assert facts["involvement_percent"] == pytest.approx(share)
    assert (facts["lungs_by"], facts["sides_by"]) == ("supplied mask", "lung mask")


def test_lung1_has_a_nodule_of_1_36_ml(tmp_path: Path) -> None:
    folder = data_folder()
    if folder is None or not (folder / "volumes" / "lung1_image.nii.gz").is_file():
        pytest.skip("the data folder has no volumes; set SIGHTLINE_DATA")
    scan, mask = (folder / "volumes" / f"lung1_{part}.nii.gz" for part in ("image", "label"))
    _, facts = run(tmp_path / "out", scan, mask)
    assert facts["lesion_count"] == 1
    assert facts["total_lesion_ml"] == pytest.approx(1.36, abs=0.005)
    assert facts["lesions"][0]["voxels"] == 837
    assert facts["lesions"][0]["side"] == "right"
    assert 2500 < facts["lung_ml"] < 3500
    assert any("lower end" in warning for warning in facts["warnings"])


def test_a_part_of_the_lungs_still_gives_the_lesions_of_a_mask(tmp_path: Path) -> None:
    part = draw((3, 3, 6), BALLS[:1], low=-40, high=40)
    scan = save(tmp_path / "ct.nii.gz", part.image.values[0], part.geometry)
    _, facts = run(tmp_path / "out", scan, save(tmp_path / "mask.nii.gz", part.infected, part.geometry))
    assert (facts["lesion_count"], facts["involvement_percent"]) == (1, None)
    assert facts["lesions"][0]["mean_hu"] == pytest.approx(30, abs=2)
    assert any("part of the lungs only" in warning for warning in facts["warnings"])
    with pytest.raises(DataError, match="part of the lungs only"):
        run(tmp_path / "out", scan)


def test_the_shipped_model_marks_lesions_in_the_lungs(chest: Chest, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    scan = save(tmp_path / "ct.nii.gz", chest.image.values[0], chest.geometry)
    done, facts = run(tmp_path / "out", scan, show=lambda count, total: seen.append((count, total)))
    assert seen[0][0] == 0
    assert seen[-1][0] == seen[-1][1]
    assert facts["lesions_by"].startswith("model pneumonia-ct")
    assert facts["minimum_mm3"] == 100
    assert done.study.lungs is not None
    assert not (done.study.lesions.mask & ~done.study.lungs.both).any()


def test_bad_input_gets_one_sentence(chest: Chest, tmp_path: Path) -> None:
    values, geometry = chest.image.values[0], chest.geometry
    scan = save(tmp_path / "ct.nii.gz", values, geometry)
    mask = save(tmp_path / "mask.nii.gz", chest.infected, geometry)
    moved = geometry.affine.copy()
    moved[2, 3] += 30
    unknown = tmp_path / "unknown.nii.gz"
    nib.save(nib.Nifti1Image(values.T.astype(np.int16), None), unknown)
    four = tmp_path / "four.nii.gz"
    nib.save(nib.Nifti1Image(np.stack([values.T, values.T], axis=-1).astype(np.int16), nib.load(scan).affine), four)
    (tmp_path / "text.nii.gz").write_bytes(b"no image")
    cases = [
        ({}, "nothing to quantify"),
        ({"scan": save(tmp_path / "one.nii.gz", values[:1], geometry), "lesions": mask}, "single slice"),
        ({"lesions": save(tmp_path / "flat.nii.gz", chest.infected[:1], geometry)}, "lesion mask is a single slice"),
        ({"scan": unknown, "lesions": mask}, "stands for unknown"),
        ({"scan": four}, "4-D"),
        ({"scan": mask}, "not a CT"),
        ({"scan": scan, "lesions": save(tmp_path / "cut.nii.gz", chest.infected[:-1], geometry)}, "does not fit the scan"),
        ({"scan": scan, "lesions": save(tmp_path / "moved.nii.gz", chest.infected, Geometry(moved))}, "30.0 mm beside"),
        ({"scan": scan, "lesions": scan}, "is not a mask"),
        ({"scan": scan, "lesions": mask, "lungs": save(tmp_path / "l.nii.gz", values[2:] > 0, geometry)}, "The lung mask does"),
        ({"scan": tmp_path / "missing.nii.gz"}, "."),
        ({"scan": tmp_path / "text.nii.gz"}, "."),
    ]  # fmt: skip
    for paths, words in cases:
        with pytest.raises(SightlineError) as caught:
            run(tmp_path / "out", **paths)
        assert words in str(caught.value), paths
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="6, 18 or 26"):
        run(tmp_path / "out", lesions=mask, connectivity=8)
    assert not (tmp_path / "out").exists()


def test_the_command_line(chest: Chest, tmp_path: Path) -> None:
    mask = save(tmp_path / "mask.nii.gz", chest.infected, chest.geometry)
    result = CliRunner().invoke(app, ["quantify", "--lesions", str(mask), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["lesion_count"] == 3
    assert facts["total_lesion_ml"] == pytest.approx(chest.infected.sum() * 0.054)
    assert Path(facts["quantities"]).is_file()
    wrong = CliRunner().invoke(app, ["quantify", str(mask), "--out", str(tmp_path / "out")])
    assert wrong.exit_code == 2
    assert "not a CT" in wrong.stderr
