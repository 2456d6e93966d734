"""Where DICOM pixels lie: planes into stacks, in the order and with the affine of the patient system (LPS).

PS3.3 C.7.6.2: the first triplet of Image Orientation is the direction in which the column index grows, the second that
in which the row index grows; Pixel Spacing is (distance between rows, distance between columns).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from models.errors import DataError
from models.io.base import TILT_DEGREES, tilt_notes
from models.io.dicom_header import first_value, frame_holders
from models.types import Geometry

# Positions within this part of the slice spacing (and of a millimetre) count as where they should be.
_TOLERANCE = 0.02
# Slices closer than this lie at one position.
SAME_MM = 1e-3


@dataclass(frozen=True, eq=False)
class Plane:
    """One frame's place.

    Attributes:
        orientation: (2, 3) unit vectors along growing column and row index.
        position: (3,) mm, centre of the first pixel.
        spacing: (column, row) mm between pixel centres; None where the file does not say.
        thickness: mm to the next slice if the file says so, else the slice's thickness, else 1.
    """

    orientation: NDArray[np.float64]
    position: NDArray[np.float64]
    spacing: tuple[float, float] | None
    thickness: float

    @property
    def normal(self) -> NDArray[np.float64]:
        return np.cross(self.orientation[0], self.orientation[1])

    def matches(self, other: Plane) -> bool:
        """Whether both can be slices of one volume."""
        if self.spacing is None or other.spacing is None:
            alike = self.spacing == other.spacing
        else:
            alike = all(abs(a - b) <= 1e-3 * b for a, b in zip(self.spacing, other.spacing, strict=True))
        return alike and bool(np.abs(self.orientation - other.orientation).max() < 1e-3)

    def geometry(
        self, step: NDArray[np.float64] | None = None, uneven_mm: tuple[float, float] | None = None
    ) -> Geometry | None:
        """The affine with ``step`` mm (3,) from slice to slice, along the normal where None; None without a spacing."""
        if self.spacing is None:
            return None
        affine = np.eye(4)
        affine[:3, 0] = self.orientation[0] * self.spacing[0]
        affine[:3, 1] = self.orientation[1] * self.spacing[1]
        affine[:3, 2] = self.normal * self.thickness if step is None else step
        affine[:3, 3] = self.position
        return Geometry(affine, uneven_mm=uneven_mm)


@dataclass(frozen=True, eq=False)
class Stack:
    """How planes make a volume.

    Attributes:
        order: indices of the planes to keep, along the normal.
        geometry: None where the planes do not make a grid.
        notes: sentences about gaps and repeats.
    """

    order: tuple[int, ...]
    geometry: Geometry | None
    notes: tuple[str, ...] = ()


def read_plane(orientation: object, position: object, spacing: object, thickness: Sequence[object]) -> Plane | None:
    """A plane from header values; None where its place is missing, not numbers or not a right-angled frame."""
    axes, origin = numbers(orientation, 6), numbers(position, 3)
    if axes is None or origin is None:
        return None
    pair = axes.reshape(2, 3)
    lengths = np.linalg.norm(pair, axis=1)
    if np.abs(lengths - 1).max() > 0.01 or abs(float(pair[0] @ pair[1])) > 0.01:
        return None
    depths = [
        float(depth[0]) for depth in (numbers(value, 1) for value in thickness) if depth is not None and depth[0] > 0
    ]
    return Plane(pair / lengths[:, None], origin, read_spacing(spacing), depths[0] if depths else 1.0)


def read_spacing(value: object) -> tuple[float, float] | None:
    """DICOM (row, column) spacing as (column, row) mm."""
    pair = numbers(value, 2)
    if pair is None or not (pair > 1e-6).all():
        return None
    return float(pair[1]), float(pair[0])


def numbers(value: object, count: int) -> NDArray[np.float64] | None:
    """(count,) finite float64, or None."""
    if value is None or value == "":
        return None
    try:
        array = np.atleast_1d(np.asarray(value, dtype=np.float64))
    except (TypeError, ValueError):
        return None
    return array if array.shape == (count,) and bool(np.isfinite(array).all()) else None


def film_geometry(ds: Dataset) -> tuple[Geometry | None, tuple[str, ...]]:
    """Pixel spacing alone, for projection films and secondary captures."""
    spacing = read_spacing(ds.get("PixelSpacing"))
    if spacing is not None:
        return Geometry.from_spacing(*spacing), ()
    spacing = read_spacing(ds.get("ImagerPixelSpacing"))
    if spacing is not None:
        note = "Pixel spacing is that at the detector; lengths in the patient are smaller by the magnification."
        return Geometry.from_spacing(*spacing), (note,)
    spacing = read_spacing(ds.get("NominalScannedPixelSpacing"))
    return (Geometry.from_spacing(*spacing), ()) if spacing is not None else (None, ())


def tilt_of(geometry: Geometry | None, ds: Dataset) -> tuple[str, ...]:
    """Sentences on a tilted gantry: by the slices' positions, and where the header says otherwise."""
    if geometry is None:
        return ()
    stated = numbers(first_value(frame_holders(ds, 0, "CTAcquisitionDetailsSequence"), "GantryDetectorTilt"), 1)
    measured, notes = geometry.tilt_degrees, tilt_notes(geometry)
    if stated is None or abs(abs(float(stated[0])) - measured) <= 2 * TILT_DEGREES:
        return notes
    found = f"one of {measured:.1f} degrees" if notes else "none"
    return (
        *notes,
        f"The header states a gantry tilt of {abs(float(stated[0])):g} degrees, the positions of the slices {found}; the"
        " positions are used, so shapes across the slices may be wrong.",
    )


