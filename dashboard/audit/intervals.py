"""What every figure of an audit is given as: a value with its 95 % interval and the cases behind it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.types import FloatArray

FEW = 10  # cases (for a class: positives or negatives) below which nothing is estimated
_Z = 1.959963984540054


@dataclass(frozen=True)
class Estimate:
    """One figure.

    Attributes:
        value: None where it cannot be estimated; ``note`` says why ("too few (n=7)").
        low, high: ends of the 95 % interval; None where there is none (yet).
        n: cases behind it.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    note: str = ""

    @property
    def text(self) -> str:
        """For people: "0.812 (0.794 to 0.829)", or the note."""
        if self.value is None:
            return self.note
        return f"{self.value:.3f}" + ("" if self.low is None else f" ({self.low:.3f} to {self.high:.3f})")


def too_few(n: int) -> Estimate:
    return Estimate(None, None, None, n, f"too few (n={n})")


def percentile(value: float, replicates: FloatArray | NDArray[np.float64], n: int, note: str = "") -> Estimate:
    """A value with the 2.5 and 97.5 percentiles of its bootstrap replicates, those undefined (NaN) left out."""
    if not np.isfinite(value):
        return Estimate(None, None, None, n, note or "not defined")
    known = np.asarray(replicates, dtype=np.float64)[np.isfinite(replicates)]
    if not known.size:
        return Estimate(float(value), None, None, n, note)
    low, high = np.quantile(known, (0.025, 0.975))
    return Estimate(float(value), float(low), float(high), n, note)


def wilson(hits: ArrayLike, total: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends of the 95 % score interval of a proportion (Wilson 1927), arrays of one shape; 0 and 1 for a total of 0."""
    count = np.asarray(total, dtype=np.float64)
    n = np.maximum(count, 1)
    share = np.asarray(hits, dtype=np.float64) / n
    centre = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    reach = _Z / (1 + _Z**2 / n) * np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    low, high = np.clip(centre - reach, 0, 1), np.clip(centre + reach, 0, 1)
    return np.where(count > 0, low, 0.0), np.where(count > 0, high, 1.0)
