"""Means with intervals: resampled over images, or over patients where several images come from one."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

REPLICATES = 2000
LEAST = 5  # images or groups without which there is no interval


class Estimate(BaseModel):
    """A mean with its 95 % interval.

    Attributes:
        mean: None where no image gives a value.
        low, high: None with fewer than five images (or groups).
        n: images that count.
        groups: patients or lesions they come from; what is resampled.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    groups: int = 0

    @property
    def words(self) -> str:
        """ "0.42 (0.31 to 0.55, n = 20)"."""
        if self.mean is None:
            return "none"
        if self.low is None or self.high is None:
            return f"{self.mean:.2f} (n = {self.n}, too few for an interval)"
        return f"{self.mean:.2f} ({self.low:.2f} to {self.high:.2f}, n = {self.n})"


def replicate_means(
    values: NDArray[np.float64], groups: Sequence[Hashable] | None = None, seed: int = 0
) -> NDArray[np.float64]:
    """(REPLICATES,) means of resampled values; whole groups are drawn where given.

    Args:
        values: (n,), finite.
    """
    _, member = (
        np.unique([str(group) for group in groups], return_inverse=True) if groups else (0, np.arange(len(values)))
    )
    sums = np.bincount(member, values)
    sizes = np.bincount(member)
    drawn = np.random.default_rng(seed).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), REPLICATES)
    return np.asarray((drawn @ sums) / (drawn @ sizes))


def estimate(values: NDArray[np.float64], groups: Sequence[Hashable] | None = None, seed: int = 0) -> Estimate:
    """Mean and percentile interval of (n,) values; those that are NaN do not count."""
    kept = np.isfinite(values)
    known = np.asarray(values, dtype=np.float64)[kept]
    own = [group for group, keep in zip(groups, kept, strict=True) if keep] if groups else None
    count = len({str(group) for group in own}) if own else len(known)
    if not len(known):
        return Estimate(mean=None)
    mean = float(known.mean())
    if count < LEAST:
        return Estimate(mean=mean, n=len(known), groups=count)
    low, high = np.percentile(replicate_means(known, own, seed), (2.5, 97.5))
    return Estimate(mean=mean, low=float(low), high=float(high), n=len(known), groups=count)
