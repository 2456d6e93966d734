"""Separate lesions of a mask, each with its size, density and place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from dashboard.quantify.grid import BoolArray, Turn, voxel_ml
from dashboard.quantify.lungs import LEFT, RIGHT, Lungs, from_sides
from models.errors import DataError
from models.types import Geometry

Connectivity = Literal[6, 18, 26]
Side = Literal["right", "left", "unknown"]
CONNECTIVITY: Connectivity = 26
_RANK: dict[int, int] = {6: 1, 18: 2, 26: 3}


@dataclass(frozen=True)
class Lesion:
    """One connected part of a mask.

    Attributes:
        number: 1 for the largest; its label in :attr:`Lesions.labels`.
        side: of the patient.
        voxels: how many.
        volume_ml: voxels times the volume of one.
        mean_hu: None where there is no scan.
        centroid_mm: mean of the voxel centres, patient coordinates (LPS).
        diameter_mm: the largest distance within an axial slice, between the middles of outer voxel edges.
    """

    number: int
    side: Side
    voxels: int
    volume_ml: float
    mean_hu: float | None
    centroid_mm: tuple[float, float, float]
    diameter_mm: float


@dataclass(frozen=True, eq=False)
class Lesions:
    """The lesions of a mask, largest first.

    Attributes:
        labels: (D, H, W) int32, 0 outside, else the lesion's number.
        side_by: how the sides were told, in words.
        left_out, left_out_ml: parts below the minimum size, counted nowhere else.
    """

    labels: NDArray[np.int32]
    items: tuple[Lesion, ...]
    connectivity: Connectivity
    minimum_mm3: float
    side_by: str
    left_out: int
    left_out_ml: float

    @property
    def mask(self) -> BoolArray:
        return self.labels > 0

    @property
    def total_ml(self) -> float:
        return float(sum(lesion.volume_ml for lesion in self.items))


def find_lesions(
    mask: BoolArray,
    geometry: Geometry,
    hu: NDArray[np.float32] | None = None,
    lungs: Lungs | None = None,
    connectivity: Connectivity = CONNECTIVITY,
    minimum_mm3: float = 0.0,
) -> Lesions:
    """Connected parts of a mask.

    Args:
        mask: (D, H, W).
        hu: (D, H, W) HU of the scan.
        lungs: tell the side: that of the lung that holds more of the lesion, or is nearer. Without them it is the half
            of the picture in which the centroid lies; unknown where the header has no orientation.
        connectivity: 26: voxels that touch at a corner belong together; 18: at an edge; 6: at a face.
        minimum_mm3: smaller parts are left out.

    Raises:
        DataError: for another connectivity, or a minimum below 0.
    """
    if connectivity not in _RANK or not minimum_mm3 >= 0:
        raise DataError(
            f"Lesions need a connectivity of 6, 18 or 26 and a minimum size of at least 0 mm³, got {connectivity} and"
            f" {minimum_mm3:g}."
        )
    ml = voxel_ml(geometry)
    side_by = "lung mask" if lungs else "half of the picture" if geometry.frame == "patient" else "unknown"
    labels = np.zeros(mask.shape, dtype=np.int32)
    if not mask.any():
        return Lesions(labels, (), connectivity, minimum_mm3, side_by, 0, 0.0)
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    parts, count = ndimage.label(mask[box], ndimage.generate_binary_structure(3, _RANK[connectivity]))
    voxels = np.bincount(parts.ravel(), minlength=count + 1)
    voxels[0] = 0
    kept = np.flatnonzero((voxels > 0) & (voxels * ml * 1000 > minimum_mm3 * (1 - 1e-9)))
    kept = kept[np.argsort(-voxels[kept], kind="stable")]
    renumber = np.zeros(count + 1, dtype=np.int32)
    renumber[kept] = np.arange(1, len(kept) + 1)
    labels[box] = renumber[parts]

    places = ndimage.find_objects(labels)
    midline = _midline(geometry, mask.shape)
    items = []
    for number, (old, place) in enumerate(zip(kept, places, strict=True), start=1):
        inside = labels[place] == number
        start = np.array([part.start for part in place])
        centre = geometry.to_world((np.argwhere(inside).mean(axis=0) + start)[None, ::-1])[0]
        side = _side_in_lungs(lungs, place, inside) if lungs else _side_of_half(centre[0], midline)
        if side == "unknown" and lungs:
            side = _nearer_lung(lungs, geometry, centre)
        items.append(
            Lesion(
                number,
                side,
                int(voxels[old]),
                float(voxels[old]) * ml,
                None if hu is None else float(hu[place][inside].mean(dtype=np.float64)),
                (float(centre[0]), float(centre[1]), float(centre[2])),
                axial_diameter(inside, geometry),
            )
        )
    small = voxels[(voxels > 0) & (renumber == 0)]
    return Lesions(labels, tuple(items), connectivity, minimum_mm3, side_by, small.size, float(small.sum()) * ml)


def axial_diameter(mask: BoolArray, geometry: Geometry) -> float:
    """Largest distance in mm within one axial slice of a (D, H, W) mask, between the middles of outer voxel edges."""
    turn = Turn.of(geometry)
    in_plane = turn.geometry(geometry, mask.shape).affine[:3, :2]
    longest = 0.0
    for plane in turn.apply(mask):
        rows, columns = np.nonzero(plane & ~ndimage.binary_erosion(plane))
        if not rows.size:
            continue
        ends = [(columns + dx, rows + dy) for dx, dy in ((-0.5, 0), (0.5, 0), (0, -0.5), (0, 0.5))]
        points = np.concatenate(ends, axis=1).T
        hull = points[ConvexHull(points).vertices]
        longest = max(longest, float(pdist(hull @ in_plane.T).max()))
    return longest


def _midline(geometry: Geometry, shape: tuple[int, ...]) -> float | None:
    """x of the middle of the picture in mm; None where the orientation is not known."""
    if geometry.frame != "patient":
        return None
    middle = (np.array(shape[::-1], dtype=float) - 1) / 2
    return float(geometry.to_world(middle[None])[0, 0])


def _side_of_half(x: float, midline: float | None) -> Side:
    if midline is None:
        return "unknown"
    return "left" if x > midline else "right"


def _side_in_lungs(lungs: Lungs, place: tuple[slice, ...], inside: BoolArray) -> Side:
    right, left = int((lungs.right[place] & inside).sum()), int((lungs.left[place] & inside).sum())
    if right == left:
        return "unknown"
    return "right" if right > left else "left"


def _nearer_lung(lungs: Lungs, geometry: Geometry, centre: NDArray[np.float64]) -> Side:
    """The lung with the voxel nearest to a point."""
    distances = []
    for lung in (lungs.right, lungs.left):
        edge = np.argwhere(lung & ~ndimage.binary_erosion(lung))[:, ::-1].astype(float)
        distances.append(np.linalg.norm(geometry.to_world(edge) - centre, axis=1).min() if len(edge) else np.inf)
    return "right" if distances[0] <= distances[1] else "left"


def take_in(lungs: Lungs, lesions: Lesions, geometry: Geometry) -> Lungs:
    """Lungs with every lesion that meets them: what is consolidated belongs to the lung, even where no air shows it."""
    met = np.unique(lesions.labels[lungs.both & lesions.mask])
    side = np.where(lungs.right, RIGHT, np.where(lungs.left, LEFT, 0)).astype(np.uint8)
    of_lesion = np.zeros(len(lesions.items) + 1, dtype=np.uint8)
    for number in met:
        of_lesion[number] = LEFT if lesions.items[number - 1].side == "left" else RIGHT
    added = (side == 0) & (of_lesion > 0)[lesions.labels]
    if not added.any():
        return lungs
    side[added] = of_lesion[lesions.labels[added]]
    ml = float(added.sum()) * voxel_ml(geometry)
    note = f"{ml:.1f} ml of the lesions lay outside the lungs as segmented and were added to them."
    return from_sides(side, geometry, f"{lungs.method}, with the lesions that meet it", (*lungs.warnings, note))
