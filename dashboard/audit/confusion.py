"""What is taken for what: matrices of exclusive classes, 2 x 2 tables of findings, findings called in place of others.

Cases whose label is unknown are left out of every count. Every cell leads to its rows, the most confident first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dashboard.audit.intervals import FEW, wilson
from dashboard.audit.pairs import Both, Counts, Pairs, Values, difference, product
from dashboard.audit.table import AuditTable, Mask, Rows


@dataclass(frozen=True, eq=False)
class Shares:
    """Cells as shares of a total, with the ends of their 95 % Wilson intervals; NaN where the total is 0.

    All arrays have the shape of the matrix; ``hits`` and ``total`` are int64 counts, the others float64 in [0, 1].
    """

    value: Values
    low: Values
    high: Values
    hits: Counts
    total: Counts


def shares(hits: Counts, total: Counts) -> Shares:
    """Shares of counts; ``total`` is broadcast to the shape of ``hits``."""
    whole = np.broadcast_to(total, hits.shape)
    some = whole > 0
    low, high = wilson(hits, whole)
    value = np.divide(hits, whole, out=np.full(hits.shape, np.nan), where=some)
    return Shares(value, np.where(some, low, np.nan), np.where(some, high, np.nan), hits, whole)


def by_row(counts: Counts) -> Shares:
    """Shares of what is true (rows); the diagonal is the sensitivity."""
    return shares(counts, counts.sum(-1, keepdims=True))


def by_column(counts: Counts) -> Shares:
    """Shares of what was decided (columns); the diagonal is the positive predictive value."""
    return shares(counts, counts.sum(-2, keepdims=True))


def matrix(table: AuditTable) -> Counts:
    """(K, K) counts of exclusive classes: rows the true class, columns the decided one."""
    return Both(table.positive, table.decided).count


def matrix_rows(table: AuditTable, true: int, decided: int) -> Rows:
    """Cases of one cell of :func:`matrix`, highest score of the decided class first."""
    held = table.positive[:, true] & table.decided[:, decided]
    return _ranked(held, table.scores[:, decided])


def two_by_two(table: AuditTable) -> Counts:
    """(K, 2, 2) counts of each class: rows present and absent, columns called and not called."""
    positive, negative, decided = table.positive, table.negative, table.decided
    found, alarms = (positive & decided).sum(0), (negative & decided).sum(0)
    counts = [[found, positive.sum(0) - found], [alarms, negative.sum(0) - alarms]]
    return np.moveaxis(np.asarray(counts, dtype=np.int64), -1, 0)


def finding_rows(table: AuditTable, column: int, present: bool, called: bool) -> Rows:
    """Cases of one cell of :func:`two_by_two`: highest score first where called, lowest first where not."""
    truth = table.positive if present else table.negative
    held = truth[:, column] & (table.decided[:, column] == called)
    score = table.scores[:, column]
    return _ranked(held, score if called else -score)


@dataclass(frozen=True, eq=False)
class ConfusedWith:
    """Of a missed finding A (row), which findings B (column) were called in its place. NaN on the diagonal.

    Attributes:
        rate: of cases where A is present and not called and B is absent, the share in which B is called.
        chance: of cases where A and B are absent, the share in which B is called.
        ratio: rate / chance with its 95 % interval over patients. Where no such case was seen the ratio is 0 and
            its upper end that of the rate over the chance. NaN with fewer than ten missed cases of A without B,
            and where B is never called by chance.
    """

    rate: Shares
    chance: Shares
    ratio: Pairs


def confused_with(table: AuditTable) -> ConfusedWith:
    """Findings called in place of missed ones, (K, K) each, for classes that may hold together."""
    missed, absent = table.positive & ~table.decided, table.negative
    false = absent & table.decided
    instead, places = Both(missed, false), Both(missed, absent)
    anyway, elsewhere = Both(absent, false), Both(absent, absent)
    rate, chance = shares(instead.count, places.count), shares(anyway.count, elsewhere.count)
    found = product(table.groups, [(instead, 1), (places, -1), (anyway, -1), (elsewhere, 1)])
    with np.errstate(divide="ignore", invalid="ignore"):
        ceiling = rate.high / chance.value
    none = rate.hits == 0
    blank = (rate.total < FEW) | (chance.hits == 0) | np.eye(len(table.classes), dtype=bool)
    ratio = Pairs(
        np.where(blank, np.nan, found.value),
        np.where(blank, np.nan, np.where(none, 0.0, found.low)),
        np.where(blank, np.nan, np.where(none, ceiling, found.high)),
    )
    return ConfusedWith(rate, chance, ratio)


def confused_rows(table: AuditTable, missed: int, called: int) -> Rows:
    """Cases where A was missed and B called though absent, highest score of B first."""
    held = table.positive[:, missed] & ~table.decided[:, missed]
    return _ranked(held & table.negative[:, called] & table.decided[:, called], table.scores[:, called])


@dataclass(frozen=True, eq=False)
class Cooccurrence:
    """How often finding B (column) comes with finding A (row), in truth and as called, (K, K) each.

    Both are taken over the cases where both labels are known.

    Attributes:
        true: P(B present | A present).
        called: P(B called | A called).
        excess: called less true, with its 95 % interval over patients; NaN below ten cases of A in either.
    """

    true: Shares
    called: Shares
    excess: Pairs


def cooccurrence(table: AuditTable) -> Cooccurrence:
    """Pairs of findings as they are and as they are called, for classes that may hold together."""
    known, positive, called = table.known, table.positive, table.decided & table.known
    present = Both(positive, positive), Both(positive, known)
    made = Both(called, called), Both(called, known)
    true, calls = (shares(both.count, all_.count) for both, all_ in (present, made))
    excess = difference(table.groups, made, present)
    blank = (true.total < FEW) | (calls.total < FEW) | np.eye(len(table.classes), dtype=bool)
    hidden = Pairs(*(np.where(blank, np.nan, part) for part in (excess.value, excess.low, excess.high)))
    return Cooccurrence(true, calls, hidden)


def pair_rows(table: AuditTable, one: int, other: int, kind: str) -> Rows:
    """Cases of a pair of findings, the pair with the higher lower score first.

    Args:
        kind: "true" (both present), "called" (both called), or "excess" (one of the two, not both; pairs called
            though not present come first, then pairs present but not called, the least likely first).
    """
    pair = [one, other]
    known = np.asarray(table.known[:, pair].all(1))
    present = np.asarray(table.positive[:, pair].all(1))
    called = np.asarray(table.decided[:, pair].all(1)) & known
    score = table.scores[:, pair].min(1)
    if kind == "excess":
        return np.concatenate([_ranked(called & ~present, score), _ranked(present & ~called, -score)])
    return _ranked(present if kind == "true" else called, score)


def _ranked(held: Mask, score: np.ndarray) -> Rows:
    """Rows where the mask holds, highest score first; the earlier row first among equals."""
    rows = np.flatnonzero(held)
    return np.asarray(rows[np.argsort(-score[rows], kind="stable")], dtype=np.intp)
