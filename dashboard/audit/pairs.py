"""Figures of all pairs of classes at once, with intervals that take several cases of one patient for what they are.

Each figure is made of counts of cases where one mask holds for class A and another for class B. Its variance is that
of the linearised figure summed over patients (Taylor linearisation with clusters; Binder 1983): without patients it
is the closed form for independent cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dashboard.audit.intervals import Z
from dashboard.audit.table import Mask, Rows

Values = NDArray[np.float64]
Counts = NDArray[np.int64]
_LANES = 8


@dataclass(frozen=True, eq=False)
class Pairs:
    """One figure of every ordered pair of K classes.

    Attributes:
        value, low, high: (K, K) float64 with the ends of the 95 % interval, NaN where it is not defined.
    """

    value: Values
    low: Values
    high: Values


@dataclass(frozen=True, eq=False)
class Both:
    """Cases where ``left`` holds for A and ``right`` for B, both masks (n, K)."""

    left: Mask
    right: Mask

    @cached_property
    def count(self) -> Counts:
        """(K, K) int64: row A, column B."""
        # Whole numbers stay exact in float32 up to 16 million cases, and there is a fast product for it.
        return np.asarray(np.rint(self.left.T.astype(np.float32) @ self.right.astype(np.float32)), dtype=np.int64)


def product(groups: Rows, terms: Sequence[tuple[Both, int]]) -> Pairs:
    """Product of counts, each to a power, such as a ratio of rates (powers 1, -1, -1, 1) or a lift.

    The interval is symmetric on the log scale. Of independent cases the interval of a ratio of rates is that of
    Katz et al. 1978, up to the factor P / (P - 1) of P cases. Where a count is 0 there is no interval, and with a
    power below 0 no value.

    Args:
        groups: (n,) number of the patient of each case.
        terms: what is counted, and its power.
    """
    value = np.ones_like(terms[0][0].count, dtype=np.float64)
    weights = []
    with np.errstate(divide="ignore", invalid="ignore"):
        for term, power in terms:
            value *= term.count.astype(np.float64) ** power
            weights.append(power / term.count)
        value[~np.isfinite(value)] = np.nan
        spread = _deviation(groups, [term for term, _ in terms], weights)
        low, high = value * np.exp(-Z * spread), value * np.exp(Z * spread)
    return Pairs(value, low, high)


def difference(groups: Rows, one: tuple[Both, Both], other: tuple[Both, Both]) -> Pairs:
    """Share of B among A in one reading of the same cases less that in another.

    Args:
        one, other: cases of A with B, and all cases of A that count, a mask of B that is known.
    """
    weights, shares = [], []
    with np.errstate(divide="ignore", invalid="ignore"):
        for sign, (hits, total) in ((1, one), (-1, other)):
            share = hits.count / total.count
            weights += [sign / total.count, -sign * share / total.count]
            shares.append(share)
        value = shares[0] - shares[1]
        reach = Z * _deviation(groups, [*one, *other], weights)
    return Pairs(value, np.clip(value - reach, -1, 1), np.clip(value + reach, -1, 1))


def _deviation(groups: Rows, terms: Sequence[Both], weights: Sequence[Values]) -> Values:
    """(K, K) standard deviation of a figure that moves by ``weights`` with each case of a term; NaN if undefined."""
    weight = np.stack(weights)
    defined = np.isfinite(weight).all(0)
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1, append=-1))
    people = len(starts) - 1
    if people < 2:
        return np.full(defined.shape, np.nan)
    count = defined.shape[0]
    wide = -(-count // _LANES) * _LANES  # whole vector registers
    rights = np.zeros((len(terms), len(groups), wide), dtype=np.float32)
    moves = np.zeros((len(terms), count, wide), dtype=np.float32)
    for index, term in enumerate(terms):
        rights[index, :, :count] = term.right
    # Scaled to near 1, so that float32 keeps its precision.
    scale = np.abs(np.where(defined, weight, 0.0)).max(0)
    scale = np.where(scale > 0, scale, 1.0)
    moves[:, :, :count] = np.where(defined, weight, 0.0) / scale
    squares = _squares(order, starts, tuple(term.left for term in terms), rights, moves)[:, :count]
    return np.where(defined, scale * np.sqrt(squares * people / (people - 1)), np.nan)


@njit(nogil=True, cache=True, fastmath={"contract"})
def _squares(order, starts, lefts, rights, moves):  # type: ignore[no-untyped-def]
    """(K, wide) sum over patients of the square of what each moves the figure by."""
    _, count, wide = moves.shape
    total = np.zeros((count, wide))
    own = np.zeros((count, wide), dtype=np.float32)
    for person in range(len(starts) - 1):
        own[:] = 0.0
        for place in range(starts[person], starts[person + 1]):
            i = order[place]
            for term in range(len(lefts)):
                left = lefts[term]
                right = rights[term, i]
                for a in range(count):
                    if left[i, a]:
                        row, move = own[a], moves[term, a]
                        for b in range(wide):
                            row[b] += move[b] * right[b]
        for a in range(count):
            for b in range(wide):
                total[a, b] += own[a, b] * own[a, b]
    return total
