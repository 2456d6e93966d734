"""A nodule on CT: its volume, diameters and density, from a mask or from a point in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dashboard.quantify.grid import BoolArray, Turn, ct_values, geometry_of, voxel_ml
from dashboard.quantify.lesions import axial_diameter
from dashboard.quantify.shape import diameters
from models.errors import DataError
from models.types import Geometry, Image

SOLID_HU = -300.0  # from which a voxel counts as solid; works differ, so shares compare only at one cut-off
FEW_SLICES = 3  # below which partial volume above and below is most of the nodule
REACH_MM = 25.0  # from the seed; larger masses are not outlined
SEED_MM = 3.0  # how far beside the nodule's densest place the point may lie
LUNG_HU = -600.0  # below it a voxel around the nodule is lung
LEAST_LUNG = 0.10  # of the surroundings, to know the lung's density
LEAST_CONTRAST = 80.0  # HU between nodule and lung
LEAST_MM = 2.5
SOFT_HU = 50.0  # what is denser, calcium, does not move the threshold
# Of the step from lung to nodule. A blurred edge lies at 0.5; the readers of LIDC-IDRI outline farther out: of 0.5, 0.35,
# 0.25 and 0.2, a quarter came closest to their volumes on every sixth nodule of the first four fifths of the patients.
EDGE = 0.25
STEPS = 12  # strengths of the opening that are tried


@dataclass(frozen=True)
class Nodule:
    """Measures of one nodule.

    Attributes:
        volume_ml: voxels times the volume of one.
        longest_mm: the largest distance within an axial slice, between the middles of outer voxel edges.
        perpendicular_mm: the largest at a right angle to it, on that slice, across the convex hull.
        slice_index: that slice, along the image's first axis, where this is the axial one; else None.
        mean_hu, solid_share: None without a scan; the share of voxels of at least ``SOLID_HU``.
        notes: sentences that a reader of the numbers must know.
    """

    volume_ml: float
    longest_mm: float
    perpendicular_mm: float
    slice_index: int | None
    mean_hu: float | None
    solid_share: float | None
    notes: tuple[str, ...] = ()

    @property
    def mean_mm(self) -> float:
        """Mean of the two diameters, by which the Fleischner Society sizes nodules (MacMahon et al. 2017)."""
        return (self.longest_mm + self.perpendicular_mm) / 2


def measure_nodule(mask: BoolArray, geometry: Geometry, hu: NDArray[np.float32] | None = None) -> Nodule:
    """Of a (D, H, W) mask, on the grid of ``hu``. Raises DataError for an empty mask."""
    if not mask.any():
        raise DataError("The nodule's mask is empty; give the mask of this scan.")
    turn = Turn.of(geometry)
    upright = turn.apply(mask)
    in_plane = turn.geometry(geometry, mask.shape).affine[:3, :2]
    planes = [(index, diameters(plane, in_plane)) for index, plane in enumerate(upright) if plane.any()]
    index, found = max(planes, key=lambda plane: plane[1].longest)
    notes = []
    if len(planes) < FEW_SLICES:
        notes.append(
            f"The nodule lies on {len(planes)} slice{'s' if len(planes) > 1 else ''} only, so its volume is rough."
        )
    if any(mask.take(end, axis).any() for axis in (1, 2) for end in (0, -1)):
        notes.append("The outline reaches the edge of the picture; the nodule may be larger.")
    if mask[[0, -1]].any():
        notes.append("The outline reaches the first or the last slice of the scan; the nodule may be larger.")
    axial = turn.axes[0] == 0
    return Nodule(
        float(mask.sum()) * voxel_ml(geometry),
        found.longest,
        found.perpendicular,
        (len(upright) - 1 - index if turn.flips[0] else index) if axial else None,
        None if hu is None else float(hu[mask].mean(dtype=np.float64)),
        None if hu is None else float((hu[mask] >= SOLID_HU).mean()),
        tuple(notes),
    )


def outline_nodule(image: Image, seed: tuple[int, int, int]) -> BoolArray:
    """(D, H, W) mask of the nodule at a point of a CT volume.

    Voxels denser than a quarter of the way from the lung to the nodule and connected with the point, opened by balls of
    growing size until what is left no longer runs into the chest wall or along vessels (after Kuhnigk et
    al. 2006, doi:10.1109/TMI.2006.871547). Differs: the strength of the opening is the smallest after which the
    remains stay away from the border of the neighbourhood; no hull, no correction for partial volume.

    Limits: nodules up to 5 cm; broad contact with the chest wall, the heart or a large vessel is cut straight or
    refused; ground glass is followed as far as it is 80 HU denser than the lung.

    Args:
        seed: (column, row, slice) in the nodule, or up to 3 mm beside it.

    Raises:
        DataError: the image is no CT volume with spacing, or no nodule can be told from its surroundings there.
    """
    hu, geometry = ct_values(image), geometry_of(image)
    column, row, level = seed
    if not all(0 <= at < size for at, size in zip((level, row, column), hu.shape, strict=True)):
        raise DataError("The point lies outside the scan; choose one in the nodule.")
    spacing = np.array(geometry.spacing[::-1])
    start = np.maximum(np.array([level, row, column]) - np.ceil(REACH_MM / spacing).astype(int), 0)
    end = np.minimum(np.array([level, row, column]) + np.ceil(REACH_MM / spacing).astype(int) + 1, hu.shape)
    box = tuple(slice(int(a), int(b)) for a, b in zip(start, end, strict=True))
    part = hu[box]
    at = _densest(part, np.array([level, row, column]) - start, spacing)
    cut = _threshold(part, at, spacing)
    dense, _ = ndimage.label(part >= cut)
    found = dense == dense[tuple(at)]
    goes_on = (bool(start[0] > 0), bool(end[0] < hu.shape[0]))
    found = _detached(found, at, spacing, goes_on)
    mask = np.zeros(hu.shape, dtype=bool)
    mask[box] = np.stack([ndimage.binary_fill_holes(plane) for plane in found])
    if axial_diameter(mask, geometry) < LEAST_MM:
        raise DataError(
            f"What is dense at this point is less than {LEAST_MM:g} mm across; choose a point in the nodule."
        )
    return mask


def _densest(hu: NDArray[np.float32], at: NDArray[np.int64], spacing: NDArray[np.float64]) -> NDArray[np.int64]:
    """The densest place near a point, smoothed so that noise does not choose it."""
    smooth = ndimage.gaussian_filter(hu, 0.8 / spacing)
    away = _distance(hu.shape, at, spacing)
    return np.array(np.unravel_index(np.where(away <= SEED_MM, smooth, -np.inf).argmax(), hu.shape))


def _distance(shape: tuple[int, ...], at: NDArray[np.int64], spacing: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance in mm of every voxel from one."""
    axes = [(np.arange(size) - place) * mm for size, place, mm in zip(shape, at, spacing, strict=True)]
    return np.asarray(np.sqrt(axes[0][:, None, None] ** 2 + axes[1][:, None] ** 2 + axes[2] ** 2))