def at_one_place(planes: Sequence[Plane]) -> list[list[int]]:
    """Indices of parallel planes in the order of their normal, those at one position together."""
    depth = [float(plane.position @ planes[0].normal) for plane in planes]
    places: list[list[int]] = []
    for index in sorted(range(len(planes)), key=depth.__getitem__):
        if places and depth[index] - depth[places[-1][0]] <= SAME_MM:
            places[-1].append(index)
        else:
            places.append([index])
    return places


def stack(planes: Sequence[Plane]) -> Stack:
    """Sort parallel planes along their normal and fit a regular grid.

    Of planes at one position the first is kept. Where spacing is uneven (a gap), the grid runs evenly from the first
    to the last plane; a note and ``Geometry.uneven_mm`` say so.

    Raises:
        DataError: the planes are not parallel, or their spacing differs.
    """
    first = planes[0]
    if not all(plane.matches(first) for plane in planes):
        raise DataError("The slices differ in orientation or pixel spacing; open each orientation by itself.")
    order = tuple(place[0] for place in at_one_place(planes))
    notes: list[str] = []
    if len(order) < len(planes):
        notes.append(f"{len(planes) - len(order)} slice(s) at a position already taken were left out.")
    start = planes[order[0]]
    if len(order) == 1:
        return Stack(order, start.geometry(), tuple(notes))
    positions = np.array([planes[index].position for index in order])
    step = (positions[-1] - positions[0]) / (len(order) - 1)
    even = positions[0] + np.arange(len(order))[:, None] * step
    allowed = _TOLERANCE * max(1.0, float(np.linalg.norm(step)))
    uneven_mm: tuple[float, float] | None = None
    if np.linalg.norm(positions - even, axis=1).max() > allowed:
        if np.abs((positions - even) @ first.normal).max() > allowed:
            gaps = np.diff(positions @ first.normal)
            uneven_mm = float(gaps.min()), float(gaps.max())
            notes.append(_unevenness(gaps))
        else:
            notes.append("The slices are shifted sideways against each other; positions are approximate.")
    if start.spacing is None:
        notes.append("The files do not state their pixel spacing, so nothing can be measured in mm or ml.")
    return Stack(order, start.geometry(step, uneven_mm), tuple(notes))


def _unevenness(gaps: NDArray[np.float64]) -> str:
    """One sentence on distances (n,) mm that are not even."""
    usual = float(np.median(gaps))
    multiples = gaps / usual
    missing = int(np.rint(multiples - 1).sum())
    if missing > 0 and np.abs(multiples - np.rint(multiples)).max() < 0.1:
        return (
            f"{missing} slice(s) are missing from the series (slices lie {usual:g} mm apart elsewhere); "
            "positions and volumes across slices are approximate."
        )
    return (
        f"The slices are unevenly spaced ({gaps.min():.3g} to {gaps.max():.3g} mm); "
        "positions and volumes across slices are approximate."
    )
