"""Decision curves: is acting on the model worth more than acting on all, or on nobody? (Vickers & Elkin 2006)"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dashboard.audit.bootstrap import Draws
from dashboard.audit.resample import band
from dashboard.audit.table import AuditTable
from dashboard.audit.thresholds import counts, rates, scarcity

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DecisionCurve:
    """Net benefit in true positives per case; acting on nobody is worth 0 everywhere.

    Attributes:
        threshold: (G,) probability from which one would act.
        model, low, high: (G,) of the model, with its 95 % band. treat_all: (G,).
        n: cases. prevalence: share of positives that the curve is drawn for.
    """

    threshold: Array
    model: Array
    low: Array
    high: Array
    treat_all: Array
    n: int
    prevalence: float


def net_benefit(sensitivity: ArrayLike, specificity: ArrayLike, prevalence: ArrayLike, threshold: ArrayLike) -> Array:
    """sensitivity x prevalence - (1 - specificity) x (1 - prevalence) x odds of the threshold, in [0, 1).

    A prevalence of 0 needs no sensitivity, one of 1 no specificity: either may then be NaN.
    """
    sens, spec, rate, t = (np.asarray(part, float) for part in (sensitivity, specificity, prevalence, threshold))
    true, false = np.where(rate == 0, 0, sens * rate), np.where(rate == 1, 0, (1 - spec) * (1 - rate))
    return np.asarray(true - false * t / (1 - t))


def decision_curve(
    table: AuditTable, index: int, drawn: Draws, grid: ArrayLike, prevalence: float | None = None
) -> DecisionCurve:
    """Of one class at a grid of threshold probabilities below 1; the scores must be calibrated to be read so.

    There is no band with fewer than ten patients with positives or with negatives.

    Args:
        drawn: (P, R) of :func:`dashboard.audit.bootstrap.draws`.
        prevalence: of the clinic; that of the table if not given, which then varies between replicates.
    """
    t = np.asarray(grid, dtype=np.float64)
    once = np.ones((len(drawn), 1), dtype=np.uint8)
    found = []
    for weights in (once, drawn[:, :0] if scarcity(table, index) else drawn):
        tp, fp, positives, negatives = counts(table, index, t, weights)
        total = positives + negatives
        own = np.divide(positives, total, out=np.full_like(total, np.nan), where=total > 0)
        rate = own if prevalence is None else np.full_like(own, prevalence)
        at = rates(tp, fp, positives, negatives)
        found.append((net_benefit(at.sensitivity, at.specificity, rate, t[:, None]), rate))
    here = float(found[0][1][0])
    low, high = band(found[1][0])
    everyone = net_benefit(1.0, 0.0, here, t)
    return DecisionCurve(t, found[0][0][:, 0], low, high, everyone, int(table.known[:, index].sum()), here)
