"""Where the attribution lies, by the parts of the picture, and how much of it where no finding can be.

A network may read a marker, a ruler, hair or the table beside the patient instead of the finding (DeGrave et al. 2021 on
chest films, Winkler et al. 2019 on ink in dermoscopy). How strongly a part is marked is compared with the rest of the picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explainers.quality.types import CHECKS, CheckSpec, Evidence, Level, Rule, Verdict
from explainers.reduce import marked
from models.types import FloatArray

Mask = NDArray[np.bool_]

OUTSIDE, BORDERS, MARKERS = "outside the body", "borders and corners", "text markers"
HAIR, RULER, INK, VIGNETTE = "hair", "ruler", "ink", "dark corners"
ASIDE = (OUTSIDE, BORDERS, MARKERS, HAIR, RULER, INK, VIGNETTE)  # parts in which no finding can be

TILES = 8  # along each side; what is drawn again for the interval, as neighbouring pixels are alike
DRAWS = 400
MOST = 1000.0  # ratio that stands for "all of it"
LEAST_AREA = 0.005  # of the picture, below which a share says nothing
LEAST_SHARE = 0.1  # of the attribution, below which a part cannot carry the decision
RULE = Rule(
    1.0,
    2.0,
    "1 is what a map that knows nothing has; 2 is marked twice as strongly as the rest, and fails only from a tenth of the"
    " attribution on",
)


@dataclass(frozen=True)
class Share:
    """One part of the picture.

    Attributes:
        attribution, area: shares in [0, 1] of what is seen.
        low, high: 95 % interval of ``ratio``, drawn over ``tiles`` of the picture; None where the area is 0.
    """

    attribution: float
    area: float
    low: float | None
    high: float | None
    tiles: int = 0

    @property
    def ratio(self) -> float:
        """How many times stronger a pixel is marked there than elsewhere, on average.

        Unlike the share of attribution over the share of area, it can reach any value however large the part is.
        """
        return float(_ratio(np.float64(self.attribution), np.float64(self.area))) if self.area else float("nan")

    @property
    def words(self) -> str:
        """ "42 % (18 % of the area)"."""
        return f"{self.attribution:.0%} ({self.area:.0%} of the area)"


def share_of(weight: NDArray[np.float64], part: Mask, seen: Mask, seed: int = 0) -> Share:
    """The share of a part.

    Args:
        weight: (H, W), 0 or more, not 0 everywhere.
        part, seen: (H, W).
    """
    inside = part & seen
    attribution, area = weight[inside].sum() / weight[seen].sum(), inside.sum() / seen.sum()
    if not inside.any():
        return Share(0.0, 0.0, None, None)
    height, width = seen.shape
    tile = (np.arange(height) * TILES // height)[:, None] * TILES + np.arange(width) * TILES // width

    def sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(tile[seen], weights=values[seen], minlength=TILES * TILES).astype(np.float64)

    parts = np.stack([sums(weight * inside), sums(weight), sums(inside.astype(float)), sums(seen.astype(float))])
    kept = parts[:, parts[3] > 0]
    count = kept.shape[1]
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), DRAWS) @ kept.T
    usable = drawn[(drawn[:, 1] > 0) & (drawn[:, 2] > 0)]
    ratios = _ratio(usable[:, 0] / usable[:, 1], usable[:, 2] / usable[:, 3])
    low, high = np.percentile(ratios, (2.5, 97.5))
    return Share(float(attribution), float(area), float(low), float(high), count)


def _ratio(attribution: Any, area: Any) -> Any:
    """Mean strength in the part over that in the rest; at most ``MOST``."""
    rest = np.maximum((1 - attribution) * area, 1e-12)
    return np.minimum(attribution * (1 - area) / rest, MOST)


def shares(values: FloatArray, parts: Mapping[str, Mask], seen: Mask, seed: int = 0) -> dict[str, Share]:
    """Shares of all parts by name; parts may overlap. Empty for a map that is 0 everywhere."""
    weight = marked(values, seen)
    return {} if weight is None else {name: share_of(weight, part, seen, seed) for name, part in parts.items()}


class Anatomy:
    """See the module; no pass of the network."""

    spec = CheckSpec(
        id="anatomy",
        title="Looks at the patient",
        question="Does the map mark the patient, or the markers, borders, hair and empty parts of the picture?",
        measure="strength of the map where no finding can be, over its strength elsewhere",
        unit="x",
        paper="DeGrave et al. 2021, doi:10.1038/s42256-021-00338-7; Winkler et al. 2019, doi:10.1001/jamadermatol.2019.1735",
        order=14,
        brief="{} x as strong beside the patient",
    )

    def cost(self, evidence: Evidence) -> int:
        return 0

    def run(self, evidence: Evidence) -> Iterator[Verdict]:
        subject = evidence.subject
        weight = marked(evidence.map, subject.seen)
        if not subject.anatomy:
            yield self._unknown("No part of the body was recognised in this picture.")
        elif weight is None:
            yield self._unknown("The map is zero everywhere and marks nothing.")
        else:
            yield self._verdict(evidence, weight)

    def _unknown(self, why: str, facts: Mapping[str, str] | None = None) -> Verdict:
        return Verdict(self.spec.id, "not assessable", why, expected=RULE.source, facts=facts or {})

    def _verdict(self, evidence: Evidence, weight: NDArray[np.float64]) -> Verdict:
        subject = evidence.subject
        found = {name: share_of(weight, part, subject.seen, subject.seed) for name, part in subject.anatomy.items()}
        facts = {name: share.words for name, share in found.items()}
        beside = [name for name in ASIDE if name in found]
        if not beside:
            return self._unknown("Nothing in this picture lies beside the patient; the shares stand below.", facts)
        part = np.logical_or.reduce([subject.anatomy[name] for name in beside])
        share = share_of(weight, part, subject.seen, subject.seed)
        if share.area < LEAST_AREA:
            return self._unknown(
                "Almost nothing in this picture lies beside the patient; the shares stand below.", facts
            )
        worst = max(beside, key=lambda name: found[name].attribution - found[name].area)
        level = level_of(share)
        numbers = f"{share.attribution:.0%} of what the map marks lies there, {share.area:.0%} of the picture"
        sentence = {
            "ok": f"The map keeps to the patient: little of it lies on {_listed(beside)} ({numbers}).",
            "weak": f"Some of the map lies where no finding can be, most of it on {_part(worst)} ({numbers}): look at the"
            " picture there.",
            "fails": f"Much of the map lies where no finding can be, most of it on {_part(worst)} ({numbers}): the"
            " decision may rest on something other than the patient.",
        }[level]
        return Verdict(
            self.spec.id,
            level,
            sentence,
            value=share.ratio,
            low=share.low,
            high=share.high,
            n=share.tiles,
            expected=f"up to {RULE.ok:g}, not {RULE.fails:g} or more: {RULE.source}",
            facts=facts,
        )


def level_of(share: Share) -> Level:
    """The level of the parts where no finding can be, taken together."""
    level = RULE.level(share.ratio, share.low, share.high)
    return "weak" if level == "fails" and share.attribution < LEAST_SHARE else level


def _part(name: str) -> str:
    """A part in a sentence that says "on ..."."""
    return {OUTSIDE: "the picture outside the body", MARKERS: "a text marker"}.get(name, f"the {name}")


def _listed(names: list[str]) -> str:
    words = [_part(name) for name in names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


CHECKS.register(Anatomy.spec.id, Anatomy())
