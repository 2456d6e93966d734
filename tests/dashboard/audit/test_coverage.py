"""How often intervals hold the truth of made tables, at a size and number that a binomial test can tell apart."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from scipy import stats

from benchmarks.coverage import calibration_error, of_errors, of_ranks, of_slopes, truths

TABLES = 120


def test_truths_are_those_of_a_large_table():
    rng = np.random.default_rng(0)
    labels = rng.random(400_000) < 0.4
    score = 1 / (1 + np.exp(-rng.normal(size=len(labels)) - labels))
    order = np.argsort(-score)
    found, called = np.cumsum(labels[order]), score >= 0.5
    ranks = stats.rankdata(score)[labels].sum() - found[-1] * (found[-1] + 1) / 2
    expected = {
        "auroc": ranks / (found[-1] * (len(labels) - found[-1])),
        "auprc": (found / np.arange(1, len(labels) + 1))[labels[order]].mean(),
        "brier": np.mean((score - labels) ** 2),
        "sensitivity": called[labels].mean(),
        "ppv": labels[called].mean(),
    }
    assert truths() == pytest.approx(expected, abs=0.004)
    assert calibration_error(1.0, 0.0) == 0


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng, truth, held = np.random.default_rng(1), truths(), defaultdict(list)
    for _ in range(TABLES):
        for source in (of_ranks(rng, 120, truth, 200), of_slopes(rng, 120)):
            for name, _, low, high, value in source:
                held[name].append(low <= value <= high)
    # 93 %: percentiles of a finite sample; one test in a thousand would fail below these bounds by chance.
    least, most = (stats.binom.ppf(level, TABLES, share) for level, share in ((0.001, 0.93), (0.999, 0.75)))
    for name, inside in held.items():
        if "images of the same patients" in name:
            assert sum(inside) <= most, name
        else:
            assert sum(inside) >= least, name


def test_intervals_of_a_calibration_error_of_0_would_not_hold_it():
    rng, held = np.random.default_rng(2), defaultdict(list)
    for _ in range(40):
        for name, _, low, high, value in of_errors(rng, 300, 100, (1.0, 0.0), 0.0):
            held[name].append(low <= value <= high)
    assert all(np.mean(inside) < 0.7 for inside in held.values())
