"""Thresholds against scikit-learn, Bayes' rule by hand, and resampling by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_curve, roc_curve

from dashboard.audit.bootstrap import draws
from dashboard.audit.discrimination import discrimination
from dashboard.audit.intervals import wilson
from dashboard.audit.operating import along, at_threshold, curves, over_prevalence
from dashboard.audit.points import Point, list_points, load_points, points_for, save_point
from dashboard.audit.thresholds import at_prevalence, called, choose, counts, marks, rates, sweep
from models.errors import DataError
from tests.dashboard.audit.tables import make_table
from tests.dashboard.audit.test_calibration import one_class


@pytest.mark.parametrize("digits", [8, 2, 1])
def test_sweep_equals_scikit_learn(digits):
    table = make_table(seed=2, unknown=0.1)
    table = table.with_scores(np.round(table.scores, digits))
    found, known = sweep(table, 1), table.known[:, 1]
    y, p = table.labels[known, 1], table.scores[known, 1].astype(np.float64)
    fpr, tpr, cuts = roc_curve(y, p, drop_intermediate=False)
    np.testing.assert_allclose(1 - found.specificity, fpr, atol=1e-12)
    np.testing.assert_allclose(found.sensitivity, tpr, atol=1e-12)
    assert np.array_equal(found.threshold[1:], cuts[1:])
    precision, recall, at = precision_recall_curve(y, p)
    np.testing.assert_allclose(found.precision[1:][::-1], precision[:-1], atol=1e-12)
    np.testing.assert_allclose(found.sensitivity[1:][::-1], recall[:-1], atol=1e-12)
    assert np.array_equal(found.threshold[1:][::-1], at)


@pytest.mark.parametrize("threshold", [0.0, 0.31, 0.9, 1.0])
def test_rates_equal_the_confusion_matrix(threshold):
    table = make_table(seed=1)
    y, decided = table.labels[:, 0], table.scores[:, 0] >= threshold
    tn, fp, fn, tp = confusion_matrix(y, decided, labels=[0, 1]).ravel()
    found = rates(tp, fp, tp + fn, tn + fp)
    for value, top, bottom in (
        (found.sensitivity, tp, tp + fn), (found.specificity, tn, tn + fp), (found.ppv, tp, tp + fp),
        (found.npv, tn, tn + fn), (found.alerts, 1000 * (tp + fp), 400),
    ):  # fmt: skip
        assert float(value) == pytest.approx(top / bottom if bottom else np.nan, nan_ok=True)
    assert float(found.f1) == pytest.approx(f1_score(y, decided, zero_division=0))


def every_threshold(table):
    """Sensitivity, specificity, false alarms and missed at each score, the slow way."""
    y = table.labels[:, 0] == 1
    for cut in np.unique(table.scores[:, 0]):
        on = table.scores[:, 0] >= cut
        yield float(cut), on[y].mean(), 1 - on[~y].mean(), int((on & ~y).sum()), int((~on & y).sum()), on


@pytest.mark.parametrize("digits", [8, 2])
@pytest.mark.parametrize("seed", [0, 7])
def test_rules_equal_a_search(seed, digits):
    table = make_table(seed=seed)
    table = table.with_scores(np.round(table.scores, digits))
    found, all_of = sweep(table, 0), list(every_threshold(table))
    where = {entry[0]: entry for entry in all_of}
    best = where[choose(found, "youden")]
    assert best[1] + best[2] == pytest.approx(max(entry[1] + entry[2] for entry in all_of))
    sure = where[choose(found, "sensitivity", 0.9)]
    assert sure[1] >= 0.9
    assert sure[2] == max(entry[2] for entry in all_of if entry[1] >= 0.9)
    strict = where[choose(found, "specificity", 0.8)]
    assert strict[2] >= 0.8
    assert strict[1] == max(entry[1] for entry in all_of if entry[2] >= 0.8)
    cheap = where[choose(found, "cost", 5)]
    assert 5 * cheap[4] + cheap[3] == min(5 * entry[4] + entry[3] for entry in all_of)
    rare = where[choose(found, "cost", 5, prevalence=0.01)]
    cost = {entry[0]: 5 * 0.01 * (1 - entry[1]) + 0.99 * (1 - entry[2]) for entry in all_of}
    assert cost[rare[0]] == pytest.approx(min(cost.values()))
    y = table.labels[:, 0]
    top = where[choose(found, "f1")]
    assert f1_score(y, top[5]) == pytest.approx(max(f1_score(y, entry[5]) for entry in all_of))


def test_a_target_that_is_met_exactly_counts_as_met():
    table = one_class(np.linspace(0.05, 0.95, 20), [0] * 10 + [1] * 10)
    assert choose(sweep(table, 0), "sensitivity", 0.9) == pytest.approx(float(table.scores[11, 0]))
    assert choose(sweep(table, 0), "specificity", 0.9) == pytest.approx(float(table.scores[10, 0]))


@pytest.mark.parametrize(
    ("rule", "value", "words"),
    [("sensitivity", 90, "between 0 and 1"), ("specificity", -1, "between 0 and 1"), ("cost", 0, "worth more than 0")],
)
def test_values_out_of_range(rule, value, words):
    with pytest.raises(DataError, match=words):
        choose(sweep(make_table(), 0), rule, value)


def test_nothing_to_choose():
    for labels in ([], [1], [0, 0], [np.nan, np.nan]):
        with pytest.raises(DataError, match="with and without"):
            choose(sweep(one_class([0.5] * len(labels), labels), 0), "youden")
    with pytest.raises(DataError, match="No score reaches"):
        choose(sweep(one_class([0.9, 0.1], [0, 1]), 0), "specificity", 0.9)


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([0.0, 1.0, np.nan])), max_size=40), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_called_cases_are_exactly_those(pairs, cut):
    table = one_class([score / 10 for score, _ in pairs], [label for _, label in pairs])
    found = called(table, 0, float(np.float32(cut / 10)))
    expected = {
        "true_positive": {r for r, (s, y) in enumerate(pairs) if s >= cut and y == 1},
        "false_positive": {r for r, (s, y) in enumerate(pairs) if s >= cut and y == 0},
        "missed": {r for r, (s, y) in enumerate(pairs) if s < cut and y == 1},
    }
    for name, rows in expected.items():
        behind = getattr(found, name).tolist()
        assert set(behind) == rows
        assert len(behind) == len(rows)
        assert [pairs[row][0] for row in behind] == sorted((pairs[row][0] for row in behind), reverse=True)


def test_counts_equal_resampling_by_hand():
    table = make_table(n=150, seed=3, unknown=0.1)
    drawn = draws(table.groups, 30, 0)
    grid = [0.5, 0.2, 0.9, float(table.scores[0, 0])]
    tp, fp, positives, negatives = counts(table, 0, grid, drawn)
    for replicate, column in enumerate(drawn.T):
        weight = column[table.groups].astype(int)
        pos, neg = table.positive[:, 0], table.negative[:, 0]
        assert positives[replicate] == weight[pos].sum()
        assert negatives[replicate] == weight[neg].sum()
        for place, cut in enumerate(grid):
            on = table.scores[:, 0].astype(np.float64) >= cut
            assert tp[place, replicate] == weight[on & pos].sum()
            assert fp[place, replicate] == weight[on & neg].sum()


def test_marks_are_scores_and_reach_both_ends():
    table = make_table(n=3000)
    found = sweep(table, 0)
    grid = marks(found, 50)
    assert 50 <= len(grid) <= 100
    assert set(grid) <= set(found.threshold[1:])
    assert (np.diff(grid) < 0).all()
    on = table.scores[:, 0].astype(np.float64)[:, None] >= grid
    reached = on[table.positive[:, 0]].mean(0)
    assert reached[-1] == 1
    assert np.diff(reached, prepend=0).max() <= 1 / 50 + 0.01
    assert marks(sweep(one_class([], []), 0)).size == 0


def test_curves_hold_the_points_of_the_sweep():
    table = make_table(n=600, seed=1)
    found = curves(table, 0, draws(table.groups, 100, 0), 40)
    on = table.scores[:, 0].astype(np.float64)[:, None] >= found.threshold
    pos, neg = table.positive[:, 0], table.negative[:, 0]
    np.testing.assert_allclose(found.roc.value, on[pos].mean(0))
    np.testing.assert_allclose(found.fpr, on[neg].mean(0))
    np.testing.assert_allclose(found.pr.value, on[pos].sum(0) / on.sum(0))
    np.testing.assert_allclose(found.against["alerts"].value, 1000 * on.mean(0))
    inside = (found.roc.low <= found.roc.value + 0.02) & (found.roc.value <= found.roc.high + 0.02)
    assert inside.all()
    few = curves(one_class([0.1, 0.4, 0.6], [0, 1, 1]), 0, draws(np.arange(3), 20, 0))
    assert np.isnan(few.roc.low).all()
    assert np.isfinite(few.roc.value).all()


def test_along_interpolates_each_curve():
    x = np.array([[0.0, 0.0], [0.5, 1.0], [1.0, 1.0]])
    y = np.array([[0.0, 0.0], [1.0, 0.5], [1.0, 1.0]])
    low, high = along(np.array([0.25]), x, y)
    assert low[0] == pytest.approx(0.125 + 0.025 * 0.375)
    assert high[0] == pytest.approx(0.5 - 0.025 * 0.375)


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.floats(0.001, 0.9))
@settings(max_examples=40, deadline=None)
def test_prevalence_is_bayes_rule_in_a_town_of_a_million(sensitivity, specificity, prevalence):
    ill, well = 1e6 * prevalence, 1e6 * (1 - prevalence)
    tp, fp = ill * sensitivity, well * (1 - specificity)
    ppv, npv, alerts = at_prevalence(sensitivity, specificity, prevalence)
    assert float(ppv) == pytest.approx(tp / (tp + fp))
    assert float(npv) == pytest.approx((well - fp) / (1e6 - tp - fp))
    assert float(alerts) == pytest.approx((tp + fp) / 1000)


def test_figures_at_a_threshold_and_at_their_own_prevalence_agree():
    table = make_table(n=500, unknown=0.1)
    drawn = draws(table.groups, 200, 0)
    here = at_threshold(table, 0, 0.4, drawn)
    own = table.positive[:, 0].sum() / table.known[:, 0].sum()
    there = at_threshold(table, 0, 0.4, drawn, float(own))
    for name, estimate in here.items():
        assert there[name].value == pytest.approx(estimate.value)
        assert estimate.low <= estimate.value <= estimate.high
    assert here["sensitivity"].n == table.positive[:, 0].sum()
    ppv, npv = over_prevalence(table, 0, 0.4, drawn, [0.01, own])
    assert ppv.value[1] == pytest.approx(here["ppv"].value)
    assert npv.value[1] == pytest.approx(here["npv"].value)
    assert ppv.low[0] < ppv.value[0] < ppv.high[0] < ppv.low[1]


def test_too_few_called():
    table = one_class(np.linspace(0, 0.9, 60), [0, 1] * 30)
    found = at_threshold(table, 0, 0.85, draws(table.groups, 20, 0))
    assert found["ppv"].note.startswith("too few")
    assert found["sensitivity"].value is not None


def test_a_sensitivity_of_1_has_the_same_interval_as_in_the_overview():
    table = make_table(n=300, classes=("A",)).with_thresholds([0.0])
    drawn = draws(table.groups, 50, 0)
    here, there = at_threshold(table, 0, 0.0, drawn), discrimination(table, 50).classes[0].figures
    for name in ("sensitivity", "specificity", "ppv", "f1"):
        assert (here[name].value, here[name].low, here[name].high, here[name].n) == (
            there[name].value, there[name].low, there[name].high, there[name].n
        )  # fmt: skip
    assert (here["alerts"].value, here["alerts"].high) == (1000, 1000)
    assert here["alerts"].low == pytest.approx(1000 * wilson(table.patients, table.patients)[0])
    # At another prevalence alerts are no share of these cases: without a resample that differs there is no interval.
    assert at_threshold(table, 0, 0.0, drawn, 0.1)["alerts"].low is None


def test_few_patients_give_no_bands():
    who = np.arange(300) % 30
    table = one_class(np.linspace(0, 0.9, 300), who < 5, who)
    drawn = draws(table.groups, 20, 0)
    found = curves(table, 0, drawn)
    assert found.scarce == "too few positive patients (n=5)"
    assert np.isnan(found.roc.low).all()
    ppv, _ = over_prevalence(table, 0, 0.3, drawn, [0.1, 0.2])
    assert np.isfinite(ppv.value).all()
    assert np.isnan(ppv.low).all()
    assert at_threshold(table, 0, 0.3, drawn)["sensitivity"].note == found.scarce


def point(threshold: float) -> Point:
    return Point(threshold=threshold, chosen="by hand", table="made", table_digest="0" * 64, n=12)


def test_points_are_kept_by_model_and_name(tmp_path):
    exact = float(np.float32(0.3))
    save_point(tmp_path, "made", "screening", "A", point(0.2))
    save_point(tmp_path, "made", "screening", "B", point(0.5))
    save_point(tmp_path, "made", "screening", "A", point(exact))
    save_point(tmp_path, "", "other", "A", point(0.1))
    assert points_for(tmp_path, "made", "screening") == {"A": exact, "B": 0.5}
    assert list_points(tmp_path, "made") == ("screening",)
    assert list_points(tmp_path, "") == ("other",)
    assert list_points(tmp_path, "unheard-of") == ()
    stored = json.loads((tmp_path / "made" / "screening.json").read_text())
    assert set(stored["classes"]["A"]) == {"threshold", "chosen", "table", "table_digest", "n", "date"}
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("name", ["", "../away", "a/b", ".hidden", "x" * 61, "a\n"])
def test_names_that_are_no_names(tmp_path, name):
    with pytest.raises(DataError, match="at most 60 letters"):
        save_point(tmp_path, "made", name, "A", point(0.2))
    assert not list(tmp_path.iterdir())


def test_points_that_are_not_there_or_damaged(tmp_path):
    with pytest.raises(DataError, match="there are: none"):
        load_points(tmp_path, "made", "screening")
    save_point(tmp_path, "made", "screening", "A", point(0.2))
    (tmp_path / "made" / "screening.json").write_text('{"format": 1, "classes": {"A": 3}}')
    with pytest.raises(DataError, match="cannot be read"):
        points_for(tmp_path, "made", "screening")
