"""Do the scores mean what they say? Reliability bins, calibration errors, slope and intercept, the Brier score split.

A probability is looked at together with whether it came true: that of one class against its label, or, where classes
exclude each other, that of the decided class against being right (the top label).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dashboard.audit.bootstrap import Draws
from dashboard.audit.intervals import FEW, Estimate, percentile, too_few, wilson
from dashboard.audit.logistic import fit_line, log_odds
from dashboard.audit.resample import several, sums
from dashboard.audit.table import AuditTable, Mask, Rows
from models.errors import DataError

BINS = 15
Scheme = Literal["width", "mass"]
Array = NDArray[np.float64]
_LEAST = 1e-12  # probability taken for 0 in a logarithm


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Probabilities and whether they came true, of the m cases with a known label.

    Attributes:
        rows: (m,) rows of the table. group: (m,) numbers of their patients.
        score: (m,) float64 in [0, 1]. hit: (m,) bool.
        loss: (m,) float64, minus the natural logarithm of the probability given to what was true.
    """

    rows: Rows
    group: Rows
    score: Array
    hit: Mask
    loss: Array

    def __len__(self) -> int:
        return len(self.rows)


def outcomes(table: AuditTable, index: int | None) -> Outcomes:
    """Of one class, or of the top label (None). Raises DataError for a top label where classes can hold together."""
    if index is not None:
        rows = np.flatnonzero(table.known[:, index])
        score = table.scores[rows, index].astype(np.float64)
        hit = table.positive[rows, index]
        given = np.where(hit, score, 1 - score)
    else:
        if not table.exclusive:
            raise DataError(
                f"{table.title} has classes that can hold together, so it has no top label; choose a class."
            )
        rows = np.flatnonzero(table.known.all(1))
        decided = table.decided[rows].argmax(1)
        score = table.scores[rows, decided].astype(np.float64)
        hit = table.positive[rows, decided]
        given = table.scores[rows, table.positive[rows].argmax(1)].astype(np.float64)
    return Outcomes(rows, table.groups[rows], score, hit, -np.log(np.maximum(given, _LEAST)))


@dataclass(frozen=True, eq=False)
class Bins:
    """A reliability diagram of B bins; an empty bin has n = 0, and NaN for what it cannot say.

    Attributes:
        edges: (B + 1,) from 0 to 1; a bin holds low <= score < high, the last one its upper end too.
        n: (B,) cases. confidence: (B,) mean score. observed: (B,) share that came true.
        low, high: (B,) 95 % Wilson interval of ``observed``.
        member: (m,) bin of each case. rows: (m,) rows of the table.
    """

    edges: Array
    n: NDArray[np.int64]
    confidence: Array
    observed: Array
    low: Array
    high: Array
    member: Rows
    rows: Rows

    def rows_of(self, number: int) -> Rows:
        """Rows of the table behind one bin."""
        return self.rows[self.member == number]


def bins(found: Outcomes, scheme: Scheme = "width", count: int = BINS) -> Bins:
    """Equal-width bins, or bins of equally many cases ("mass"); cases of one score are never parted."""
    edges = np.linspace(0, 1, count + 1, dtype=np.float32).astype(np.float64)  # as fine as the scores are
    if scheme == "mass" and len(found):
        inner = np.quantile(found.score, np.linspace(0, 1, count + 1)[1:-1])
        edges = np.unique(np.concatenate([[0.0], inner, [1.0]]))
    member = np.searchsorted(edges[1:-1], found.score, side="right")
    n = np.bincount(member, minlength=len(edges) - 1)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(member, found.score, len(n)) / n
        hits = np.bincount(member, found.hit, len(n))
        observed = hits / n
    low, high = (np.where(n > 0, end, np.nan) for end in wilson(hits, n))
    return Bins(edges, n, confidence, observed, low, high, member, found.rows)


def summary(found: Outcomes, drawn: Draws, count: int = BINS) -> dict[str, Estimate]:
    """All calibration figures with 95 % intervals.

    Errors are means (``mce``: the largest) of |mean score - share that came true| over bins: ``ece`` equal-width
    (Guo et al. 2017, arXiv:1706.04599), ``ace`` equal-mass (Nixon et al. 2019, arXiv:1904.01685). ``brier`` =
    ``reliability`` - ``resolution`` + ``uncertainty`` + ``within``: Murphy's split (1973) is exact where a bin holds
    one score, ``within`` is what the spread of scores inside the bins adds. ``slope`` and ``intercept`` are those of a
    logistic regression of the outcome on the score's log odds (Cox 1958), 1 and 0 when calibrated; ``offset`` is the
    intercept with the slope held at 1 (calibration in the large). ``nll`` is in nats.

    Intervals are bootstrap percentiles over patients, with the bins held; those of slope and intercepts rest on
    the cluster-robust variance (Liang & Zeger 1986). Errors of a resample are larger than those of the sample, so an
    interval of ``ece``, ``mce`` or ``ace`` near 0 leans upwards.

    Args:
        drawn: (P, R) of :func:`dashboard.audit.bootstrap.draws`.
    """
    n = len(found)
    names = ("ece", "mce", "ace", "brier", "reliability", "resolution", "uncertainty", "within", "nll")
    if n < FEW:
        return {name: too_few(n) for name in (*names, "slope", "intercept", "offset")}
    once = np.ones((len(drawn), 1), dtype=np.uint8)
    value, spread = _errors(found, once, count), _errors(found, drawn, count)
    estimates = {name: percentile(float(value[name][0]), spread[name], n) for name in names}
    return estimates | cox(found)


