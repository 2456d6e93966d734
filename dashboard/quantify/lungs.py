"""Lungs of a chest CT by threshold and morphology, without trained weights, for aerated and for consolidated lungs.

On a grid of about 2 mm: air (below -400 HU, half way between lung and chest wall) inside the body; less trachea and
main bronchi; less gas of the bowel; split into two by the smallest erosion that parts it; each half closed over
vessels, nodules and consolidations at the pleura (:mod:`dashboard.quantify.closing`). The border towards
aerated lung is then drawn on the scan's own grid. After Hu, Hoffman and Reinhardt, IEEE TMI 2001, 20:490-498.

Differs: the threshold is fixed, so that two scans of a patient compare; the closing at the chest wall.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dashboard.quantify.airways import find_airways
from dashboard.quantify.closing import close_lung
from dashboard.quantify.grid import BoolArray, Turn, ct_values, shrunk, shrunk_geometry, voxel_ml
from dashboard.quantify.plausible import check_lungs
from models.errors import DataError
from models.types import Geometry, Image

AIR_HU = -400.0
GAS_HU = -960.0  # median of bowel gas lies below, of lung above, emphysema included
BONE_HU = 150.0  # mean of a coarse voxel: what lies above is no consolidation
GRID_MM = 2.0
TABLE_MM = 3.0  # shells up to twice as thick do not belong to the body
AIRWAY_WALL_MM = 4.0
LEAST_ML = 10.0  # of a separate piece of aerated lung
PART_MM = 16.0  # deepest erosion tried to part the lungs
LEAST_SHARE = 0.15  # of the smaller lung in the larger
RIGHT, LEFT = 1, 2


@dataclass(frozen=True, eq=False)
class Lungs:
    """Both lungs on the grid of the scan.

    Attributes:
        right, left: (D, H, W) masks of the patient's lungs, vessels and consolidations within, main bronchi without.
        right_ml, left_ml: their volumes.
        method: how they were had, in words.
        warnings: sentences a reader of the volumes must know.
    """

    right: BoolArray
    left: BoolArray
    right_ml: float
    left_ml: float
    method: str
    warnings: tuple[str, ...] = ()

    @property
    def both(self) -> BoolArray:
        return self.right | self.left

    @property
    def total_ml(self) -> float:
        return self.right_ml + self.left_ml


def segment_lungs(image: Image) -> Lungs:
    """Both lungs of a chest CT.

    Raises:
        DataError: the image is no CT volume in HU with a known spacing and orientation, no two lungs are found in it,
            or what is found is implausible or too small a part of them (:mod:`dashboard.quantify.plausible`).
    """
    values = ct_values(image)
    geometry = _oriented(image.geometry)
    turn = Turn.of(geometry)
    hu, upright = turn.apply(values), turn.geometry(geometry, values.shape)
    factors = tuple(max(1, round(GRID_MM / mm)) for mm in upright.spacing[::-1])
    labels, sides, warnings = _on_coarse_grid(shrunk(hu, factors), shrunk_geometry(upright, factors))
    closed = sides > 0
    near = _grown(sides)
    aerated = labels > 0
    core = ndimage.binary_erosion(closed, border_value=1) | (closed & ~aerated)
    near[labels < 0] = 0
    side = _enlarged(near, factors, hu.shape)
    side[~_enlarged(core, factors, hu.shape) & (hu >= AIR_HU)] = 0
    warnings += check_lungs(side == RIGHT, side == LEFT, upright)
    side = turn.undo(side)
    return from_sides(side, geometry, "threshold (-400 HU) and morphology", warnings)


def from_sides(side: NDArray[np.uint8], geometry: Geometry, method: str, warnings: tuple[str, ...] = ()) -> Lungs:
    """Lungs out of (D, H, W) labels RIGHT and LEFT."""
    right, left = side == RIGHT, side == LEFT
    ml = voxel_ml(geometry)
    return Lungs(right, left, float(right.sum()) * ml, float(left.sum()) * ml, method, warnings)


def lungs_of_mask(labels: NDArray[np.uint8], geometry: Geometry) -> Lungs:
    """Lungs of a supplied mask: two labels are the two lungs, told apart by where they lie; any other mask is parted.

    Args:
        labels: (D, H, W), 0 outside.

    Raises:
        DataError: the mask cannot be parted into two lungs, or the header does not say how the patient lies.
    """
    turn = Turn.of(_oriented(geometry))
    turned, upright = turn.apply(labels), turn.geometry(geometry, labels.shape)
    seeds = turned if labels.max() == 2 else _seeds(turned > 0, upright.spacing[::-1])
    side = _right_and_left(seeds, turned > 0, upright)
    return from_sides(turn.undo(side), geometry, "supplied mask")


def _oriented(geometry: Geometry | None) -> Geometry:
    """The geometry, where it is one of patient coordinates. Raises DataError."""
    if geometry is None or geometry.frame != "patient":
        raise DataError(
            "The scan does not say how the patient lies (no orientation in its header), so right and left cannot be told;"
            " export it again with its orientation."
        )
    return geometry


def _on_coarse_grid(
    hu: NDArray[np.float32], geometry: Geometry
) -> tuple[NDArray[np.int8], NDArray[np.uint8], tuple[str, ...]]:
    """Aerated lung (1) and airways (-1); the closed lungs by side; warnings."""
    spacing, ml = geometry.spacing[::-1], voxel_ml(geometry)
    air = hu < AIR_HU
    body = _body(~air, spacing)
    inside = air & body
    if inside.sum() * ml < LEAST_ML:
        raise DataError("No lungs are found in the scan: it holds no air inside a body; give a CT of the chest in HU.")
    lumen_hu = float(np.clip((np.median(hu[inside]) - 1000.0) / 2, -950.0, -850.0))
    airways = find_airways(hu, body, lumen_hu, spacing)
    warnings = () if airways.any() else ("No trachea was found, so the main bronchi may be counted into the lungs.",)
    wall = ndimage.distance_transform_edt(~airways, (1e3, *spacing[1:])) <= AIRWAY_WALL_MM if airways.any() else airways
    aerated = _pieces(inside & ~wall, hu, ml)
    sides = _right_and_left(_seeds(aerated, spacing), aerated, geometry)
    bone = hu > BONE_HU
    allowed = body & ~wall & ~bone
    closed = np.zeros_like(sides)
    for side in (RIGHT, LEFT):
        free = allowed & (closed == 0) & ((sides == 0) | (sides == side))
        closed[close_lung(sides == side, free, bone, spacing, side == LEFT)] = side
    labels = aerated.astype(np.int8)
    labels[wall & ~aerated] = -1
    return labels, closed, warnings


def _body(tissue: BoolArray, spacing: tuple[float, ...]) -> BoolArray:
    """The largest piece of tissue that is thicker than a table's shell, with all that it encloses in a slice."""
    thick = ndimage.distance_transform_edt(tissue, spacing) > TABLE_MM
    labels, count = ndimage.label(thick)
    if not count:
        return np.zeros_like(tissue)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    body = tissue & (ndimage.distance_transform_edt(labels != sizes.argmax(), spacing) <= TABLE_MM + max(spacing[1:]))
    return np.stack([ndimage.binary_fill_holes(plane) for plane in body])


