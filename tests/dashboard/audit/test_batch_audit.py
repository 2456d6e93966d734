"""The audit as a script asks for it: which table, which part, which model, against what."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import Result
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from dashboard.__main__ import app
from dashboard.audit.reading import zoo_table
from dashboard.audit.table import AuditTable
from dashboard.settings import ZOO
from models.card import find_cards
from tests.dashboard.audit.tables import make_table

CARD = find_cards([ZOO])[0]["lung-nodule"]


def audit(table: Path | str, out: Path, *more: str) -> Result:
    return CliRunner().invoke(app, ["audit", str(table), "--out", str(out), "--replicates", "20", *more])


def write(table: AuditTable, path: Path, **names: str) -> Path:
    """A wide CSV; ``names`` spells classes otherwise."""
    frame = table.cases.copy()
    for k, name in enumerate(table.classes):
        frame[f"score_{names.get(name, name)}"] = table.scores[:, k]
        frame[f"label_{names.get(name, name)}"] = table.labels[:, k]
    frame.to_csv(path, index=False)
    return path


def said(out: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((out / "metrics.json").read_text())
    return found


@pytest.mark.parametrize("more", [(), ("--model", "lung-nodule"), ("--model", "no-such-model")])
def test_a_file_that_is_not_there_is_refused_whatever_the_model(tmp_path, more):
    done = audit("nosuchfile.csv", tmp_path / "out", *more)
    assert done.exit_code == 2
    assert "'nosuchfile.csv' is neither a table" in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_evaluation_of_one_model_is_not_that_of_another(tmp_path):
    done = audit("lung-nodule", tmp_path, "--model", "skin-lesion-7")
    assert done.exit_code == 2
    assert "leave out --model" in done.stderr


def test_a_model_is_audited_by_its_test_part_unless_told(tmp_path):
    whole = zoo_table(CARD)
    parts = whole.cases["split"].value_counts().to_dict()
    other = next(name for name in parts if name != "test")
    asked = {"": parts["test"], "all": len(whole), other: parts[other]}
    for split, n in asked.items():
        done = audit("lung-nodule", tmp_path, *(("--split", split) if split else ()))
        assert done.exit_code == 0, done.output
        found = said(tmp_path)
        assert found["n"] == n
        assert found["splits"] == (sorted(parts) if split == "all" else [split or "test"])
        notes = " ".join(found["notes"])
        assert ("Only the part test" in notes) == (split == "")
        assert ("audited together" in notes) == (split == "all")
    assert audit("lung-nodule", tmp_path, "--split", "train").exit_code == 2


def test_a_model_lends_its_classes_and_operating_points_in_any_spelling(tmp_path):
    table = zoo_table(CARD)
    file = write(table, tmp_path / "t.csv", Malignant="MALIGNANT")
    assert audit(file, tmp_path / "out", "--model", "lung-nodule", "--split", "all").exit_code == 0
    found = said(tmp_path / "out")
    assert found["model_id"] == "lung-nodule"
    assert list(found["classes"]) == ["Malignant"]
    assert found["classes"]["Malignant"]["threshold"] == pytest.approx(CARD.threshold_array[0])
    assert found["classes"]["Malignant"]["threshold"] != 0.5


def test_a_model_of_other_classes_is_refused(tmp_path):
    file = write(make_table(60, ("Mass",), "binary"), tmp_path / "t.csv")
    done = audit(file, tmp_path / "out", "--model", "lung-nodule")
    assert done.exit_code == 2
    assert "no scores of Malignant" in done.stderr
    assert not (tmp_path / "out").exists()


def test_two_tables_are_compared_case_by_case(tmp_path):
    one = make_table(240, ("A", "B"))
    noise = np.random.default_rng(1).normal(0, 0.3, one.scores.shape)
    other = one.with_scores(np.clip(one.scores + noise, 0, 1)).part(np.arange(240) >= 20)
    first, second = write(one, tmp_path / "first.csv"), write(other, tmp_path / "second.csv")
    done = audit(first, tmp_path / "out", "--split", "all", "--against", str(second))
    assert done.exit_code == 0, done.output
    found = pd.read_csv(tmp_path / "out" / "comparison.csv").set_index(["class", "figure"])
    for k, name in enumerate("AB"):
        truth = one.labels[20:, k]
        areas = [roc_auc_score(truth, scores[:, k]) for scores in (one.scores[20:], other.scores)]
        row = found.loc[(name, "auroc")]
        assert [row["first"], row["second"]] == pytest.approx(areas)
        assert row["difference"] == pytest.approx(areas[1] - areas[0])
        assert row["difference_low"] < row["difference"] < row["difference_high"]
        calls = [(scores[:, k] >= 0.5) == (truth == 1) for scores in (one.scores[20:], other.scores)]
        only = [int((a & ~b & (truth == 1)).sum()) for a, b in (calls, calls[::-1])]
        sensitivity = found.loc[(name, "sensitivity")]
        assert [sensitivity["only_first_right"], sensitivity["only_second_right"]] == only
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Against second" in page
    assert "220 cases are in both" in page
    strange = make_table(60, ("A", "B"))
    strange.cases["case_id"] = strange.cases["case_id"] + "-other"
    apart = audit(first, tmp_path / "none", "--against", str(write(strange, tmp_path / "third.csv")))
    assert apart.exit_code == 2
    assert "share no case id" in apart.stderr
