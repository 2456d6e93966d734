"""In which order a map, or a control, has pixels hidden."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.types import FloatArray

Order = NDArray[np.int64]
_DIGITS = 9  # of the range: block means that differ by rounding alone are equal


@dataclass(frozen=True, eq=False)
class Blocks:
    """A grid laid over the pixels that hold image; the pixels of a block go together.

    Attributes:
        shape: (H, W) of the input.
        pixels: (n,) flat indices of the pixels that hold image, rising.
        labels: (n,) the block of each, from 0 to ``count`` - 1.
        count: of blocks that hold any such pixel.
    """

    shape: tuple[int, int]
    pixels: NDArray[np.int64]
    labels: NDArray[np.int64]
    count: int

    @classmethod
    def cut(cls, seen: NDArray[np.bool_], side: int, offset: tuple[int, int] = (0, 0)) -> Blocks:
        """Squares of ``side`` pixels, the first cut off by ``offset`` (rows, columns) pixels; (H, W) mask."""
        rows, columns = ((np.arange(length) + moved) // side for length, moved in zip(seen.shape, offset, strict=True))
        named = rows[:, None] * (columns.max() + 1) + columns
        pixels = np.flatnonzero(seen)
        known, labels = np.unique(named.ravel()[pixels], return_inverse=True)
        return cls((seen.shape[0], seen.shape[1]), pixels, labels.astype(np.int64), len(known))

    def means(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """(count,) mean of a map's (H, W) pixels in each block."""
        inside = values.ravel()[self.pixels].astype(np.float64)
        sums = np.bincount(self.labels, weights=inside, minlength=self.count)
        return sums / np.bincount(self.labels, minlength=self.count)

    def order(self, values: NDArray[Any], seed: int) -> Order:
        """(n,) flat indices of pixels, those of the blocks of highest mean first; equal blocks in random order."""
        means = self.means(values)
        means = np.round(means / (float(np.ptp(means)) or 1.0), _DIGITS)
        return self._by_block(np.lexsort((np.random.default_rng(seed).permutation(self.count), -means)))

    def random(self, seed: int) -> Order:
        """The same for blocks in random order."""
        return self._by_block(np.random.default_rng(seed).permutation(self.count))

    def _by_block(self, blocks: NDArray[np.intp]) -> Order:
        place = np.empty(self.count, dtype=np.int64)
        place[blocks] = np.arange(self.count)
        return self.pixels[np.argsort(place[self.labels], kind="stable")]

    def first(self, order: Order, shares: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(s, H, W) masks of the first pixels of an order, for shares in [0, 1]; outside the image always False."""
        rank = np.full(self.shape[0] * self.shape[1], len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        counts = np.round(np.asarray(shares) * len(order)).astype(np.int64)
        return rank.reshape(1, *self.shape) < counts[:, None, None]


def varies(values: FloatArray, seen: NDArray[np.bool_]) -> bool:
    """Whether a map ranks anything: its values are not all the same where there is image."""
    inside = values[seen]
    return bool(inside.size) and float(np.ptp(inside)) > 0.0
