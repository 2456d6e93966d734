"""Means over cases with intervals over patients, for few cases as for many."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dashboard.audit.bootstrap import draws
from dashboard.audit.intervals import FEW, Estimate, estimated, percentile, too_few
from dashboard.audit.table import Mask, Rows

REPLICATES = 1000
LEAST = 5  # patients behind a mean of maps or of changes, below which there is none

Array = NDArray[np.float64]


def mean_over(values: Array, groups: Rows, seed: int = 0, least: int = LEAST, unit: str = "patients") -> Estimate:
    """Mean of (n,) values with its interval by drawing patients again; "too few" below ``least`` of them.

    Args:
        groups: (n,) numbers of the patients, any.
    """
    known = np.isfinite(values)
    own = _numbered(groups[known])
    patients = int(own.max(initial=-1)) + 1
    if patients < least:
        return too_few(patients, unit)
    return percentile(float(values[known].mean()), resampled(values[known], own, seed), int(known.sum()))


def share_over(held: Mask, groups: Rows, seed: int = 0, unit: str = "patients") -> Estimate:
    """Share of (n,) cases where something holds; Wilson's interval where it is 0 or 1. Needs ten patients."""
    own = _numbered(groups)
    patients = int(own.max(initial=-1)) + 1
    if patients < FEW:
        return too_few(patients, unit)
    values = held.astype(np.float64)
    found = np.concatenate([[values.mean()], resampled(values, own, seed)])
    return estimated("accuracy", found, len(held), patients)


def difference_over(held: Mask, inside: Mask, groups: Rows, seed: int = 0, unit: str = "patients") -> Estimate:
    """Share among the cases ``inside`` less that among the others, patients drawn from both at once.

    Args:
        held, inside: (n,).
        groups: (n,) numbers of the patients.
    """
    for part in (inside, ~inside):
        patients = len(np.unique(groups[part]))
        if patients < FEW:
            return too_few(patients, unit)
    times = draws(_numbered(groups), REPLICATES, seed)[_numbered(groups)].astype(np.float64)
    value = held[inside].mean() - held[~inside].mean()
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [(held[part] @ times[part]) / times[part].sum(axis=0) for part in (inside, ~inside)]
    return percentile(float(value), parts[0] - parts[1], len(held))


def resampled(values: Array, groups: Rows, seed: int = 0) -> Array:
    """(REPLICATES,) means of redrawn patients; NaN where none with a value was drawn."""
    own = _numbered(groups)
    times = draws(own, REPLICATES, seed).astype(np.float64)
    sums, sizes = np.bincount(own, values), np.bincount(own)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((sums @ times) / (sizes @ times))


def _numbered(groups: Rows) -> Rows:
    """The same patients, numbered from 0 without gaps."""
    return np.unique(groups, return_inverse=True)[1].astype(np.intp)
