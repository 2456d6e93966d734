"""Cover the place that a group of maps marks, on every one of its cases, and see what the network then says.

A map only shows where a network may look. That it decides by that place shows in its answer: the score falls when the
place is covered, and falls by more than when as much is covered elsewhere on the same picture, which tells what a
cover by itself does to the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dashboard.audit.intervals import Estimate
from dashboard.hunting.cohort import Cohort
from dashboard.hunting.patients import LEAST, mean_over
from dashboard.hunting.shortcuts import Cluster, HuntProgress, ShortcutHunt, estimate_dict
from dashboard.hunting.signatures import on_image
from dashboard.jobs.desk import Desk
from models.context import RunContext
from models.errors import DataError
from models.types import FloatArray, favoured

MASS = 0.5  # of the mean map, which the region holds
WIDER = 0.8  # of the mean map, in which hills are looked for that the strongest one would hide
PLACE = 0.05  # of the mean map, which a hill must hold
MOST_PLACES = 4
APART = 0.1  # of the mean map, from which what the nearest cluster leaves out is looked at
REGION, OWN_PLACE = "place outlined", "what the nearest cluster leaves out"
OWN = 0.5  # of what is marked in a region, from which it is said to lie where no finding can be
CONTROLS, FEWER = 4, 2  # other places as large: as a region, as a hill
SHARED = 0.1  # of a control's cells that may lie in the region
ENOUGH = 0.2  # logit; less moves no probability by more than five points
FILL = "mean"

Mask = NDArray[np.bool_]
Array = NDArray[np.float64]
Finding = Literal["shortcut", "decides", "no more than elsewhere", "too few"]


@dataclass(frozen=True, eq=False)
class Masked:
    """What covering a cluster's region did.

    Attributes:
        cluster: its number. place: ``REGION``, ``OWN_PLACE`` or a hill of its mean map.
        region: (side, side) cells on the common grid. area: its share of the picture, [0, 1].
        controls: (m, side, side), the other places covered for comparison.
        beside: how much of what the mean map marks in the region lies where no finding can be, [0, 1].
        n: cases.
        before: mean probability of the class, nothing covered.
        change: mean change of the probability, region covered; ``elsewhere`` mean over the controls.
        score_change, score_elsewhere: the same of the logit; ``excess`` is the one less the other.
        strongest_elsewhere: mean change of the logit by the control that lowers it most.
        turned, turned_elsewhere: shares of the called cases that are no longer called; ``called`` counts those.
        finding: in a word; ``sentence`` for the reader.
    """

    cluster: int
    place: str
    region: Mask
    controls: Mask
    beside: float
    n: int
    before: Estimate
    change: Estimate
    elsewhere: Estimate
    score_change: Estimate
    score_elsewhere: Estimate
    excess: Estimate
    strongest_elsewhere: float
    called: int
    turned: Estimate
    turned_elsewhere: Estimate
    finding: Finding
    sentence: str

    @property
    def area(self) -> float:
        return float(self.region.mean())

    def as_dict(self) -> dict[str, Any]:
        """All numbers, for a file."""
        names = ("before", "change", "elsewhere", "score_change", "score_elsewhere", "excess", "turned",
                 "turned_elsewhere")  # fmt: skip
        plain = {
            "cluster": self.cluster,
            "place": self.place,
            "beside": self.beside,
            "cases": self.n,
            "called": self.called,
            "area": self.area,
            "strongest_elsewhere": self.strongest_elsewhere,
        }
        said = {"finding": self.finding, "sentence": self.sentence}
        return plain | {name: estimate_dict(getattr(self, name)) for name in names} | said


def region_of(mean_map: FloatArray, mass: float = MASS) -> Mask:
    """(side, side) the fewest cells that together hold that share of a mean map."""
    order = np.argsort(-mean_map.ravel(), kind="stable")
    held = np.cumsum(mean_map.ravel()[order].astype(np.float64))
    count = int(np.searchsorted(held, mass * held[-1] - 1e-9)) + 1
    region = np.zeros(mean_map.size, dtype=bool)
    region[order[:count]] = True
    return region.reshape(mean_map.shape)


def places_of(mean_map: FloatArray, mass: float = WIDER) -> tuple[Mask, ...]:
    """A wider region of a mean map cut along its valleys, what holds most first; empty where it has one hill only.

    A map may mark the finding and a marker at once: each is then covered by itself. Every cell belongs to the top that
    is reached by going uphill from it; hills with less than ``PLACE`` of the map are left out.
    """
    region, top = region_of(mean_map, mass), _tops(mean_map)
    held = {int(k): float(mean_map[region & (top == k)].sum()) for k in np.unique(top[region])}
    kept = sorted((k for k in held if held[k] >= PLACE * mean_map.sum()), key=lambda k: -held[k])[:MOST_PLACES]
    return tuple(region & (top == k) for k in kept) if len(held) > 1 else ()


def own_place(cluster: Cluster, clusters: Sequence[Cluster]) -> Mask | None:
    """What a cluster's mean map marks and that of the cluster nearest to it does not; None where there is little of it.

    Where a network decides by finding and marker together, cases with both lie nearest to those with the finding alone:
    what they have beyond those is the marker.
    """
    others = [one.mean_map for one in clusters if one.number != cluster.number]
    if not others:
        return None
    nearest = min(others, key=lambda other: float(((np.sqrt(other) - np.sqrt(cluster.mean_map)) ** 2).sum()))
    beyond = np.maximum(cluster.mean_map - nearest, 0)
    return region_of(beyond) if beyond.sum() >= APART else None


def _tops(mean_map: FloatArray) -> NDArray[np.intp]:
    """(side, side) flat index of the top of the hill that each cell lies on."""
    side = len(mean_map)
    padded = np.pad(mean_map.astype(np.float64), 1, constant_values=-np.inf)
    moves = [(down, across) for down in (0, -1, 1) for across in (0, -1, 1)]  # staying first: it wins ties
    around = np.stack([padded[1 + down : 1 + down + side, 1 + across : 1 + across + side] for down, across in moves])
    best = around.argmax(axis=0)
    step = np.array([down * side + across for down, across in moves])
    to = np.arange(side * side) + step[best.ravel()]
    while not np.array_equal(to, to[to]):
        to = to[to]
    return np.asarray(to.reshape(side, side), dtype=np.intp)


def elsewhere(region: Mask, count: int = CONTROLS, seed: int = 0) -> Mask:
    """(m, side, side) the region moved to other places of the picture, at most ``count``, drawn by the seed.

    Moved whole where it fits beside itself; a region too large for that is moved over the edge and in again at the
    opposite one, as far from itself as it can be.
    """
    side = len(region)
    rows, columns = np.nonzero(region)
    free = [(int(at.min()), side - 1 - int(at.max())) for at in (rows, columns)]
    transform = np.fft.rfft2(region)
    shared = np.rint(np.fft.irfft2(transform * np.conj(transform), region.shape)) / region.sum()
    by_rows, by_columns = np.divmod(np.arange(side * side), side)
    moves = [np.where(by > room[1], by - side, by) for by, room in zip((by_rows, by_columns), free, strict=True)]
    whole = (moves[0] >= -free[0][0]) & (moves[1] >= -free[1][0])
    apart = shared.ravel() <= SHARED
    for allowed in (whole & apart, apart, shared.ravel() <= shared.min() + 1e-9):
        places = np.flatnonzero(allowed)
        if len(places):
            break
    drawn = np.random.default_rng(seed).choice(places, min(count, len(places)), replace=False)
    return np.stack([np.roll(region, (int(by_rows[k]), int(by_columns[k])), (0, 1)) for k in drawn])


def mask_and_predict(
    hunt: ShortcutHunt,
    cluster: Cluster,
    cases: Cohort,
    desk: Desk,
    owner: str,
    ctx: RunContext,
    fill: str = FILL,
) -> tuple[Masked, ...]:
    """Cover the region on every member of the cluster, and as much elsewhere, and predict again.

    Args:
        cases: of the hunt, or more of the same table.
        fill: what covers, as of occlusion ("mean", "black", "blurred").

    Returns:
        Of the region, then of what the nearest cluster leaves out (:func:`own_place`), and of each hill where the mean map
        has several (:func:`places_of`).

    Raises:
        DataError: the network's weights are not those of the hunt.
        SightlineError: an image cannot be read; Cancelled.
    """
    card = cases.card
    if card.weights.sha256 != hunt.weights_sha256:
        raise DataError("The model has other weights than when its maps were made; hunt again.")
    named = _regions(cluster, hunt.clusters)
    regions, seed = list(named.values()), hunt.settings.seed
    controls = [elsewhere(one, CONTROLS if name == REGION else FEWER, seed) for name, one in named.items()]
    nothing = np.zeros((1, *regions[0].shape), dtype=bool)
    places = np.concatenate(
        [nothing, *(part for one, few in zip(regions, controls, strict=True) for part in (one[None], few))]
    )
    number_of = {int(row): number for number, row in enumerate(cases.rows)}
    ctx.total = len(cluster)
    logits = []
    for done, row in enumerate(hunt.rows[cluster.members]):
        ctx.show(HuntProgress(done, len(cluster)))
        image = cases.image(number_of[int(row)])
        masks = [np.asarray(on_image(place, image), dtype=bool) for place in places]
        work = partial(desk.engine.covered, card.id, image, masks, fill)
        key = f"cover-{owner}-{hunt.settings.finding}-{cluster.number}-{row}-{fill}"
        logits.append(desk.do_in_turn(key, work, owner, ctx))
        ctx.tick()
    answers = np.stack(logits)
    decide = Decide(
        np.array([cases.table.thresholds[cases.table.column(name)] for name in card.classes]),
        card.target(hunt.settings.finding).index,
        cases.table.exclusive,
    )
    found, first = [], 1
    for (name, region), few in zip(named.items(), controls, strict=True):
        chosen = np.array([0, *range(first, first + 1 + len(few))])
        first += 1 + len(few)
        own = answers[:, chosen]
        found.append(compared(hunt, cluster, name, region, few, own, card.probabilities(own), decide))
    return tuple(found)


def _regions(cluster: Cluster, clusters: Sequence[Cluster]) -> dict[str, Mask]:
    """By name, the region first."""
    found = {REGION: region_of(cluster.mean_map)}
    own = own_place(cluster, clusters)
    if own is not None:
        found[OWN_PLACE] = own
    return found | {f"hill {number}": hill for number, hill in enumerate(places_of(cluster.mean_map), 1)}


@dataclass(frozen=True, eq=False)
class Decide:
    """How a call is made.

    Attributes:
        thresholds: (K,).
        column: of the class.
        exclusive: one class a case is called, the one favoured.
    """

    thresholds: Array
    column: int
    exclusive: bool

    def calls(self, probabilities: FloatArray) -> Mask:
        """(...,) whether the class is called, from (..., K)."""
        if self.exclusive:
            return np.asarray(favoured(probabilities, self.thresholds) == self.column)
        return np.asarray(probabilities[..., self.column] >= self.thresholds[self.column])


def compared(
    hunt: ShortcutHunt,
    cluster: Cluster,
    place: str,
    region: Mask,
    controls: Mask,
    logits: FloatArray,
    probabilities: FloatArray,
    decide: Decide,
) -> Masked:
    """What the answers come to.

    Args:
        place: its name.
        logits, probabilities: (n, 2 + m, K): nothing covered, the region, and the m controls.
    """
    patients, seed, unit = hunt.patients[cluster.members], hunt.settings.seed, hunt.unit

    def changes(values: FloatArray) -> tuple[Array, Array]:
        own = values[:, :, decide.column].astype(np.float64)
        return own[:, 1] - own[:, 0], own[:, 2:].mean(axis=1) - own[:, 0]

    def mean(values: Array, groups: NDArray[np.intp] = patients) -> Estimate:
        return mean_over(values, groups, seed, LEAST, unit)

    calls = decide.calls(probabilities)
    was = calls[:, 0]
    change, other = changes(probabilities)
    score, score_other = changes(logits)
    excess = mean(score - score_other)
    beside = float(np.average(cluster.beside_cells[region], weights=cluster.mean_map[region]))
    own = logits[:, :, decide.column].astype(np.float64)
    strongest = float((own[:, 2:] - own[:, :1]).mean(axis=0).min())
    sure = _sure(excess, mean(score), strongest)
    finding, sentence = said(beside, excess, sure, hunt.settings.finding, float(region.mean()))
    return Masked(
        cluster=cluster.number,
        place=place,
        region=region,
        controls=controls,
        beside=beside,
        n=len(logits),
        before=mean(probabilities[:, 0, decide.column].astype(np.float64)),
        change=mean(change),
        elsewhere=mean(other),
        score_change=mean(score),
        score_elsewhere=mean(score_other),
        excess=excess,
        strongest_elsewhere=strongest,
        called=int(was.sum()),
        turned=mean((~calls[was, 1]).astype(np.float64), patients[was]),
        turned_elsewhere=mean((~calls[was, 2:]).mean(axis=1), patients[was]),
        finding=finding,
        sentence=sentence,
    )


def _sure(excess: Estimate, change: Estimate, strongest: float) -> bool:
    """The score falls, by more than elsewhere on average and by more than at any single other place."""
    if excess.high is None or change.value is None or change.high is None:
        return False
    return excess.high < 0 and change.high < 0 and change.value < strongest


def said(beside: float, excess: Estimate, sure: bool, name: str, area: float) -> tuple[Finding, str]:
    """The finding and its sentence."""
    if excess.value is None:
        return "too few", f"Whether {name} is decided by this place cannot be told: {excess.note}."
    if not sure or excess.value > -ENOUGH:
        more = "hardly more" if sure else "no more"
        return "no more than elsewhere", (
            f"Covering this place ({area:.0%} of the picture) lowers the score of {name} {more} than covering as much "
            "elsewhere: the maps mark it, but nothing shows that the decision rests on it."
        )
    if beside >= OWN:
        return "shortcut", (
            f"Covering this place ({area:.0%} of the picture) lowers the score of {name} more than covering as much "
            f"elsewhere, and {beside:.0%} of it lies where no finding can be: the network likely takes a shortcut here."
        )
    return "decides", (
        f"Covering this place ({area:.0%} of the picture) lowers the score of {name} more than covering as much elsewhere: "
        "the network decides by it. Whether that is the finding, or something that comes with it, the pictures must tell."
    )
