"""Logits to probabilities that mean what they say, fitted on the validation part.

Candidates are lines from logit to logit: none; one scale ("temperature", Guo et al. 2017, arXiv:1706.04599); scale
and offset for all classes ("platt", Platt 1999) or for each class ("platt-per-class", "vector"). The lines of single
classes are drawn to the common one by a normal prior, and a class with too few positives keeps the common one. The
candidate with the smallest negative log-likelihood on cases it was not fitted on, five folds of whole groups, wins.
Lines are fitted to Platt's targets, not to 0 and 1: where the validation part is told apart without a mistake, the best
line would otherwise be infinitely steep.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.model_selection import GroupKFold

from models.card import CalibrationTable
from models.types import FloatArray

FEW = 10  # positives, or negatives, below which a class has no line of its own
PRIOR_LOG_SCALE, PRIOR_OFFSET = 0.3, 0.6  # standard deviations about the common line
BINS = 15
LARGEST_LOG_SCALE = 5.0  # a network that knows nothing would flatten to a scale of 0
FOLDS = 5
Method = Literal["none", "temperature", "platt", "platt-per-class", "vector"]
Line = tuple[NDArray[np.float64], NDArray[np.float64]]  # scale and offset, (K,) each


@dataclass(frozen=True)
class Quality:
    """Mean negative log-likelihood in nats, expected calibration error and Brier score; smaller is better."""

    nll: float
    ece: float
    brier: float


@dataclass(frozen=True)
class Candidate:
    """A method's quality on validation cases outside the folds it was fitted on."""

    method: Method
    quality: Quality


def calibrate(
    logits: FloatArray, labels: FloatArray, groups: NDArray[np.str_], exclusive: bool, source: str
) -> tuple[CalibrationTable, tuple[Candidate, ...]]:
    """The winning method fitted on all of (n, K) logits and labels in {0, 1}, and what each candidate reached."""
    x, y = logits.astype(np.float64), labels.astype(np.float64)
    methods: tuple[Method, ...] = ("none", "temperature")
    methods += ("vector",) if exclusive else ("platt", "platt-per-class") if y.shape[1] > 1 else ("platt",)
    candidates = tuple(Candidate(method, _held_out(method, x, y, groups, exclusive)) for method in methods)
    best = min(candidates, key=lambda candidate: candidate.quality.nll).method
    scale, offset = ([float(f"{value:.6g}") for value in part] for part in fit(best, x, y, exclusive))
    own = best in ("platt-per-class", "vector")
    return (
        CalibrationTable(
            method=best,
            scale=tuple(scale) if own else scale[0],
            offset=tuple(offset) if own else offset[0],
            source=source,
        ),
        candidates,
    )


def fit(method: Method, logits: NDArray[np.float64], labels: NDArray[np.float64], exclusive: bool) -> Line:
    """The method's line for (n, K) logits and labels in {0, 1}."""
    classes = labels.shape[1]
    enough = (labels.sum(0) >= FEW) & ((1 - labels).sum(0) >= FEW)
    labels = targets(labels, exclusive)
    scale, offset = np.ones(classes), np.zeros(classes)
    if method == "none":
        return scale, offset
    common = not exclusive and method != "temperature"
    first = _descend(logits, labels, exclusive, np.zeros((2, 1)), np.array([[1.0], [float(common)]]))
    scale, offset = np.repeat(np.exp(first[0]), classes), np.repeat(first[1], classes)
    if method in ("temperature", "platt"):
        return scale, offset
    own = _descend(logits, labels, exclusive, np.stack([np.log(scale), offset]), np.tile(enough, (2, 1)), prior=True)
    return np.exp(own[0]), own[1]


def targets(labels: NDArray[np.float64], exclusive: bool) -> NDArray[np.float64]:
    """Posterior means of the labels under a uniform prior (Platt 1999): (n+ + 1) / (n+ + 2) and 1 / (n- + 2).

    Differs: counts are those of all classes together, since they share a line; the rest of an exclusive class's
    probability is spread over the other classes.
    """
    positive = labels.sum()
    negative = labels.size - positive
    high, low = (positive + 1) / (positive + 2), 1 / (negative + 2)
    if exclusive:
        low = (1 - high) / (labels.shape[1] - 1)
    return labels * high + (1 - labels) * low


