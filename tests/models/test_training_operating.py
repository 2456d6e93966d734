"""Operating points against rules applied by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from models.training.operating import exclusive_thresholds, single_threshold
from models.types import Prediction, favoured


def rates(scores: np.ndarray, truth: np.ndarray, cut: float) -> tuple[float, float]:
    return float((scores[truth] >= cut).mean()), float((scores[~truth] < cut).mean())


def drawn(
    separation: float, positives: int = 100, negatives: int = 900, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = np.repeat([True, False], [positives, negatives])
    return 1 / (1 + np.exp(-rng.normal(truth * separation, 1) + 2)), truth


def test_sensitivity_is_held_where_specificity_allows_it() -> None:
    scores, truth = drawn(2.0)
    cut, rule = single_threshold(scores, truth)
    sensitivity, specificity = rates(scores, truth, cut)
    assert rule == "sensitivity of at least 0.90"
    assert 0.90 <= sensitivity < 0.92
    assert specificity >= 0.5
    higher = scores[scores > cut].min()  # the next larger threshold already loses too many
    assert rates(scores, truth, np.nextafter(higher, 1))[0] < 0.90 or rates(scores, truth, higher)[0] == sensitivity


def test_youden_where_it_does_not() -> None:
    scores, truth = drawn(0.7)
    cut, rule = single_threshold(scores, truth)
    assert rule == "largest Youden index"
    best = max(sum(rates(scores, truth, value)) for value in scores)
    assert sum(rates(scores, truth, cut)) == pytest.approx(best)


def test_a_rare_class_gets_a_specificity() -> None:
    scores, truth = drawn(2.0, positives=5)
    cut, rule = single_threshold(scores, truth)
    assert "fewer than 10" in rule
    assert rates(scores, truth, cut)[1] == pytest.approx(0.95, abs=0.005)


def test_a_threshold_lies_between_two_cases_and_above_zero() -> None:
    scores, truth = drawn(2.0)
    cut, _ = single_threshold(scores, truth)
    assert np.abs(scores - cut).min() > 1e-7
    assert single_threshold(np.zeros(40), np.arange(40) < 20)[0] > 0
    assert single_threshold(np.ones(12), np.ones(12, bool))[0] == 0.5


def biased(n: int, seed: int, bias: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities of three classes that neglect the rare third by ``bias`` in the logit."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, n, p=(0.7, 0.2, 0.1))
    logits = rng.normal(size=(n, 3)) + 2.0 * np.eye(3)[truth] - bias * np.array([0, 0, 1])
    powers = np.exp(logits)
    return powers / powers.sum(1, keepdims=True), truth, np.array([f"g{k // 2}" for k in range(n)])


def test_thresholds_of_exclusive_classes_mend_a_planted_neglect() -> None:
    scores, truth, groups = biased(1500, 0, 3.0)
    thresholds, how = exclusive_thresholds(scores, np.eye(3, dtype=bool)[truth], groups)
    fresh, fresh_truth, _ = biased(1500, 1, 3.0)
    plain = balanced_accuracy_score(fresh_truth, fresh.argmax(1))
    mended = balanced_accuracy_score(fresh_truth, favoured(fresh, thresholds))
    assert "groups left out" in how
    assert thresholds.sum() == pytest.approx(1)
    assert mended > plain + 0.05
    lost = (fresh.argmax(1) == fresh_truth).mean() - (favoured(fresh, thresholds) == fresh_truth).mean()
    assert lost < 0.03


def test_thresholds_stay_equal_where_nothing_is_to_gain() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(90) % 3
    scores = rng.dirichlet(np.ones(3), 90)
    thresholds, how = exclusive_thresholds(scores, np.eye(3, dtype=bool)[truth], np.array([str(k) for k in range(90)]))
    assert (thresholds == 1 / 3).all()
    assert "equal" in how


def test_a_prediction_decides_as_the_thresholds_say() -> None:
    scores = np.array([0.5, 0.3, 0.2], np.float32)

    def flagged(thresholds: list[float], exclusive: bool = True) -> Prediction:
        return Prediction("m", ("a", "b", "c"), scores, scores, np.array(thresholds, np.float32), exclusive)

    assert flagged([1 / 3, 1 / 3, 1 / 3]).flagged == (0,)
    rare = flagged([0.6, 0.3, 0.1])
    assert rare.flagged == (2,)
    assert rare.leading == 2
    assert rare.order == (0, 1, 2)
    assert flagged([0.0, 0.5, 0.5]).leading == 0
    assert flagged([0.45, 0.1, 0.5], exclusive=False).leading == 1
