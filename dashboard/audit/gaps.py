"""Values and differences out of bootstrap replicates, and what many of them at once mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from dashboard.audit.bootstrap import Draws, draws
from dashboard.audit.intervals import Estimate, percentile, wilson
from dashboard.audit.table import Rows

_SHARES = ("sensitivity", "specificity", "false_positive_rate", "ppv", "prevalence", "underdiagnosis")


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


def estimated(figure: str, found: NDArray[np.float64], n: int, note: str = "") -> Estimate:
    """A value, first of the (1 + R,) array, with the interval of its replicates."""
    value, drawn = float(found[0]), found[1:]
    known = drawn[np.isfinite(drawn)]
    if figure == "ece" and known.size:
        # A resampled table is noisier, which looks like miscalibration: without this the value lies outside.
        drawn = np.maximum(known - known.mean() + value, 0)
    if figure in _SHARES and len(drawn) and value in (0.0, 1.0):
        # No resample of cases that all went one way shows doubt; the score interval does.
        low, high = wilson(value * n, n)
        return Estimate(value, float(low), float(high), n, note or "Wilson interval: all cases went one way")
    return percentile(value, drawn, n, note)


def measured_gap(figure: str, found: NDArray[np.float64], n: int, note: str = "") -> Gap:
    """A difference, first of the (1 + R,) array, with the interval of its replicates and its p."""
    value, drawn = float(found[0]), found[1:]
    known = drawn[np.isfinite(drawn)]
    if figure == "ece" and known.size:
        drawn = known - known.mean() + value  # as in :func:`estimated`
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
