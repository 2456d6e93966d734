"""The three planes of a volume as a reader expects them: named, and the patient the right way up and round."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from models.types import Geometry

Axis = tuple[int, int]
"""An index axis (0 column, 1 row, 2 slice) and the direction in which it runs: 1 or -1."""


@dataclass(frozen=True)
class Plane:
    """One way of cutting the volume.

    Attributes:
        id: "axial", "coronal" or "sagittal", also where the patient's axes are not known.
        title: as printed over the picture.
        through: index axis (0 column, 1 row, 2 slice) that counts the planes.
        across, down: what runs to the right and downwards on the screen.
    """

    id: str
    title: str
    through: int
    across: Axis
    down: Axis


def planes_of(geometry: Geometry | None) -> tuple[Plane, Plane, Plane]:
    """Axial, coronal and sagittal, in radiological convention.

    The patient's right is on the left of axial and coronal pictures, the front on the left of sagittal ones and at
    the top of axial ones, the head at the top of the others. Each takes the index axis nearest to it, so an oblique
    volume is shown in its own planes. Without patient coordinates the planes are those of the array.
    """
    if geometry is None or geometry.frame != "patient":
        return (
            Plane("axial", "Slices", 2, (0, 1), (1, 1)),
            Plane("coronal", "Rows", 1, (0, 1), (2, 1)),
            Plane("sagittal", "Columns", 0, (1, 1), (2, 1)),
        )
    (x, right), (y, back), (z, up) = nearest_axes(geometry)
    return (
        Plane("axial", "Axial", z, (x, right), (y, back)),
        Plane("coronal", "Coronal", y, (x, right), (z, -up)),
        Plane("sagittal", "Sagittal", x, (y, back), (z, -up)),
    )


def nearest_axes(geometry: Geometry) -> tuple[Axis, Axis, Axis]:
    """The index axes that run most nearly to the patient's left, back and head."""
    cosines = geometry.affine[:3, :3] / np.linalg.norm(geometry.affine[:3, :3], axis=0)
    left, back, head = max(
        permutations(range(3)), key=lambda order: sum(abs(cosines[row, axis]) for row, axis in enumerate(order))
    )

    def signed(row: int, axis: int) -> Axis:
        return axis, 1 if cosines[row, axis] > 0 else -1

    return signed(0, left), signed(1, back), signed(2, head)