def class_wise(table: AuditTable, drawn: Draws, count: int = BINS) -> tuple[Estimate, tuple[Estimate, ...]]:
    """The mean over classes of their calibration errors (Kull et al. 2019, arXiv:1910.12656), and that of each class.

    Classes with fewer than ten known labels are left out of the mean; its note names them.
    """
    once = np.ones((len(drawn), 1), dtype=np.uint8)
    each: list[Estimate] = []
    values: list[float] = []
    replicates: list[Array] = []
    left: list[str] = []
    for index, name in enumerate(table.classes):
        found = outcomes(table, index)
        if len(found) < FEW:
            each.append(too_few(len(found)))
            left.append(name)
            continue
        values.append(float(_class_error(found, once, count)[0]))
        replicates.append(_class_error(found, drawn, count))
        each.append(percentile(values[-1], replicates[-1], len(found)))
    if not values:
        return too_few(0), tuple(each)
    note = f"without {', '.join(left)}: too few" if left else ""
    return percentile(float(np.mean(values)), np.mean(replicates, axis=0), len(table), note), tuple(each)


def cox(found: Outcomes) -> dict[str, Estimate]:
    """``slope``, ``intercept`` and ``offset`` of :func:`summary`."""
    fewer = int(min(found.hit.sum(), (~found.hit).sum()))
    names = ("slope", "intercept", "offset")
    if fewer < FEW:
        return {name: too_few(fewer) for name in names}
    odds = log_odds(found.score)
    estimates = {"offset": _wald(fit_line(None, found.hit, found.group, odds), 0, len(found))}
    hits, misses = odds[found.hit], odds[~found.hit]
    if hits.min() >= misses.max() or hits.max() <= misses.min():
        apart = Estimate(None, None, None, len(found), "not defined: the scores part the two without overlap")
        return estimates | {"slope": apart, "intercept": apart}
    line = fit_line(odds, found.hit, found.group)
    return estimates | {"intercept": _wald(line, 0, len(found)), "slope": _wald(line, 1, len(found))}


def _wald(line: tuple[Array, Array], place: int, n: int) -> Estimate:
    value, reach = float(line[0][place]), 1.959964 * float(np.sqrt(line[1][place, place]))
    return Estimate(value, value - reach, value + reach, n)


def _class_error(found: Outcomes, drawn: Draws, count: int) -> Array:
    """(R,) equal-width calibration errors."""
    member = bins(found, "width", count).member
    gaps = sums(member, count, found.group, drawn, found.score - found.hit)
    total = sums(np.zeros_like(member), 1, found.group, drawn)[0]
    return _ratio(np.abs(gaps).sum(0), total)


def _errors(found: Outcomes, drawn: Draws, count: int) -> dict[str, Array]:
    """(R,) figures by name."""
    parts = np.stack([np.ones(len(found)), found.score, found.hit, (found.score - found.hit) ** 2, found.loss])
    cells = several(bins(found, "width", count).member, count, found.group, drawn, parts)
    n, said, true = cells[:3]
    total, hits, squares, losses = (cells[part].sum(0) for part in (0, 2, 3, 4))
    mass = bins(found, "mass", count)
    gaps_mass = sums(mass.member, len(mass.n), found.group, drawn, found.score - found.hit)
    gaps, rate = np.abs(_ratio(said - true, n, 0.0)), _ratio(hits, total)
    reliability = _ratio((n * gaps**2).sum(0), total)
    resolution = _ratio((n * (_ratio(true, n, 0.0) - rate) ** 2).sum(0), total)
    brier, uncertainty = _ratio(squares, total), rate * (1 - rate)
    return {
        "ece": _ratio(np.abs(said - true).sum(0), total),
        "mce": gaps.max(0),
        "ace": _ratio(np.abs(gaps_mass).sum(0), total),
        "brier": brier,
        "reliability": reliability,
        "resolution": resolution,
        "uncertainty": uncertainty,
        "within": brier - reliability + resolution - uncertainty,
        "nll": _ratio(losses, total),
    }


def _ratio(part: Array, whole: Array, empty: float = np.nan) -> Array:
    return np.divide(part, whole, out=np.full(part.shape, empty), where=whole > 0)
