"""Two scans of one patient who moved, lesions of known ml in both, as a script compares them."""

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
from dashboard.quantify.followup import Visit, follow_up
from dashboard.quantify.lungs import from_sides
from dashboard.quantify.study import study_of
from dashboard.registration import Quality, Registration
from models.errors import DataError
from models.types import Geometry
from tests.dashboard.quantify.thorax import Ball, Chest, draw, save

# Numbers by size: 1 grows, 2 stays, 3 goes, 4 comes as the third of the current scan.
BEFORE = (Ball(-80, 20, 0, 20, 30), Ball(70, -30, 30, 18, -500), Ball(80, 10, -40, 10, -400))
AFTER = (Ball(-80, 20, 0, 27, 30), Ball(70, -30, 30, 18, -500), Ball(-70, -30, -50, 12, -500))
ML = 0.096


@pytest.fixture(scope="module")
def before() -> Chest:
    return draw((4, 4, 6), BEFORE)


@pytest.fixture(scope="module")
def after() -> Chest:
    return draw((4, 4, 6), AFTER)


@pytest.fixture(scope="module")
def moved() -> np.ndarray:
    """mm of the current scan to those of the prior: the patient lay turned by 8 degrees, elsewhere."""
    cos, sin = np.cos(np.radians(8)), np.sin(np.radians(8))
    return np.array([[cos, -sin, 0, 12], [sin, cos, 0, -9], [0, 0, 1, 150], [0, 0, 0, 1.0]])


