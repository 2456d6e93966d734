"""Holm's adjustment, and intervals at the ends of the scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dashboard.audit.gaps import holm, measured_gap
from dashboard.audit.intervals import estimated, least_area


def test_holm_by_hand():
    assert holm([0.01, 0.04, None, 0.03, 0.005]) == pytest.approx([0.03, 0.06, None, 0.06, 0.02])
    assert holm([0.03, 0.03, 0.01, 0.01], mirrored=True) == pytest.approx([0.03, 0.03, 0.02, 0.02])
    assert holm([]) == []
    assert holm([None]) == [None]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.999))
@settings(max_examples=60, deadline=None)
def test_holm_rejects_what_the_stepwise_procedure_rejects(p, level):
    order = sorted(range(len(p)), key=p.__getitem__)
    rejected = set()
    for step, place in enumerate(order):
        if p[place] * (len(p) - step) > level:
            break
        rejected.add(place)
    assert {place for place, value in enumerate(holm(p)) if value <= level} == rejected


def test_shares_of_nothing_or_all_keep_an_interval():
    none = estimated("sensitivity", np.zeros(51), 400, 40)
    assert none.low == 0
    assert none.high == pytest.approx(stats.binomtest(0, 40).proportion_ci(method="wilson").high)
    area = estimated("auroc", np.ones(51), 400, 40)
    assert 1 - area.low**40 == pytest.approx(0.975)  # all of 40 independent pairs are then in order 1 time in 40
    assert (area.value, area.high) == (1, 1)
    assert (estimated("auroc", np.zeros(51), 400, 40).high, area.low) == (1 - least_area(40), least_area(40))


@pytest.mark.parametrize("figure", ["auprc", "f1", "balanced_accuracy", ""])
def test_no_interval_where_no_resample_differs(figure):
    found = estimated(figure, np.ones(51), 400, 40)
    assert (found.value, found.low, found.high) == (1, None, None)
    assert "no resample differs" in found.note


@pytest.mark.parametrize(("people", "each", "share"), [(12, 20, 0.9), (40, 5, 0.97)])
def test_shares_of_nothing_or_all_hold_the_truth(people, each, share):
    """Patients whose images all go one way: where none was missed the interval must not shrink with the images."""
    rng = np.random.default_rng(people)
    hits = np.repeat(rng.random((2000, people)) < share, each, axis=1)
    found = [estimated("sensitivity", np.ones(3), people * each, people).low <= share for row in hits if row.all()]
    assert len(found) > 200
    assert all(found)
    assert estimated("sensitivity", np.ones(3), people * each, people * each).low > share


def test_ece_has_no_interval():
    drawn = np.concatenate([[0.05], np.random.default_rng(0).normal(0.08, 0.01, 4000)])
    gap = measured_gap("ece", drawn, 40)
    assert gap.p is None
    for interval in (estimated("ece", drawn, 40, 40), gap.estimate):
        assert (interval.value, interval.low, interval.high) == (0.05, None, None)
    assert measured_gap("auroc", drawn, 40).estimate.low > 0.05


def test_a_gap_without_spread_has_no_p():
    assert measured_gap("auroc", np.zeros(20), 40).p is None
    assert measured_gap("auroc", np.array([0.1, np.nan, np.nan]), 40).p is None
    assert measured_gap("auroc", np.full(20, np.nan), 40).estimate.value is None
