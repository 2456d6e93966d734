"""The Audit page without a browser: every tab of every shipped model, the list of cases, export, kept points."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from dashboard.audit.points import Point, save_point
from dashboard.audit.reading import zoo_table
from dashboard.pages.audit import TABS
from dashboard.reports.audit import audit_files, audit_zip
from dashboard.settings import settings
from models.card import read_card

SCRIPT = "from dashboard.pages import audit\naudit.page()\n"
MODELS = (
    "chest-xray-14",
    "skin-lesion-7",
    "lung-nodule",
    "pneumonia-ct",
)  # many labels, many classes, one, segmentation


def opened(model: str, tab: str = "Overview") -> AppTest:
    test = AppTest.from_string(SCRIPT, default_timeout=120)
    test.session_state["audit-tabs"] = tab
    test.run()
    test.selectbox(key="audit-source").select(f"zoo:{model}").run()
    assert not test.exception, test.exception
    return test


def said(test: AppTest) -> str:
    return "\n".join(e.value for kind in ("markdown", "caption", "info", "error") for e in getattr(test, kind))


@pytest.mark.parametrize("tab", TABS)
@pytest.mark.parametrize("model", MODELS)
def test_every_tab_of_every_kind_of_model_draws(model: str, tab: str) -> None:
    test = opened(model, tab)
    assert not test.error, said(test)


def test_the_headline_is_the_stored_evaluation() -> None:
    metrics = json.loads((Path("models/zoo/skin-lesion-7/evaluation/metrics.json")).read_text())
    stored = next(
        m for m in metrics["measures"] if m["metric"] == "macro AUROC" and m["split"] == "test" and not m["subgroup"]
    )
    assert f"**{stored['value']:.3f}**" in said(opened("skin-lesion-7"))


def test_rows_behind_a_mark_are_listed_and_closed() -> None:
    test = opened("lung-nodule")
    view = test.session_state["audit_view"]
    view.rows, view.title, view.finding = (3, 1, 4), "Three nodules", 0
    test.run()
    assert "**Three nodules** · 3 cases" in said(test)
    stored = pd.read_parquet("models/zoo/lung-nodule/evaluation/test.parquet").case_id
    assert test.dataframe[-1].value["Case"].tolist() == stored.iloc[[3, 1, 4]].tolist()
    test.button(key="audit-cases-close").click().run()
    assert "Three nodules" not in said(test)


def test_another_table_closes_the_list() -> None:
    test = opened("lung-nodule")
    view = test.session_state["audit_view"]
    view.rows, view.title = (1,), "One nodule"
    test.run()
    test.selectbox(key="audit-source").select("zoo:skin-lesion-7").run()
    assert "One nodule" not in said(test)
    assert not test.exception


def test_the_case_page_decides_by_a_kept_operating_point() -> None:
    point = Point(threshold=0.999, chosen="by hand", table="made", table_digest="0" * 64, n=100)
    save_point(settings().operating_points, "chest-xray-14", "strict", "Effusion", point)
    script = "from dashboard.pages import case\ncase.page()\n"
    test = AppTest.from_string(script, default_timeout=120).run()
    assert not test.exception, test.exception
    test.selectbox(key="points-chest-xray-14").select("strict").run()
    assert not test.exception, test.exception


def test_the_export_holds_what_the_command_line_writes() -> None:
    card = read_card(Path("models/zoo/lung-nodule"))
    table = zoo_table(card).in_split("test")
    packed = zipfile.ZipFile(io.BytesIO(audit_zip(audit_files(table, card, ["diameter"], replicates=20)[1])))
    names = set(packed.namelist())
    assert {"metrics.json", "report.html", "classes.csv", "calibration.csv", "failures.csv", "subgroups.csv"} == names
    assert json.loads(packed.read("metrics.json"))["model_id"] == "lung-nodule"