@pytest.fixture(scope="module")
def compared(before: Chest, after: Chest, moved: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a comparison of files with masks, told on the command line."""
    folder = tmp_path_factory.mktemp("followup")
    there = Geometry(moved @ before.geometry.affine)
    paths = [
        save(folder / "now.nii.gz", after.image.values[0], after.geometry),
        save(folder / "now-mask.nii.gz", after.infected, after.geometry),
        save(folder / "then.nii.gz", before.image.values[0], there),
        save(folder / "then-mask.nii.gz", before.infected, there),
    ]
    arguments = [paths[0], "--lesions", paths[1], "--prior", paths[2], "--prior-lesions", paths[3]]
    result = CliRunner().invoke(app, ["quantify", *map(str, arguments), "--out", str(folder / "out")])
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)["followup"]
    told = {"new": 1, "grown": 1, "stable": 1, "shrunk": 0, "resolved": 1, "not comparable": 0}
    assert facts == {"compared": True} | told
    return folder


def test_every_lesion_is_found_again(compared: Path, before: Chest, after: Chest) -> None:
    with (compared / "out" / "changes.csv").open() as file:
        rows = {row["verdict"]: row for row in csv.DictReader(file)}
    sizes = [[lesion.sum() * ML for lesion in chest.lesions] for chest in (before, after)]
    expected = {"grown": (0, 0), "stable": (1, 1), "resolved": (2, None), "new": (None, 2)}
    for verdict, (old, new) in expected.items():
        row = rows[verdict]
        was = 0 if old is None else sizes[0][old]
        now = 0 if new is None else sizes[1][new]
        assert (float(row["prior_ml"]), float(row["current_ml"])) == pytest.approx((was, now))
        assert float(row["change_ml"]) == pytest.approx(now - was, abs=1e-5)
    assert float(rows["stable"]["apart_mm"]) < 4
    assert float(rows["stable"]["overlap"]) > 0.7
    assert rows["new"]["side"] == "right"


def test_the_motion_is_found_and_the_prior_lies_on_the_current_grid(
    compared: Path, before: Chest, after: Chest, moved: np.ndarray
) -> None:
    facts = json.loads((compared / "out" / "followup.json").read_text())
    found = np.array(facts["registration"]["current_to_prior_lps_mm"])
    lungs = np.argwhere(after.right | after.left)[::50, ::-1].astype(float)
    points = np.c_[after.geometry.to_world(lungs), np.ones(len(lungs))]
    assert np.linalg.norm(points @ (found - moved).T, axis=1).mean() < 4
    assert facts["registration"]["accepted"]
    written = nib.load(compared / "out" / "prior_on_current.nii.gz")
    np.testing.assert_allclose(written.affine, nib.load(compared / "now.nii.gz").affine)
    hu = np.asanyarray(written.dataobj).T
    inside = (after.right & before.right)[5:-5]
    assert np.abs(hu[5:-5][inside] - before.image.values[0, 5:-5][inside]).mean() < 40
    lesions = np.asanyarray(nib.load(compared / "out" / "prior_lesions_on_current.nii.gz").dataobj).T > 0
    shared = 2 * (lesions & before.infected).sum() / (lesions.sum() + before.infected.sum())
    assert shared > 0.85


def test_both_studies_and_their_differences_are_written(compared: Path) -> None:
    now = json.loads((compared / "out" / "quantities.json").read_text())
    then = json.loads((compared / "out" / "prior" / "quantities.json").read_text())
    deltas = {(delta["name"], delta["where"]): delta for delta in now["followup"]["deltas"]}
    pairs = {
        ("lesion volume", "both"): "total_lesion_ml",
        ("lung volume", "both"): "lung_ml",
        ("involvement", "both"): "involvement_percent",
    }
    for name, key in pairs.items():
        assert deltas[name]["prior"] == pytest.approx(then[key])
        assert deltas[name]["difference"] == pytest.approx(now[key] - then[key], abs=2e-6)
    volume = deltas["lesion volume", "both"]
    assert volume["change_percent"] == pytest.approx(100 * (now["total_lesion_ml"] / then["total_lesion_ml"] - 1))
    assert deltas["involvement", "both"]["change_percent"] is None
    band = next(band for band in now["lungs"]["right"]["aeration"] if band["name"] == "non-aerated")
    assert deltas["non-aerated lung", "right"]["current"] == pytest.approx(band["percent"])
    facts = json.loads((compared / "out" / "followup.json").read_text())
    for side in ("right", "left"):  # the shares of either scan add up to 100 %
        assert sum(row[side] for row in facts["histogram_change_points"]) == pytest.approx(0, abs=1e-3)
    assert facts["counts"] == now["followup"]["counts"]


def test_a_flipped_big_endian_prior_changes_nothing(
    compared: Path, before: Chest, moved: np.ndarray, tmp_path: Path
) -> None:
    there = Geometry(moved @ before.geometry.affine)
    prior = Files(
        save(tmp_path / "then.nii.gz", before.image.values[0], there, "RIP", ">i2"),
        save(tmp_path / "mask.nii.gz", before.infected, there, "RIP", ">i2"),
    )
    now = Files(compared / "now.nii.gz", compared / "now-mask.nii.gz")
    quantify_paths(now, tmp_path / "out", prior=prior)
    ours, theirs = (json.loads((folder / "out" / "followup.json").read_text()) for folder in (tmp_path, compared))
    assert ours["counts"] == theirs["counts"]
    assert [one["prior_ml"] for one in ours["changes"]] == [one["prior_ml"] for one in theirs["changes"]]
    matrices = [facts["registration"]["current_to_prior_lps_mm"] for facts in (ours, theirs)]
    np.testing.assert_allclose(*matrices, atol=1e-4)


def test_scans_that_do_not_correspond_are_measured_but_not_compared(
    compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quality = Quality(0.02, 0.05, -0.3, -0.2, 0.9)
    refusal = Registration(
        np.eye(4), "rigid", quality, np.zeros(3), False, "The two scans could not be brought into line."
    )
    monkeypatch.setattr("dashboard.quantify.followup.register", lambda *arguments: refusal)
    now, prior = (Files(compared / f"{name}.nii.gz", compared / f"{name}-mask.nii.gz") for name in ("now", "then"))
    done = quantify_paths(now, tmp_path / "out", prior=prior)
    assert done.followup is not None
    assert done.followup.reason == refusal.reason
    facts = json.loads((tmp_path / "out" / "followup.json").read_text())
    assert (facts["compared"], facts["changes"], facts["deltas"]) == (False, [], [])
    assert json.loads((tmp_path / "out" / "quantities.json").read_text())["lesion_count"] == 3
    assert json.loads((tmp_path / "out" / "prior" / "quantities.json").read_text())["lesion_count"] == 3
    assert not (tmp_path / "out" / "changes.csv").exists()


def test_masks_alone_are_compared_where_they_lie(before: Chest, after: Chest, tmp_path: Path) -> None:
    now = Files(None, save(tmp_path / "now.nii.gz", after.infected, after.geometry))
    then = Files(None, save(tmp_path / "then.nii.gz", before.infected, before.geometry))
    done = quantify_paths(now, tmp_path / "out", prior=then)
    assert done.followup is not None
    assert done.followup.counts == {
        "new": 1, "grown": 1, "stable": 1, "shrunk": 0, "resolved": 1, "not comparable": 0
    }  # fmt: skip
    assert any("nothing was registered" in warning for warning in done.followup.warnings)
    assert json.loads((tmp_path / "out" / "quantities.json").read_text())["followup"]["registration"] is None
    alone = quantify_paths(now, tmp_path / "out")
    left = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*")}
    assert left == set(alone.files)  # nothing of the comparison
    far = before.geometry.affine.copy()
    far[2, 3] += 2000
    apart = Files(None, save(tmp_path / "far.nii.gz", before.infected, Geometry(far)))
    refused = quantify_paths(now, tmp_path / "far", prior=apart).followup
    assert refused is not None
    assert "no common part" in refused.reason


def test_a_scan_and_a_mask_alone_are_not_compared(compared: Path, tmp_path: Path) -> None:
    now, mask = Files(compared / "now.nii.gz", compared / "now-mask.nii.gz"), Files(None, compared / "now-mask.nii.gz")
    for one, other in ((now, mask), (mask, now)):
        with pytest.raises(DataError, match="give both scans, or both masks"):
            quantify_paths(one, tmp_path / "out", prior=other)
    values = np.random.default_rng(0).integers(0, 3000, (4, 6, 8))
    other = Files(save(tmp_path / "mr.nii.gz", values, Geometry(np.diag([5.0, 5, 5, 1]))))
    assert not (tmp_path / "out").exists()
    done = quantify_paths(now, tmp_path / "out", prior=other)
    assert "The prior scan is not a CT" in done.refused
    facts = json.loads((tmp_path / "out" / "quantities.json").read_text())
    assert facts["lesion_count"] == 3
    assert facts["followup"] == {"compared": False, "reason": done.refused}


def test_a_prior_that_the_report_would_overwrite_is_refused(tmp_path: Path) -> None:
    mask = save(tmp_path / "lesions.nii.gz", np.eye(4)[None].repeat(3, 0), Geometry(np.eye(4)))
    content = mask.read_bytes()
    with pytest.raises(DataError, match="would be overwritten"):
        quantify_paths(Files(None, mask), tmp_path, prior=Files(None, mask))
    assert mask.read_bytes() == content


def block(depth: int, *places: tuple[int, int, int], lungs_from: int = 0) -> Visit:
    """Masks alone: blocks of 6 x 6 voxels at a column, from one slice to another, and lungs from a slice on."""
    mask, sides = np.zeros((depth, 20, 40), bool), np.zeros((depth, 20, 40), np.uint8)
    for column, first, end in places:
        mask[first:end, 6:12, column : column + 6] = True
    sides[lungs_from:-1, 2:18, 2:19], sides[lungs_from:-1, 2:18, 21:38] = 1, 2
    geometry = Geometry(np.diag([2.0, 2.0, 3.0, 1.0]))
    return Visit(study_of(mask, geometry, "drawn", None, from_sides(sides, geometry, "drawn")), None)


def test_what_a_scan_cuts_off_is_not_said_to_have_grown_or_shrunk() -> None:
    now, then = block(20, (3, 7, 13), (13, 3, 6), (30, 15, 18)), block(10, (3, 7, 10), (13, 3, 6), lungs_from=2)
    there = {change.current: change for change in follow_up(now, then).changes}
    told = {numbers: (change.verdict, change.reason) for numbers, change in there.items()}
    outside = ("not comparable", "partly or wholly outside the earlier scan")
    assert told == {(1,): outside, (2,): ("stable", ""), (3,): outside}
    back = {change.prior: (change.verdict, change.reason) for change in follow_up(then, now).changes}
    away = ("not comparable", "partly or wholly outside this scan")
    assert back == {(1,): away, (2,): ("stable", ""), (3,): away}
    warnings = " ".join(follow_up(now, then).warnings)
    assert "2 of the changes cannot be told" in warnings
    assert "This scan ends within the lungs and the other does not" in warnings
    assert follow_up(now, then).prior_labels.dtype == np.uint8  # type: ignore[union-attr]
    at_end = follow_up(block(10, (3, 8, 10)), block(10, (3, 6, 10))).changes[0]
    assert (at_end.verdict, at_end.reason) == ("not comparable", "the earlier scan ends within it")
