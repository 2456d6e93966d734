"""Cases to look at first: ranked lists of pairs of case and class, each with the number that ranked it.

Every list is sorted by its number, ties by row and class; pairs whose label is unknown are left out. Where classes
exclude each other a case stands once, under the class that was decided for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dashboard.audit.intervals import FEW
from dashboard.audit.table import AuditTable, Mask, Rows

MOST = 1000  # entries of a list
_TINY = 1e-7  # float32 cannot tell a probability from 0 or 1 any closer


@dataclass(frozen=True, eq=False)
class Ranking:
    """Pairs of case and class, the first to look at first.

    Attributes:
        rows: (m,) numbers of rows of the table.
        columns: (m,) index of the class that each is about.
        numbers: (m,) float64, what ranked them.
        total: pairs found, of which the list holds the first.
    """

    rows: Rows
    columns: Rows
    numbers: NDArray[np.float64]
    total: int

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def cases(self) -> Rows:
        """Each row once, in the order of the list."""
        _, first = np.unique(self.rows, return_index=True)
        return self.rows[np.sort(first)]


def confident_errors(table: AuditTable, column: int | None = None, most: int = MOST) -> Ranking:
    """Wrong decisions, by how far the score is past the operating point, as a share of the way to 0 or 1.

    Findings with different operating points are compared fairly by it: with a threshold of 0.1 a score of 0.05 is
    half-way to certain absence. Where classes exclude each other: by the probability of the decided class.

    Args:
        column: one class, all if not given; where classes exclude each other, errors with it as truth or decision.
    """
    if not table.exclusive:
        wrong = table.known & (table.decided != table.positive)
        return _ranking(table, wrong, np.abs(margins(table)), column, most)
    wrong = table.decided & table.negative
    if column is not None:
        wrong = wrong & (table.positive[:, [column]] | table.decided[:, [column]])
    return _ranking(table, wrong, table.scores.astype(np.float64), None, most)


def largest_loss(table: AuditTable, column: int | None = None, most: int = MOST) -> Ranking:
    """Negative log likelihood of each pair: -ln(score) of what is present, -ln(1 - score) of what is absent.

    Where classes exclude each other: of the true class of each case.
    """
    held = table.positive if table.exclusive else table.known
    return _ranking(table, held, losses(table), column, most)


def largest_case_loss(table: AuditTable, most: int = MOST) -> Ranking:
    """Mean loss of a case over its known classes (its loss, where classes exclude each other), under the worst one."""
    held = table.positive if table.exclusive else table.known
    loss = np.where(held, losses(table), 0.0)
    mean = loss.sum(1) / np.maximum(held.sum(1), 1)
    worst = np.zeros_like(held)
    worst[np.arange(len(table)), np.where(held, loss, -1.0).argmax(1)] = held.any(1)
    return _ranking(table, worst, np.broadcast_to(mean[:, None], held.shape), None, most)


def near_threshold(table: AuditTable, column: int | None = None, most: int = MOST) -> Ranking:
    """Cases whose decision is closest to the other one: the distance in log odds from score to operating point.

    Where classes exclude each other: between the decided class and the next (for ``column``, the best other one).
    """
    if not table.exclusive:
        points = np.asarray(table.thresholds)
        distance = np.abs(_log_odds(table.scores) - _log_odds(points))
        return _ranking(table, table.known, -distance, column, most, sign=-1)
    weighed = np.log(np.maximum(table.scores, _TINY)) - np.log(np.maximum(table.thresholds, 1e-6))
    if len(table.classes) < 2:
        return _ranking(table, np.zeros_like(table.known), weighed, None, most)
    first, second = -np.sort(-weighed, axis=1)[:, :2].T
    if column is None:
        distance = np.broadcast_to((first - second)[:, None], weighed.shape)
        return _ranking(table, table.decided & table.known, -distance, None, most, sign=-1)
    best = np.delete(weighed, column, axis=1).max(1, keepdims=True)
    return _ranking(table, table.known, -np.abs(weighed - best), column, most, sign=-1)


def suspected_labels(table: AuditTable, column: int | None = None, most: int = MOST) -> Ranking:
    """Labels that may be wrong: the score speaks for another label than the one given (confident learning).

    A label is suspected as in Northcutt et al. 2021 (arXiv:1911.00068, eq. 1): its case is at least as probable under
    another label as cases of that label are on average (:func:`self_confidence`), and more so than under any other
    label that passes this test. For findings that may hold together, present and absent are the two labels of each.
    Scores should be of cases the model was not trained on.

    Differs: ranked by how far the probability of the other label passes that average, as a share of the way to 1,
    so that labels of which the model is never sure do not fill the list.

    Args:
        column: one class, all if not given; where classes exclude each other, the suggested label.
    """
    scores = table.scores.astype(np.float64)
    present, absent = self_confidence(table)
    if table.exclusive:
        suggested = _suggested(scores, present)
        excess = (scores - present) / np.maximum(1 - present, _TINY)
        return _ranking(table, suggested & table.negative, excess, column, most)
    yes, no = scores >= present, 1 - scores >= absent
    speaks_yes, speaks_no = yes & (~no | (scores > 0.5)), no & (~yes | (scores <= 0.5))
    held = (table.negative & speaks_yes) | (table.positive & speaks_no)
    excess = np.where(
        table.negative,
        (scores - present) / np.maximum(1 - present, _TINY),
        (1 - scores - absent) / np.maximum(1 - absent, _TINY),
    )
    return _ranking(table, held, excess, column, most)


def self_confidence(table: AuditTable) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(K,) and (K,): mean score of the positives and mean of 1 - score of the negatives; inf below ten of them."""
    scores = table.scores.astype(np.float64)
    means = []
    for held, sure in ((table.positive, scores), (table.negative, 1 - scores)):
        count = held.sum(0)
        mean = np.where(held, sure, 0.0).sum(0) / np.maximum(count, 1)
        means.append(np.where(count >= FEW, mean, np.inf))
    return means[0], means[1]


