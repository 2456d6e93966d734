"""Whether the maps of a group mark where no finding can be: the parts beside the patient, or the edge of the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dashboard.anatomy import Parts
from dashboard.audit.table import Rows
from dashboard.hunting.patients import LEAST, resampled
from explainers.quality.anatomy import ASIDE, LEAST_AREA, LEAST_SHARE, OUTSIDE, RULE, Share, level_of
from explainers.quality.types import Level
from models.types import Image

BESIDE = "where no finding can be"  # all parts of that kind together
EDGE, CORNERS = "outermost tenth of the picture", "corners of the picture"  # where nothing is known of the parts
_EDGE, _CORNER = 0.1, 0.2  # of each side

Mask = NDArray[np.bool_]
Shares = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Beside:
    """The answer.

    Attributes:
        level: "ok", "weak", "fails", or "not assessable".
        where: the part that is marked most beyond its area; "" where none is.
        attribution, area: mean shares of map and picture of all such parts, [0, 1].
        ratio: how many times stronger the map is there than elsewhere, with its 95 % interval over patients.
        n: cases that count.
    """

    level: Level
    sentence: str
    where: str = ""
    attribution: float | None = None
    area: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For a file."""
        return dict(vars(self))


def beside_of(parts: Parts, image: Image) -> dict[str, Mask]:
    """Masks (H, W) by name: the parts found and, as ``BESIDE``, all of them together in which no finding can be."""
    masks = dict(parts.masks)
    if not masks and not _sought(parts):
        masks |= {EDGE: edge(image.plane_shape), CORNERS: corners(image.plane_shape)}
    held = [masks[name] for name in (*ASIDE, EDGE, CORNERS) if name in masks]
    masks[BESIDE] = np.logical_or.reduce([np.zeros(image.plane_shape, dtype=bool), *held])
    return masks


def _sought(parts: Parts) -> bool:
    """Whether this kind of picture has a finder of parts."""
    return bool(parts.masks) or "all" not in parts.missing


def edge(shape: tuple[int, int]) -> Mask:
    """(H, W) the outermost tenth along each side."""
    mask = np.ones(shape, dtype=bool)
    down, across = (round(_EDGE * size) for size in shape)
    mask[down : shape[0] - down, across : shape[1] - across] = False
    return mask


def corners(shape: tuple[int, int]) -> Mask:
    """(H, W) four rectangles, a fifth of each side long."""
    near = [np.minimum(np.arange(size), np.arange(size)[::-1]) < round(_CORNER * size) for size in shape]
    return np.logical_and.outer(near[0], near[1])


def judged(shares: Sequence[Shares], patients: Rows, seed: int = 0) -> Beside:
    """Of a group's cases.

    All such parts together are judged, and each alone that holds a tenth of the map; the worst counts.

    Args:
        shares: of each case, by part, share of the map and of the area.
        patients: (n,) their patients' numbers.
    """
    together = _part(BESIDE, shares, patients, seed)
    if together is None or together.area is None or together.area < LEAST_AREA:
        return Beside("not assessable", "Almost nothing in these pictures lies where no finding can be.")
    found = [together]
    for name in (*ASIDE, EDGE, CORNERS):
        one = _part(name, shares, patients, seed)
        if one is not None and one.attribution is not None and one.attribution >= LEAST_SHARE:
            found.append(one)
    order: tuple[Level, ...] = ("fails", "weak", "ok", "not assessable")
    return min(found, key=lambda one: (order.index(one.level), -(one.ratio or 0)))


def _part(name: str, shares: Sequence[Shares], patients: Rows, seed: int) -> Beside | None:
    """One part; cases in which it was not found count as 0 of both."""
    if not any(name in one for one in shares):
        return None
    held = np.array([one.get(name, (0.0, 0.0)) for one in shares])
    marked, area = (float(value) for value in held.mean(axis=0))
    if area == 0:
        return Beside("not assessable", "Nothing of it is in these pictures.", attribution=0.0, area=0.0)
    low = high = None
    if len(np.unique(patients)) >= LEAST:
        drawn = [resampled(column, patients, seed) for column in held.T]
        ratios = [Share(float(a), float(b), None, None).ratio for a, b in zip(*drawn, strict=True) if b > 0]
        low, high = (float(end) for end in np.percentile(ratios, (2.5, 97.5)))
    share = Share(marked, area, low, high)
    level = level_of(share)
    if level == "fails" and low is None:
        level = "weak"  # of fewer than five patients nothing is certain
    numbers = f"{marked:.0%} of what the maps mark lies there, {area:.0%} of the picture; n = {len(shares)}"
    place = {BESIDE: BESIDE, OUTSIDE: OUTSIDE}.get(name, f"on the {name}")
    sentence = {
        "ok": f"The maps do not favour what lies {place} ({numbers}).",
        "weak": f"Some of the maps lies {place} ({numbers}).",
        "fails": f"The maps mark what lies {place} ({numbers}; {share.ratio:.1f} times as strongly as the rest).",
        "not assessable": "",
    }[level]
    return Beside(level, sentence, name, marked, area, share.ratio, low, high, len(shares))


SOURCE = f"ok up to {RULE.ok:g}, fails from {RULE.fails:g}: {RULE.source}"
