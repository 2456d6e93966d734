"""One class at every threshold: ROC and precision-recall curves, choice of an operating point, other prevalences.

A case is called where score >= threshold. Curves are exact; their 95 % bands come from a bootstrap over patients on
a grid of thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dashboard.audit.bootstrap import Draws
from dashboard.audit.intervals import FEW, people, scarcer
from dashboard.audit.resample import sums
from dashboard.audit.table import AuditTable, Mask, Rows
from models.errors import DataError

Array = NDArray[np.float64]
Rule = Literal["youden", "sensitivity", "specificity", "cost", "f1"]
GRID = 100  # levels of sensitivity, and of specificity, at which curves are drawn


@dataclass(frozen=True, eq=False)
class Sweep:
    """Counts at each distinct score of one class, from the highest down; the first entry calls nobody.

    Attributes:
        threshold: (T,) float64, infinity first. tp, fp: (T,) int64 cases called at it.
        positives, negatives: cases with a known label.
    """

    threshold: Array
    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    positives: int
    negatives: int

    @property
    def sensitivity(self) -> Array:
        return _share(self.tp, self.positives)

    @property
    def specificity(self) -> Array:
        return 1 - _share(self.fp, self.negatives)

    @property
    def precision(self) -> Array:
        """(T,) NaN where nobody is called."""
        return _share(self.tp, self.tp + self.fp)


@dataclass(frozen=True)
class Rates:
    """What a threshold, or each of several, brings; floats or arrays of one shape, NaN where not defined.

    Attributes:
        alerts: cases called in 1,000.
    """

    sensitivity: Array
    specificity: Array
    ppv: Array
    npv: Array
    alerts: Array
    f1: Array


def scarcity(table: AuditTable, index: int) -> str:
    """Why curves of a class have no bands: "too few positive patients (n=7)"; "" where they have."""
    positive, negative = (people(table.groups, each[:, index]) for each in (table.positive, table.negative))
    fewer, words = scarcer(positive, negative, table.unit)
    return f"too few {words} (n={fewer})" if fewer < FEW else ""


def sweep(table: AuditTable, index: int) -> Sweep:
    known = table.known[:, index]
    score, hit = table.scores[known, index], table.positive[known, index]
    order = np.argsort(-score, kind="stable")
    score, hit = score[order], hit[order]
    ends = np.flatnonzero(np.append(score[1:] != score[:-1], True)) if len(score) else np.zeros(0, dtype=np.intp)
    tp = np.append(0, np.cumsum(hit)[ends])
    fp = np.append(0, np.cumsum(~hit)[ends])
    threshold = np.append(np.inf, score[ends].astype(np.float64))
    return Sweep(threshold, tp, fp, int(hit.sum()), int((~hit).sum()))


def marks(curve: Sweep, count: int = GRID) -> Array:
    """At most about 2 x ``count`` thresholds of the sweep, evenly spaced along its sensitivity and its specificity.

    Returns:
        (G,) float64 distinct scores, the highest first.
    """
    chosen = [np.zeros(0, dtype=np.intp)]
    for reached, total in ((curve.tp, curve.positives), (curve.fp, curve.negatives)):
        levels = np.unique(np.ceil(np.linspace(0, 1, count + 1) * total))[1:]
        chosen.append(np.searchsorted(reached, levels, side="left"))
    return curve.threshold[np.unique(np.concatenate(chosen))]


def counts(table: AuditTable, index: int, grid: ArrayLike, drawn: Draws) -> tuple[Array, Array, Array, Array]:
    """Bootstrap counts of one class on a grid of thresholds.

    Args:
        grid: (G,) thresholds in any order. drawn: (P, R).

    Returns:
        True and false positives, (G, R) float64, and positives and negatives, (R,), of each replicate.
    """
    levels = np.asarray(grid, dtype=np.float64)
    order = np.argsort(levels)
    known = np.flatnonzero(table.known[:, index])
    score, hit = table.scores[known, index].astype(np.float64), table.positive[known, index]
    step = np.searchsorted(levels[order], score, side="right")  # how many of the levels call the case
    cells = sums(2 * step + hit, 2 * len(levels) + 2, table.groups[known], drawn)
    found = []
    for each in (cells[1::2], cells[0::2]):
        above = np.cumsum(each[::-1], axis=0)[::-1]
        at = np.empty((len(levels), drawn.shape[1]))
        at[order] = above[1:]
        found.append((at, above[0]))
    return found[0][0], found[1][0], found[0][1], found[1][1]


def rates(tp: ArrayLike, fp: ArrayLike, positives: ArrayLike, negatives: ArrayLike) -> Rates:
    """Of counts that broadcast against each other."""
    tp, fp, positives, negatives = (np.asarray(part, dtype=np.float64) for part in (tp, fp, positives, negatives))
    tn, called = negatives - fp, tp + fp
    return Rates(
        _share(tp, positives),
        1 - _share(fp, negatives),
        _share(tp, called),
        _share(tn, positives + negatives - called),
        1000 * _share(called, positives + negatives),
        _share(2 * tp, positives + called),
    )


def at_prevalence(sensitivity: ArrayLike, specificity: ArrayLike, prevalence: ArrayLike) -> tuple[Array, Array, Array]:
    """PPV, NPV and alerts per 1,000 where a share ``prevalence`` in [0, 1] of cases is positive (Bayes' rule)."""
    sens, spec, rate = (np.asarray(part, dtype=np.float64) for part in (sensitivity, specificity, prevalence))
    true, false = sens * rate, (1 - spec) * (1 - rate)
    return _share(true, true + false), _share(spec * (1 - rate), 1 - true - false), 1000 * (true + false)


def choose(curve: Sweep, rule: Rule, value: float = 0.0, prevalence: float | None = None) -> float:
    """The threshold, one of the scores of the sweep, that follows a rule.

    Args:
        rule: "youden": largest sensitivity + specificity (Youden 1950), the higher sensitivity among equals;
            "sensitivity", "specificity": at least ``value``, and the other as large as possible; "cost": least
            ``value`` x missed + falsely called; "f1": largest.
        value: in [0, 1], or for "cost" how many false alarms one missed case is worth.
        prevalence: weighs missed against falsely called by the clinic's prevalence, that of the table if not given.

    Raises:
        DataError: without positives and negatives there is nothing to choose; a value out of range; or no
            threshold reaches the specificity.
    """
    if not curve.positives or not curve.negatives:
        raise DataError(
            f"An operating point needs cases with and without the finding; there are {curve.positives} and "
            f"{curve.negatives}."
        )
    if rule in ("sensitivity", "specificity") and not 0 <= value <= 1:
        raise DataError(f"A target {rule} lies between 0 and 1, not at {value:g}; for 90 % write 0.9.")
    if rule == "cost" and value <= 0:
        raise DataError(f"One missed case must be worth more than 0 false alarms, not {value:g}.")
    # Counts decide, not rates: rates that should be equal can differ in their last digit.
    tp, fp = curve.tp[1:], curve.fp[1:]
    if rule == "sensitivity":
        place = int(np.argmax(tp >= value * curve.positives - 1e-9))
    elif rule == "specificity":
        reached = curve.negatives - fp >= value * curve.negatives - 1e-9
        if not reached.any():
            raise DataError(
                f"No score reaches a specificity of {value:g}: the highest one belongs to a case without the finding; "
                "choose a smaller target."
            )
        place = int(len(reached) - 1 - np.argmax(reached[::-1]))
        place = int(np.argmax(tp == tp[place]))  # fewest alarms for the same cases found
    elif rule == "youden":
        place = _last_best(tp * curve.negatives - fp * curve.positives)
    elif rule == "f1":
        place = _last_best(2 * tp / (tp + fp + curve.positives))
    else:
        rate = curve.positives / (curve.positives + curve.negatives) if prevalence is None else prevalence
        missed, alarms = 1 - tp / curve.positives, fp / curve.negatives
        place = _last_best(-np.round(value * rate * missed + (1 - rate) * alarms, 12))
    return float(curve.threshold[1 + place])


@dataclass(frozen=True, eq=False)
class Called:
    """Rows of a table by what a threshold makes of them, the most confident first; missed ones from the highest down."""

    true_positive: Rows
    false_positive: Rows
    missed: Rows


def called(table: AuditTable, index: int, threshold: float) -> Called:
    score = table.scores[:, index].astype(np.float64)
    above = score >= threshold

    def ranked(chosen: Mask) -> Rows:
        rows = np.flatnonzero(chosen)
        return rows[np.argsort(-score[rows], kind="stable")]

    positive, negative = table.positive[:, index], table.negative[:, index]
    return Called(ranked(positive & above), ranked(negative & above), ranked(positive & ~above))


def _last_best(worth: NDArray[np.float64] | NDArray[np.int64]) -> int:
    """The lowest threshold among the best."""
    return int(len(worth) - 1 - np.argmax(worth[::-1]))


def _share(part: ArrayLike, whole: ArrayLike) -> Array:
    top, bottom = np.broadcast_arrays(np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64))
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)
