"""The files of an audit: the record against the results it states, the page without a network, the command line."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics
from typer.testing import CliRunner

from dashboard.__main__ import app
from dashboard.audit.discrimination import discrimination
from dashboard.audit.metrics import collect
from dashboard.audit.table import Task
from dashboard.audit.weakest import weakest
from dashboard.reports.audit import audit_files
from dashboard.reports.checklist import checklist
from sample_data.samples import data_folder
from tests.dashboard.audit.tables import make_table

NEEDED = (
    "auroc", "auroc_ci", "auprc", "auprc_ci", "ece", "brier", "sensitivity", "specificity", "ppv", "npv", "n",
    "n_positive", "threshold",
)  # fmt: skip
# Of the table of outside predictions, as published with it.
PUBLISHED = {
    "Atelectasis": 0.8180, "Cardiomegaly": 0.9090, "Effusion": 0.8826, "Infiltration": 0.7154, "Mass": 0.8378,
    "Nodule": 0.7758, "Pneumonia": 0.7569, "Pneumothorax": 0.8776, "Consolidation": 0.8002, "Edema": 0.8945,
    "Emphysema": 0.9316, "Fibrosis": 0.8251, "Pleural_Thickening": 0.7889, "Hernia": 0.9175,
}  # fmt: skip


def test_the_record_holds_what_was_computed() -> None:
    table = make_table(500)
    record, files = audit_files(table, groups=("sex",), replicates=50)
    said = json.loads(files["metrics.json"])
    assert said["table_sha256"] == table.digest
    for k, name in enumerate(table.classes):
        one = said["classes"][name]
        assert set(NEEDED) <= set(one)
        assert one["auroc"] == pytest.approx(metrics.roc_auc_score(table.positive[:, k], table.scores[:, k]))
        assert one["n_positive"] == table.positive[:, k].sum()
        assert one["auroc_ci"][0] < one["auroc"] < one["auroc_ci"][1]
        assert one["auroc_ci_delong"][0] < one["auroc"] < one["auroc_ci_delong"][1]
    for name, counts in zip(table.classes, said["confusion"]["counts"], strict=True):
        k = table.column(name)
        expected = metrics.confusion_matrix(table.positive[:, k], table.decided[:, k])[::-1, ::-1]
        assert counts == expected.tolist()
    women = (table.cases.sex == "F").to_numpy()
    area = metrics.roc_auc_score(table.positive[women, 0], table.scores[women, 0])
    assert said["subgroups"]["sex"]["F"]["A"]["auroc"] == pytest.approx(area)
    assert record.splits == ("test", "val")


def test_the_weakest_subgroup_is_that_of_the_page_whatever_is_reported_by() -> None:
    table = make_table(400)
    found = weakest(table, 20)
    assert found is not None
    record, files = audit_files(table, groups=("sex",), replicates=20)
    for one in (record, collect(table, (), 20)[0]):
        assert one.worst_subgroup == f"{found.attribute}: {found.group.label}"
        assert one.weakest is not None
        assert one.weakest.groups == found.groups
        assert one.weakest.auroc_gap == found.group.gaps["auroc"].estimate.value
    assert f"lowest of {found.groups} groups that could be compared" in files["report.html"].decode()
    alone = collect(make_table(60, attributes=False), (), 5)[0]
    assert alone.weakest is None
    assert alone.worst_subgroup is None


def test_an_interval_that_is_not_from_the_bootstrap_says_so() -> None:
    table = make_table(300, ("A",), "binary")
    sure = replace(table, scores=np.clip(table.labels, 0.1, 0.9))
    one = collect(sure, (), 20)[0].classes["A"]
    assert one["sensitivity"] == 1
    assert "Wilson" in str(one["sensitivity_note"])
    assert "brier_note" not in one


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_the_page_draws_every_class_and_pair(task: Task) -> None:
    page = audit_files(make_table(300, task=task), replicates=10)[1]["report.html"].decode()
    found = dict(re.findall(r"<h2>(.+?)</h2>(.*?)(?=<h2>|</body>)", page, re.DOTALL))
    for title in ("Calibration", "ROC curves", "Precision and recall", "Decision curves"):
        assert re.findall("<h3>(.+?)</h3>", found[title]) == ["A", "B", "C"]
        assert found[title].count("Plotly.newPlot(") == 3
    assert found["Prevalence"].count("Plotly.newPlot(") == 1
    pairs = {"Called in place of a missed finding": 1, "Findings that come together": 3}
    assert {title: found[title].count("Plotly.newPlot(") for title in pairs if title in found} == (
        pairs if task == "multilabel" else {}
    )
    assert len(page) < 8e6


def test_the_page_leaves_out_what_cannot_be_drawn_and_says_so() -> None:
    table = make_table(120, tuple("ABCDEFGHIJKLMNOP"))
    labels = table.labels.copy()
    labels[:, 0] = 1
    page = audit_files(replace(table, labels=labels), replicates=5)[1]["report.html"].decode()
    assert "The 14 classes of most positives, of 16." in page
    assert "all known labels are of one kind: A." in page
    assert len(page) < 8e6


def test_the_leak_of_the_checklist_is_what_was_found_not_any_note_on_splits() -> None:
    table = replace(make_table(120), notes=("Columns left out (not used): split_x.",))
    found = discrimination(table, 0)
    answers = {one.number: one.answer for one in checklist(table, None, found, ())}
    assert answers["20, 21"] == "not available"
    leaking = {one.number: one.answer for one in checklist(replace(table, leak="Leak: 1"), None, found, ())}
    assert leaking["20, 21"] == "Leak: 1"


def test_the_same_table_gives_the_same_record() -> None:
    one, other, different = (collect(make_table(200), (), 20, seed)[0].model_dump_json() for seed in (0, 0, 1))
    assert one == other
    assert one != different


def test_the_page_asks_nothing_of_the_network_and_names_what_is_missing() -> None:
    _, files = audit_files(make_table(120, task="multiclass"), replicates=20)
    page = files["report.html"].decode()
    assert not re.search(r'<(?:script|link|img)[^>]+(?:src|href)="?http', page)
    assert "Plotly.newPlot" in page
    assert "TRIPOD+AI" in page
    assert "not available" in page


def test_a_title_cannot_smuggle_in_a_script() -> None:
    table = replace(make_table(60), title="<script>alert(1)</script>")
    page = audit_files(table, replicates=0)[1]["report.html"].decode()
    assert "<script>alert(1)" not in page


def test_tables_are_written_for_every_class_bin_and_group() -> None:
    table = make_table(300)
    _, files = audit_files(table, groups=("sex", "view"), replicates=20)
    bins = pd.read_csv(pd.io.common.BytesIO(files["calibration.csv"]))
    assert bins.groupby("class").n.sum().to_dict() == dict.fromkeys(table.classes, 300)
    groups = pd.read_csv(pd.io.common.BytesIO(files["subgroups.csv"]))
    assert set(groups["group"]) == {"F", "M", "PA", "AP"}


def test_the_command_line_writes_them_and_says_what_is_wrong(tmp_path: Path) -> None:
    table = make_table(150)
    frame = pd.DataFrame({"image": table.cases.case_id, "sex": table.cases.sex})
    for k, name in enumerate(table.classes):
        frame[f"score_{name}"], frame[f"label_{name}"] = table.scores[:, k], table.labels[:, k]
    frame.to_csv(tmp_path / "scores.csv", index=False)
    run = CliRunner().invoke
    done = run(app, ["audit", str(tmp_path / "scores.csv"), "--out", str(tmp_path / "out"), "--groups", "sex"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["cases"] == 150
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "metrics.json", "report.html", "classes.csv", "calibration.csv", "failures.csv", "subgroups.csv",
    }  # fmt: skip
    wrong = run(app, ["audit", str(tmp_path / "scores.csv"), "--out", str(tmp_path / "o"), "--groups", "race"])
    assert wrong.exit_code == 2
    assert "race" in wrong.stderr
    assert "sex" in wrong.stderr
    absent = run(app, ["audit", str(tmp_path / "none.csv"), "--out", str(tmp_path / "o")])
    assert absent.exit_code == 2
    assert "installed" in absent.stderr


def test_the_table_of_an_outside_model_gives_its_published_figures(tmp_path: Path) -> None:
    data = data_folder()
    file = None if data is None else data / "cxr14_external_predictions" / "chexnet_reproduction_test_22433.parquet"
    if file is None or not file.is_file():
        pytest.skip("the data folder has no cxr14_external_predictions")
    args = ["audit", str(file), "--out", str(tmp_path), "--replicates", "20", "--groups", "sex,view"]
    done = CliRunner().invoke(app, args)
    assert done.exit_code == 0, done.output
    said = json.loads((tmp_path / "metrics.json").read_text())
    assert said["n"] == 22433
    for name, area in PUBLISHED.items():
        assert round(said["classes"][name]["auroc"], 4) == area, name
    assert np.mean(list(PUBLISHED.values())) == pytest.approx(said["macro"]["auroc"], abs=1e-4)
