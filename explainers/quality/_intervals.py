"""Intervals of the numbers that checks answer with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit


def of_mean(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, float | None, float | None]:
    """Mean of n repeats and its 95 % interval by Student's t; without an interval for fewer than three repeats."""
    found = np.asarray(values, dtype=np.float64)
    mean = float(found.mean())
    if len(found) < 3:
        return mean, None, None
    half = float(stdtrit(len(found) - 1, 0.975)) * float(found.std(ddof=1)) / len(found) ** 0.5
    return mean, mean - half, mean + half
