"""What every figure of an audit is given as: a value with its 95 % interval and the cases behind it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FEW = 10  # patients (for a class: with positives or negatives) below which nothing is estimated
ERROR = 0.05
Z = 1.959963984540054  # normal quantile of a 95 % interval
SHARES = (
    "sensitivity",
    "specificity",
    "false_positive_rate",
    "ppv",
    "npv",
    "prevalence",
    "underdiagnosis",
    "accuracy",
    "called",
)
_FLAT = "no interval: no resample differs"
# Percentile, basic and bias-corrected bootstrap intervals held a true ECE of 0 in at most 37 % of made tables.
NO_ECE_INTERVAL = (
    "No interval of a calibration error holds as often as it says: chance alone makes it larger. In brackets: what a "
    "perfectly calibrated model would show on average with as many cases."
)


@dataclass(frozen=True)
class Estimate:
    """One figure.

    Attributes:
        value: None where it cannot be estimated; ``note`` says why ("too few (n=7)").
        low, high: ends of the 95 % interval; None where there is none (yet).
        n: cases behind it.
        chance: of a calibration error, what chance alone would give; see :data:`NO_ECE_INTERVAL`.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    note: str = ""
    chance: float | None = None

    @property
    def text(self) -> str:
        """For people: "0.812 (0.794 to 0.829)", "0.052 (0.049 by chance)", or the note."""
        return self.rounded(3)

    def rounded(self, digits: int) -> str:
        """:attr:`text` with that many decimals."""
        if self.value is None:
            return self.note
        found = f"{self.value:.{digits}f}"
        if self.low is not None:
            return f"{found} ({self.low:.{digits}f} to {self.high:.{digits}f})"
        if self.chance is not None:
            return f"{found} ({self.chance:.{digits}f} by chance)"
        return f"{found} ({_FLAT})" if self.note.endswith(_FLAT) else found


def too_few(n: int, words: str) -> Estimate:
    """Nothing is estimated: "too few positive patients (n=7)"."""
    return Estimate(None, None, None, n, f"too few {words} (n={n})")


def people(groups: NDArray[np.intp], mask: NDArray[np.bool_]) -> int:
    """Patients, by their (n,) numbers, with a case where the (n,) mask holds."""
    return int(np.count_nonzero(np.bincount(groups[mask])))


def scarcer(positive: int, negative: int, unit: str) -> tuple[int, str]:
    """The smaller of two counts and what it counts: "positive patients"."""
    return (positive, f"positive {unit}") if positive <= negative else (negative, f"negative {unit}")


def estimated(
    figure: str, found: NDArray[np.float64], n: int, patients: int, note: str = "", chance: float | None = None
) -> Estimate:
    """A value with its 95 % interval.

    No resample shows doubt of a share of exactly 0 or 1, or of scores that part the classes. A share then has Wilson's
    interval, an AUROC :func:`least_area`, both for as many independent trials as there are patients behind them; other
    figures have none. Calibration errors never have one (:data:`NO_ECE_INTERVAL`).

    Args:
        figure: its name in code, of :data:`SHARES` for a share.
        found: (1 + R,) the value, then its bootstrap replicates.
        n: cases behind it.
        patients: whom a share is a share of; for an AUROC the fewer of those with positives and those with negatives.
        chance: of a calibration error.
    """
    value, drawn = float(found[0]), found[1:]
    if figure == "ece" and np.isfinite(value):
        return Estimate(value, None, None, n, note, chance)
    if len(drawn) and value in (0.0, 1.0):
        words = f"{note}; " if note else ""
        if figure in SHARES:
            low, high = (float(end) for end in wilson(value * patients, patients))
            return Estimate(value, low, high, n, f"{words}Wilson interval (n={patients}): all cases went one way")
        if figure == "auroc":
            ends = (least_area(patients), 1.0) if value else (0.0, 1 - least_area(patients))
            return Estimate(value, *ends, n, f"{words}bound for {patients} independent pairs: none was out of order")
    return percentile(value, drawn, n, note)


def percentile(value: float, replicates: NDArray[np.float64], n: int, note: str = "") -> Estimate:
    """A value with the 2.5 and 97.5 percentiles of its bootstrap replicates, those undefined (NaN) left out.

    There is no interval where all replicates are equal: that is not certainty.
    """
    if not np.isfinite(value):
        return Estimate(None, None, None, n, note or "not defined")
    known = np.asarray(replicates, dtype=np.float64)[np.isfinite(replicates)]
    if not known.size:
        return Estimate(float(value), None, None, n, note)
    if np.ptp(known) == 0:
        return Estimate(float(value), None, None, n, (f"{note}; " if note else "") + _FLAT)
    low, high = np.quantile(known, (ERROR / 2, 1 - ERROR / 2))
    return Estimate(float(value), float(low), float(high), n, note)


def least_area(pairs: int) -> float:
    """The AUROC at which so many independent pairs are all in order with probability 2.5 %."""
    return float((ERROR / 2) ** (1 / pairs))


def wilson(hits: ArrayLike, total: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends of the 95 % score interval of a proportion (Wilson 1927), arrays of one shape; 0 and 1 for a total of 0."""
    count = np.asarray(total, dtype=np.float64)
    n = np.maximum(count, 1)
    share = np.asarray(hits, dtype=np.float64) / n
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    reach = Z / (1 + Z**2 / n) * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    low, high = np.clip(centre - reach, 0, 1), np.clip(centre + reach, 0, 1)
    return np.where(count > 0, low, 0.0), np.where(count > 0, high, 1.0)
