"""A current study against a prior one of the same patient: lesion by lesion, and in all.

The prior scan is brought onto the current one by a rigid motion (:mod:`dashboard.registration`). Where that falls below
its floor nothing is compared. Masks without scans are compared where their headers place them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dashboard.quantify.grid import voxel_ml
from dashboard.quantify.matching import VERDICTS, Change, Verdict, match
from dashboard.quantify.measures import SEVERITY, LungMeasures
from dashboard.quantify.study import Study
from dashboard.registration import Registration, register
from dashboard.resampling import resample_array, resample_to
from models.context import RunContext
from models.errors import DataError
from models.types import Geometry, Image

AIR_HU = -1000.0
BREATH = 0.1  # difference of lung volume that is pointed out


@dataclass(frozen=True, eq=False)
class Visit:
    """A study with its scan, None for masks alone; on one upright grid."""

    study: Study
    scan: Image | None


@dataclass(frozen=True)
class Delta:
    """One quantity at both times, in its unit; a share in percent differs by points."""

    name: str
    where: str
    unit: str
    prior: float
    current: float

    @property
    def difference(self) -> float:
        return self.current - self.prior

    @property
    def percent(self) -> float | None:
        """Of the prior; None for a share, and where there was nothing."""
        return None if self.unit == "%" or not self.prior else 100 * self.difference / self.prior


@dataclass(frozen=True, eq=False)
class FollowUp:
    """What changed.

    Attributes:
        registration: None for masks alone.
        reason: why nothing is compared, in one sentence; empty where it is.
        changes, deltas: empty where nothing is compared.
        histogram_percent: (2, bins) by how many points the share of each density differs, right and left lung; None
            without scans and lungs.
        prior_scan: (D, H, W) HU on the current grid, air where the prior scan does not reach; None for masks alone, and
            where nothing is compared.
        prior_labels: (D, H, W) numbers of the prior's lesions on the current grid; likewise.
        warnings: sentences a reader of the comparison must know.
    """

    prior: Study
    registration: Registration | None
    reason: str = ""
    changes: tuple[Change, ...] = ()
    deltas: tuple[Delta, ...] = ()
    histogram_percent: NDArray[np.float64] | None = None
    prior_scan: Image | None = None
    prior_labels: NDArray[np.int32] | None = None
    warnings: tuple[str, ...] = ()

    def count(self, verdict: Verdict) -> int:
        return sum(change.verdict == verdict for change in self.changes)

    @property
    def counts(self) -> dict[Verdict, int]:
        return {verdict: self.count(verdict) for verdict in VERDICTS}


def follow_up(current: Visit, prior: Visit, seed: int = 0, ctx: RunContext | None = None) -> FollowUp:
    """Compare two studies; ``ctx`` ticks :data:`dashboard.registration.LEVELS` times where there are scans.

    Raises:
        DataError: one is a scan and the other a mask alone, or a header does not say where it lies.
        Cancelled: through ``ctx``.
    """
    now, then = current.study, prior.study
    if (current.scan is None) != (prior.scan is None):
        raise DataError("A scan cannot be compared with a mask alone; give both scans, or both masks.")
    if now.geometry.frame != "patient" or then.geometry.frame != "patient":
        raise DataError("One of the two studies does not say where it lies in the patient, so they cannot be compared.")
    found, matrix = None, np.eye(4)
    warnings: tuple[str, ...] = ()
    if current.scan is not None and prior.scan is not None:
        found = register(current.scan, prior.scan, "rigid", seed, ctx, *_lungs(now, then))
        if not found.accepted:
            return FollowUp(then, found, found.reason)
        matrix = found.matrix
    else:
        warnings += ("Masks alone are compared where their headers place them: without scans nothing was registered.",)
    shape = now.lesions.labels.shape
    place = (now.geometry, (shape[0], shape[1], shape[2]), matrix)
    labels = resample_array(then.lesions.labels, then.geometry, *place, order="nearest").astype(np.int32)
    covers = _covered(then.geometry, then.lesions.labels.shape, *place)
    if not covers.any():
        return FollowUp(
            then, found, "The two studies show no common part of the patient; check that they belong together."
        )
    changes = match(
        then.lesions.items,
        labels,
        now.lesions.items,
        now.lesions.labels,
        now.geometry,
        matrix,
        float((1000 * voxel_ml(then.geometry)) ** (1 / 3)),
        covers,
    )
    scan = None if prior.scan is None else resample_to(prior.scan, *place, fill=AIR_HU)
    densities = _density(now), _density(then)
    histogram = None if densities[0] is None or densities[1] is None else np.asarray(densities[0] - densities[1])
    warnings += _warnings(now, then)
    return FollowUp(then, found, "", changes, _deltas(now, then), histogram, scan, labels, warnings)


def _lungs(now: Study, then: Study) -> tuple[NDArray[np.bool_] | None, NDArray[np.bool_] | None]:
    if now.lungs is None or then.lungs is None:
        return None, None
    return now.lungs.both, then.lungs.both


def _covered(
    source: Geometry,
    size: tuple[int, ...],
    geometry: Geometry,
    shape: tuple[int, int, int],
    matrix: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """(D, H, W), which voxels of a grid lie within another."""
    index = np.linalg.solve(source.affine, matrix @ geometry.affine)
    covered = np.ones(shape, dtype=bool)
    steps = [np.arange(count, dtype=np.float32) for count in shape]
    for row, length in zip(index[:3], reversed(size), strict=True):
        at = (row[2] * steps[0] + row[3])[:, None, None] + (row[1] * steps[1])[:, None] + row[0] * steps[2]
        covered &= (at >= -0.5) & (at <= length - 0.5)
    return covered


def _density(study: Study) -> NDArray[np.float64] | None:
    """(2, bins) percent of each lung by density; None where it is not known."""
    lungs = [lung for lung in study.measures[:2] if lung.histogram_ml.size and lung.volume_ml]
    if len(lungs) < 2:
        return None
    return np.array([100 * lung.histogram_ml / lung.volume_ml for lung in lungs], dtype=np.float64)


def _deltas(now: Study, then: Study) -> tuple[Delta, ...]:
    rows = [
        Delta("lesions", "both", "", len(then.lesions.items), len(now.lesions.items)),
        Delta("lesion volume", "both", "ml", then.lesions.total_ml, now.lesions.total_ml),
    ]
    for old, new in zip(then.measures, now.measures, strict=False):
        rows += _of_lung(old, new)
    return tuple(rows)


def _of_lung(old: LungMeasures, new: LungMeasures) -> list[Delta]:
    rows = [
        Delta("lung volume", new.where, "ml", old.volume_ml, new.volume_ml),
        Delta("lesion volume in the lung", new.where, "ml", old.lesion_ml, new.lesion_ml),
        Delta("involvement", new.where, "%", old.involvement_percent, new.involvement_percent),
        Delta(f"severity (0 to {len(SEVERITY) - 1})", new.where, "", old.severity, new.severity),
    ]
    if old.mean_hu is not None and new.mean_hu is not None:
        rows.append(Delta("mean density", new.where, "HU", old.mean_hu, new.mean_hu))
    rows += [
        Delta(f"{one.name} lung", new.where, "%", one.percent, other.percent)
        for one, other in zip(old.aeration, new.aeration, strict=False)
    ]
    return rows


def _warnings(now: Study, then: Study) -> tuple[str, ...]:
    found: list[str] = []
    if now.lesions_by != then.lesions_by:
        found.append(
            f"The lesions were marked differently: now by {now.lesions_by}, in the prior by {then.lesions_by}."
        )
    if now.both is not None and then.both is not None:
        change = now.both.volume_ml / then.both.volume_ml - 1
        if abs(change) > BREATH:
            found.append(
                f"The lungs hold {abs(change):.0%} {'more' if change > 0 else 'less'} than in the prior: densities and shares"
                " change with the depth of breath, too."
            )
    elif (now.both is None) != (then.both is None):
        found.append("The lungs of one of the two are not known, so shares of the lungs are not compared.")
    return tuple(found)
