"""Intervals from resampling whole groups (patients, lesions), for all replicates at once.

A replicate is a weight for each case: how often its group was drawn (Davison & Hinkley 1997, cluster bootstrap).
Row 0 of the weights is all ones, so that a figure and its replicates come out of one computation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

REPLICATES = 1000
Figures = NDArray[np.float64]
Weights = NDArray[np.float64]


def resample(groups: NDArray[np.str_], replicates: int = REPLICATES, seed: int = 0) -> Weights:
    """(n,) group names to (replicates + 1, n) weights."""
    names, place = np.unique(groups, return_inverse=True)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=replicates)
    return np.concatenate([np.ones((1, len(groups))), drawn[:, place].astype(np.float64)])


def interval(figures: Figures) -> tuple[float | None, float | None, float | None]:
    """The figure of row 0 and the 2.5 and 97.5 percentiles of the rest; None where it is not defined."""
    replicates = figures[1:][np.isfinite(figures[1:])]
    if not np.isfinite(figures[0]) or not len(replicates):
        return None, None, None
    low, high = np.quantile(replicates, (0.025, 0.975))
    return round(float(figures[0]), 6), round(float(low), 6), round(float(high), 6)


def rate(weights: Weights, hits: NDArray[np.bool_], among: NDArray[np.bool_]) -> Figures:
    """(R,) share of ``hits`` in ``among``, both (n,); NaN where a replicate draws none."""
    return _divide(weights @ (hits & among).astype(np.float64), weights @ among.astype(np.float64))


def average(weights: Weights, values: NDArray[np.float64]) -> Figures:
    """(R,) mean of (n,) values, leaving out those that are NaN."""
    known = np.isfinite(values)
    return _divide(weights[:, known] @ values[known], weights[:, known].sum(1))


def auroc(weights: Weights, labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> Figures:
    """(R,) area under the ROC curve, ties counting half (Mann-Whitney)."""
    positive, negative = _levels(weights, labels, scores)
    below = negative.cumsum(1) - negative
    return _divide((positive * (below + negative / 2)).sum(1), positive.sum(1) * negative.sum(1))


def average_precision(weights: Weights, labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> Figures:
    """(R,) area under the precision-recall curve as a sum of steps, each at the precision of its threshold."""
    positive, negative = (part[:, ::-1] for part in _levels(weights, labels, scores))
    found = positive.cumsum(1)
    precision = _divide(found, found + negative.cumsum(1))
    return _divide((positive * np.nan_to_num(precision)).sum(1), found[:, -1])


def sensitivity_at(
    weights: Weights, labels: NDArray[np.bool_], scores: NDArray[np.float64], specificity: float
) -> Figures:
    """(R,) largest sensitivity at a threshold whose specificity is at least this."""
    positive, negative = (part[:, ::-1].cumsum(1) for part in _levels(weights, labels, scores))
    allowed = negative <= (1 - specificity) * negative[:, -1:] + 1e-9
    return _divide(np.where(allowed, positive, 0.0).max(1), positive[:, -1])


def _levels(weights: Weights, labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> tuple[Figures, Figures]:
    """Weight of positives and of negatives at each distinct score, ascending: (R, levels) each."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    sorted_weights = weights[:, order]
    positive = np.add.reduceat(sorted_weights * labels[order], starts, axis=1)
    return positive, np.add.reduceat(sorted_weights, starts, axis=1) - positive


def _divide(above: Figures, below: Figures) -> Figures:
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)
