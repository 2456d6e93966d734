"""Holm's adjustment, and intervals at the ends of the scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dashboard.audit.gaps import estimated, holm, measured_gap


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
    none = estimated("sensitivity", np.zeros(51), 40)
    assert none.low == 0
    assert none.high == pytest.approx(stats.binomtest(0, 40).proportion_ci(method="wilson").high)
    assert estimated("auroc", np.ones(51), 40).low == 1


def test_intervals_of_ece_lie_about_its_value():
    drawn = np.concatenate([[0.05], np.random.default_rng(0).normal(0.08, 0.01, 4000)])
    for interval in (estimated("ece", drawn, 40), measured_gap("ece", drawn, 40).estimate):
        assert interval.value == 0.05
        assert (interval.low + interval.high) / 2 == pytest.approx(0.05, abs=1e-3)
    assert measured_gap("auroc", drawn, 40).estimate.low > 0.05


def test_a_gap_without_spread_has_no_p():
    assert measured_gap("auroc", np.zeros(20), 40).p is None
    assert measured_gap("auroc", np.array([0.1, np.nan, np.nan]), 40).p is None
    assert measured_gap("auroc", np.full(20, np.nan), 40).estimate.value is None
