"""Rank correlation of maps on a coarse grid, fast, with its interval over the picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from explainers.quality._order import Blocks
from explainers.quality.types import Subject
from models.types import FloatArray

Array = NDArray[np.float64]
CELLS = 32  # along the longer side; a map is compared by the means of its cells
TILES = 6  # along each side; what is drawn again for the interval
_DRAWS = 400


def cells(subject: Subject) -> Blocks:
    """The cells of the grid that hold image."""
    side = max(1, -(-max(subject.seen.shape) // CELLS))
    return subject.once(("blocks", side, (0, 0)), lambda: Blocks.cut(subject.seen, side))


def ranks(values: FloatArray, blocks: Blocks) -> Array | None:
    """(count,) ranks of a map's cells in (0, 1), ties sharing theirs; None for a map that is the same everywhere."""
    means = blocks.means(values)
    means = np.round(means / (float(np.abs(means).max()) or 1.0), 9)
    if float(np.ptp(means)) == 0.0:
        return None
    return in_unit(means)


def in_unit(values: NDArray[np.floating]) -> Array:
    """(n,) ranks of values in (0, 1), ties sharing theirs."""
    from scipy.stats import rankdata  # a quarter of a second, which no page that opens has to wait for

    return np.asarray((rankdata(values) - 0.5) / len(values))


def correlation(first: Array, second: Array) -> float:
    """Spearman's rank correlation of two rows of ranks."""
    one, two = first - first.mean(), second - second.mean()
    return float(one @ two / np.sqrt((one @ one) * (two @ two)))


def over_picture(pairs: Sequence[tuple[Array, Array]], blocks: Blocks, seed: int) -> tuple[float, float, int]:
    """95 % interval of the mean rank correlation of pairs, by drawing tiles of the picture again; and how many tiles.

    Neighbouring cells are alike, so tiles are drawn and not cells.
    """
    rows, columns = np.divmod(blocks.pixels, blocks.shape[1])
    tile = (rows * TILES // blocks.shape[0]) * TILES + columns * TILES // blocks.shape[1]
    of_cell = np.zeros(blocks.count, dtype=np.int64)
    of_cell[blocks.labels] = tile
    known, of_cell = np.unique(of_cell, return_inverse=True)
    count = len(known)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), _DRAWS).astype(np.float64)

    def sums(values: Array) -> Array:
        return drawn @ np.bincount(of_cell, weights=values, minlength=count)

    size = sums(np.ones(blocks.count))
    found = np.zeros(_DRAWS)
    for first, second in pairs:
        one, two = sums(first) / size, sums(second) / size
        shared = sums(first * second) / size - one * two
        spreads = (sums(first**2) / size - one**2) * (sums(second**2) / size - two**2)
        found += shared / np.sqrt(np.maximum(spreads, 1e-12)) / len(pairs)
    low, high = np.percentile(found, (2.5, 97.5))
    return float(low), float(high), count
