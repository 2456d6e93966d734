"""Which lesion of a prior scan is which of the current one, and what became of it.

Two lesions are one where, on the grid of the current scan, they share at least a tenth of the smaller; of those left
over, where balls of their volumes at their centres come within 5 mm of one another, the nearest pairs first. Several of
the prior that meet one now have merged, one that meets several now has split.

A lesion has grown or shrunk where its volume changed by more than 25 %, which two scans of one day may differ by (the limit
of the NELSON trial, van Klaveren et al., N Engl J Med 2009, 361:2221-2229, there of nodules), and by more than an outline
drawn a quarter of a voxel too wide or too narrow. Where a scan ends within a lesion, or does not show a tenth of it,
volumes are not compared.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from dashboard.quantify.lesions import Lesion, Side
from models.types import Geometry

Verdict = Literal["new", "grown", "stable", "shrunk", "resolved", "not comparable"]
VERDICTS: tuple[Verdict, ...] = ("new", "grown", "stable", "shrunk", "resolved", "not comparable")
Relation = Literal["", "one to one", "merged", "split", "regrouped"]
SHARED = 0.1
WITHIN_MM = 5.0
LIMIT = 0.25
OUTLINE = 0.25  # of a voxel
_FAR = 1e9
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """How much of the lesions of a scan is to be seen, by number.

    Attributes:
        cut: those that reach the first or the last slice of their own scan, and may go on beyond.
        outside: those of which a tenth or more lies outside the other scan.
    """

    cut: Collection[int] = frozenset()
    outside: Collection[int] = frozenset()


@dataclass(frozen=True)
class Change:
    """What became of a lesion, or of several that merged or split.

    Attributes:
        verdict: "not comparable" where a scan does not show all of it.
        relation: empty where the lesion is in one scan only.
        prior, current: numbers of the lesions in either scan.
        prior_ml, current_ml: volume of those together, each as measured in its own scan; 0 where there is none.
        limit_percent: a smaller change of volume counts as none.
        prior_hu, current_hu: mean density, None where it is not known.
        apart_mm: between the centres, after registration; None where the lesion is in one scan only.
        overlap: volume in both, twice, of the sum of both volumes (Dice), on the current grid; likewise.
        centre_mm: place in the current scan, patient coordinates (LPS).
        reason: why it is not comparable, in a few words; else empty.
    """

    verdict: Verdict
    relation: Relation
    prior: tuple[int, ...]
    current: tuple[int, ...]
    side: Side
    prior_ml: float
    current_ml: float
    limit_percent: float
    prior_hu: float | None
    current_hu: float | None
    apart_mm: float | None
    overlap: float | None
    centre_mm: tuple[float, float, float]
    reason: str = ""

    @property
    def change_ml(self) -> float:
        return self.current_ml - self.prior_ml

    @property
    def change_percent(self) -> float | None:
        """Of the prior volume; None for a lesion that was not there."""
        return 100 * self.change_ml / self.prior_ml if self.prior_ml else None


def match(
    prior: Sequence[Lesion],
    prior_labels: NDArray[np.integer],
    current: Sequence[Lesion],
    current_labels: NDArray[np.integer],
    geometry: Geometry,
    matrix: NDArray[np.float64],
    prior_voxel_mm: float,
    prior_seen: Seen,
    current_seen: Seen,
) -> tuple[Change, ...]:
    """Changes, the largest in ml first.

    Args:
        prior_labels, current_labels: (D, H, W) on the current grid ``geometry``; numbers of lesions.
        matrix: (4, 4), mm of the current scan to mm of the prior.
        prior_voxel_mm: edge of a cube as large as a voxel of the prior scan.
        prior_seen, current_seen: what of the lesions the scans show.
    """
    joint = _joint(prior_labels, current_labels, len(prior), len(current))
    sizes = joint[1:].sum(axis=1), joint[:, 1:].sum(axis=0)
    back = np.linalg.inv(matrix)
    places = [_moved(back, lesion.centroid_mm) for lesion in prior]
    links = _links(joint[1:, 1:], sizes, prior, places, current)
    edge_mm = float(abs(np.linalg.det(geometry.affine[:3, :3])) ** (1 / 3))
    changes = []
    for olds, news in _groups(links):
        before, after = [prior[one] for one in olds], [current[one] for one in news]
        old_ml, new_ml = sum(one.volume_ml for one in before), sum(one.volume_ml for one in after)
        limit = max(_limit(before, prior_voxel_mm), _limit(after, edge_mm)) if before and after else LIMIT
        at = _mean(after, [one.centroid_mm for one in after]) if after else _mean(before, [places[one] for one in olds])
        was = _mean(before, [places[one] for one in olds]) if before else at
        shared = joint[np.ix_([one + 1 for one in olds], [one + 1 for one in news])].sum()
        voxels = sizes[0][olds].sum() + sizes[1][news].sum()
        paired = bool(before and after)
        reason = _unseen([one.number for one in before], [one.number for one in after], prior_seen, current_seen)
        verdict: Verdict = "not comparable"
        if not reason:
            verdict = _grown(old_ml, new_ml, limit) if paired else "new" if after else "resolved"
        changes.append(
            Change(
                verdict,
                _relation(len(olds), len(news)),
                tuple(one.number for one in before),
                tuple(one.number for one in after),
                (after or before)[0].side,
                old_ml,
                new_ml,
                100 * limit,
                _mean_hu(before),
                _mean_hu(after),
                float(np.linalg.norm(at - was)) if paired else None,
                float(2 * shared / voxels) if paired and voxels else None,
                (float(at[0]), float(at[1]), float(at[2])),
                reason,
            )
        )
    return tuple(sorted(changes, key=lambda change: -abs(change.change_ml)))


def _unseen(olds: Sequence[int], news: Sequence[int], prior: Seen, current: Seen) -> str:
    """Why these lesions, of either scan, cannot be compared; what is in one scan only is new or gone, cut or not."""
    if any(number in prior.outside for number in olds):
        return "partly or wholly outside this scan"
    if any(number in current.outside for number in news):
        return "partly or wholly outside the earlier scan"
    if olds and news and any(number in prior.cut for number in olds):
        return "the earlier scan ends within it"
    if olds and news and any(number in current.cut for number in news):
        return "this scan ends within it"
    return ""


def _joint(one: NDArray[np.integer], other: NDArray[np.integer], ones: int, others: int) -> NDArray[np.int64]:
    """(ones + 1, others + 1) voxels with each pair of labels; both 0 is left out."""
    where = (one > 0) | (other > 0)
    pairs = one[where].astype(np.int64) * (others + 1) + other[where]
    return np.bincount(pairs, minlength=(ones + 1) * (others + 1)).reshape(ones + 1, others + 1)


def _links(
    shared: NDArray[np.int64],
    sizes: tuple[NDArray[np.int64], NDArray[np.int64]],
    prior: Sequence[Lesion],
    places: Sequence[Vector],
    current: Sequence[Lesion],
) -> NDArray[np.bool_]:
    """(prior, current), which belong together."""
    smaller = np.minimum(sizes[0][:, None], sizes[1][None, :])
    links = shared >= np.maximum(SHARED * smaller, 1)
    free = np.flatnonzero(~links.any(axis=1)), np.flatnonzero(~links.any(axis=0))
    if free[0].size and free[1].size:
        cost = np.full((free[0].size, free[1].size), _FAR)
        for row, old in enumerate(free[0].tolist()):
            for column, new in enumerate(free[1].tolist()):
                apart = float(np.linalg.norm(places[old] - current[new].centroid_mm))
                if apart - _radius(prior[old]) - _radius(current[new]) <= WITHIN_MM:
                    cost[row, column] = apart
        for row, column in zip(*linear_sum_assignment(cost), strict=True):
            if cost[row, column] < _FAR:
                links[free[0][row], free[1][column]] = True
    return links


def _groups(links: NDArray[np.bool_]) -> list[tuple[list[int], list[int]]]:
    """Lesions that hang together through links, as indices into prior and current."""
    olds, news = links.shape
    rows, columns = np.nonzero(links)
    graph = coo_matrix((np.ones(len(rows)), (rows, columns + olds)), (olds + news, olds + news))
    count, group = connected_components(graph, directed=False)
    members = [np.flatnonzero(group == number) for number in range(count)]
    return [([int(i) for i in part if i < olds], [int(i) - olds for i in part if i >= olds]) for part in members]


def _relation(olds: int, news: int) -> Relation:
    if not (olds and news):
        return ""
    if olds == news == 1:
        return "one to one"
    return "merged" if news == 1 else "split" if olds == 1 else "regrouped"


def _grown(old_ml: float, new_ml: float, limit: float) -> Verdict:
    if new_ml > old_ml * (1 + limit):
        return "grown"
    return "shrunk" if new_ml < old_ml * (1 - min(limit, 0.99)) else "stable"


def _limit(lesions: Sequence[Lesion], voxel_mm: float) -> float:
    """Share of the volume that a change must exceed: that of a shell of a quarter voxel around balls, at least 25 %."""
    volume = sum(lesion.volume_ml for lesion in lesions)
    shell = sum(4 * np.pi * _radius(lesion) ** 2 for lesion in lesions) * OUTLINE * voxel_mm / 1000
    return max(LIMIT, float(shell / volume))


def _radius(lesion: Lesion) -> float:
    """Of a ball of that volume, in mm."""
    return float((3 * lesion.volume_ml * 1000 / (4 * np.pi)) ** (1 / 3))


def _moved(matrix: NDArray[np.floating], point: Sequence[float]) -> Vector:
    return np.asarray(matrix[:3, :3] @ np.asarray(point) + matrix[:3, 3])


def _mean(lesions: Sequence[Lesion], places: Sequence[Sequence[float] | Vector]) -> Vector:
    """Centre of lesions at those places."""
    return np.asarray(np.average(np.asarray(places), axis=0, weights=[lesion.volume_ml for lesion in lesions]))


def _mean_hu(lesions: Sequence[Lesion]) -> float | None:
    known = [(lesion.mean_hu, lesion.voxels) for lesion in lesions if lesion.mean_hu is not None]
    if not known:
        return None
    return float(np.average([hu for hu, _ in known], weights=[voxels for _, voxels in known]))
