"""Comparing two sides of a set of cases within strata of like cases."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dashboard.audit.table import AuditTable, Rows
from dashboard.hunting.grid import Array

_AT_ONCE = 2000  # permutations, which bounds the memory


def strata_of(table: AuditTable, finding: int, rows: Rows) -> Rows:
    """(n,) number of each case's stratum: its label, and whether its score is in the upper half of that label's."""
    label, score = table.positive[rows, finding], table.scores[rows, finding]
    upper = np.zeros(len(rows), dtype=bool)
    for value in (False, True):
        own = label == value
        if own.any():
            upper[own] = score[own] > np.median(score[own])
    return np.asarray(2 * label + upper, dtype=np.intp)


def coefficients(member: NDArray[np.bool_], strata: Rows) -> Array:
    """(n,) weights: those of the group's cases add up to 1, those of the others to -1, in each stratum to opposite sums.

    Strata with cases of one side alone count nothing.
    """
    found = np.zeros(len(member))
    for stratum in np.unique(strata):
        own = strata == stratum
        inside, outside = int((own & member).sum()), int((own & ~member).sum())
        if inside and outside:
            weight = inside * outside / (inside + outside)
            found[own & member], found[own & ~member] = weight / inside, -weight / outside
    total = found[member].sum()
    return found / total if total else found


def permuted_distances(cells: Array, weights: Array, strata: Rows, count: int, seed: int) -> Array:
    """(count,) distances where the cases of each stratum are shuffled."""
    rng = np.random.default_rng(seed)
    values = cells.astype(np.float32)
    parts = []
    for first in range(0, count, _AT_ONCE):
        drawn = np.tile(weights.astype(np.float32), (min(_AT_ONCE, count - first), 1))
        for stratum in np.unique(strata):
            own = np.flatnonzero(strata == stratum)
            drawn[:, own] = rng.permuted(drawn[:, own], axis=1)
        parts.append(np.abs(drawn @ values).sum(axis=1) / 2)
    return np.concatenate(parts).astype(np.float64)
