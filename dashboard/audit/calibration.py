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
from dashboard.audit.intervals import FEW, Estimate, Z, people, percentile, scarcer, too_few, wilson
from dashboard.audit.logistic import fit_line, log_odds
from dashboard.audit.resample import several
from dashboard.audit.table import AuditTable, Mask, Rows
from models.errors import DataError
from models.types import FloatArray

BINS = 15
Scheme = Literal["width", "mass"]
_SCHEMES: tuple[Scheme, Scheme] = ("width", "mass")
Array = NDArray[np.float64]
_LEAST = 1e-12  # probability taken for 0 in a logarithm


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Probabilities and whether they came true, of the m cases with a known label.

    Attributes:
        rows: (m,) rows of the table. group: (m,) numbers of their patients.
        score: (m,) float64 in [0, 1]. hit: (m,) bool.
        loss: (m,) float64, minus the natural logarithm of the probability given to what was true.
        unit: what ``group`` numbers, "patients" or "cases".
    """

    rows: Rows
    group: Rows
    score: Array
    hit: Mask
    loss: Array
    unit: str

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
    return Outcomes(rows, table.groups[rows], score, hit, -np.log(np.maximum(given, _LEAST)), table.unit)


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


def _even(count: int) -> Array:
    """(count + 1,) edges of equal-width bins, as fine as the scores are."""
    return np.linspace(0, 1, count + 1, dtype=np.float32).astype(np.float64)


def bins(found: Outcomes, scheme: Scheme = "width", count: int = BINS) -> Bins:
    """Equal-width bins, or bins of equally many cases ("mass"); cases of one score are never parted."""
    edges = _even(count)
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


def by_chance(score: Array, member: Rows, count: int, draws: int = 400, seed: int = 0) -> dict[str, float]:
    """What a perfectly calibrated model would show on average: labels are drawn from the scores, bin by bin.

    Cases are taken as independent; where several are of one patient, chance gives more.

    Args:
        score: (m,) float64 in [0, 1], m above 0. member: (m,) bin of each, 0 to count - 1.

    Returns:
        The mean calibration error ("error"), largest gap of a bin ("largest"), and squared gap ("squared").
    """
    cases = np.bincount(member, minlength=count).astype(np.float64)
    sums_of = (np.bincount(member, each, count)[cases > 0] for each in (score, score * (1 - score)))
    n = cases[cases > 0]
    mean, own = (part / n for part in sums_of)
    hits = np.random.default_rng(seed).binomial(n.astype(np.int64), np.minimum(mean, 1), (draws, len(n)))
    # One mean score for a bin spreads its hits more than the scores themselves do.
    narrower = np.sqrt(_ratio(own, mean * (1 - mean), 0.0))
    gaps = np.abs(hits / n - mean) * narrower
    return {
        "error": float((gaps @ n).mean() / n.sum()),
        "largest": float(gaps.max(1).mean()),
        "squared": float((gaps**2 @ n).mean() / n.sum()),
    }


def chance_error(scores: FloatArray) -> float:
    """:func:`by_chance` of the equal-width error over :data:`BINS` bins, of (m,) scores; NaN without any."""
    if not len(scores):
        return np.nan
    chosen = scores.astype(np.float64)
    return by_chance(chosen, np.searchsorted(_even(BINS)[1:-1], chosen, side="right"), BINS)["error"]


def summary(found: Outcomes, drawn: Draws, count: int = BINS) -> dict[str, Estimate]:
    """All calibration figures with 95 % intervals.

    Errors are means (``mce``: the largest) of |mean score - share that came true| over bins: ``ece`` equal-width
    (Guo et al. 2017, arXiv:1706.04599), ``ace`` equal-mass (Nixon et al. 2019, arXiv:1904.01685). ``brier`` =
    ``reliability`` - ``resolution`` + ``uncertainty`` + ``within``: Murphy's split (1973) is exact where a bin holds
    one score, ``within`` is what the spread of scores inside the bins adds. ``slope`` and ``intercept`` are those of a
    logistic regression of the outcome on the score's log odds (Cox 1958), 1 and 0 when calibrated; ``offset`` is the
    intercept with the slope held at 1 (calibration in the large). ``nll`` is in nats.

    Intervals are bootstrap percentiles over patients, with the bins held; those of slope and intercepts rest on
    the cluster-robust variance (Liang & Zeger 1986). ``ece``, ``mce``, ``ace``, ``reliability`` and ``resolution`` have
    none, since chance alone makes them larger; what a calibrated model would show stands beside all but the last.

    Args:
        drawn: (P, R) of :func:`dashboard.audit.bootstrap.draws`.
    """
    n, patients = len(found), len(np.unique(found.group))
    names = ("brier", "uncertainty", "within", "nll")
    leaning = ("ece", "mce", "ace", "reliability", "resolution")
    if patients < FEW:
        return {name: too_few(patients, found.unit) for name in (*leaning, *names, "slope", "intercept", "offset")}
    once = np.ones((len(drawn), 1), dtype=np.uint8)
    width, mass = (bins(found, scheme, count) for scheme in _SCHEMES)
    value, spread = (_errors(found, width.member, each, count) for each in (once, drawn))
    value["ace"] = np.array([_mean_gap(found, mass)])
    even, equal = (by_chance(found.score, each.member, len(each.n)) for each in (width, mass))
    chance = {"ece": even["error"], "mce": even["largest"], "ace": equal["error"], "reliability": even["squared"]}
    estimates = {name: Estimate(float(value[name][0]), None, None, n, chance=chance.get(name)) for name in leaning}
    estimates |= {name: percentile(float(value[name][0]), spread[name], n) for name in names}
    return estimates | cox(found)


def class_wise(table: AuditTable, count: int = BINS) -> tuple[Estimate, tuple[Estimate, ...]]:
    """The mean over classes of their calibration errors (Kull et al. 2019, arXiv:1910.12656), and that of each class.

    Classes with known labels of fewer than ten patients are left out of the mean; its note names them.
    """
    each: list[Estimate] = []
    for index in range(len(table.classes)):
        found = outcomes(table, index)
        patients = len(np.unique(found.group))
        if patients < FEW:
            each.append(too_few(patients, table.unit))
            continue
        cut = bins(found, "width", count)
        chance = by_chance(found.score, cut.member, count)["error"]
        each.append(Estimate(_mean_gap(found, cut), None, None, len(found), chance=chance))
    known = [(one.value, one.chance) for one in each if one.value is not None and one.chance is not None]
    if not known:
        return too_few(0, table.unit), tuple(each)
    left = [name for name, one in zip(table.classes, each, strict=True) if one.value is None]
    value, chance = (float(part) for part in np.mean(known, axis=0))
    note = f"without {', '.join(left)}: too few {table.unit}" if left else ""
    return Estimate(value, None, None, len(table), note, chance), tuple(each)


def cox(found: Outcomes) -> dict[str, Estimate]:
    """``slope``, ``intercept`` and ``offset`` of :func:`summary`."""
    fewer, words = scarcer(people(found.group, found.hit), people(found.group, ~found.hit), found.unit)
    names = ("slope", "intercept", "offset")
    if fewer < FEW:
        return {name: too_few(fewer, words) for name in names}
    odds = log_odds(found.score)
    estimates = {"offset": _wald(fit_line(None, found.hit, found.group, odds), 0, len(found))}
    hits, misses = odds[found.hit], odds[~found.hit]
    if hits.min() >= misses.max() or hits.max() <= misses.min():
        same = hits.min() == hits.max() == misses.min() == misses.max()
        why = "all scores are equal" if same else "the scores part the two without overlap"
        apart = Estimate(None, None, None, len(found), f"not defined: {why}")
        return estimates | {"slope": apart, "intercept": apart}
    line = fit_line(odds, found.hit, found.group)
    return estimates | {"intercept": _wald(line, 0, len(found)), "slope": _wald(line, 1, len(found))}


def _wald(line: tuple[Array, Array], place: int, n: int) -> Estimate:
    value, reach = float(line[0][place]), Z * float(np.sqrt(line[1][place, place]))
    return Estimate(value, value - reach, value + reach, n)


def _mean_gap(found: Outcomes, cut: Bins) -> float:
    """Mean over the cases of their bin's |mean score - share that came true|."""
    return float(np.abs(np.bincount(cut.member, found.score - found.hit)).sum() / len(found))


