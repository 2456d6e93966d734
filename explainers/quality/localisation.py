"""Does the map mark the place that is known: a reference mask or box.

Four measures, because each can be fooled: the pointing game asks for one pixel, energy for all, overlap for an outline,
the area under precision and recall for the order. What chance and the simplest rules reach stands beside them: the
mask's share of the area, a blob in the middle of the picture, and the map itself put elsewhere.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from explainers.quality._bootstrap import Estimate, estimate
from explainers.quality._place import TOLERANCE, Mask, Placed, centre_blob, moved, overlap, place, precision_area
from explainers.quality.types import CHECKS, CheckSpec, Evidence, Level, Rule, Verdict
from models.errors import ExplainError
from models.types import FloatArray

COPIES = 40  # of the map put elsewhere
LEVELS = np.round(np.arange(0.05, 1.0, 0.05), 2)  # thresholds tried, of the map's maximum
MEASURES = tuple(one.name for one in fields(Placed))
RULE = Rule(
    0.0,
    0.0,
    "ok above 97.5 % of copies of the same map put elsewhere and above a blob in the middle, fails at or below what"
    " 2.5 % of those copies reach or the mask's share of the area; that follows from the question and is not fitted",
)


@dataclass(frozen=True)
class Against:
    """A map's area under precision and recall, and what it is compared with.

    Attributes:
        own, share, blob: of the map, the mask's share of the area, the blob.
        copies: (COPIES,) of the map put elsewhere.
    """

    own: float
    share: float
    blob: float
    copies: NDArray[np.float64]

    @property
    def chance(self) -> float:
        """The better of the share and the mean copy."""
        return max(self.share, float(self.copies.mean()))

    @property
    def best(self) -> float:
        return max(self.chance, self.blob)

    @property
    def interval(self) -> tuple[float, float]:
        """The margin over the share and the copies, by where these land: over 97.5 % of them, over 2.5 %."""
        low, high = np.percentile(self.copies, (97.5, 2.5))
        return self.own - max(self.share, float(low)), self.own - max(self.share, float(high))

    @property
    def level(self) -> Level:
        found = RULE.level(self.own - self.chance, *self.interval)
        return "weak" if found == "ok" and self.own <= self.blob else found


def against(values: FloatArray, mask: Mask, seen: Mask, seed: int = 0) -> Against:
    """See :class:`Against`; (H, W) arrays."""
    rng = np.random.default_rng(seed)
    copies = [precision_area(moved(values, seen, rng), mask, seen) for _ in range(COPIES)]
    blob = precision_area(centre_blob((values.shape[0], values.shape[1]), seen), mask, seen)
    share = float((mask & seen).sum() / seen.sum())
    return Against(precision_area(values, mask, seen), share, blob, np.array(copies))


@dataclass(frozen=True, eq=False)
class Located:
    """One map with the place that is known, for :func:`localise_set`.

    Attributes:
        values: (H, W), channels summed, signed.
        mask: (H, W), not empty, on the same grid.
        seen: (H, W), pixels that hold image; all if None.
        group: patient or lesion.
        true_positive: whether the network calls the class there.
        tuned: threshold of its own, tuned on images other than this one; that of the set if None.
    """

    values: FloatArray
    mask: Mask
    seen: Mask | None = None
    group: Hashable = None
    true_positive: bool = True
    tuned: float | None = None


class Localised(BaseModel):
    """A method over a set.

    Attributes:
        measures: means by name ("pointing", "iou_otsu", "iou_tuned", "energy", "auprc", "base").
        blob, elsewhere: the same of the centre blob, and of one copy of each map put elsewhere.
        margin: of the area under precision and recall, over the better of these two, image by image's mean.
        tuned: the set's threshold, of the map's maximum; None where there was none, or each case had its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    measures: dict[str, Estimate]
    blob: dict[str, Estimate]
    elsewhere: dict[str, Estimate]
    margin: Estimate
    tuned: float | None = None

    @property
    def level(self) -> Level:
        if self.margin.mean is None or self.margin.low is None:
            return "not assessable"
        return RULE.level(self.margin.mean, self.margin.low, self.margin.high)


