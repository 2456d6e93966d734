"""Closing of a lung over what is not aerated in it: vessels, nodules, and consolidations at the pleura.

Three steps, on one lung:

1. At the chest wall, which is where lung lies only towards the middle or, in the rear third of the slice's lung, only in
   front: what lies in the convex hull of the slice's lung and above lung; what has lung below and above it at most 60 mm
   apart; and what lies inside the ribs, thicker than muscle, above lung or up to 50 mm behind it. Heart, hilum, diaphragm
   and spine are none of these. Pu et al. bridge the border of the slices likewise (Comput Med Imaging Graph 2008,
   32:452-462).
2. Closing by a ball of 12 mm.
3. Holes are filled: in space, and in a slice up to the size of a nodule (the dome of the liver is a hole of a slice, too).

Not taken in: a consolidated base that leaves no aerated lung below it, and large consolidations at the front or beside the
mediastinum.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull

from dashboard.quantify.grid import BoolArray
from dashboard.quantify.ribs import inside_ribs

BALL_MM = 12.0
ALONG_MM = 60.0  # a gap between lung below and above
BEHIND = 0.67  # of the lung's depth in a slice, from the front
INNER = 0.3  # of the lung's width in a slice, from the midline: behind it lie spine and aorta
DEEP_MM = 50.0  # a consolidation behind the lung
THIN_MM = 5.0  # half of what muscle between lung and ribs may measure
HOLE_MM2 = 600.0
Spacing = tuple[float, float, float]


def close_lung(lung: BoolArray, allowed: BoolArray, bone: BoolArray, spacing: Spacing, to_left: bool) -> BoolArray:
    """The lung with what is not aerated in it.

    Args:
        lung: (D, H, W) aerated lung of one side, axes to head, back and left.
        allowed: (D, H, W), what may be added.
        bone: (D, H, W).
        spacing: in mm along (slice, row, column).
        to_left: it is the left lung, whose outer side has the larger column index.
    """
    if not lung.any():
        return lung
    margin = _margin(spacing)
    box = tuple(
        slice(max(0, part.start - size), part.stop + size)
        for part, size in zip(ndimage.find_objects(lung.astype(np.uint8))[0], margin, strict=True)
    )
    inside, free = lung[box], allowed[box]
    inside = inside | (_costal(inside, bone[box], spacing, to_left) & free)
    inside |= _by_ball(inside, spacing) & free
    inside |= _holes(inside, spacing) & free
    closed = np.zeros_like(lung)
    closed[box] = inside
    return closed


def _costal(lung: BoolArray, bone: BoolArray, spacing: Spacing, to_left: bool) -> BoolArray:
    """What lies between the lung and the chest wall."""
    beside = _passed(lung if to_left else lung[:, :, ::-1], 2)
    beside = beside if to_left else beside[:, :, ::-1]
    behind = _passed(lung, 1)
    for index, plane in enumerate(lung):
        rows = np.flatnonzero(plane.any(axis=1))
        if rows.size:
            behind[index, : round(rows[0] + BEHIND * np.ptp(rows))] = False
    above = np.logical_or.accumulate(lung, 0)
    outer = (beside | behind) & ((_hulls(lung) & above) | _gaps(lung, spacing[0]))
    near = ndimage.distance_transform_edt(~lung, (1e3, *spacing[1:])) <= DEEP_MM
    walled = ((beside & above) | (behind & near & _off_spine(lung, to_left))) & inside_ribs(lung, bone, spacing)
    return outer | _opened(walled & ~lung, spacing)


def _off_spine(lung: BoolArray, to_left: bool) -> BoolArray:
    """The outer part of each slice's lung: spine, aorta and oesophagus lie behind the inner one."""
    columns = np.arange(lung.shape[2]) if to_left else -np.arange(lung.shape[2])
    off = np.zeros_like(lung)
    for index, plane in enumerate(lung):
        wide = columns[plane.any(axis=0)]
        if wide.size:
            off[index] = columns > wide.min() + INNER * np.ptp(wide)
    return off


def _opened(mask: BoolArray, spacing: Spacing) -> BoolArray:
    """What is thicker than muscle between the ribs."""
    thick = ndimage.distance_transform_edt(mask, (1e3, *spacing[1:])) > THIN_MM
    return ndimage.distance_transform_edt(~thick, (1e3, *spacing[1:])) <= THIN_MM


def _passed(lung: BoolArray, axis: int) -> BoolArray:
    """Where there is lung before, and none after, along an axis."""
    return np.logical_or.accumulate(lung, axis) & ~np.flip(np.logical_or.accumulate(np.flip(lung, axis), axis), axis)


def _hulls(lung: BoolArray) -> BoolArray:
    """Convex hull of each slice."""
    hulls = lung.copy()
    rows, columns = np.indices(lung.shape[1:])
    for index, plane in enumerate(lung):
        edge = np.argwhere(plane & ~ndimage.binary_erosion(plane))
        if len(edge) < 3 or (np.ptp(edge, axis=0) == 0).any() or np.linalg.matrix_rank(edge - edge[0]) < 2:
            continue
        hulls[index] = True
        for a, b, c in ConvexHull(edge).equations:
            hulls[index] &= a * rows + b * columns + c <= 1e-9
    return hulls


def _gaps(lung: BoolArray, slice_mm: float) -> BoolArray:
    """Where there is lung below and above, with no more than ALONG_MM between."""
    index, far = np.arange(len(lung))[:, None, None], 10**6
    below = np.maximum.accumulate(np.where(lung, index, -far), 0)
    above = np.minimum.accumulate(np.where(lung, index, far)[::-1], 0)[::-1]
    return (above - below - 1) * slice_mm <= ALONG_MM


def _by_ball(lung: BoolArray, spacing: Spacing) -> BoolArray:
    """Closing."""
    padded = np.pad(lung, [(size, size) for size in _margin(spacing)])
    grown = ndimage.distance_transform_edt(~padded, spacing) <= BALL_MM
    shrunk = ndimage.distance_transform_edt(grown, spacing) > BALL_MM
    return shrunk[tuple(slice(size, -size) for size in _margin(spacing))]


def _holes(lung: BoolArray, spacing: Spacing) -> BoolArray:
    """Holes in space, and small ones in the slices."""
    filled = ndimage.binary_fill_holes(lung)
    for index, plane in enumerate(lung):
        labels, count = ndimage.label(ndimage.binary_fill_holes(plane) & ~plane)
        if count:
            small = np.bincount(labels.ravel()) * spacing[1] * spacing[2] <= HOLE_MM2
            small[0] = False
            filled[index] |= small[labels]
    return filled & ~lung


def _margin(spacing: Spacing) -> tuple[int, int, int]:
    """Voxels that the ball reaches."""
    across = [int(np.ceil(BALL_MM / size)) + 1 for size in spacing]
    return across[0], across[1], across[2]
