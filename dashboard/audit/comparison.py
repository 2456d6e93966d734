"""Two tables of scores for the same cases: paired differences, which are far sharper than two intervals side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from dashboard.audit import delong
from dashboard.audit.basis import Basis, basis
from dashboard.audit.bootstrap import REPLICATES, Draws, figures, presort
from dashboard.audit.calibration import chance_error
from dashboard.audit.gaps import Gap, drawn_with_table, holm, measured_gap
from dashboard.audit.intervals import Estimate, estimated
from dashboard.audit.table import CASE, AuditTable, Mask, Rows
from models.errors import DataError
from models.types import FloatArray

TITLES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "brier": "Brier score",
    "ece": "Calibration error (ECE)",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
}
LOWER = ("brier", "ece")  # the lower the better
MACRO = "mean of the classes"


@dataclass(frozen=True, eq=False)
class Matched:
    """The cases and classes that two tables share.

    Attributes:
        titles: of the two tables.
        rows: (2, n) numbers of rows in the first and the second table.
        labels: (n, K) float32, 0 or 1; NaN where either table does not know, or the two differ.
        scores: (2, n, K) float32. decided: (2, n, K) bool, called at each table's own operating point.
        groups: (n,) number of the patient; ``unit`` is "patients", or "cases" where they are unknown.
        alone: cases that only the first and only the second table holds.
        differing: pairs of case and class whose labels differ; left out.
        half_known: pairs whose label only one table knows; left out.
    """

    titles: tuple[str, str]
    classes: tuple[str, ...]
    rows: NDArray[np.intp]
    labels: FloatArray
    scores: FloatArray
    decided: Mask
    groups: Rows
    unit: str
    alone: tuple[int, int]
    differing: int
    half_known: int

    def __len__(self) -> int:
        return len(self.groups)


@dataclass(frozen=True)
class Paired:
    """One figure of both tables.

    Attributes:
        first, second: each with its own interval.
        difference: second less first, from drawing whole patients.
        test: for AUROC DeLong's p; for sensitivity and specificity McNemar's exact p. Both take cases as independent.
        delong: DeLong's difference and interval, for AUROC.
        discordant: cases that only the first and only the second called rightly, for sensitivity and specificity.
    """

    first: Estimate
    second: Estimate
    difference: Gap
    test: float | None = None
    delong: Estimate | None = None
    discordant: tuple[int, int] | None = None


@dataclass(frozen=True)
class ClassComparison:
    """``figures`` by the names of :data:`TITLES`; n and positives count cases with a label that both tables share."""

    name: str
    n: int
    positives: int
    figures: Mapping[str, Paired]


def match(first: AuditTable, second: AuditTable) -> Matched:
    """The shared cases, by their ids, and the shared classes, by their names.

    Raises:
        DataError: nothing is shared.
    """
    found = pd.Index(second.cases[CASE]).get_indexer(pd.Index(first.cases[CASE]))
    rows = np.stack([np.flatnonzero(found >= 0), found[found >= 0]]).astype(np.intp)
    if not rows.shape[1]:
        raise DataError(
            f"{first.title} and {second.title} share no case id; compare tables that hold scores of the same cases."
        )
    classes = tuple(name for name in first.classes if name in second.classes)
    if not classes:
        raise DataError(
            f"{first.title} and {second.title} share no class ({', '.join(first.classes)}; "
            f"{', '.join(second.classes)}); compare models of the same findings."
        )
    tables = (first, second)
    at = [np.ix_(rows[k], [table.column(name) for name in classes]) for k, table in enumerate(tables)]
    a, b = (table.labels[place] for table, place in zip(tables, at, strict=True))
    known = ~np.isnan(a), ~np.isnan(b)
    agreed = known[0] & known[1] & (a == b)
    owner = first if first.has_patients or not second.has_patients else second
    patient = owner.groups[rows[0 if owner is first else 1]]
    return Matched(
        (first.title, second.title),
        classes,
        rows,
        np.where(agreed, a, np.float32(np.nan)),
        np.stack([table.scores[place] for table, place in zip(tables, at, strict=True)]),
        np.stack([table.decided[place] for table, place in zip(tables, at, strict=True)]),
        np.unique(patient, return_inverse=True)[1].astype(np.intp),
        owner.unit,
        (len(first) - rows.shape[1], len(second) - rows.shape[1]),
        int((known[0] & known[1] & (a != b)).sum()),
        int((known[0] ^ known[1]).sum()),
    )


def compare(
    both: Matched,
    count: int = REPLICATES,
    seed: int = 0,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[ClassComparison, ...]:
    """Every class, and last, where several can be estimated, their mean (:data:`MACRO`).

    Args:
        count: bootstrap replicates.
        progress: told the share done, 0 to 1, after each class.
    """
    drawn = drawn_with_table(both.groups, count, seed)
    found, replicates = [], []
    for k in range(len(both.classes)):
        values, rests, chance = _values(both, k, drawn), _basis(both, k), _chance(both, k)
        found.append(_class(both, k, values, rests, chance))
        if rests.scarce("auroc") is None:
            replicates.append((values, rests, chance))
        progress((k + 1) / len(both.classes))
    found = _adjusted(found)
    if len(replicates) > 1:
        found.append(_mean(both, replicates))
    return tuple(found)


def disagreement(both: Matched, k: int) -> Rows:
    """Rows of the first table: those called by one of the two only come first, then by how far the scores differ."""
    apart = np.abs(both.scores[0, :, k].astype(np.float64) - both.scores[1, :, k])
    split = both.decided[0, :, k] != both.decided[1, :, k]
    return both.rows[0][np.lexsort((-apart, ~split))]


def tenths(both: Matched, k: int) -> NDArray[np.intp]:
    """(2, n) which tenth of all its scores each table's score falls in, 0 to 9; equal scores fall together.

    Ranks compare models whose scores are not on one scale.
    """
    ranks = stats.rankdata(both.scores[:, :, k], axis=1)
    return np.minimum(9, np.floor(10 * (ranks - 0.5) / len(both))).astype(np.intp)


def _values(both: Matched, k: int, drawn: Draws) -> dict[str, NDArray[np.float64]]:
    """(2, 1 + R) by figure."""
    known = ~np.isnan(both.labels[:, k])
    positive = both.labels[known, k] == 1
    sides = [
        figures(presort(both.groups[known], positive, both.scores[t, known, k], both.decided[t, known, k]), drawn)
        for t in (0, 1)
    ]
    return {figure: np.stack([side[figure] for side in sides]) for figure in TITLES}


def _basis(both: Matched, k: int) -> Basis:
    labels = both.labels[:, k]
    return basis(both.groups, ~np.isnan(labels), labels == 1, both.decided[0, :, k], both.unit)


def _chance(both: Matched, k: int) -> tuple[float, float]:
    """The calibration errors that chance alone would give the two tables."""
    scores = both.scores[:, ~np.isnan(both.labels[:, k]), k]
    return chance_error(scores[0]), chance_error(scores[1])


def _class(
    both: Matched, k: int, values: Mapping[str, NDArray[np.float64]], rests: Basis, chance: tuple[float, float]
) -> ClassComparison:
    known = ~np.isnan(both.labels[:, k])
    positive = both.labels[known, k] == 1
    scores, decided = both.scores[:, known, k], both.decided[:, known, k]
    n, positives = len(positive), int(positive.sum())
    found = {}
    for figure in TITLES:
        nothing = rests.scarce(figure)
        if nothing is not None:
            found[figure] = Paired(nothing, nothing, Gap(nothing))
            continue
        one = _paired(figure, values[figure], rests.n(figure), rests.limit(figure)[0], chance)
        if figure == "auroc":
            value, low, high, p = delong.paired(positive, scores[1], scores[0])
            one = replace(one, test=_finite(p), delong=Estimate(value, _finite(low), _finite(high), n))
        elif figure in ("sensitivity", "specificity"):
            right = decided[:, positive] if figure == "sensitivity" else ~decided[:, ~positive]
            only = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
            one = replace(one, test=mcnemar(*only), discordant=only)
        found[figure] = one
    return ClassComparison(both.classes[k], n, positives, found)


def mcnemar(first: int, second: int) -> float:
    """Exact two-sided p that cases which only one of two got right fall to either with the same chance."""
    total = first + second
    return float(stats.binomtest(first, total).pvalue) if total else 1.0


def _paired(
    figure: str, values: NDArray[np.float64], n: int, patients: int, chance: tuple[float, float], note: str = ""
) -> Paired:
    first, second = (estimated(figure, values[side], n, patients, note, chance[side]) for side in (0, 1))
    return Paired(first, second, measured_gap(figure, values[1] - values[0], n, note))


def _mean(
    both: Matched, parts: list[tuple[dict[str, NDArray[np.float64]], Basis, tuple[float, float]]]
) -> ClassComparison:
    note = f"{len(parts)} of {len(both.classes)} classes"
    first, second = (float(each) for each in np.mean([chance for _, _, chance in parts], axis=0))
    found = {}
    for figure in TITLES:
        mean = np.mean([values[figure] for values, _, _ in parts], axis=0)
        fewest = min(rests.limit(figure)[0] for _, rests, _ in parts)
        found[figure] = _paired(figure, mean, len(both), fewest, (first, second), note)
    positives = int(np.any(both.labels == 1, axis=1).sum())
    return ClassComparison(MACRO, len(both), positives, found)


def _adjusted(found: list[ClassComparison]) -> list[ClassComparison]:
    by_figure = {figure: holm([one.figures[figure].difference.p for one in found]) for figure in TITLES}

    def with_p(place: int, figure: str, pair: Paired) -> Paired:
        return replace(pair, difference=replace(pair.difference, adjusted=by_figure[figure][place]))

    return [
        replace(one, figures={figure: with_p(place, figure, pair) for figure, pair in one.figures.items()})
        for place, one in enumerate(found)
    ]


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
