"""A current study against a prior one of the same patient: lesion by lesion, and in all.

The prior scan is brought onto the current one by a rigid motion (:mod:`dashboard.registration`). Where that falls below
its floor nothing is compared. Masks without scans are compared where their headers place them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dashboard.quantify.grid import voxel_ml
from dashboard.quantify.matching import VERDICTS, Change, Seen, Verdict, match
from dashboard.quantify.measures import SEVERITY, LungMeasures
from dashboard.quantify.study import Study
from dashboard.registration import Registration, register
from dashboard.resampling import resample_array, resample_to
from models.context import RunContext
from models.errors import DataError
from models.types import Geometry, Image

AIR_HU = -1000.0
BREATH = 0.1  # difference of lung volume that is pointed out
UNSEEN = 0.1  # share of a lesion outside the other scan from which it is not compared


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
    prior_labels: NDArray[np.unsignedinteger] | None = None
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
    small = np.min_scalar_type(len(then.lesions.items))
    labels = resample_array(then.lesions.labels, then.geometry, *place, order="nearest").astype(small)
    if not _meet(then.geometry, then.lesions.labels.shape, *place):
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
        _seen(then, now, np.asarray(np.linalg.inv(matrix), dtype=np.float64)),
        _seen(now, then, matrix),
    )
    scan = None if prior.scan is None else resample_to(prior.scan, *place, fill=AIR_HU)
    densities = _density(now), _density(then)
    histogram = None if densities[0] is None or densities[1] is None else np.asarray(densities[0] - densities[1])
    warnings += _warnings(now, then, changes)
    return FollowUp(then, found, "", changes, _deltas(now, then), histogram, scan, labels, warnings)


def _lungs(now: Study, then: Study) -> tuple[NDArray[np.bool_] | None, NDArray[np.bool_] | None]:
    if now.lungs is None or then.lungs is None:
        return None, None
    return now.lungs.both, then.lungs.both


def _meet(
    source: Geometry,
    size: tuple[int, ...],
    geometry: Geometry,
    shape: tuple[int, int, int],
    matrix: NDArray[np.float64],
) -> bool:
    """Whether any voxel of a grid lies within another; slice by slice, as a scan of places takes much memory."""
    index = np.linalg.solve(source.affine, matrix @ geometry.affine)
    rows, columns = (np.arange(count, dtype=np.float32) for count in shape[1:])
    for level in range(shape[0]):
        covered = np.ones(shape[1:], dtype=bool)
        for row, length in zip(index[:3], reversed(size), strict=True):
            at = (row[1] * rows + row[2] * level + row[3])[:, None] + row[0] * columns
            covered &= (at >= -0.5) & (at <= length - 0.5)
        if covered.any():
            return True
    return False


def _seen(study: Study, other: Study, matrix: NDArray[np.float64]) -> Seen:
    """What of a study's lesions its own scan and the other one show; ``matrix`` takes mm of the one to mm of the other."""
    labels = study.lesions.labels
    index = np.linalg.solve(other.geometry.affine, matrix @ study.geometry.affine)
    size = np.array(other.lesions.labels.shape[::-1])
    outside, voxels = np.zeros((2, len(study.lesions.items) + 1))
    for level, plane in enumerate(labels):
        rows, columns = np.nonzero(plane)
        at = np.stack([columns, rows, np.full_like(rows, level)], axis=1) @ index[:3, :3].T + index[:3, 3]
        beyond = ((at < -0.5) | (at > size - 0.5)).any(axis=1)
        voxels += np.bincount(plane[rows, columns], minlength=len(voxels))
        outside += np.bincount(plane[rows[beyond], columns[beyond]], minlength=len(voxels))
    unseen = np.flatnonzero((outside >= UNSEEN * voxels) & (voxels > 0))
    return Seen(frozenset(np.unique(labels[[0, -1]]).tolist()) - {0}, frozenset(unseen.tolist()))


def _cut(study: Study) -> bool:
    """Whether the scan ends within the lungs."""
    return study.lungs is not None and bool(study.lungs.both[[0, -1]].any())


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


def _warnings(now: Study, then: Study, changes: tuple[Change, ...]) -> tuple[str, ...]:
    found: list[str] = []
    unseen = sum(bool(change.reason) for change in changes)
    if unseen:
        found.append(
            f"{unseen} of the changes cannot be told: {'a scan ends' if unseen == 1 else 'the scans end'} within a lesion, or"
            " a tenth of it or more lies outside the other scan."
        )
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
        if (cut := _cut(now)) != _cut(then):
            found.append(
                f"{'This' if cut else 'The prior'} scan ends within the lungs and the other does not: volumes and shares of"
                " the lungs are not of the same part."
            )
    elif (now.both is None) != (then.both is None):
        found.append("The lungs of one of the two are not known, so shares of the lungs are not compared.")
    return tuple(found)
