"""Train, validation and test parts that keep a patient (or lesion) on one side."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

PARTS = ("train", "val", "test")
SHARES = (0.7, 0.1, 0.2)


def split_groups(
    groups: Sequence[str], strata: Sequence[str], shares: tuple[float, float, float] = SHARES, seed: int = 0
) -> NDArray[np.str_]:
    """(n,) of "train", "val", "test": whole groups, in these shares of the groups of each stratum."""
    group, first = np.unique(np.asarray(groups), return_index=True)
    stratum = np.asarray(strata)[first]
    part = np.empty(len(group), dtype="<U5")
    rng = np.random.default_rng(seed)
    for name in np.unique(stratum):
        members = rng.permutation(np.flatnonzero(stratum == name))
        ends = np.round(np.cumsum(shares) * len(members)).astype(int)
        part[members[: ends[0]]] = "train"
        part[members[ends[0] : ends[1]]] = "val"
        part[members[ends[1] :]] = "test"
    return part[np.searchsorted(group, np.asarray(groups))]


def natural(text: str) -> tuple[int | str, ...]:
    """Sort key that counts: case 9 before case 10."""
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text))


def blocks(count: int, shares: tuple[float, float, float] = SHARES) -> list[str]:
    """The part of each of ``count`` ordered items, in contiguous blocks of these shares."""
    ends = np.round(np.cumsum(shares) * count).astype(int)
    return [PARTS[int(np.searchsorted(ends, place, side="right"))] for place in range(count)]
