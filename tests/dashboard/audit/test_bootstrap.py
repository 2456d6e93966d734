"""The compiled pass against scikit-learn and torchmetrics with the same weights, replicate by replicate."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from torchmetrics.functional.classification import binary_calibration_error

from dashboard.audit.bootstrap import draws, figures, presort


def reference(labels: np.ndarray, scores: np.ndarray, decided: np.ndarray, weight: np.ndarray) -> dict[str, float]:
    """Every figure by scikit-learn, a weight for each case."""
    w = {"sample_weight": weight}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tn, fp, fn, tp = metrics.confusion_matrix(labels, decided, labels=[False, True], **w).ravel()
        both = weight[labels].sum() > 0 and weight[~labels].sum() > 0
        found = {
            "auroc": metrics.roc_auc_score(labels, scores, **w) if both else np.nan,
            "auprc": metrics.average_precision_score(labels, scores, **w) if weight[labels].sum() > 0 else np.nan,
            "brier": metrics.brier_score_loss(labels, scores.astype(float), **w),
        }
    for name, (above, below) in {
        "sensitivity": (tp, tp + fn),
        "specificity": (tn, tn + fp),
        "ppv": (tp, tp + fp),
        "npv": (tn, tn + fn),
        "f1": (2 * tp, 2 * tp + fp + fn),
    }.items():
        found[name] = above / below if below else np.nan
    found["balanced_accuracy"] = (found["sensitivity"] + found["specificity"]) / 2
    return found


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(2, 90),
    decimals=st.sampled_from([0, 1, 2, 7]),
    prevalence=st.sampled_from([0.05, 0.5, 0.95]),
)
def test_every_replicate_is_what_scikit_learn_says_with_the_same_weights(
    seed: int, n: int, decimals: int, prevalence: float
) -> None:
    rng = np.random.default_rng(seed)
    groups = np.unique(rng.integers(0, max(1, n // 2), n), return_inverse=True)[1]
    labels = rng.random(n) < prevalence
    scores = np.round(rng.random(n), decimals).astype(np.float32)
    decided = scores >= 0.5
    drawn = draws(groups, 3, seed)
    found = figures(presort(groups, labels, scores, decided), drawn)
    for replicate in range(3):
        weight = drawn[groups, replicate].astype(float)
        for name, value in reference(labels, scores, decided, weight).items():
            assert found[name][replicate] == pytest.approx(value, abs=1e-7, nan_ok=True), name


def test_more_replicates_than_lanes_come_out_in_order() -> None:
    rng = np.random.default_rng(1)
    groups, labels = np.arange(200), rng.random(200) < 0.3
    scores = rng.random(200).astype(np.float32)
    case, drawn = presort(groups, labels, scores, scores > 0.5), draws(groups, 150)
    found = figures(case, drawn)["auroc"]
    assert found.shape == (150,)
    alone = [figures(case, drawn[:, k : k + 1])["auroc"][0] for k in (0, 63, 64, 149)]
    assert found[[0, 63, 64, 149]].tolist() == alone


@pytest.mark.parametrize("seed", range(3))
def test_calibration_error_is_that_of_torchmetrics(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.random(3000).astype(np.float32)
    scores[:4] = (0.0, 1.0, np.float32(1 / 15), np.float32(2 / 15))  # bin edges
    labels = rng.random(3000) < scores**2
    case = presort(np.arange(3000), labels, scores, scores > 0.5)
    ours = figures(case, np.ones((3000, 1), dtype=np.uint8))["ece"][0]
    theirs = binary_calibration_error(torch.from_numpy(scores), torch.from_numpy(labels.astype(int)), n_bins=15)
    assert ours == pytest.approx(float(theirs), abs=1e-6)


def test_draws_take_as_many_patients_as_there_are() -> None:
    groups = np.array([0, 0, 1, 2, 2, 2])
    drawn = draws(groups, 500, seed=3)
    assert drawn.shape == (3, 500)
    assert (drawn.sum(0) == 3).all()
    assert drawn.mean() == pytest.approx(1.0)
    assert (drawn == draws(groups, 500, seed=3)).all()
    assert not (drawn == draws(groups, 500, seed=4)).all()


def test_no_case_gives_no_figure() -> None:
    empty = presort(np.array([], dtype=np.intp), np.array([], bool), np.array([], np.float32), np.array([], bool))
    found = figures(empty, np.ones((0, 2), dtype=np.uint8))
    assert all(np.isnan(values).all() for values in found.values())


def test_many_readers_at_once_get_the_same() -> None:
    rng = np.random.default_rng(2)
    groups = rng.integers(0, 300, 2000)
    groups = np.unique(groups, return_inverse=True)[1]
    labels, scores = rng.random(2000) < 0.2, rng.random(2000).astype(np.float32)
    case, drawn = presort(groups, labels, scores, scores > 0.9), draws(groups, 256)
    alone = figures(case, drawn)["auprc"]
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: figures(case, drawn)["auprc"], range(24)):
            assert (found == alone).all()
