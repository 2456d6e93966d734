"""Recalibration fitted on one part of a table and shown on another.

A line on the log odds (temperature, Guo et al. 2017, arXiv:1706.04599; Platt 1999), a monotone step function
(isotonic, Zadrozny & Elkan 2002), a beta curve (Kull et al. 2017), or a shift to another prevalence (Saerens et al.
2002). Each class has its own, except where classes exclude each other: there a line is one temperature, with "platt"
one more offset a class (bias-corrected temperature, Alexandari et al. 2020, arXiv:1901.06852), both on logarithms of
the scores, and isotonic and beta curves of single classes are scaled to a sum of 1.

Lines and beta curves are fitted to Platt's targets, (n+ + 1) / (n+ + 2) and 1 / (n- + 2), in place of 1 and 0: where
the scores part the two without a mistake, the best line would otherwise be infinitely steep.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression

from dashboard.audit.intervals import FEW
from dashboard.audit.logistic import CLIP, descend, log_odds, sigmoid
from dashboard.audit.table import CASE, PATIENT, AuditTable, Mask
from models.card import ModelCard
from models.errors import DataError
from models.types import FloatArray

Fitting = Literal["temperature", "platt", "isotonic", "beta"]
Array = NDArray[np.float64]
_STEEPEST = 5.0  # log scale where a softmax temperature ends
_PLAIN = ("", "cross-entropy")  # losses that a calibrated network makes smallest
_BENDS = {
    "focal": "flattens confident scores",
    "logit-adjusted": "takes the prevalences out of the scores, as if all classes were equally frequent (Menon et al. 2021)",
}
_ENOUGH, _ROUNDS = 1e-8, 2000  # of Saerens' estimate


class Curve(Protocol):
    def apply(self, scores: FloatArray) -> FloatArray:
        """(n, K) probabilities to (n, K) float32 probabilities."""


@dataclass(frozen=True, eq=False)
class Line:
    """scale * z + offset on the log odds z, or, for exclusive classes, on log scores under a softmax.

    Attributes:
        scale, offset: (K,) float64, scale above 0; one scale for all where classes exclude each other.
    """

    scale: Array
    offset: Array
    exclusive: bool

    def apply(self, scores: FloatArray) -> FloatArray:
        if self.exclusive:
            moved = np.log(np.maximum(scores, CLIP)) * self.scale + self.offset
            return _to_one(np.exp(moved - moved.max(1, keepdims=True, initial=-np.inf)))
        return sigmoid(log_odds(scores) * self.scale + self.offset).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Steps:
    """For each class the scores where an isotonic fit bends, and what it says there; straight between."""

    knots: tuple[tuple[Array, Array], ...]
    exclusive: bool

    def apply(self, scores: FloatArray) -> FloatArray:
        columns = [np.interp(column, at, to) for column, (at, to) in zip(scores.T, self.knots, strict=True)]
        found = np.stack(columns, axis=1)
        return _to_one(found) if self.exclusive else found.astype(np.float32)


@dataclass(frozen=True, eq=False)
class Beta:
    """Log odds = a ln s - b ln(1 - s) + c with a, b >= 0; (K,) float64 each."""

    a: Array
    b: Array
    c: Array
    exclusive: bool

    def apply(self, scores: FloatArray) -> FloatArray:
        s = np.clip(scores.astype(np.float64), CLIP, 1 - CLIP)
        found = sigmoid(self.a * np.log(s) - self.b * np.log1p(-s) + self.c)
        return _to_one(found) if self.exclusive else found.astype(np.float32)


@dataclass(frozen=True, eq=False)
class Recalibration:
    """A fitted calibration that knows what it was fitted on.

    Attributes:
        part: what it was fitted on, for people, e.g. "split val, n = 938".
        cases, patients: ids of those; no patients where they are unknown.
        kept: classes left as they are, for want of cases or since scores ran against the labels.
    """

    method: Fitting | Literal["prior"]
    curve: Curve
    part: str
    cases: frozenset[str]
    patients: frozenset[str]
    kept: tuple[str, ...] = ()

    def show(self, table: AuditTable) -> AuditTable:
        """The table with recalibrated scores.

        Raises:
            DataError: it holds cases that this was fitted on, or no other patients than those.
        """
        seen = len(self.cases.intersection(table.cases[CASE].tolist()))
        if seen:
            raise DataError(
                f"This calibration was fitted on {seen:,} of these {len(table):,} cases ({self.part}), where it would "
                "look better than it is; show it on other cases."
            )
        shared = self.shared_patients(table)
        if shared and shared == table.patients:
            raise DataError(
                f"All {shared:,} patients of these cases are also in what this calibration was fitted on ({self.part}), "
                "where it would look better than it is; show it on other patients."
            )
        return table.with_scores(self.curve.apply(table.scores))

    def shared_patients(self, table: AuditTable) -> int:
        """Patients of a table that this was fitted on too, by other cases."""
        return len(self.patients & _patients(table))


def halves(table: AuditTable, seed: int = 0) -> tuple[Mask, Mask]:
    """Two (n,) masks that part the cases by a random half of the patients."""
    order = np.random.default_rng(seed).permutation(table.patients)
    first = (order < (table.patients + 1) // 2)[table.groups]
    return first, ~first


def fit(table: AuditTable, method: Fitting, part: str) -> Recalibration:
    """Fit on all of a table: one split, or one of its halves (``table.part(mask)``).

    Args:
        part: the table in words, for people.

    Raises:
        DataError: no class has ten cases that are positive and ten that are not.
    """
    kept = _scarce(table)
    if len(kept) == len(table.classes):
        raise DataError(
            f"No class has {FEW} cases with and {FEW} without it in {part}; fit the calibration on more cases."
        )
    cases, patients = frozenset(table.cases[CASE].tolist()), _patients(table)
    if table.exclusive and method in ("temperature", "platt"):
        return Recalibration(method, _softmax_line(table, method == "platt"), part, cases, patients)
    columns: list[tuple[Array, ...] | None] = []
    for index in range(len(table.classes)):
        known = table.known[:, index]
        score, hit = table.scores[known, index].astype(np.float64), table.positive[known, index]
        columns.append(None if table.classes[index] in kept else _single(method, score, hit))
    kept = tuple(name for name, column in zip(table.classes, columns, strict=True) if column is None)
    return Recalibration(method, _curve(method, columns, table.exclusive), part, cases, patients, kept)


def shift(table: AuditTable, prevalence: Array, part: str) -> Recalibration:
    """From the prevalences of a table to others: odds times the ratio of the odds (Bayes' rule).

    Args:
        table: labelled cases on which the scores were learned or calibrated.
        prevalence: (K,) in (0, 1), NaN for a class to leave; of exclusive classes those left share what remains.
        part: the table in words, for people.

    Raises:
        DataError: a prevalence is not between 0 and 1, or those of exclusive classes add up to 1 or more.
    """
    given = np.isfinite(prevalence)
    if (given & ((prevalence <= 0) | (prevalence >= 1))).any():
        raise DataError("A prevalence must lie between 0 and 1, both excluded; for 3 % write 0.03.")
    old, kept, wanted = base_rates(table), _scarce(table), prevalence.astype(np.float64).copy()
    if table.exclusive:
        rest = 1 - np.where(given, wanted, 0).sum()
        if not given.all() and rest <= 0:
            raise DataError("The prevalences of classes that exclude each other must leave something for the others.")
        wanted[~given] = rest * old[~given] / max(old[~given].sum(), CLIP)
        offset = np.log(np.maximum(wanted, CLIP)) - np.log(np.maximum(old, CLIP))
    else:
        move = np.array([name not in kept for name in table.classes]) & given
        offset = np.where(move, log_odds(np.where(move, wanted, 0.5)) - log_odds(np.where(move, old, 0.5)), 0.0)
    line = Line(np.ones(len(offset)), offset, table.exclusive)
    cases, patients = frozenset(table.cases[CASE].tolist()), _patients(table)
    return Recalibration("prior", line, part, cases, patients, () if table.exclusive else kept)


def base_rates(table: AuditTable) -> Array:
    """(K,) share of positive labels among those known; NaN where none is."""
    known = table.known.sum(0)
    return np.where(known > 0, table.positive.sum(0) / np.maximum(known, 1), np.nan)


def estimated_prevalence(scores: FloatArray, old: Array, exclusive: bool) -> Array:
    """(K,) prevalences in unlabelled cases, from their scores alone (expectation maximisation, Saerens et al. 2002).

    Args:
        scores: (n, K) probabilities that are calibrated where the prevalences are ``old``. Where they are not, the
            estimate is wrong too.
        old: (K,) in (0, 1); NaN where unknown, which stays.
    """
    if not len(scores):
        return old
    p = np.clip(scores.astype(np.float64), CLIP, 1 - CLIP)
    old = np.clip(old.astype(np.float64), CLIP, 1 - CLIP)
    found = old
    for _ in range(_ROUNDS):
        yes = p * (found / old)
        no = 0.0 if exclusive else (1 - p) * ((1 - found) / (1 - old))
        total = yes.sum(1, keepdims=True) if exclusive else yes + no
        last, found = found, np.clip((yes / total).mean(0), CLIP, 1 - CLIP)
        if np.nan_to_num(np.abs(found - last)).max() < _ENOUGH:
            break
    return found


def caution(card: ModelCard) -> str:
    """Why a card's scores are no probabilities, in one sentence; "" where nothing speaks against it."""
    if card.calibration.method != "none" or card.training.loss in _PLAIN:
        return ""
    loss = card.training.loss
    why = _BENDS.get(loss, "makes a rare class look frequent")
    return f"Trained with the loss {loss!r}, which {why}, and not calibrated: the scores rank cases, they are no probabilities."


def _patients(table: AuditTable) -> frozenset[str]:
    return frozenset(table.cases[PATIENT].tolist()) if table.has_patients else frozenset()


def _scarce(table: AuditTable) -> tuple[str, ...]:
    fewer = np.minimum(table.positive.sum(0), table.negative.sum(0))
    return tuple(name for name, count in zip(table.classes, fewer, strict=True) if count < FEW)


def _targets(hit: Mask) -> Array:
    positive, negative = int(hit.sum()), int((~hit).sum())
    return np.where(hit, (positive + 1) / (positive + 2), 1 / (negative + 2))


def _single(method: Fitting, score: Array, hit: Mask) -> tuple[Array, ...] | None:
    """One class's numbers; None where the best curve would fall as the score rises."""
    if method == "isotonic":
        found = IsotonicRegression(out_of_bounds="clip").fit(score, hit)
        flat = found.y_thresholds_[-1] <= found.y_thresholds_[0]
        return None if flat else (found.X_thresholds_, found.y_thresholds_)
    if method == "beta":
        return _beta(score, _targets(hit))
    odds = log_odds(score)
    ones = np.ones_like(odds)
    if method == "temperature":
        slope, intercept = descend(odds[None], _targets(hit), np.ones(1))[0], 0.0
    else:
        intercept, slope = descend(np.stack([ones, odds]), _targets(hit), np.array([0.0, 1.0]))
    return (np.asarray(slope), np.asarray(intercept)) if slope > 0 else None


def _beta(score: Array, target: Array) -> tuple[Array, ...] | None:
    s = np.clip(score, CLIP, 1 - CLIP)
    features = np.stack([np.log(s), -np.log1p(-s), np.ones_like(s)])
    free = [0, 1, 2]
    found = np.zeros(3)
    for _ in range(2):
        found = np.zeros(3)
        found[free] = descend(features[free], target, np.array([1.0, 1.0, 0.0])[free])
        below = [place for place in free if place < 2 and found[place] < 0]
        if not below:
            break
        free = [place for place in free if place not in below[:1]]
    return tuple(found) if max(found[:2]) > 0 and min(found[:2]) >= 0 else None


def _curve(method: Fitting, columns: list[tuple[Array, ...] | None], exclusive: bool) -> Curve:
    if method == "isotonic":
        same = (np.array([0.0, 1.0]), np.array([0.0, 1.0]))
        return Steps(tuple((column[0], column[1]) if column else same for column in columns), exclusive)
    if method == "beta":
        a, b, c = np.array([column or (1.0, 1.0, 0.0) for column in columns]).T
        return Beta(a, b, c, exclusive)
    scale, offset = np.array([column or (1.0, 0.0) for column in columns]).T
    return Line(scale, offset, exclusive)


def _softmax_line(table: AuditTable, biased: bool) -> Line:
    """One scale, and with ``biased`` one offset a class, of least cross-entropy."""
    rows = table.known.all(1)
    odds = np.log(np.maximum(table.scores[rows].astype(np.float64), CLIP))
    truth = table.positive[rows]
    n, classes = truth.shape
    high = (n + 1) / (n + 2)
    target = np.where(truth, high, (1 - high) / (classes - 1))

    def loss(moved: Array) -> tuple[float, Array]:
        scale = np.exp(moved[0])
        scaled = odds * scale + moved[1:] * biased
        scaled -= scaled.max(1, keepdims=True)
        normal = np.log(np.exp(scaled).sum(1, keepdims=True))
        slope = np.exp(scaled - normal) - target
        gradient = np.concatenate([[(slope * odds).sum() * scale], slope.sum(0) * biased])
        return float(-(target * (scaled - normal)).sum() / n), gradient / n

    bounds = [(-_STEEPEST, _STEEPEST)] + [(None, None)] * classes
    options = {"ftol": 1e-14, "gtol": 1e-9, "maxiter": 500}
    found = minimize(loss, np.zeros(classes + 1), jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    return Line(np.full(classes, np.exp(found[0])), found[1:] - found[1:].mean(), True)


def _to_one(values: Array) -> FloatArray:
    """Rows scaled to a sum of 1; equal shares where all are 0."""
    total = values.sum(1, keepdims=True)
    return np.where(total > 0, values / np.maximum(total, CLIP**2), 1 / values.shape[1]).astype(np.float32)
