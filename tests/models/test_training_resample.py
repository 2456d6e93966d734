"""Weighted figures against scikit-learn on rows that are really repeated."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from models.training.resample import (
    auroc,
    average,
    average_precision,
    interval,
    rate,
    resample,
    sensitivity_at,
)

Case = tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64], NDArray[np.int64]]


@pytest.fixture(params=["distinct", "ties"])
def case(request: pytest.FixtureRequest) -> Case:
    rng = np.random.default_rng(3)
    labels = rng.random(150) < 0.3
    scores = rng.normal(size=150) + labels
    if request.param == "ties":
        scores = np.round(scores)
    groups = np.array([f"g{k // 3}" for k in range(150)])
    weights = resample(groups, replicates=20, seed=1)
    return weights, labels, scores, np.arange(150)


def test_whole_groups_are_drawn_and_the_first_row_is_the_data(case: Case) -> None:
    weights, *_ = case
    assert (weights[0] == 1).all()
    assert (weights[:, ::3] == weights[:, 1::3]).all()
    assert (weights.sum(1) == 150).all()
    assert len(np.unique(weights[1:], axis=0)) == 20
    assert np.array_equal(weights, resample(np.array([f"g{k // 3}" for k in range(150)]), 20, seed=1))


def test_areas_equal_scikit_learn_on_repeated_rows(case: Case) -> None:
    weights, labels, scores, rows = case
    area, precise = auroc(weights, labels, scores), average_precision(weights, labels, scores)
    for k, weight in enumerate(weights):
        drawn = np.repeat(rows, weight.astype(int))
        assert area[k] == pytest.approx(roc_auc_score(labels[drawn], scores[drawn]), abs=1e-12)
        assert precise[k] == pytest.approx(average_precision_score(labels[drawn], scores[drawn]), abs=1e-12)


def test_sensitivity_at_a_specificity_equals_the_roc_curve(case: Case) -> None:
    weights, labels, scores, rows = case
    found = sensitivity_at(weights, labels, scores, 0.9)
    for k, weight in enumerate(weights):
        drawn = np.repeat(rows, weight.astype(int))
        false_rate, true_rate, _ = roc_curve(labels[drawn], scores[drawn], drop_intermediate=False)
        assert found[k] == pytest.approx(true_rate[false_rate <= 0.1 + 1e-12].max(), abs=1e-12)


def test_rates_and_averages_equal_plain_means(case: Case) -> None:
    weights, labels, scores, rows = case
    values = np.where(rows % 7 == 0, np.nan, scores)
    hits = scores > 0.5
    for k, weight in enumerate(weights):
        drawn = np.repeat(rows, weight.astype(int))
        assert rate(weights, hits, labels)[k] == pytest.approx(hits[drawn][labels[drawn]].mean())
        assert average(weights, values)[k] == pytest.approx(np.nanmean(values[drawn]))


def test_what_is_not_defined_has_no_interval() -> None:
    weights = resample(np.array(["a", "b", "c"]), replicates=5)
    nothing = np.zeros(3, dtype=bool)
    assert interval(auroc(weights, nothing, np.arange(3.0))) == (None, None, None)
    assert interval(rate(weights, nothing, nothing)) == (None, None, None)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    groups = np.array([str(k) for k in range(80)])
    covered = 0
    for seed in range(100):
        _, low, high = interval(average(resample(groups, 200, seed), rng.normal(size=80)))
        assert low is not None
        assert high is not None
        covered += low <= 0 <= high
    assert 86 <= covered <= 99
