"""How unequal the classes are, what that does to the figures, and whether patients are in two parts at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboard.audit.intervals import Z, wilson
from dashboard.audit.pairs import Both, Counts, Pairs, product
from dashboard.audit.table import CASE, SPLIT, AuditTable, Mask, Rows

BETA = 0.999  # of the effective number of samples, as the training losses take it
HALF_WIDTH = 0.05
WHOLE = "all"  # name of the only part where a table has none


def prevalence(table: AuditTable) -> pd.DataFrame:
    """One row for each part and class, parts in the order of ``table.splits``.

    Returns:
        Columns ``split``, ``class``; counts of cases with a known label and of their patients: ``images``,
        ``patients``, ``positives``, ``positive_patients``; ``prevalence``, ``low``, ``high`` (shares in [0, 1] with
        the Wilson interval); ``effective`` (:func:`effective_number` of the positives); ``imbalance_ratio``
        (negatives a positive; where classes exclude each other, cases of the largest class a case of this one; inf
        without positives); ``always_no`` (accuracy of never calling the class). NaN where no label is known.
    """
    parts = [(name, (table.cases[SPLIT] == name).to_numpy(bool)) for name in table.splits]
    if not parts:
        parts = [(WHOLE, np.ones(len(table), dtype=bool))]
    return pd.concat([_part(table, name, mask) for name, mask in parts], ignore_index=True)


def _part(table: AuditTable, name: str, mask: Mask) -> pd.DataFrame:
    known, positive, groups = table.known[mask], table.positive[mask], table.groups[mask]
    images, positives = known.sum(0), positive.sum(0)
    low, high = wilson(positives, images)
    against = positives.max(initial=0) if table.exclusive else images - positives
    with np.errstate(divide="ignore", invalid="ignore"):
        share = positives / images
        ratio = np.where(images > 0, against / positives, np.nan)
    return pd.DataFrame(
        {
            "split": name,
            "class": list(table.classes),
            "images": images,
            "patients": _people(known, groups, table.patients),
            "positives": positives,
            "positive_patients": _people(positive, groups, table.patients),
            "prevalence": share,
            "low": np.where(images > 0, low, np.nan),
            "high": np.where(images > 0, high, np.nan),
            "effective": effective_number(positives),
            "imbalance_ratio": ratio,
            "always_no": 1 - share,
        }
    )


def _people(held: Mask, groups: Rows, patients: int) -> NDArray[np.int64]:
    """(K,) patients with a case where the mask holds."""
    counts = [np.count_nonzero(np.bincount(groups[column], minlength=patients)) for column in held.T]
    return np.asarray(counts, dtype=np.int64)


def effective_number(count: NDArray[np.int64], beta: float = BETA) -> NDArray[np.float64]:
    """(1 - beta^n) / (1 - beta) of n samples (Cui et al. 2019, arXiv:1901.05555, eq. 2): what more of the same adds.

    It grows as n at first and never passes 1 / (1 - beta).
    """
    return np.asarray((1 - beta ** np.asarray(count, dtype=np.float64)) / (1 - beta))


def positives_needed(sensitivity: float, half_width: float = HALF_WIDTH) -> int | None:
    """Positives for a 95 % Wald interval of that half width: n = p (1 - p) 1.96^2 / half_width^2, rounded up.

    At worst (p = 0.5) it is 385 for 0.05. None at p = 0 or 1, where the formula says 0 and means nothing.
    """
    spread = sensitivity * (1 - sensitivity)
    return None if not spread > 0 else int(np.ceil(spread * Z**2 / half_width**2))


def loss_weights(table: AuditTable) -> pd.DataFrame:
    """What each loss of the training recipes would weigh each class by, with these labels to train on.

    Of n known labels of a class, of which p are positive. Classes that may hold together (the weight multiplies the
    positive term): inverse frequency (n - p) / p, its square root, and the ratio of the effective numbers of
    negatives and positives. Exclusive classes: n / p, its root, and 1 / effective number, each divided by its mean
    over the classes. Logit adjustment adds ln(prior) to the logits (exclusive), or ln(prior / (1 - prior)).

    Returns:
        A row a class: ``class``, ``cross-entropy`` (1), ``weighted``, ``root-weighted``, ``effective-number``,
        ``logit-adjusted`` (the offset). A class without positives is weighted as with one.
    """
    n = table.known.sum(0).astype(np.float64)
    found = table.positive.sum(0).astype(np.float64)
    p = np.maximum(found, 1)
    prior = np.clip(found / np.maximum(n, 1), 1e-4, 1 - 1e-4)
    if table.exclusive:
        rarity, effective, offset = n / p, 1 / effective_number(p), np.log(prior)
    else:
        rarity = np.maximum(n - p, 0) / p
        effective = effective_number(np.maximum(n - found, 1)) / effective_number(p)
        offset = np.log(prior / (1 - prior))
    weights = {"weighted": rarity, "root-weighted": np.sqrt(rarity), "effective-number": effective}
    if table.exclusive:
        weights = {name: weight / (weight.mean() or 1.0) for name, weight in weights.items()}
    ones = np.ones(len(n))
    return pd.DataFrame({"class": list(table.classes), "cross-entropy": ones, **weights, "logit-adjusted": offset})


@dataclass(frozen=True, eq=False)
class LabelPairs:
    """Findings that come together.

    Attributes:
        counts: (K, K) int64 cases with both; the diagonal holds the positives.
        known: (K, K) int64 cases where both labels are known.
        lift: (K, K) how many times more often both are present than if they came independently, with the 95 %
            interval over patients; NaN on the diagonal and where either is never present.
    """

    counts: Counts
    known: Counts
    lift: Pairs


def label_pairs(table: AuditTable) -> LabelPairs:
    """Co-occurrence of the labels, for classes that may hold together."""
    known, positive = table.known, table.positive
    both, all_ = Both(positive, positive), Both(known, known)
    lift = product(table.groups, [(both, 1), (all_, 1), (Both(positive, known), -1), (Both(known, positive), -1)])
    own = np.eye(len(table.classes), dtype=bool)
    hidden = Pairs(*(np.where(own, np.nan, part) for part in (lift.value, lift.low, lift.high)))
    return LabelPairs(both.count, all_.count, hidden)


@dataclass(frozen=True, eq=False)
class Leak:
    """What two parts of a table share.

    Attributes:
        one, other: names of the parts.
        patients: who has cases in both.
        rows: their cases in both parts, numbers of rows of the table.
        cases: names of cases that stand in both.
    """

    one: str
    other: str
    patients: int
    rows: Rows
    cases: int


def leakage(table: AuditTable) -> tuple[Leak, ...]:
    """Patients and cases of each pair of parts, also where none are shared; empty with fewer than two parts."""
    if len(table.splits) < 2:
        return ()
    codes = np.asarray(pd.Categorical(table.cases[SPLIT], categories=table.splits).codes, dtype=np.intp)
    who = _presence(table.groups if table.has_patients else None, codes, len(table.splits))
    named, _ = pd.factorize(table.cases[CASE])
    what = _presence(np.asarray(named, dtype=np.intp), codes, len(table.splits))
    found = []
    for one in range(len(table.splits)):
        for other in range(one + 1, len(table.splits)):
            shared = who[:, one] & who[:, other]
            inside = (codes == one) | (codes == other)
            rows = np.flatnonzero(inside & shared[table.groups]) if table.has_patients else np.empty(0, np.intp)
            twice = int((what[:, one] & what[:, other]).sum())
            found.append(Leak(table.splits[one], table.splits[other], int(shared.sum()), rows, twice))
    return tuple(found)


def _presence(names: Rows | None, codes: Rows, parts: int) -> Mask:
    """(N, parts) bool: the name has a case in the part; cases without a part (code -1) are in none."""
    if names is None:
        return np.zeros((0, parts), dtype=bool)
    seen = np.zeros((int(names.max(initial=-1)) + 1, parts), dtype=bool)
    seen[names[codes >= 0], codes[codes >= 0]] = True
    return seen


def class_rows(table: AuditTable, column: int) -> Rows:
    """Cases of a class, the least probable first: those a model finds hardest to see."""
    rows = np.flatnonzero(table.positive[:, column])
    return np.asarray(rows[np.argsort(table.scores[rows, column], kind="stable")], dtype=np.intp)


def label_pair_rows(table: AuditTable, one: int, other: int) -> Rows:
    """Cases with both findings present, in the order of the table."""
    return np.flatnonzero(table.positive[:, one] & table.positive[:, other])


def rows_in(part: AuditTable, whole: AuditTable, rows: Rows) -> Rows:
    """The cases of these rows of ``whole`` that are in ``part``, as rows of it."""
    places = pd.Index(part.cases[CASE]).get_indexer(whole.cases[CASE].iloc[rows])
    return np.asarray(places[places >= 0], dtype=np.intp)
