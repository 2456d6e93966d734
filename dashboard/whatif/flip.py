"""The smallest region found that turns the network's call when it is covered.

Greedy forward selection over the tiles of a grid, ranked by the occlusion map and ranked again as the region grows,
then backward elimination. The size of a smallest region cannot be had otherwise but by trying all regions; where tiles
act by themselves (a linear network) this finds it, and everywhere no single tile of the answer can be left out.

After the "smallest sufficient" and "smallest destroying" regions of Dabkowski and Gal 2017 (arXiv:1705.07857). Differs:
whole tiles instead of a learned mask, so that the answer can be checked by covering it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dashboard.whatif.types import Mask
from models.context import RunContext
from models.errors import DataError
from models.types import FloatArray, Prediction, favoured

Tiles = NDArray[np.int64]
Ask = Callable[[Sequence[Mask]], FloatArray]
_TOGETHER = 8  # candidates tried in one batch
_STEP = 8  # a region grows by an eighth of itself at a time: large ones in few rounds
_PATIENCE = 4  # rounds in which no tile brings the region nearer


@dataclass(frozen=True, eq=False)
class Call:
    """The decision that is to turn: of one class at its operating point, or which of exclusive classes leads.

    Attributes:
        index: the class, or the one that leads.
        stands: whether the class is flagged at first; True for exclusive classes.
        thresholds: (K,) float32.
    """

    index: int
    stands: bool
    exclusive: bool
    thresholds: FloatArray

    @classmethod
    def of(cls, prediction: Prediction, index: int) -> Call:
        """The call for class ``index``; where only one class can hold, for the one that leads."""
        if prediction.exclusive:
            return cls(prediction.flagged[0], True, True, prediction.thresholds)
        return cls(index, index in prediction.flagged, False, prediction.thresholds)

    def turned(self, probabilities: FloatArray) -> Mask:
        """(n,) whether the decision is another, from (n, K) calibrated probabilities."""
        if self.exclusive:
            return np.asarray(favoured(probabilities, self.thresholds) != self.index)
        return np.asarray((probabilities[:, self.index] >= self.thresholds[self.index]) != self.stands)

    def hold(self, logits: FloatArray, probabilities: FloatArray) -> NDArray[np.float64]:
        """(n,) how firmly the first call stands, for comparing regions: smaller is nearer to turning, or further past it.

        Of a class by itself its logit, for which no probability is too near 0 or 1; of exclusive classes the logarithm of
        the leading one's probability / threshold against the best other's.
        """
        if not self.exclusive:
            return (1.0 if self.stands else -1.0) * logits[:, self.index].astype(np.float64)
        share = np.log(np.maximum(probabilities, 1e-30)) - np.log(np.maximum(self.thresholds, 1e-6))
        others = np.delete(share, self.index, axis=1).max(axis=1)
        return np.asarray(share[:, self.index] - others, dtype=np.float64)


@dataclass(frozen=True)
class Step:
    """One region on the way.

    Attributes:
        share: of the picture, [0, 1].
        probability: of the call's class with it covered.
    """

    what: Literal["ranked", "grown", "pruned"]
    tiles: int
    share: float
    probability: float


@dataclass(frozen=True, eq=False)
class Flip:
    """What was found, or how far it has come.

    Attributes:
        mask: (H, W) of the picture, the region; where nothing turned the call, the one that came nearest.
        turned: whether covering it turns the call.
        share: of the picture that it takes up, [0, 1].
        before, after: (K,) calibrated probabilities of the picture and of the picture with the region covered.
        covered: (K,) with all tiles covered.
        tiles: in the region; ``grid`` is how many there are.
        passes: pictures that the network was shown.
        history: in order.
    """

    call: Call
    mask: Mask
    turned: bool
    share: float
    before: FloatArray
    after: FloatArray
    covered: FloatArray
    tiles: int
    grid: int
    passes: int
    history: tuple[Step, ...]


def tiles_of(shape: tuple[int, int], spacing: tuple[float, float], across: int, seen: Mask | None = None) -> Tiles:
    """(H, W) number of the tile that each pixel belongs to, from 0; -1 where the network sees nothing.

    Args:
        shape: (H, W).
        spacing: (column, row) mm of a pixel: tiles are as square as whole pixels allow.
        across: tiles along the shorter side.
        seen: (H, W); all if not given.

    Raises:
        DataError: the network sees nothing, or fewer pixels than tiles are asked for.
    """
    size = shape[0] * spacing[1], shape[1] * spacing[0]
    counts = [max(1, round(across * side / min(size))) for side in size]
    if across < 1 or counts[0] > shape[0] or counts[1] > shape[1]:
        raise DataError(
            f"A picture of {shape[1]} x {shape[0]} pixels cannot be cut into tiles, {across} across; ask for fewer."
        )
    rows, columns = (np.arange(side) * count // side for side, count in zip(shape, counts, strict=True))
    tiles = rows[:, None] * counts[1] + columns
    seen = np.ones(shape, dtype=bool) if seen is None else seen
    if not seen.any():
        raise DataError("The network sees nothing of this picture, so no region can turn its call.")
    numbers = np.full(counts[0] * counts[1], -1, dtype=np.int64)
    there = np.unique(tiles[seen])
    numbers[there] = np.arange(len(there))
    return np.where(seen, numbers[tiles], -1)


def smallest_flip(
    tiles: Tiles,
    effects: NDArray[np.floating] | None,
    call: Call,
    ask: Ask,
    probabilities: Callable[[FloatArray], FloatArray],
    ctx: RunContext,
) -> Flip:
    """The region of fewest tiles found that turns the call when it is covered.

    What has been found so far goes to ``ctx.show`` as a :class:`Flip`.

    Args:
        tiles: as of :func:`tiles_of`.
        effects: (n,) how much each tile holds up the call, in any unit, by which tiles are tried first; None to cover each
            by itself and see.
        ask: (n, K) logits of the picture with one (H, W) mask at a time covered.
        probabilities: (n, K) logits to calibrated probabilities.

    Raises:
        Cancelled: through ``ctx``.
    """
    search = _Search(tiles, call, ask, probabilities, ctx)
    gains = search.alone() if effects is None else np.asarray(effects, dtype=np.float64).copy()
    region = search.ranked(gains)
    grown = search.grow(gains, int(region.sum()) if region is not None else None)
    found = grown if grown is not None else region
    if found is None:
        return search.result()
    return search.result(search.prune(found))


class _Search:
    """Regions as (n,) bool over the tiles, and what the network says of them."""

    def __init__(
        self, tiles: Tiles, call: Call, ask: Ask, probabilities: Callable[[FloatArray], FloatArray], ctx: RunContext
    ) -> None:
        self._tiles, self._call, self._ask, self._probabilities, self._ctx = tiles, call, ask, probabilities, ctx
        self._count = int(tiles.max()) + 1
        self._passes = 0
        self._history: list[Step] = []
        ctx.total = 3 * self._count  # a guess: how long the search takes depends on its answer
        none = np.zeros(self._count, dtype=bool)
        holds, _, found = self._try([none, ~none])
        self._start = float(holds[0])
        self._before, self._covered = found
        self._best = none if holds[0] <= holds[1] else ~none
        self._best_hold, self._best_after = float(holds.min()), found[int(holds.argmin())]

    def alone(self) -> NDArray[np.float64]:
        """(n,) how much less firmly the call stands with each tile covered by itself."""
        holds, _, _ = self._in_turn(list(np.eye(self._count, dtype=bool)))
        return self._start - holds

    def ranked(self, gains: NDArray[np.float64]) -> Mask | None:
        """The first few tiles of the ranking that together turn the call; None where no number of them does."""
        order = np.argsort(-gains, kind="stable")
        sizes = sorted({min(self._count, round(1.5**power)) for power in range(2 * self._count.bit_length() + 2)})
        regions = [_with(np.zeros(self._count, dtype=bool), order[:size]) for size in sizes]
        for first in range(0, len(regions), _TOGETHER):
            part = regions[first : first + _TOGETHER]
            holds, turned, found = self._try(part)
            hit = int(np.argmax(turned)) if turned.any() else None
            self._note("ranked", part, holds, found, hit)
            if hit is not None:
                return part[hit]
        return None

    def grow(self, gains: NDArray[np.float64], limit: int | None) -> Mask | None:
        """Tiles added by what each adds to the region there is, the likeliest few tried each time.

        ``gains`` is brought up to date. Ends at the limit, or when it comes no nearer.
        """
        region, standing, idle = np.zeros(self._count, dtype=bool), self._start, 0
        while idle < _PATIENCE and (limit is None or int(region.sum()) < limit):
            left = np.flatnonzero(~region)
            if not len(left):
                return None
            likely = left[np.argsort(-gains[left], kind="stable")][:_TOGETHER]
            tried = [_with(region, likely[number : number + 1]) for number in range(len(likely))]
            holds, turned, found = self._try(tried)
            gains[likely] = standing - holds
            if turned.any():
                hit = int(np.flatnonzero(turned)[np.argmin(holds[turned])])
                self._note("grown", tried, holds, found, hit)
                return tried[hit]
            best = np.argsort(holds, kind="stable")
            best = best[holds[best] < standing][: max(1, int(region.sum()) // _STEP)]
            if not len(best):  # these only get in the way; now that it is known, others are tried next
                idle += 1
                continue
            idle = 0
            if len(best) == 1:
                region, standing = tried[best[0]], float(holds[best[0]])
                self._note("grown", tried, holds, found, int(best[0]))
                continue
            region = _with(region, likely[best])
            holds, turned, found = self._try([region])
            standing = float(holds[0])
            self._note("grown", [region], holds, found, 0)
            if turned[0]:
                return region
        return None

    def prune(self, region: Mask) -> Mask:
        """The region without tiles that it does not need; none of those left can be taken out by itself."""
        while True:
            inside = np.flatnonzero(region)
            holds, turned, found = self._in_turn(
                [_without(region, inside[number : number + 1]) for number in range(len(inside))]
            )
            idle = inside[turned][np.argsort(holds[turned], kind="stable")]
            if not len(idle):
                return region
            # Those that each can go are taken out together, as many of the idlest as the call still turns without.
            sizes = sorted(
                {len(idle), *(round(1.5**power) for power in range(2 * len(idle).bit_length()))} - {0}, reverse=True
            )
            for size in (size for size in sizes if size <= len(idle)):
                tried = _without(region, idle[:size])
                holds, turned, found = self._try([tried])
                if turned[0]:
                    region = tried
                    self._note("pruned", [region], holds, found, 0)
                    break
            else:
                return region  # a network that does not answer alike twice; nothing more can be said

    def result(self, region: Mask | None = None) -> Flip:
        """The answer for a region that turns the call, or the nearest one."""
        if region is not None:
            _, turned, found = self._try([region])
            return self._flip(region, found[0], bool(turned[0]))
        return self._flip(self._best, self._best_after, False)

    def _flip(self, region: Mask, after: FloatArray, turned: bool) -> Flip:
        mask = self._mask(region)
        share = float(mask.mean())
        return Flip(
            self._call, mask, turned, share, self._before, after, self._covered, int(region.sum()), self._count,
            self._passes, tuple(self._history),
        )  # fmt: skip

    def _try(self, regions: Sequence[Mask]) -> tuple[NDArray[np.float64], Mask, FloatArray]:
        """How firmly the call stands (n,), whether it has turned (n,), probabilities (n, K)."""
        self._ctx.check()
        logits = self._ask([self._mask(region) for region in regions])
        self._passes += len(regions)
        self._ctx.tick(len(regions))
        found = self._probabilities(logits)
        return self._call.hold(logits, found), self._call.turned(found), found

    def _in_turn(self, regions: Sequence[Mask]) -> tuple[NDArray[np.float64], Mask, FloatArray]:
        """As :meth:`_try` of many, a batch at a time so that a cancel is heard."""
        parts = [self._try(regions[first : first + _TOGETHER]) for first in range(0, len(regions), _TOGETHER)]
        holds, turned, found = zip(*parts, strict=True)
        return np.concatenate(holds), np.concatenate(turned), np.concatenate(found)

    def _note(
        self,
        what: Literal["ranked", "grown", "pruned"],
        regions: Sequence[Mask],
        holds: NDArray[np.float64],
        found: FloatArray,
        chosen: int | None,
    ) -> None:
        """Keep the region that counts of those tried, and show it."""
        number = int(np.argmin(holds)) if chosen is None else chosen
        region, after = regions[number], found[number]
        if holds[number] < self._best_hold:
            self._best, self._best_hold, self._best_after = region, float(holds[number]), after
        size, probability = int(region.sum()), float(after[self._call.index])
        self._history.append(Step(what, size, float(self._mask(region).mean()), probability))
        self._ctx.show(self._flip(region, after, bool(self._call.turned(after[None])[0])))

    def _mask(self, region: Mask) -> Mask:
        return np.append(region, False)[self._tiles]  # -1, where nothing is seen, is the last


def _with(region: Mask, tiles: NDArray[np.int64]) -> Mask:
    changed = region.copy()
    changed[tiles] = True
    return changed


def _without(region: Mask, tiles: NDArray[np.int64]) -> Mask:
    changed = region.copy()
    changed[tiles] = False
    return changed
