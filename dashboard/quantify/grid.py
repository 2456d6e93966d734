"""The grid of a volume: what must be known of it before anything is measured, and turning it upright."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError
from models.types import Case, Geometry, Image

BoolArray = NDArray[np.bool_]
ML_PER_MM3 = 1e-3
UNEVEN = 1.1  # largest over smallest distance of neighbouring slices; what lies below changes ml by less
_FEW = 16  # distinct values that a mask may hold


def geometry_of(image: Image, what: str = "The scan") -> Geometry:
    """The geometry of a volume whose voxels can be measured.

    Raises:
        DataError: it is one slice, in colour, or its spacing is not known or not the same throughout.
    """
    if not image.is_volume or image.depth < 2:
        raise DataError(f"{what} is a single slice; volumes in ml need all slices of the scan.")
    if image.is_colour:
        raise DataError(f"{what} is in colour; give the grey values of the scan or a mask of one channel.")
    if image.geometry is None:
        raise DataError(
            f"{what} does not state its voxel spacing, so nothing can be measured in mm or ml; export it anew."
        )
    if image.geometry.frame == "plane" and image.geometry.spacing == (1.0, 1.0, 1.0):
        raise DataError(
            f"{what} states neither its place nor its voxel spacing (1 x 1 x 1 mm stands for unknown), so nothing can be"
            " measured in mm or ml; export it anew."
        )
    check_even(image.geometry, what)
    return image.geometry


def check_even(geometry: Geometry, what: str) -> None:
    """Raises DataError where slices lie at unequal distances, so that nothing between the first and last has its place."""
    low, high = geometry.uneven_mm or (1.0, 1.0)
    if high > UNEVEN * low:
        raise DataError(
            f"{what} has slices at unequal distances ({low:g} to {high:g} mm apart; some may be missing), so places in mm and"
            " volumes in ml would be wrong; give the complete series."
        )


def check_single(case: Case, what: str) -> None:
    """Raises DataError for a file of several volumes, of which the reader gives the first alone."""
    if any(note.startswith("Volume 1 of") for note in case.provenance.notes):
        raise DataError(f"{what} holds several volumes (it is 4-D); save the one to measure as a 3-D file.")


def ct_values(image: Image, what: str = "The scan") -> NDArray[np.float32]:
    """(D, H, W) float32 in HU of a CT volume with a geometry.

    Raises:
        DataError: it is no volume, no CT in HU, or its spacing is not known.
    """
    geometry_of(image, what)
    if image.unit != "HU":
        raise DataError(
            f"{what} is not a CT in Hounsfield units (its values are of the kind {image.unit!r}); give the CT."
        )
    return image.values[0]


def voxel_ml(geometry: Geometry) -> float:
    """Volume of a voxel in ml, from the determinant of the affine: right for sheared (tilted) scans too."""
    return float(abs(np.linalg.det(geometry.affine[:3, :3]))) * ML_PER_MM3


def mask_of(image: Image, what: str) -> NDArray[np.uint8]:
    """(D, H, W) uint8 labels of a mask volume, 0 outside, numbered 1, 2 ... in the order of their values.

    Raises:
        DataError: it is no volume, without spacing, or its values are not those of a mask.
    """
    geometry_of(image, what)
    values = image.values[0]
    low, high = float(values.min()), float(values.max())
    known = np.unique(values[values != 0])
    if low < 0 or known.size > _FEW or (known != np.rint(known)).any():
        raise DataError(
            f"{what} is not a mask: expected 0 outside and a whole number inside, got values from {low:g} to {high:g};"
            " threshold it first."
        )
    return np.where(values != 0, np.searchsorted(known, values) + 1, 0).astype(np.uint8)


def check_fits(mask: Image, scan: Image, what: str) -> None:
    """Raises DataError where a mask does not lie on the grid of the scan, to half a voxel at every corner."""
    shape, wanted = mask.values.shape[1:], scan.values.shape[1:]
    if shape != wanted:
        raise DataError(
            f"{what} does not fit the scan: it has {_size(shape)} voxels, the scan {_size(wanted)}; use the mask of this scan."
        )
    ours, theirs = geometry_of(mask, what), geometry_of(scan)
    ends = [(0, size - 1) for size in reversed(wanted)]
    corners = np.array(np.meshgrid(*ends)).reshape(3, -1).T.astype(float)
    apart = np.linalg.norm(ours.to_world(corners) - theirs.to_world(corners), axis=1).max()
    if apart > 0.5 * min(theirs.spacing):
        raise DataError(
            f"{what} does not fit the scan: it lies up to {apart:.1f} mm beside it; use the mask of this scan, or resample it."
        )


def _size(shape: tuple[int, ...]) -> str:
    """(D, H, W) as people write it: columns x rows x slices."""
    return " x ".join(str(size) for size in reversed(shape))


@dataclass(frozen=True)
class Turn:
    """Swaps and flips of (slice, row, column) axes after which they grow to the head, to the back and to the left.

    Attributes:
        axes: for each new axis the old one it is.
        flips: whether the new axis runs against the old one.
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    @classmethod
    def of(cls, geometry: Geometry) -> Turn:
        """The turn that brings the axes closest to those of the patient."""
        way = geometry.affine[:3, :3] / np.linalg.norm(geometry.affine[:3, :3], axis=0)
        along = way[::-1, ::-1]  # world z, y, x by slice, row, column
        axes = max(permutations(range(3)), key=lambda order: sum(abs(along[new, old]) for new, old in enumerate(order)))
        flips = tuple(bool(along[new, old] < 0) for new, old in enumerate(axes))
        return cls(axes, flips)  # type: ignore[arg-type]

    @property
    def _steps(self) -> tuple[slice, ...]:
        return tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        """A view of (D, H, W) the new way round."""
        return array.transpose(self.axes)[self._steps]

    def undo(self, array: NDArray[Any]) -> NDArray[Any]:
        """A view of a turned array the old way round."""
        return array[self._steps].transpose(np.argsort(self.axes))

    def geometry(self, geometry: Geometry, shape: tuple[int, ...]) -> Geometry:
        """Geometry of the turned array, given that of the old one and its (D, H, W)."""
        affine = geometry.affine.copy()
        for new, (old, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            step = geometry.affine[:3, 2 - old]
            affine[:3, 2 - new] = -step if flip else step
            if flip:
                affine[:3, 3] += step * (shape[old] - 1)
        return replace(geometry, affine=affine)


def upright(image: Image, what: str = "The scan") -> Image:
    """The volume with slices to the head, rows to the back, columns to the left, by swaps and flips alone.

    Raises:
        DataError: it is no volume, or its spacing is not known.
    """
    geometry = geometry_of(image, what)
    turn = Turn.of(geometry)
    if turn == Turn((0, 1, 2), (False, False, False)):
        return image
    values = np.stack([turn.apply(channel) for channel in image.values])
    return replace(image, values=values, geometry=turn.geometry(geometry, image.values.shape[1:]))


def shrunk(values: NDArray[np.float32], factors: tuple[int, ...]) -> NDArray[np.float32]:
    """(D, H, W) means of blocks of so many slices, rows and columns; the last ones are filled up with their edge."""
    pad = [(0, -size % factor) for size, factor in zip(values.shape, factors, strict=True)]
    blocks = np.pad(values, pad, mode="edge")
    shape = [part for size, factor in zip(blocks.shape, factors, strict=True) for part in (size // factor, factor)]
    return blocks.reshape(shape).mean(axis=(1, 3, 5), dtype=np.float32)


def shrunk_geometry(geometry: Geometry, factors: tuple[int, ...]) -> Geometry:
    """Where those blocks lie."""
    scale = np.array(factors[::-1], dtype=float)
    affine = geometry.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ ((scale - 1) / 2)
    affine[:3, :3] *= scale
    return replace(geometry, affine=affine)