def _pieces(air: BoolArray, hu: NDArray[np.float32], ml: float) -> BoolArray:
    """The pieces of air that are lung: large enough, and denser than gas."""
    labels, count = ndimage.label(air)
    sizes = np.bincount(labels.ravel(), minlength=count + 1) * ml
    sizes[0] = 0
    kept = np.zeros(count + 1, dtype=bool)
    for number in np.flatnonzero(sizes >= LEAST_ML):
        piece = labels == number
        core = ndimage.binary_erosion(piece)
        kept[number] = np.median(hu[core if core.any() else piece]) > GAS_HU
    return kept[labels]


def _seeds(lungs: BoolArray, spacing: tuple[float, ...]) -> NDArray[np.int32]:
    """Two separate parts of the lungs, 1 and 2, of the least eroded mask that has two large ones.

    Raises:
        DataError: there are none.
    """
    depth = ndimage.distance_transform_edt(lungs, spacing)
    for deeper_than in np.arange(0.0, PART_MM, min(spacing[1:])):
        labels, count = ndimage.label(depth > deeper_than)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        sizes[0] = 0
        first, second = (*np.argsort(sizes)[::-1], 0)[:2]
        if sizes[second] > LEAST_SHARE * sizes[first]:
            return np.where(labels == first, 1, np.where(labels == second, 2, 0)).astype(np.int32)
    raise DataError(
        "Two lungs cannot be told apart (one may be missing, collapsed or cut off); give a mask of both, with one label each."
    )


def _right_and_left(seeds: NDArray[np.integer], lungs: BoolArray, geometry: Geometry) -> NDArray[np.uint8]:
    """(D, H, W) sides of the mask: each voxel goes to the nearer of two seeds, the one further to the left is LEFT."""
    centres = np.array(ndimage.center_of_mass(seeds > 0, seeds, [1, 2]))[:, ::-1]
    left = int(np.argmax(geometry.to_world(centres)[:, 0])) + 1
    nearest = ndimage.distance_transform_edt(
        seeds == 0, geometry.spacing[::-1], return_distances=False, return_indices=True
    )
    return np.where(lungs, np.where(seeds[tuple(nearest)] == left, LEFT, RIGHT), 0).astype(np.uint8)


def _grown(sides: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Sides with a margin of one voxel."""
    margin = ndimage.grey_dilation(sides, footprint=ndimage.generate_binary_structure(3, 1))
    return np.where(sides > 0, sides, margin)


def _enlarged(array: NDArray, factors: tuple[int, ...], shape: tuple[int, ...]) -> NDArray:  # type: ignore[type-arg]
    """Each voxel as the block it stands for."""
    for axis, factor in enumerate(factors):
        array = array.repeat(factor, axis)
    return array[tuple(slice(size) for size in shape)]
