"""What the Thresholds tab draws: curves of one class with 95 % bands, and the figures at one threshold."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dashboard.audit.basis import basis
from dashboard.audit.bootstrap import Draws
from dashboard.audit.intervals import Estimate, estimated
from dashboard.audit.resample import band
from dashboard.audit.table import AuditTable
from dashboard.audit.thresholds import GRID, Rates, Sweep, at_prevalence, counts, marks, rates, scarcity, sweep

Array = NDArray[np.float64]
TITLES = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "alerts": "Alerts per 1,000",
    "f1": "F1",
}


@dataclass(frozen=True, eq=False)
class Line:
    """A curve with its 95 % band over one grid; (G,) float64 each, NaN where not defined."""

    name: str
    value: Array
    low: Array
    high: Array


@dataclass(frozen=True, eq=False)
class Curves:
    """One class at G thresholds, the highest first.

    Attributes:
        swept: the counts at every score. threshold: (G,).
        fpr, recall: (G,) where the two curves are drawn.
        roc: sensitivity at ``fpr``. pr: precision at ``recall``; bands are at fixed abscissa.
        against: sensitivity, specificity, ppv, npv, alerts and f1 by name, at ``threshold``.
        scarce: why there are no bands; "" where there are.
    """

    swept: Sweep
    threshold: Array
    fpr: Array
    recall: Array
    roc: Line
    pr: Line
    against: dict[str, Line]
    scarce: str


def curves(table: AuditTable, index: int, drawn: Draws, count: int = GRID) -> Curves:
    """Of one class; bands are left undefined with fewer than ten patients with positives or with negatives.

    Args:
        drawn: (P, R) of :func:`dashboard.audit.bootstrap.draws`.
        count: about half the thresholds drawn.
    """
    swept = sweep(table, index)
    grid = marks(swept, count)
    place = np.searchsorted(-swept.threshold, -grid)
    now = rates(swept.tp[place], swept.fp[place], swept.positives, swept.negatives)
    scarce = scarcity(table, index)
    tp, fp, positives, negatives = counts(table, index, grid, drawn[:, :0] if scarce else drawn)
    found = rates(tp, fp, positives, negatives)
    fpr, recall = 1 - now.specificity, now.sensitivity
    against = {}
    for one in fields(Rates):
        low, high = band(getattr(found, one.name))
        against[one.name] = Line(TITLES[one.name], getattr(now, one.name), low, high)
    roc = Line("sensitivity", recall, *along(fpr, 1 - found.specificity, found.sensitivity))
    pr = Line("PPV", now.ppv, *along(recall, found.sensitivity, found.ppv))
    return Curves(swept, grid, fpr, recall, roc, pr, against, scarce)


def along(grid: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """(G,) band of the curves (x, y), (M, R) with x rising along the first axis, at fixed abscissae."""
    columns = [np.interp(grid, x[:, k], y[:, k]) for k in range(x.shape[1])]
    return band(np.stack(columns, axis=1) if columns else np.zeros((len(grid), 0)))


def at_threshold(
    table: AuditTable, index: int, threshold: float, drawn: Draws, prevalence: float | None = None
) -> dict[str, Estimate]:
    """The six figures at one threshold by name, each with the cases it is a share of.

    Args:
        prevalence: PPV, NPV, alerts and F1 are computed for it; as in the table if not given.
    """
    here, again = (_at(table, index, threshold, weights, prevalence) for weights in (_once(drawn), drawn))
    called = table.scores[:, index].astype(np.float64) >= threshold
    rests = basis(table.groups, table.known[:, index], table.positive[:, index], called, table.unit)
    found = {}
    for name in TITLES:
        values = np.concatenate([getattr(here, name)[0], getattr(again, name)[0]])
        # At another prevalence PPV, NPV and alerts are no shares of cases, but rest on sensitivity and specificity.
        moved = prevalence is not None and name not in ("sensitivity", "specificity")
        on = "f1" if moved else name
        few = rests.scarce(on)
        if few is not None:
            found[name] = few
        elif name == "alerts":
            kind = "" if moved else "called"
            found[name] = _per_thousand(estimated(kind, values / 1000, rests.n(on), rests.limit(on)[0]))
        else:
            found[name] = estimated("" if moved else name, values, rests.n(on), rests.limit(on)[0])
    return found


def _per_thousand(share: Estimate) -> Estimate:
    value, low, high = (None if part is None else 1000 * part for part in (share.value, share.low, share.high))
    return replace(share, value=value, low=low, high=high)


def over_prevalence(
    table: AuditTable, index: int, threshold: float, drawn: Draws, grid: ArrayLike
) -> tuple[Line, Line]:
    """PPV and NPV of one threshold over (G,) prevalences in (0, 1); without bands where :func:`curves` has none."""
    rate = np.asarray(grid, dtype=np.float64)[:, None]
    found = []
    for weights in (_once(drawn), drawn[:, :0] if scarcity(table, index) else drawn):
        at = _at(table, index, threshold, weights, None)
        found.append(at_prevalence(at.sensitivity, at.specificity, rate)[:2])
    (ppv, npv), (ppvs, npvs) = found
    return Line("PPV", ppv[:, 0], *band(ppvs)), Line("NPV", npv[:, 0], *band(npvs))


def _at(table: AuditTable, index: int, threshold: float, drawn: Draws, prevalence: float | None) -> Rates:
    """(1, R) figures."""
    found = rates(*counts(table, index, [threshold], drawn))
    if prevalence is None:
        return found
    ppv, npv, alerts = at_prevalence(found.sensitivity, found.specificity, prevalence)
    f1 = 2 * found.sensitivity * prevalence / (prevalence + alerts / 1000)
    return Rates(found.sensitivity, found.specificity, ppv, npv, alerts, f1)


def _once(drawn: Draws) -> Draws:
    """Every patient once: the sample itself."""
    return np.ones((len(drawn), 1), dtype=np.uint8)
