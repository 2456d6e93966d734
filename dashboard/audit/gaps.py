"""Values and differences out of bootstrap replicates, and what many of them at once mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from dashboard.audit.bootstrap import Draws, draws
from dashboard.audit.intervals import Estimate, percentile
from dashboard.audit.table import Rows

# Chance adds the more to an ECE the fewer the cases and the smaller it is, so it does not cancel in a difference.
BIASED = "no interval: chance alone makes ECE larger where cases are fewer, or where it is small"


@dataclass(frozen=True)
class Gap:
    """One figure less another, both from the same draws.

    Attributes:
        p: two-sided, by a normal approximation with the bootstrap's standard error; None where there is no gap.
        adjusted: the same after Holm 1979, over all that were tested together.
    """

    estimate: Estimate
    p: float | None = None
    adjusted: float | None = None


def drawn_with_table(groups: Rows, count: int, seed: int) -> Draws:
    """(P, 1 + count) uint8: ones, which stand for the table as it is, then :func:`dashboard.audit.bootstrap.draws`."""
    drawn = draws(groups, count, seed)
    return np.concatenate([np.ones((len(drawn), 1), dtype=np.uint8), drawn], axis=1)


def measured_gap(figure: str, found: NDArray[np.float64], n: int, note: str = "") -> Gap:
    """A difference, first of the (1 + R,) array, with the interval of its replicates and its p; ECE has neither."""
    value, drawn = float(found[0]), found[1:]
    if figure == "ece" and np.isfinite(value):
        return Gap(Estimate(value, None, None, n, BIASED))
    known = drawn[np.isfinite(drawn)]
    estimate = percentile(value, drawn, n, note)
    spread = float(known.std(ddof=1)) if known.size > 1 else 0.0
    if estimate.value is None or spread == 0:
        return Gap(estimate)
    return Gap(estimate, 2 * float(stats.norm.sf(abs(value) / spread)))


def missing(n: int, note: str) -> Estimate:
    return Estimate(None, None, None, n, note)


def holm(p: Sequence[float | None], mirrored: bool = False) -> list[float | None]:
    """Adjusted p values (Holm 1979), None where there is none.

    Args:
        mirrored: the values come in pairs of the same comparison, which counts once.
    """
    tested = np.asarray([value for value in p if value is not None], dtype=np.float64)
    m = len(tested) // 2 if mirrored else len(tested)
    place = np.arange(len(tested)) // (2 if mirrored else 1)
    order = np.argsort(tested, kind="stable")
    adjusted = np.empty(len(tested))
    adjusted[order] = np.minimum(1, np.maximum.accumulate((m - place) * tested[order]))
    found = iter(adjusted)
    return [None if value is None else float(next(found)) for value in p]
