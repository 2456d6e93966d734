"""Bootstrap replicates of anything that is a sum over cells: bins of a score, steps of a threshold."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dashboard.audit.bootstrap import Draws
from dashboard.audit.table import Rows

_LANES = 512  # replicates side by side, so that a cell's sums and a patient's draws stay in the nearest cache


def sums(
    cells: Rows, count: int, groups: Rows, drawn: Draws, values: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """(count, R) float64: in each replicate, the sum over the cases of each cell.

    Args:
        cells: (m,) cell of each case, 0 to count - 1. groups: (m,) its patient.
        drawn: (P, R), of :func:`dashboard.audit.bootstrap.draws`; a column of ones gives the sums themselves.
        values: (m,) what is summed; cases are counted if not given.
    """
    if values is None:  # counts are exact in float32, which is twice as fast
        return several(cells, count, groups, drawn, np.ones((1, len(cells)), dtype=np.float32))[0]
    return several(cells, count, groups, drawn, values[None])[0]


def several(
    cells: Rows, count: int, groups: Rows, drawn: Draws, values: NDArray[np.float64] | NDArray[np.float32]
) -> NDArray[np.float64]:
    """As :func:`sums` for (V, m) values at once: (V, count, R)."""
    order = np.argsort(cells, kind="stable")
    found = np.zeros((len(values), count, drawn.shape[1]))
    for start in range(0, drawn.shape[1], _LANES):
        lanes = drawn[:, start : start + _LANES].copy()  # a kernel is compiled anew for what is read-only
        part = np.zeros((len(values), count, lanes.shape[1]), dtype=values.dtype)
        _add(cells[order], groups[order], np.ascontiguousarray(values[:, order]), lanes, part)
        found[:, :, start : start + _LANES] = part
    return found


@njit(nogil=True, cache=True, fastmath=True)
def _add(cells, groups, values, drawn, found):  # type: ignore[no-untyped-def]
    """Adds in place; cases sorted by cell."""
    for i in range(len(cells)):
        times = drawn[groups[i]]
        for v in range(len(values)):
            value = values[v, i]
            row = found[v, cells[i]]
            for r in range(len(times)):
                row[r] += value * times[r]


def band(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """2.5 and 97.5 percentiles along the last axis, those undefined (NaN) left out; NaN where all are."""
    if not values.shape[-1]:
        return np.full(values.shape[:-1], np.nan), np.full(values.shape[:-1], np.nan)
    ranked = np.sort(values, axis=-1)  # NaN last
    known = np.isfinite(ranked).sum(-1)
    ends = []
    for share in (0.025, 0.975):
        place = share * np.maximum(known - 1, 0)
        below = np.floor(place).astype(np.intp)
        above = np.minimum(below + 1, np.maximum(known - 1, 0))
        low, high = (np.take_along_axis(ranked, at[..., None], -1)[..., 0] for at in (below, above))
        ends.append(np.where(known > 0, low + (place - below) * (high - low), np.nan))
    return ends[0], ends[1]
