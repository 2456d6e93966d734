"""DeLong's variance against the double sum over all pairs, and how often its intervals hold."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from dashboard.audit.delong import auroc_interval, paired


def pairs(labels, scores):
    """Structural components by the definition: the kernel of every positive with every negative."""
    x, y = scores[labels].astype(float), scores[~labels].astype(float)
    kernel = (x[:, None] > y[None]) + 0.5 * (x[:, None] == y[None])
    return kernel.mean(), kernel.mean(1), kernel.mean(0)


def covariance(labels, a, b):
    area_a, v10_a, v01_a = pairs(labels, a)
    area_b, v10_b, v01_b = pairs(labels, b)
    m, k = len(v10_a), len(v01_a)
    s10 = ((v10_a - area_a) * (v10_b - area_b)).sum() / (m - 1)
    s01 = ((v01_a - area_a) * (v01_b - area_b)).sum() / (k - 1)
    return s10 / m + s01 / k


@pytest.mark.parametrize("levels", [2, 5, 30, 0])
def test_area_and_variances_equal_the_double_sum(levels):
    rng = np.random.default_rng(levels)
    for n in (20, 101, 400):
        labels = rng.random(n) < 0.3
        labels[:4] = True, True, False, False
        both = rng.normal(size=(2, n)) + labels
        if levels:
            both = np.round(both * levels / 4)
        a, b = both
        area, low, high, error = auroc_interval(labels, a)
        assert area == pytest.approx(roc_auc_score(labels, a), abs=1e-12)
        assert error**2 == pytest.approx(covariance(labels, a, a), abs=1e-12)
        assert 0 <= low <= area <= high <= 1
        assert np.diff(np.log([low, high]) - np.log1p([-low, -high])) == pytest.approx(
            2 * stats.norm.isf(0.025) * error / (area * (1 - area))
        )
        difference, low, high, p = paired(labels, a, b)
        variance = covariance(labels, a, a) + covariance(labels, b, b) - 2 * covariance(labels, a, b)
        assert difference == pytest.approx(roc_auc_score(labels, a) - roc_auc_score(labels, b), abs=1e-12)
        assert ((high - low) / 2 / stats.norm.isf(0.025)) ** 2 == pytest.approx(variance, abs=1e-12)
        assert p == pytest.approx(stats.chi2.sf(difference**2 / variance, 1))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 6)), max_size=40))
@settings(max_examples=60, deadline=None)
def test_any_small_table(rows):
    labels = np.array([row[0] for row in rows], dtype=bool)
    a, b = (np.array([row[place] for row in rows], dtype=np.float32) / 6 for place in (1, 2))
    area, low, high, error = auroc_interval(labels, a)
    difference, *_, p = paired(labels, a, b)
    if labels.all() or not labels.any():
        assert np.isnan([area, low, high, error, difference, p]).all()
        return
    assert area == pytest.approx(roc_auc_score(labels, a), abs=1e-12)
    if min(labels.sum(), (~labels).sum()) == 1:
        assert np.isnan([low, high, error, p]).all()
    else:
        assert error**2 == pytest.approx(covariance(labels, a, a), abs=1e-12)
        assert 0 <= low <= area + 1e-12
        assert area - 1e-12 <= high <= 1
    back = paired(labels, b, a)
    assert back[0] == pytest.approx(-difference, abs=1e-12)
    assert back[3] == pytest.approx(p, abs=1e-9, nan_ok=True)


def test_without_an_error_the_bound_comes_from_the_count():
    labels = np.arange(60) >= 40
    area, low, high, error = auroc_interval(labels, np.arange(60.0))
    assert (area, high, error) == (1, 1, 0)
    assert low**20 == pytest.approx(0.025)
    assert auroc_interval(labels, -np.arange(60.0))[:3] == pytest.approx((0, 0, 1 - low))


def test_equal_and_constant_scores():
    labels = np.arange(30) % 2 == 0
    scores = np.random.default_rng(0).normal(size=30)
    assert paired(labels, scores, scores) == (0, 0, 0, 1)
    assert paired(labels, scores, np.exp(scores)) == (0, 0, 0, 1)
    assert auroc_interval(labels, np.zeros(30)) == (0.5, 0.5, 0.5, 0)
    assert np.isnan(paired(labels, labels.astype(float), np.zeros(30))[1:]).all()


def test_intervals_hold_at_the_nominal_rate():
    """2,000 draws of 40 positives and 120 negatives from normal scores, whose areas are known."""
    rng = np.random.default_rng(11)
    labels = np.arange(160) < 40
    shared, noise = rng.normal(size=(2000, 160)), rng.normal(size=(2, 2000, 160))
    a, b = (0.7 * shared + 0.7 * noise[0]) + 1.2 * labels, (0.7 * shared + 0.7 * noise[1]) + 0.8 * labels
    spread = np.sqrt(2 * 0.98)
    true_a, true_b = stats.norm.cdf(1.2 / spread), stats.norm.cdf(0.8 / spread)
    single = [low <= true_a <= high for _, low, high, _ in (auroc_interval(labels, row) for row in a)]
    differences = [
        low <= true_a - true_b <= high for _, low, high, _ in (paired(labels, *rows) for rows in zip(a, b, strict=True))
    ]
    assert 0.93 <= np.mean(single) <= 0.97
    assert 0.93 <= np.mean(differences) <= 0.97


def test_fast_enough_for_the_largest_table():
    rng = np.random.default_rng(0)
    labels = rng.random((14, 112_120)) < 0.05
    scores = rng.random((14, 112_120), dtype=np.float32)
    start = time.process_time()
    for truth, score in zip(labels, scores, strict=True):
        auroc_interval(truth, score)
    assert time.process_time() - start < 2  # 0.2 s on the machine this was written on
