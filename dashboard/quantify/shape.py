"""Shape of a plane mask: length of its outline, its diameters, how well its halves match."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist, squareform

from dashboard.quantify.grid import BoolArray

# Steps (column, row) along which outlines are crossed, a half turn of them in order of their angle.
_STEPS = ((1, 0), (2, 1), (1, 1), (1, 2), (0, 1), (-1, 2), (-1, 1), (-2, 1))
TURN_DEGREES = 5  # between the axes that are tried


@dataclass(frozen=True)
class Diameters:
    """The longest distance across a mask, and the longest across its convex hull at a right angle to it, in mm.

    Attributes:
        ends: of the longest, (column, row) each.
    """

    longest: float
    perpendicular: float
    ends: tuple[tuple[float, float], tuple[float, float]]


def whole(mask: BoolArray) -> tuple[BoolArray, int]:
    """The largest connected part of an (H, W) mask with its holes filled, and how many parts were left out."""
    parts, count = ndimage.label(mask, np.ones((3, 3)))
    if not count:
        return mask, 0
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray(ndimage.binary_fill_holes(parts == sizes.argmax())), count - 1


def outline_length(mask: BoolArray, spacing: tuple[float, float] = (1.0, 1.0)) -> float:
    """Length of the outline of an (H, W) mask in the unit of ``spacing`` (column, row), after Cauchy and Crofton.

    Lines in eight directions count how often they cross the outline. Counting pixel edges would give a disc 4/pi of
    its outline; this is right for a disc and within 2 % for straight edges (Legland et al. 2007,
    doi:10.5566/ias.v26.p83-92, with four directions).
    """
    padded = np.pad(mask, 2)
    steps = np.array(_STEPS) * spacing
    angle = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]), period=np.pi)
    around = np.concatenate([[angle[-1] - np.pi], angle, [angle[0] + np.pi]])
    weight = (around[2:] - around[:-2]) / 2
    apart = spacing[0] * spacing[1] / np.hypot(*steps.T)  # of neighbouring lines
    crossings = [_crossings(padded, column, row) for column, row in _STEPS]
    return float(0.5 * (weight * apart * crossings).sum())


def _crossings(mask: BoolArray, column: int, row: int) -> int:
    """How often a mask differs from itself moved by a step; the mask has a margin of two."""
    height, width = mask.shape
    if column < 0:
        return _crossings(mask[:, ::-1], -column, row)
    return int((mask[: height - row, : width - column] != mask[row:, column:]).sum())


def outer_points(mask: BoolArray) -> NDArray[np.float64]:
    """(n, 2) (column, row): corners of the convex hull of the middles of a mask's pixel edges."""
    rows, columns = np.nonzero(mask & ~ndimage.binary_erosion(mask))
    ends = [(columns + dx, rows + dy) for dx, dy in ((-0.5, 0), (0.5, 0), (0, -0.5), (0, 0.5))]
    points = np.concatenate(ends, axis=1).T
    return np.asarray(points[ConvexHull(points).vertices])


def solidity(mask: BoolArray) -> float:
    """Area of a mask over that of its convex hull, at most 1: what notches take away is missing."""
    return min(1.0, float(mask.sum()) / float(ConvexHull(outer_points(mask)).volume))


def diameters(mask: BoolArray, in_plane: NDArray[np.float64]) -> Diameters:
    """Of an (H, W) mask that is not empty.

    Args:
        in_plane: (d, 2) float64, the step of a column and of a row in mm.
    """
    corners = outer_points(mask)
    # Coordinates in mm along the plane: QR turns the two steps, which may be oblique, into it.
    points = corners @ np.linalg.qr(in_plane)[1].T
    distances = squareform(pdist(points))
    a, b = np.unravel_index(distances.argmax(), distances.shape)
    along = (points[b] - points[a]) / distances[a, b]
    t, s = points @ along, points @ np.array([-along[1], along[0]])
    chords = _upper(t, s) + _upper(t, -s)
    ends = tuple((float(column), float(row)) for column, row in corners[[a, b]])
    return Diameters(float(distances[a, b]), float(chords.max()), ends)  # type: ignore[arg-type]


def _upper(t: NDArray[np.float64], s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Height of the upper side of a convex polygon over each of its corners; ``t`` has its ends on the axis."""
    first, last = t.argmin(), t.argmax()
    upper = s >= np.interp(t, [t[first], t[last]], [s[first], s[last]]) - 1e-9
    order = np.lexsort((s[upper], t[upper]))
    return np.asarray(np.interp(t, t[upper][order], s[upper][order]))


def mirrored(array: NDArray[np.float32], centre: tuple[float, float], degrees: float) -> NDArray[np.float32]:
    """An (H, W) array reflected in a line through ``centre`` (row, column), 0 beyond the edges.

    Args:
        degrees: of the line, from the columns' axis towards the rows'.
    """
    double = np.deg2rad(2 * degrees)
    # In (row, column) order; a reflection is its own inverse.
    flip = np.array([[-np.cos(double), np.sin(double)], [np.sin(double), np.cos(double)]])
    offset = np.asarray(centre) - flip @ np.asarray(centre)
    return np.asarray(ndimage.affine_transform(array, flip, offset, order=1), dtype=np.float32)


@dataclass(frozen=True)
class Symmetry:
    """Two axes at a right angle through the centre of area, turned to where the halves match best.

    Attributes:
        degrees: of the first axis, from the columns' axis towards the rows'.
        unmatched: for each axis the share of the area that has no partner on the other side, [0, 1).
        centre: (row, column).
    """

    degrees: float
    unmatched: tuple[float, float]
    centre: tuple[float, float]


def symmetry(mask: BoolArray) -> Symmetry:
    """Of an (H, W) mask, after Stolz et al. 1994: folded along two axes that lie so that the halves match best."""
    rows, columns = np.nonzero(mask)
    centre = (float(rows.mean()), float(columns.mean()))
    reach = int(np.ceil(np.hypot(rows - centre[0], columns - centre[1]).max())) + 2
    top, left = int(centre[0]) - reach, int(centre[1]) - reach
    square = np.zeros((2 * reach + 2, 2 * reach + 2), dtype=np.float32)
    square[rows - top, columns - left] = 1
    middle = (centre[0] - top, centre[1] - left)
    shares = {degrees: _unmatched(square, middle, degrees) for degrees in range(0, 180, TURN_DEGREES)}
    best = min(range(0, 90, TURN_DEGREES), key=lambda degrees: shares[degrees] + shares[degrees + 90])
    return Symmetry(float(best), (shares[best], shares[best + 90]), centre)


def _unmatched(square: NDArray[np.float32], middle: tuple[float, float], degrees: float) -> float:
    partner = mirrored(square, middle, degrees) >= 0.5
    own = square > 0
    return float((own & ~partner).sum() / own.sum())