def _errors(found: Outcomes, member: Rows, drawn: Draws, count: int) -> dict[str, Array]:
    """(R,) figures by name, over ``count`` bins."""
    parts = np.stack([np.ones(len(found)), found.score, found.hit, (found.score - found.hit) ** 2, found.loss])
    cells = several(member, count, found.group, drawn, parts)
    n, said, true = cells[:3]
    total, hits, squares, losses = (cells[part].sum(0) for part in (0, 2, 3, 4))
    gaps, rate = np.abs(_ratio(said - true, n, 0.0)), _ratio(hits, total)
    reliability = _ratio((n * gaps**2).sum(0), total)
    resolution = _ratio((n * (_ratio(true, n, 0.0) - rate) ** 2).sum(0), total)
    brier, uncertainty = _ratio(squares, total), rate * (1 - rate)
    return {
        "ece": _ratio(np.abs(said - true).sum(0), total),
        "mce": gaps.max(0),
        "brier": brier,
        "reliability": reliability,
        "resolution": resolution,
        "uncertainty": uncertainty,
        "within": brier - reliability + resolution - uncertainty,
        "nll": _ratio(losses, total),
    }


def _ratio(part: Array, whole: Array, empty: float = np.nan) -> Array:
    return np.divide(part, whole, out=np.full(part.shape, empty), where=whole > 0)
