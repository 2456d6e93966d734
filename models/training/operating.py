"""Operating points from the validation part: thresholds of single findings, or of classes that exclude each other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve
from sklearn.model_selection import GroupKFold

from models.card import ModelCard, ThresholdTable
from models.training.resample import Figures, Weights, rate, resample
from models.types import FloatArray, favoured

FEW = 10
SENSITIVITY, LEAST_SPECIFICITY, RARE_SPECIFICITY = 0.90, 0.50, 0.95
GRID = np.linspace(-1.5, 1.5, 31)  # log thresholds tried
PULL = 0.01  # what a squared log threshold must bring
Probabilities = NDArray[np.float64]
Labels = NDArray[np.bool_]


def operating_points(
    card: ModelCard, scores: FloatArray, labels: FloatArray, groups: NDArray[np.str_]
) -> ThresholdTable:
    """Of (n, K) calibrated probabilities and labels in {0, 1} of the validation part."""
    if card.task == "segmentation":
        # What the calibration makes of a logit of 0: the network's own decision, and what published figures use.
        own = card.probabilities(np.zeros((1, len(card.classes)), np.float32))[0]
        values = {name: float(f"{value:.6g}") for name, value in zip(card.classes, own, strict=True)}
        return ThresholdTable(values=values, source="0.5 of the uncalibrated probability, for pixels and for the image")
    truth, n = labels.astype(bool), f"on the validation part, n = {len(labels)}"
    if card.exclusive:
        thresholds, how = exclusive_thresholds(scores.astype(np.float64), truth, groups)
        values = dict(zip(card.classes, np.round(thresholds, 4).tolist(), strict=True))
        return ThresholdTable(values=values, source=f"the class with the largest probability / threshold; {how}, {n}")
    values = {}
    rules: dict[str, list[str]] = {}
    for name, score, true in zip(card.classes, scores.T.astype(np.float64), truth.T, strict=True):
        values[name], rule = single_threshold(score, true)
        rules.setdefault(rule, []).append(name)
    if len(rules) == 1:
        return ThresholdTable(values=values, source=f"{next(iter(rules))} {n}")
    said = "; ".join(f"{rule}: {', '.join(names)}" for rule, names in rules.items())
    return ThresholdTable(values=values, source=f"{said}; {n}")


def single_threshold(scores: Probabilities, truth: Labels) -> tuple[float, str]:
    """A threshold for (n,) probabilities, halfway between two cases, and the rule it follows.

    Sensitivity of at least 0.90 where that leaves a specificity of at least 0.50, else the largest Youden index
    (Youden 1950); specificity 0.95 where positives are too few to speak of sensitivity.
    """
    if (~truth).sum() == 0:
        return 0.5, "0.5, for want of negative cases,"
    if truth.sum() < FEW:
        return _between(scores, float(np.quantile(scores[~truth], RARE_SPECIFICITY, method="higher"))), (
            f"specificity of {RARE_SPECIFICITY:.2f} (fewer than {FEW} positives)"
        )
    false_rate, true_rate, cuts = roc_curve(truth, scores, drop_intermediate=False)
    first = int(np.argmax(true_rate >= SENSITIVITY))
    if 1 - false_rate[first] >= LEAST_SPECIFICITY:
        return _between(scores, float(cuts[first])), f"sensitivity of at least {SENSITIVITY:.2f}"
    best = 1 + int(np.argmax((true_rate - false_rate)[1:]))  # the first cut lies above all cases
    return _between(scores, float(cuts[best])), "largest Youden index"


def _between(scores: Probabilities, cut: float) -> float:
    """Halfway from the cut down to the next case, so that a rounding error turns no decision."""
    below = scores[scores < cut]
    middle = (cut + below.max()) / 2 if len(below) else cut / 2
    return float(f"{np.clip(middle, 1e-6, 1.0):.6g}")


def exclusive_thresholds(scores: Probabilities, truth: Labels, groups: NDArray[np.str_]) -> tuple[Probabilities, str]:
    """(K,) thresholds t of sum 1, deciding for the largest p / t, for the largest accuracy plus balanced accuracy.

    The sum keeps a rare class from being bought with many mistakes on common ones. Two families are tried: t a power
    of the classes' frequency, and a search class by class drawn towards equal thresholds. Each is judged on groups
    it was not fitted on (five folds). Unless the better one gains more than one standard error, thresholds stay
    equal.
    """
    equal = np.full(truth.shape[1], 1 / truth.shape[1])
    plain = favoured(scores, equal)
    weights = resample(groups, replicates=200)
    best, chosen, how = 0.0, equal, "equal thresholds, since no others were better"
    families: dict[str, Callable[[Probabilities, Labels], Probabilities]] = {
        "thresholds a power of the class frequency": _by_frequency,
        "thresholds by a search class by class": _by_class,
    }
    if len(np.unique(groups)) < 2 or (truth.sum(0) < 2).any():
        return equal, "equal thresholds, for want of cases"
    for name, search in families.items():
        decided = np.zeros(len(scores), dtype=int)
        for fitted, left in GroupKFold(min(5, len(np.unique(groups)))).split(scores, groups=groups):
            decided[left] = favoured(scores[left], search(scores[fitted], truth[fitted]))
        gains = _sum_of_accuracies(weights, decided, truth) - _sum_of_accuracies(weights, plain, truth)
        gain, error = float(gains[0]), float(np.nanstd(gains[1:]))
        if gain > max(error, best):
            best, chosen = gain, search(scores, truth)
            how = f"{name}, worth {gain:+.3f} accuracy plus balanced accuracy on groups left out"
    return chosen, how


def _by_frequency(scores: Probabilities, truth: Labels) -> Probabilities:
    frequency = (truth.sum(0) + 1) / (len(truth) + truth.shape[1])
    tried = [_to_one(power * np.log(frequency)) for power in np.linspace(0, 1.5, 31)]
    return max(tried, key=lambda thresholds: _worth(scores, truth, thresholds))


def _by_class(scores: Probabilities, truth: Labels) -> Probabilities:
    logs = np.zeros(truth.shape[1])
    for _ in range(3):
        for k in range(len(logs)):
            tried = [np.where(np.arange(len(logs)) == k, value, logs) for value in GRID]
            logs = max(
                tried, key=lambda values: _worth(scores, truth, _to_one(values)) - PULL * float(np.mean(values**2))
            )
    return _to_one(logs)


def _worth(scores: Probabilities, truth: Labels, thresholds: Probabilities) -> float:
    decided = favoured(scores, thresholds)
    return float(_sum_of_accuracies(np.ones((1, len(truth))), decided, truth)[0])


def _sum_of_accuracies(weights: Weights, decided: NDArray[np.int64], truth: Labels) -> Figures:
    """(R,) accuracy plus mean recall of the classes."""
    everyone = np.ones(len(truth), dtype=bool)
    right = truth[np.arange(len(truth)), decided]
    recalls = [rate(weights, decided == k, truth[:, k]) for k in range(truth.shape[1])]
    total: Figures = rate(weights, right, everyone) + np.nanmean(recalls, axis=0)
    return total


def _to_one(logs: Probabilities) -> Probabilities:
    powers = np.exp(logs - logs.max())
    return np.asarray(powers / powers.sum())