def margins(table: AuditTable) -> NDArray[np.float64]:
    """(n, K) signed distance of the score from its operating point, as a share of the way to 1 (or, below 0, to 0)."""
    points = np.asarray(table.thresholds, dtype=np.float64)
    away = table.scores - points
    return np.where(away >= 0, away / np.maximum(1 - points, _TINY), away / np.maximum(points, _TINY)).clip(-1, 1)


def losses(table: AuditTable) -> NDArray[np.float64]:
    """(n, K) negative log likelihood in nats, at most 16.1; NaN where the label is unknown."""
    scores = table.scores.astype(np.float64)
    likely = np.where(table.positive, scores, 1 - scores)
    return np.where(table.known, -np.log(np.maximum(likely, _TINY)), np.nan)


def _log_odds(probability: NDArray[np.floating]) -> NDArray[np.float64]:
    held = np.clip(probability.astype(np.float64), _TINY, 1 - _TINY)
    return np.asarray(np.log(held) - np.log1p(-held))


def _suggested(scores: NDArray[np.float64], present: NDArray[np.float64]) -> Mask:
    """(n, K) bool: at most one label a case, the most probable of those that pass their self-confidence."""
    passing = np.where(scores >= present, scores, -1.0)
    best = passing.argmax(1) if scores.shape[1] else np.zeros(len(scores), dtype=np.intp)
    return np.asarray(np.eye(scores.shape[1], dtype=bool)[best] & (passing >= 0))


def _ranking(
    table: AuditTable, held: Mask, numbers: NDArray[np.float64], column: int | None, most: int, sign: int = 1
) -> Ranking:
    """The pairs where the mask holds, largest number first; numbers are given back times ``sign``."""
    if column is None:
        rows, columns = np.nonzero(held)
        values = numbers[rows, columns]
    else:
        rows = np.flatnonzero(held[:, column])
        columns, values = np.full(len(rows), column), numbers[rows, column]
    total = len(rows)
    if total > most:  # sorting millions for the first thousand would be felt
        cut = np.partition(values, total - most)[total - most]
        near = np.flatnonzero(values >= cut)
        rows, columns, values = rows[near], columns[near], values[near]
    order = np.argsort(-values, kind="stable")[:most]
    return Ranking(rows[order].astype(np.intp), columns[order].astype(np.intp), sign * values[order], total)