class SetResult(BaseModel):
    """All images, and those that the network calls rightly."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    everything: Localised
    true_positives: Localised


def tune(cases: Iterable[Located]) -> float:
    """The threshold with the largest mean overlap, of :data:`LEVELS`. Use it on other images than these.

    Raises:
        ExplainError: there is no case.
    """
    found = [[overlap(one.values, one.mask, _seen(one), float(level)) for level in LEVELS] for one in cases]
    if not found:
        raise ExplainError("A threshold can be tuned only on images with a known place; there are none.")
    return float(LEVELS[np.nanmean(found, axis=0).argmax()])


def localise_set(
    cases: Iterable[Located], tuned: float | None = None, tolerance: float = TOLERANCE, seed: int = 0
) -> SetResult:
    """Means over a set with 95 % intervals, resampled over groups where these are given; one case at a time in memory.

    Raises:
        ExplainError: an empty mask.
    """
    own: list[Placed] = []
    blob: list[Placed] = []
    elsewhere: list[Placed] = []
    groups: list[Hashable] = []
    right: list[bool] = []
    for number, one in enumerate(cases):
        seen = _seen(one)
        if not (one.mask & seen).any():
            raise ExplainError(f"Case {number + 1} has an empty mask; leave it out.")
        rng = np.random.default_rng((seed, number))
        shape = (one.values.shape[0], one.values.shape[1])
        for values, found in (
            (one.values, own),
            (centre_blob(shape, seen), blob),
            (moved(one.values, seen, rng), elsewhere),
        ):
            found.append(place(values, one.mask, seen, tuned if one.tuned is None else one.tuned, tolerance))
        groups.append(number if one.group is None else one.group)
        right.append(one.true_positive)
    kept = np.array(right, dtype=bool)
    tables = [_table(found) for found in (own, blob, elsewhere)]
    return SetResult(
        everything=_localised(tables, groups, np.ones(len(kept), dtype=bool), tuned, seed),
        true_positives=_localised(tables, groups, kept, tuned, seed),
    )


def _seen(one: Located) -> Mask:
    return np.ones(one.mask.shape, dtype=bool) if one.seen is None else one.seen


def _table(found: Sequence[Placed]) -> dict[str, NDArray[np.float64]]:
    return {name: np.array([getattr(one, name) for one in found], dtype=np.float64) for name in MEASURES}


def _localised(
    tables: Sequence[dict[str, NDArray[np.float64]]],
    groups: Sequence[Hashable],
    kept: Mask,
    tuned: float | None,
    seed: int,
) -> Localised:
    names = [group for group, keep in zip(groups, kept, strict=True) if keep]
    own, blob, elsewhere = (
        {name: estimate(values[kept], names, seed) for name, values in table.items()} for table in tables
    )
    rivals = [table["auprc"][kept] for table in tables[1:]]
    best = max(rivals, key=lambda values: float(np.nanmean(values)) if len(values) else 0.0)
    margin = estimate(tables[0]["auprc"][kept] - best, names, seed)
    return Localised(measures=own, blob=blob, elsewhere=elsewhere, margin=margin, tuned=tuned)


class Localisation:
    """See the module; no pass of the network."""

    spec = CheckSpec(
        id="localisation",
        title="Marks the known place",
        question="Does the map mark the place where the finding is known to be?",
        measure="area under precision and recall, over chance",
        unit="",
        paper="Zhang et al. 2018, arXiv:1608.00507; Saporta et al. 2022, doi:10.1038/s42256-022-00536-x",
        order=12,
        brief="marks the place {} over chance",
    )

    def cost(self, evidence: Evidence) -> int:
        return 0

    def run(self, evidence: Evidence) -> Iterator[Verdict]:
        subject, values = evidence.subject, evidence.map
        places = [mask & subject.seen for mask in subject.places.values()]
        mask = np.logical_or.reduce(places) if places else np.zeros_like(subject.seen)
        if not places:
            yield self._unknown("No place is known for this image, so nothing can be compared.")
        elif not mask.any():
            yield self._unknown("The known place lies outside what the network sees of the image.")
        elif (mask == subject.seen).all():
            yield self._unknown("The known place covers all that the network sees, so any map would mark it.")
        elif np.ptp(values[subject.seen]) == 0:
            yield self._unknown("The map has one value everywhere and marks nothing.")
        else:
            yield self._verdict(evidence, values, mask)

    def _unknown(self, why: str) -> Verdict:
        return Verdict(self.spec.id, "not assessable", why, expected=RULE.source)

    def _verdict(self, evidence: Evidence, values: FloatArray, mask: Mask) -> Verdict:
        subject = evidence.subject
        placed = place(values, mask, subject.seen)
        found = against(values, mask, subject.seen, subject.seed)
        names = ", ".join(name.removeprefix("reference: ") for name in subject.places)
        numbers = (
            f"({_share(placed.energy)} of what speaks for the class lies there, {_share(placed.base)} of the picture)"
        )
        if np.isnan(placed.energy):
            numbers = f"(nothing in it speaks for the class; the place is {_share(placed.base)} of the picture)"
        sentence = {
            "ok": f"The map marks the known place, {names} {numbers}.",
            "weak": _leaning(found, names, numbers),
            "fails": f"The map does not mark the known place, {names} {numbers}: it does not show where the finding is.",
        }[found.level]
        low, high = found.interval
        return Verdict(
            self.spec.id,
            found.level,
            sentence,
            value=found.own - found.chance,
            low=low,
            high=high,
            n=COPIES,
            expected=f"above 0: {RULE.source}",
            facts={
                "area under precision and recall": f"{found.own:.2f}",
                "by chance (the place's share of the picture)": f"{found.share:.2f}",
                "blob in the middle": f"{found.blob:.2f}",
                "the map put elsewhere": f"{found.copies.mean():.2f}, 97.5 % of copies below {np.percentile(found.copies, 97.5):.2f}",
                "strongest pixel in the place": _hit(placed.pointing),
                "overlap (IoU) at Otsu's threshold": f"{placed.iou_otsu:.2f}",
                "positive attribution in the place": "none" if np.isnan(placed.energy) else f"{placed.energy:.0%}",
            },
        )


def _leaning(found: Against, names: str, numbers: str) -> str:
    """What a map between marking the place and missing it is told."""
    if found.own <= found.chance:
        return f"The map marks the known place, {names}, no more than chance would {numbers}."
    rival = "a blob in the middle of the picture does as well"
    if found.own > found.blob:
        rival = "about as much as if it were put elsewhere by chance"
    return f"The map leans towards the known place, {names}, but {rival} {numbers}."


def _share(value: float) -> str:
    return f"{value:.1%}" if value < 0.01 else f"{value:.0%}"


def _hit(share: float) -> str:
    return "yes" if share == 1 else "no" if share == 0 else f"{share:.0%} of the strongest pixels"


CHECKS.register(Localisation.spec.id, Localisation())