def quality(probabilities: NDArray[np.float64], labels: NDArray[np.float64], exclusive: bool) -> Quality:
    """Of (n, K) probabilities; the calibration error in 15 bins of equal width, of the top class if exclusive."""
    p = np.clip(probabilities.astype(np.float64), 1e-12, 1 - 1e-12)
    if exclusive:
        nll = -np.log((p * labels).sum(1)).mean()
        brier = ((p - labels) ** 2).sum(1).mean()
        top = p.argmax(1)[:, None]
        said, true = np.take_along_axis(p, top, 1).ravel(), np.take_along_axis(labels, top, 1).ravel()
    else:
        nll = -(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean()
        brier = ((p - labels) ** 2).mean()
        said, true = p.ravel(), labels.ravel()
    place = np.minimum((said * BINS).astype(int), BINS - 1)
    gaps = np.bincount(place, said - true, BINS)
    return Quality(float(nll), float(np.abs(gaps).sum() / len(said)), float(brier))


def report(candidates: tuple[Candidate, ...], before: Quality, after: Quality) -> dict[str, object]:
    """For ``metrics.json``: candidates on validation, test before and after."""
    return {
        "validation": [{"method": candidate.method} | asdict(candidate.quality) for candidate in candidates],
        "test": {"before": asdict(before), "after": asdict(after)},
    }


def _held_out(
    method: Method, logits: NDArray[np.float64], labels: NDArray[np.float64], groups: NDArray[np.str_], exclusive: bool
) -> Quality:
    found = np.zeros_like(logits)
    folds = GroupKFold(min(FOLDS, len(np.unique(groups)))).split(logits, groups=groups)
    for fitted, left in folds:
        scale, offset = fit(method, logits[fitted], labels[fitted], exclusive)
        found[left] = _activate(logits[left] * scale + offset, exclusive)
    return quality(found, labels, exclusive)


def _activate(scaled: NDArray[np.float64], exclusive: bool) -> NDArray[np.float64]:
    if exclusive:
        powers = np.exp(scaled - scaled.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)
    return 1 / (1 + np.exp(-np.clip(scaled, -500, 500)))


def _descend(
    logits: NDArray[np.float64],
    labels: NDArray[np.float64],
    exclusive: bool,
    start: NDArray[np.float64],
    free: NDArray[np.float64] | NDArray[np.bool_],
    prior: bool = False,
) -> NDArray[np.float64]:
    """(2, K or 1) log scale and offset of least cross-entropy; what is not ``free`` stays at ``start``."""
    spread = np.array([[PRIOR_LOG_SCALE], [PRIOR_OFFSET]])

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        moved = flat.reshape(start.shape)
        log_scale, offset = start + moved
        scale = np.exp(log_scale)
        scaled = logits * scale + offset
        probability = _activate(scaled, exclusive)
        likelihood = labels * scaled - (0 if exclusive else np.logaddexp(0, scaled))
        total = -likelihood.sum() + (_log_sum(scaled) if exclusive else 0.0)
        slope = probability - labels
        gradient = np.stack([_fold(slope * logits * scale, start), _fold(slope, start)])
        if prior:
            total += 0.5 * ((moved / spread) ** 2).sum()
            gradient = gradient + moved / spread**2
        return total / len(logits), (gradient * free).ravel() / len(logits)

    bounds = [(-LARGEST_LOG_SCALE, LARGEST_LOG_SCALE)] * start.shape[1] + [(None, None)] * start.shape[1]
    found = minimize(loss, np.zeros(start.size), jac=True, method="L-BFGS-B", bounds=bounds).x.reshape(start.shape)
    return np.asarray(start + found)


def _fold(gradient: NDArray[np.float64], start: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gradient (n, K) of a parameter that belongs to one class, or to all together."""
    return gradient.sum(0) if start.shape[1] > 1 else np.atleast_1d(gradient.sum())


def _log_sum(scaled: NDArray[np.float64]) -> float:
    return float(np.logaddexp.reduce(scaled, axis=1).sum())
