"""The marks of reliability and threshold figures lead to exactly the cases behind them."""

from __future__ import annotations

import numpy as np
import pytest

from dashboard.audit.bootstrap import draws
from dashboard.audit.calibration import bins, outcomes
from dashboard.audit.decision import decision_curve
from dashboard.audit.operating import curves
from dashboard.audit.thresholds import called
from dashboard.figures.operating import Mark, against, decision, precision_recall, roc
from dashboard.figures.reliability import reliability
from tests.dashboard.audit.tables import make_table
from tests.dashboard.audit.test_calibration import one_class


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("dark", [False, True])
def test_reliability_marks_lead_to_their_cases(log, dark):
    table = make_table(seed=1, unknown=0.1)
    found = outcomes(table, 0)
    series = {"as given": bins(found), "recalibrated": bins(found, "mass", 7)}
    figure = reliability(series, "A present", log, dark)
    led = {"as given": [], "recalibrated": []}
    for trace in figure.data:
        if trace.customdata is None:
            continue
        for x, keys in zip(trace.x, trace.customdata, strict=True):
            name, _, number = keys[0].rpartition(":")
            rows = series[name].rows_of(int(number))
            assert len(rows) == series[name].n[int(number)]
            if trace.type == "scatter":
                assert x == pytest.approx(table.scores[rows, 0].astype(np.float64).mean())
                led[name].extend(rows.tolist())
            else:
                low, high = series[name].edges[int(number) : int(number) + 2]
                assert x == pytest.approx((low + high) / 2)
    for rows in led.values():
        assert sorted(rows) == np.flatnonzero(table.known[:, 0]).tolist()


def test_empty_bins_are_marked():
    found = bins(outcomes(one_class([0.05, 0.1, 0.95] * 5, [0, 1, 1] * 5), 0), "width", 10)
    figure = reliability({"as given": found}, "A present")
    crosses = next(trace for trace in figure.data if trace.marker.symbol == "x-thin")
    assert len(crosses.x) == (found.n == 0).sum() == 7
    assert all("no case" in text for text in crosses.text)


@pytest.mark.parametrize("dark", [False, True])
def test_points_of_the_curves_lead_to_their_cases(dark):
    table = make_table(n=500, seed=1)
    found = curves(table, 0, draws(table.groups, 50, 0), 30)
    n = (found.swept.positives, found.swept.negatives)
    mark = Mark(0.1, 0.5, "here")
    for figure, x in (
        (roc(found.fpr, found.roc, found.threshold, mark, n, dark), "fpr"),
        (precision_recall(found.recall, found.pr, found.threshold, mark, n, dark), "recall"),
    ):
        points = [trace for trace in figure.data if trace.customdata is not None]
        assert len(points) == 1
        for at_x, at_y, keys in zip(points[0].x, points[0].y, points[0].customdata, strict=True):
            behind = called(table, 0, keys[0])
            tp, fp = len(behind.true_positive), len(behind.false_positive)
            if x == "fpr":
                assert (at_x, at_y) == (pytest.approx(fp / n[1]), pytest.approx(tp / n[0]))
            else:
                assert (at_x, at_y) == (pytest.approx(tp / n[0]), pytest.approx(tp / (tp + fp)))


def test_all_figures_of_a_tiny_class_draw():
    table = one_class([0.2, 0.8], [0, 1])
    drawn = draws(table.groups, 5, 0)
    found = curves(table, 0, drawn)
    for figure in (
        roc(found.fpr, found.roc, found.threshold, None, (1, 1)),
        against(found.threshold, list(found.against.values())[:4], "Threshold", 0.5, log=True),
        decision(decision_curve(table, 0, drawn, [0.1, 0.5]), 0.2),
        reliability({"as given": bins(outcomes(table, 0))}, "A present", log=True),
    ):
        assert "NaN" not in figure.to_json()
