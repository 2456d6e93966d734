"""Logistic regression on the log odds of a score: for calibration slopes, and for fitting calibrations."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dashboard.audit.table import Rows

Array = NDArray[np.float64]
CLIP = 2.0**-24  # half a step of float32 below 1: where log odds end
_STEPS = 100


def log_odds(probability: ArrayLike) -> Array:
    """Natural log odds, at most 16.6 either way."""
    p = np.clip(np.asarray(probability, dtype=np.float64), CLIP, 1 - CLIP)
    return np.asarray(np.log(p) - np.log1p(-p))


def sigmoid(odds: Array) -> Array:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * odds)))


def descend(features: Array, target: Array, start: Array, offset: Array | float = 0.0) -> Array:
    """(F,) coefficients of least cross-entropy for (F, n) features and (n,) targets in [0, 1], by Newton's method.

    A direction that the data say nothing of keeps its value of ``start``.
    """
    found = start.astype(np.float64)
    odds = _odds(features, found, offset)
    loss = _loss(odds, target)
    for _ in range(_STEPS):
        said = sigmoid(odds)
        bend = _curvature(features, said)
        bend[np.diag_indices_from(bend)] += 1e-12 * max(1.0, float(np.trace(bend)))
        fall = (features * (target - said)).sum(1)
        step = np.linalg.solve(bend, fall)
        if fall @ step <= 1e-10 * max(1.0, loss):  # so near that the last full step squares the error
            return found + step
        while (tried := _loss(odds := _odds(features, found + step, offset), target)) > loss:
            step = step / 2
        found, loss = found + step, tried
    return found


def fit_line(
    odds: Array | None, hit: NDArray[np.bool_], group: Rows, offset: Array | float = 0.0
) -> tuple[Array, Array]:
    """Intercept and slope (intercept alone if there are no ``odds``) with their covariance over patients.

    Returns:
        (F,) maximum-likelihood coefficients, and their (F, F) cluster-robust covariance (Liang & Zeger 1986) with the
        correction P / (P - 1) for P patients.
    """
    ones = np.ones(len(hit))
    features = ones[None] if odds is None else np.stack([ones, odds])
    found = descend(features, hit.astype(np.float64), np.array([0.0, 1.0])[: len(features)], offset)
    said = sigmoid(_odds(features, found, offset))
    people, number = np.unique(group, return_inverse=True)
    pulls = [np.bincount(number, column, len(people)) for column in features * (hit - said)]
    spread = np.array([[(one * other).sum() for other in pulls] for one in pulls])
    bread = np.linalg.pinv(_curvature(features, said))
    return found, bread @ spread @ bread * (len(people) / max(1, len(people) - 1))


# Sums over few long rows: a matrix product would wake the threads of the linear algebra library for each.
def _odds(features: Array, coefficients: Array, offset: Array | float) -> Array:
    return np.asarray((features * coefficients[:, None]).sum(0) + offset)


def _curvature(features: Array, said: Array) -> Array:
    weighted = features * (said * (1 - said))
    return np.array([[(one * other).sum() for other in features] for one in weighted])


def _loss(odds: Array, target: Array) -> float:
    return float((np.logaddexp(0, odds) - target * odds).sum())