def _threshold(hu: NDArray[np.float32], at: NDArray[np.int64], spacing: NDArray[np.float64]) -> float:
    """Between the lung and the nodule in it, in HU."""
    away = _distance(hu.shape, at, spacing)
    lung = hu[hu < LUNG_HU]
    if lung.size < LEAST_LUNG * hu.size:
        raise DataError("There is hardly any lung around this point; choose a point in a nodule of the lung.")
    nodule = float(np.median(hu[away <= max(1.5, float(spacing[1:].max()))]))
    level = float(np.median(lung))
    if nodule - level < LEAST_CONTRAST:
        raise DataError(
            f"Nothing denser than the lung around it is at this point ({nodule:.0f} HU); choose a point in the nodule."
        )
    return level + EDGE * (min(nodule, SOFT_HU) - level)


def _detached(
    mask: BoolArray, at: NDArray[np.int64], spacing: NDArray[np.float64], goes_on: tuple[bool, bool]
) -> BoolArray:
    """The part about a point that balls of the smallest sufficient size cut off from everything that runs on.

    Args:
        goes_on: whether the scan has slices before and after the neighbourhood.
    """
    padded = np.pad(mask, 1, mode="edge")  # what goes beyond the neighbourhood is as thick there
    depth = ndimage.distance_transform_edt(padded, spacing)[1:-1, 1:-1, 1:-1]
    away = _distance(mask.shape, at, spacing)
    core = float(depth[away <= SEED_MM].max())
    for radius in np.linspace(0.0, 0.9, STEPS) * core:
        parts, _ = ndimage.label(depth > radius)
        near = np.where((parts > 0) & (away <= SEED_MM), depth, 0)
        number = parts[np.unravel_index(near.argmax(), near.shape)]
        if not number:
            break
        kept = parts == number
        grown = mask & (ndimage.distance_transform_edt(~kept, spacing) <= radius) if radius else kept
        if not _runs_on(grown, goes_on):
            return np.asarray(grown)
    raise DataError(
        "The nodule at this point cannot be told from the chest wall or vessels beside it; outline it by hand and give the mask."
    )


def _runs_on(mask: BoolArray, goes_on: tuple[bool, bool]) -> bool:
    """Whether a mask reaches the border of the neighbourhood: within its slices, or at an end where the scan goes on."""
    if any(bool(mask.take(end, axis).any()) for axis in (1, 2) for end in (0, -1)):
        return True
    return bool((goes_on[0] and mask[0].any()) or (goes_on[1] and mask[-1].any()))
