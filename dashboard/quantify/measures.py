"""What lungs and lesions amount to: volumes, involvement, severity, aeration, density."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dashboard.quantify.grid import BoolArray, voxel_ml
from dashboard.quantify.lesions import Lesions
from dashboard.quantify.lungs import Lungs
from models.types import Geometry

Where = Literal["right", "left", "both"]
SEVERITY = ("none", "below 5 %", "5 to 25 %", "25 to 50 %", "50 to 75 %", "above 75 %")
SEVERITY_SOURCE = (
    "CT score 0 to 5 of Pan et al., Radiology 2020, 295:715-721, doi:10.1148/radiol.2020200370, there of each lobe; here"
    " of each lung and of both, as lobes are not segmented"
)
AERATION = (
    ("hyper-inflated", -np.inf, -900.0),
    ("normally aerated", -900.0, -500.0),
    ("poorly aerated", -500.0, -100.0),
    ("non-aerated", -100.0, 100.0),
    ("denser than tissue", 100.0, np.inf),
)
AERATION_SOURCE = (
    "Gattinoni et al., Am J Respir Crit Care Med 2001, 164:1701-1711, doi:10.1164/ajrccm.164.9.2103121; what is denser"
    " than 100 HU (contrast medium, calcium) is outside their bands"
)
EDGES_HU: NDArray[np.float64] = np.arange(-1050.0, 175.0, 25.0)  # holds the limits of the bands


@dataclass(frozen=True)
class Band:
    """Lung of one degree of aeration: low_hu <= HU < high_hu (the non-aerated band holds 100 HU, too)."""

    name: str
    low_hu: float
    high_hu: float
    volume_ml: float
    percent: float


@dataclass(frozen=True, eq=False)
class LungMeasures:
    """One lung, or both.

    Attributes:
        volume_ml: of the lung with what is infected in it.
        lesion_count: lesions of that side.
        lesion_ml: volume of lesions inside the lung, whatever their side.
        involvement_percent: ``lesion_ml`` of ``volume_ml``.
        severity: index into SEVERITY.
        mean_hu: None where there is no scan, like ``aeration`` and ``histogram_ml`` are empty.
        histogram_ml: (48,) ml of lung between neighbouring EDGES_HU; what lies beyond is in the first and last.
    """

    where: Where
    volume_ml: float
    lesion_count: int
    lesion_ml: float
    involvement_percent: float
    severity: int
    mean_hu: float | None
    aeration: tuple[Band, ...]
    histogram_ml: NDArray[np.float64]

    @property
    def severity_words(self) -> str:
        return SEVERITY[self.severity]


def severity_of(percent: float) -> int:
    """0 for none, 1 below 5 %, 2 below 25 %, 3 below 50 %, 4 up to 75 %, 5 above."""
    return int(percent > 0) + int(percent >= 5) + int(percent >= 25) + int(percent >= 50) + int(percent > 75)


def measure_lungs(
    lungs: Lungs, lesions: Lesions, geometry: Geometry, hu: NDArray[np.float32] | None
) -> tuple[LungMeasures, ...]:
    """The right lung, the left, and both, in this order.

    Args:
        hu: (D, H, W) HU, or None where there are only masks.
    """
    infected, ml = lesions.mask, voxel_ml(geometry)
    right = _raw(lungs.right, infected, hu)
    left = _raw(lungs.left, infected, hu)
    counts = [sum(lesion.side == side for lesion in lesions.items) for side in ("right", "left")]
    return (
        _measured("right", [right], counts[0], ml),
        _measured("left", [left], counts[1], ml),
        _measured("both", [right, left], len(lesions.items), ml),
    )


@dataclass(frozen=True, eq=False)
class _Raw:
    """Voxel counts of one lung, which add up."""

    voxels: int
    infected: int
    sum_hu: float | None
    bands: NDArray[np.int64]
    bins: NDArray[np.int64]


def _raw(lung: BoolArray, infected: BoolArray, hu: NDArray[np.float32] | None) -> _Raw:
    inside = int((lung & infected).sum())
    if hu is None:
        return _Raw(int(lung.sum()), inside, None, np.zeros(0, np.int64), np.zeros(0, np.int64))
    values = hu[lung]
    limits = np.array([low for _, low, _ in AERATION[1:]], dtype=np.float32)
    limits[-1] = np.nextafter(limits[-1], np.float32(np.inf))  # 100 HU itself is non-aerated
    bands = np.bincount(np.searchsorted(limits, values, side="right"), minlength=len(AERATION))
    clipped = np.clip(values, EDGES_HU[0], EDGES_HU[-1])
    bins, _ = np.histogram(clipped, EDGES_HU)
    return _Raw(values.size, inside, float(values.sum(dtype=np.float64)), bands, bins)


def _measured(where: Where, parts: Sequence[_Raw], count: int, ml: float) -> LungMeasures:
    voxels, infected = sum(part.voxels for part in parts), sum(part.infected for part in parts)
    percent = 100.0 * infected / voxels if voxels else 0.0
    sums = [part.sum_hu for part in parts if part.sum_hu is not None]
    bands = np.sum([part.bands for part in parts], axis=0)
    return LungMeasures(
        where,
        voxels * ml,
        count,
        infected * ml,
        percent,
        severity_of(percent),
        sum(sums) / voxels if sums and voxels else None,
        tuple(
            Band(name, low, high, float(size) * ml, 100.0 * float(size) / voxels if voxels else 0.0)
            for (name, low, high), size in zip(AERATION, bands, strict=False)
        ),
        np.sum([part.bins for part in parts], axis=0) * ml,
    )
