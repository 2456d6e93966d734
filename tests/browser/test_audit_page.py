"""A click on a mark of the Audit page lists exactly the cases behind it, counted here from the stored scores."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from models.card import read_card

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "models" / "zoo" / "chest-xray-14"
READY = 120_000  # ms; two slow cores may be busy
FINDING = "Atelectasis"
# Where the marks of a figure lie on the screen, with what a click on each returns.
MARKS = """figure => figure.calcdata.flatMap(points => {
    const trace = points[0].trace, layout = figure._fullLayout;
    const axis = name => layout[name.replace(/^([xy])(\\d*)$/, '$1axis$2')];
    if (!trace.customdata || !trace.xaxis) return [];
    const x = axis(trace.xaxis), y = axis(trace.yaxis), box = figure.getBoundingClientRect();
    return points.filter(p => p.x !== undefined && trace.customdata[p.i]).map(p => ({
        key: trace.customdata[p.i][0], x: box.left + x._offset + x.c2p(p.x), y: box.top + y._offset + y.c2p(p.y)}));
})"""


@pytest.fixture(scope="module")
def scores() -> pd.DataFrame:
    """One row a test case: label, score and attributes of the finding."""
    table = pd.read_parquet(MODEL / "evaluation" / "test.parquet")
    return table[table["class"] == FINDING].reset_index(drop=True)


@pytest.fixture(scope="module")
def threshold() -> float:
    return read_card(MODEL).thresholds.values[FINDING]


@pytest.fixture
def audit(page: Page, few_samples: str) -> Page:
    page.goto(f"{few_samples}/?case=none")  # through the Case page, but nothing is explained there
    expect(page.get_by_role("alert").first).to_be_visible(timeout=READY)
    page.get_by_role("link", name="Audit").click()
    expect(page.get_by_text("Click a class for the cases")).to_be_visible(timeout=READY)
    return page


def marks(page: Page, key: str) -> list[dict[str, Any]]:
    """The marks of a figure that is on the screen."""
    figure = page.locator(f"[class*='st-key-chart-{key}'] .js-plotly-plot").first
    expect(figure).to_be_visible(timeout=READY)
    figure.scroll_into_view_if_needed()
    page.wait_for_timeout(800)  # the page settles
    found: list[dict[str, Any]] = figure.evaluate(MARKS)
    return found


def listed(page: Page, mark: dict[str, Any]) -> int:
    """Click a mark; how many cases are then listed."""
    page.mouse.click(mark["x"], mark["y"])
    head = page.locator(".st-key-audit-cases").get_by_text(re.compile(r"· [\d,]+ cases?"))
    expect(head).to_be_visible(timeout=READY)
    said = re.search(r"· ([\d,]+) cases?", head.inner_text())
    assert said is not None
    return int(said.group(1).replace(",", ""))


def open_tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def test_a_class_lists_the_cases_it_is_wrong_about(audit: Page, scores: pd.DataFrame, threshold: float) -> None:
    mark = next(mark for mark in marks(audit, "overview-auroc") if mark["key"] == FINDING)
    assert listed(audit, mark) == ((scores.score >= threshold) != (scores.label == 1)).sum()


def test_a_confusion_cell_lists_its_cases(audit: Page, scores: pd.DataFrame, threshold: float) -> None:
    open_tab(audit, "Confusion")
    missed = ((scores.score < threshold) & (scores.label == 1)).sum()
    mark = next(mark for mark in marks(audit, "confusion-finding-") if int(mark["key"]) == 1)
    assert listed(audit, mark) == missed


def test_a_reliability_bin_lists_its_cases(audit: Page, scores: pd.DataFrame) -> None:
    open_tab(audit, "Calibration")
    third = next(mark for mark in marks(audit, "reliability") if str(mark["key"]) == "as given:2")
    edges = np.linspace(0, 1, 16, dtype=np.float32)
    assert listed(audit, third) == ((scores.score >= edges[2]) & (scores.score < edges[3])).sum()


def test_a_subgroup_lists_its_cases(audit: Page, scores: pd.DataFrame) -> None:
    open_tab(audit, "Subgroups")
    mark = next(mark for mark in marks(audit, "subgroups-auroc") if str(mark["key"]) == "50 to 59")
    assert listed(audit, mark) == scores.age.between(50, 59.999).sum()


def test_a_point_of_the_precision_recall_curve_lists_what_it_calls(audit: Page, scores: pd.DataFrame) -> None:
    open_tab(audit, "Thresholds")
    points = marks(audit, "pr-")
    places = np.array([(point["x"], point["y"]) for point in points])
    apart = np.linalg.norm(places[:, None] - places[None], axis=2) + 1e9 * np.eye(len(places))
    chosen = points[int(apart.min(1).argmax())]  # the point that is easiest to hit
    audit.mouse.click(chosen["x"], chosen["y"])
    called = scores.score >= np.float32(chosen["key"])
    expect(audit.get_by_text(f"Found ({(called & (scores.label == 1)).sum()})").first).to_be_visible(timeout=READY)
    expect(audit.get_by_text(f"False alarms ({(called & (scores.label == 0)).sum()})").first).to_be_visible(
        timeout=READY
    )


def test_zoom_survives_a_click(audit: Page) -> None:
    open_tab(audit, "Calibration")
    marks(audit, "reliability")  # waits until it is drawn
    figure = audit.locator("[class*='st-key-chart-reliability'] .js-plotly-plot").first
    third = next(mark for mark in marks(audit, "reliability") if str(mark["key"]) == "as given:2")
    audit.mouse.move(third["x"] - 60, third["y"] - 90)
    audit.mouse.down()
    audit.mouse.move(third["x"] + 60, third["y"] + 25, steps=5)
    audit.mouse.up()
    audit.wait_for_timeout(500)
    before = figure.evaluate("figure => figure._fullLayout.xaxis.range")
    assert before[1] - before[0] < 0.5  # zoomed
    third = next(mark for mark in marks(audit, "reliability") if str(mark["key"]) == "as given:2")
    assert listed(audit, third) > 0  # the page runs again
    after = audit.locator("[class*='st-key-chart-reliability'] .js-plotly-plot").first.evaluate(
        "figure => figure._fullLayout.xaxis.range"
    )
    assert after == pytest.approx(before)


def test_no_serious_accessibility_issue(audit: Page) -> None:
    found = Axe().run(audit).response["violations"]
    serious = [issue["id"] for issue in found if issue["impact"] in ("serious", "critical")]
    assert serious == [], serious
