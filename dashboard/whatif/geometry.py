"""Edits that move the picture: crop, flip, rotate. The geometry goes with the pixels: a point keeps its place in mm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from scipy.ndimage import affine_transform

from dashboard.whatif.types import EditSpec, Mask, Matrix, Move, Through
from explainers.types import Param, ParamValue
from models.errors import DataError
from models.types import FloatArray, Geometry, Image

SMALLEST = 16  # pixels that a crop must leave on either side
_SIDES = ("left", "top", "right", "bottom")


class _Moving:
    def start(self, image: Image, through: Through, mask: Mask | None) -> dict[str, ParamValue]:
        return {}

    def move(self, image: Image, params: Mapping[str, ParamValue]) -> Move:
        raise NotImplementedError

    def apply(self, image: Image, params: Mapping[str, ParamValue], mask: Mask | None, through: Through) -> Image:
        move = self.move(image, params)
        values = moved(image.values, move, through.black(image.values))
        return replace(image, values=values, geometry=_geometry(image.geometry, move.matrix))


class Crop(_Moving):
    """Cuts off the sides."""

    spec = EditSpec(
        "crop",
        "Crop",
        "crop",
        "Cuts off the sides of the picture.",
        region=False,
        params=tuple(
            Param(side, side.capitalize(), "float", 0.0, help="Cut off, as a share of the picture.", low=0.0, high=90.0,
                  step=1.0, unit="%")
            for side in _SIDES
        ),
    )  # fmt: skip

    def start(self, image: Image, through: Through, mask: Mask | None) -> dict[str, ParamValue]:
        """The rectangle around the region drawn; without one, a tenth off each side."""
        if mask is None or not mask.any():
            return dict.fromkeys(_SIDES, 10.0)
        cut: dict[str, ParamValue] = {}
        for axis, (first, last) in ((0, ("left", "right")), (1, ("top", "bottom"))):
            places, size = np.flatnonzero(mask.any(axis=axis)), mask.shape[1 - axis]
            start, stop = int(places[0]), int(places[-1]) + 1
            stop = min(size, max(stop, start + SMALLEST))
            start = max(0, min(start, stop - SMALLEST))
            cut[first] = min(90.0, float(100 * start // size))
            cut[last] = min(90.0, float(100 * (size - stop) // size))
        return cut

    def move(self, image: Image, params: Mapping[str, ParamValue]) -> Move:
        height, width = image.plane_shape
        left, top = (round(float(params[side]) / 100 * size) for side, size in (("left", width), ("top", height)))
        right = width - round(float(params["right"]) / 100 * width)
        bottom = height - round(float(params["bottom"]) / 100 * height)
        if right - left < SMALLEST or bottom - top < SMALLEST:
            raise DataError(
                f"The crop leaves {max(0, right - left)} x {max(0, bottom - top)} pixels; cut off less, so that at least "
                f"{SMALLEST} x {SMALLEST} are left."
            )
        return Move(np.array([[1.0, 0, left], [0, 1.0, top], [0, 0, 1.0]]), (bottom - top, right - left))


class Flip(_Moving):
    """Mirrors left and right, or top and bottom."""

    spec = EditSpec(
        "flip",
        "Flip",
        "flip",
        "Mirrors the picture.",
        region=False,
        params=(
            Param("axis", "Mirrored", "choice", "left-right", choices=("left-right", "top-bottom")),
        ),
    )  # fmt: skip

    def move(self, image: Image, params: Mapping[str, ParamValue]) -> Move:
        height, width = image.plane_shape
        if params["axis"] == "left-right":
            return Move(np.array([[-1.0, 0, width - 1], [0, 1.0, 0], [0, 0, 1.0]]), (height, width))
        return Move(np.array([[1.0, 0, 0], [0, -1.0, height - 1], [0, 0, 1.0]]), (height, width))


class Rotate(_Moving):
    """Turns about the middle, true in mm, within the frame; what is turned in is black."""

    spec = EditSpec(
        "rotate",
        "Rotate",
        "rotate_right",
        "Turns the picture within its frame; corners that are turned in are black.",
        region=False,
        params=(
            Param("angle", "Clockwise", "float", 10.0, help="About the middle of the picture.", low=-180.0, high=180.0, step=1.0,
                  unit="°"),
        ),
    )  # fmt: skip

    def move(self, image: Image, params: Mapping[str, ParamValue]) -> Move:
        height, width = image.plane_shape
        angle = np.radians(float(params["angle"]))
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # new to old; rows run down
        to_mm = np.diag(image.plane_spacing)
        linear = np.linalg.inv(to_mm) @ turn @ to_mm
        middle = np.array([(width - 1) / 2, (height - 1) / 2])
        matrix = np.eye(3)
        matrix[:2, :2], matrix[:2, 2] = linear, middle - linear @ middle
        return Move(np.round(matrix, 12), (height, width))


def moved(values: FloatArray, move: Move, outside: float) -> FloatArray:
    """(..., H, W) values on the new grid: exact where pixels map onto pixels, else bilinear; ``outside`` beyond the old."""
    (across, skew, left), (lean, down, top) = move.matrix[:2]
    height, width = move.shape
    if abs(across) == abs(down) == 1 and skew == lean == 0:
        rows, columns = np.arange(height) * down + top, np.arange(width) * across + left
        return values[..., rows.astype(int)[:, None], columns.astype(int)]
    swapped = move.matrix[np.ix_([1, 0, 2], [1, 0, 2])]  # to (row, column)
    planes = values.reshape(-1, *values.shape[-2:])
    turned = [
        # "grid-constant": the outermost half pixel fades into what lies outside, and rounding cannot lose the rim.
        affine_transform(
            plane, swapped[:2, :2], swapped[:2, 2], move.shape, order=1, mode="grid-constant", cval=outside
        )
        for plane in planes
    ]
    found: FloatArray = np.stack(turned).reshape(*values.shape[:-2], height, width).astype(np.float32)
    return found


def carried(mask: Mask, move: Move) -> Mask:
    """A mask on the new grid: pixels of which half or more come from it."""
    return np.asarray(moved(mask.astype(np.float32), move, 0.0) >= 0.5)


def _geometry(geometry: Geometry | None, matrix: Matrix) -> Geometry | None:
    if geometry is None:
        return None
    whole = np.eye(4)
    whole[:2, :2], whole[:2, 3] = matrix[:2, :2], matrix[:2, 2]
    return replace(geometry, affine=geometry.affine @ whole)
