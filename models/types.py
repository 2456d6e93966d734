"""The values that flow between the layers: frozen, validated, free of any framework.

Index order: arrays are ``(C, H, W)`` or ``(C, D, H, W)``; points are ``(column, row[, slice])``, with integer
coordinates at pixel centres. World coordinates are millimetres in the DICOM patient system (LPS: x to the
patient's left, y to posterior, z to the head).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError

FloatArray = NDArray[np.float32]
Unit = Literal["HU", "stored value", "unit interval"]


class Modality(StrEnum):
    """What made the image; decides which models it may be shown to."""

    XRAY = "x-ray"
    CT = "ct"
    MR = "mr"
    DERMOSCOPY = "dermoscopy"
    PHOTO = "photo"
    OTHER = "other"
    UNKNOWN = "unknown"

    @property
    def label(self) -> str:
        """As written in a sentence: "CT", "x-ray"."""
        return self.value.upper() if self in (Modality.CT, Modality.MR) else self.value


@dataclass(frozen=True, eq=False)
class Geometry:
    """Where the pixels lie.

    Attributes:
        affine: (4, 4) float64, maps (column, row, slice, 1) to millimetres.
        frame: "patient" when the millimetres are LPS patient coordinates; "plane" when only the pixel
            spacing is known (a projection film), so that x and y run along columns and rows.
        uneven_mm: shortest and longest distance between neighbouring slices where they are not evenly spaced (slices
            are missing, for one), so that the affine is true only at both ends; None for a regular grid.
    """

    affine: NDArray[np.float64]
    frame: Literal["patient", "plane"] = "patient"
    uneven_mm: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-12:
            raise DataError("The image's geometry is not usable: the affine must be a finite, invertible 4 x 4 matrix.")
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Pixel spacing in mm along (column, row, slice)."""
        sx, sy, sz = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(sx), float(sy), float(sz)

    @property
    def tilt_degrees(self) -> float:
        """Largest angle between an axis and the normal of the other two: 0 for a right-angled grid.

        For a tilted gantry, the angle by which the step from slice to slice leaves the slices' normal.
        """
        matrix = self.affine[:3, :3]
        lengths = np.linalg.norm(matrix, axis=0) * np.linalg.norm(np.linalg.inv(matrix), axis=1)
        return float(np.degrees(np.arccos(np.clip(1 / lengths.max(), 0.0, 1.0))))

    def to_world(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 3) indices (column, row, slice) to (n, 3) mm."""
        return np.asarray(points, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def at_slice(self, index: int) -> Geometry:
        """Geometry of one slice taken out of a volume: its slice index becomes 0."""
        affine = self.affine.copy()
        affine[:3, 3] += index * affine[:3, 2]
        return Geometry(affine, self.frame)

    @classmethod
    def from_spacing(cls, column_mm: float, row_mm: float) -> Geometry:
        """A plane of which only the pixel spacing is known."""
        return cls(np.diag([column_mm, row_mm, 1.0, 1.0]), "plane")


@dataclass(frozen=True)
class Window:
    """Values to grey: [center - width/2, center + width/2] onto [0, 1], clipped.

    Attributes:
        name: what a reader calls it ("lung", "as stored").
        center, width: in the image's own unit; width > 0.
        shape: "linear"; "sigmoid" (DICOM PS3.3 C.11.2.1.3.1); "table", where ``table`` holds outputs in [0, 1]
            sampled evenly over the window (a VOI LUT sequence).
    """

    name: str
    center: float
    width: float
    shape: Literal["linear", "sigmoid", "table"] = "linear"
    table: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not (np.isfinite(self.center) and np.isfinite(self.width) and self.width > 0):
            raise DataError(
                f"Window {self.name!r} needs a finite centre and a positive width, got {self.center}, {self.width}."
            )
        if (self.shape == "table") != (len(self.table) >= 2):
            raise DataError(
                f"Window {self.name!r}: a table of at least two outputs goes with shape 'table' and with no other."
            )

    @classmethod
    def from_range(cls, name: str, low: float, high: float) -> Window:
        return cls(name, (low + high) / 2, max(high - low, 1e-6))

    def apply(self, values: FloatArray) -> FloatArray:
        """Grey in [0, 1], float32, same shape as ``values``."""
        position = (values.astype(np.float32) - np.float32(self.center)) / np.float32(self.width)
        if self.shape == "sigmoid":
            return (1.0 / (1.0 + np.exp(np.clip(-4.0 * position, -60, 60)))).astype(np.float32)
        grey = np.clip(position + np.float32(0.5), 0.0, 1.0)
        if self.shape == "table":
            return np.interp(grey, np.linspace(0, 1, len(self.table)), self.table).astype(np.float32)
        return grey.astype(np.float32)


CT_WINDOWS = (
    Window("lung", -600, 1500),
    Window("mediastinum", 40, 400),
    Window("bone", 400, 1800),
    Window("brain", 40, 80),
)


@dataclass(frozen=True, eq=False)
class Image:
    """A picture or a volume, with the geometry and the display windows that belong to it.

    Attributes:
        values: (C, H, W) or (C, D, H, W) float32, finite, read-only, in ``unit``. C is 1 (grey) or 3 (RGB).
        unit: "HU", "stored value" (after the modality LUT) or "unit interval" (photographs, [0, 1]).
        geometry: None where not even the pixel spacing is known.
        windows: display presets, the first is the default; at least one.
        inverted: True for MONOCHROME1, where larger values are darker. ``values`` stay as stored; only
            :meth:`display` and the models' preprocessing turn them round.
        within: for a slice, the volume it was taken from and its index there, so that a network of several
            slices finds the neighbours.
    """

    values: FloatArray
    unit: Unit
    modality: Modality = Modality.UNKNOWN
    geometry: Geometry | None = None
    windows: tuple[Window, ...] = ()
    inverted: bool = False
    within: tuple[Image, int] | None = None

    def __post_init__(self) -> None:
        values = np.asarray(self.values)
        if values.ndim not in (3, 4) or values.shape[0] not in (1, 3) or 0 in values.shape:
            raise DataError(
                f"An image must have shape (C, H, W) or (C, D, H, W) with C = 1 or 3 and no empty axis, got {values.shape}."
            )
        if values.dtype != np.float32 or values.flags.writeable:
            values = values.astype(np.float32)
        # Plane by plane: a mask of a whole volume takes longer to allocate than to compute.
        if not all(np.isfinite(plane).all() for channel in values for plane in channel):
            raise DataError(
                "The image holds values that are not numbers (NaN or infinite); export it again without them."
            )
        values.setflags(write=False)
        object.__setattr__(self, "values", values)
        if not self.windows:
            object.__setattr__(self, "windows", (default_window(values, self.unit),))

    @property
    def is_volume(self) -> bool:
        return self.values.ndim == 4

    @property
    def is_colour(self) -> bool:
        return self.values.shape[0] == 3

    @property
    def depth(self) -> int:
        """Number of slices; 1 for a plane image."""
        return self.values.shape[1] if self.is_volume else 1

    @property
    def plane_shape(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.values.shape[-2], self.values.shape[-1]

    @property
    def plane_spacing(self) -> tuple[float, float]:
        """(column, row) spacing in mm; (1, 1) where unknown, which keeps square pixels square."""
        return self.geometry.spacing[:2] if self.geometry else (1.0, 1.0)

    def slice(self, index: int) -> Image:
        """One slice of a volume as a plane image (a view); a plane image returns itself for index 0."""
        if not 0 <= index < self.depth:
            raise DataError(f"Slice {index} does not exist; the image has slices 0 to {self.depth - 1}.")
        if not self.is_volume:
            return self
        geometry = self.geometry.at_slice(index) if self.geometry else None
        return replace(self, values=self.values[:, index], geometry=geometry, within=(self, index))

    def display(self, window: Window | None = None) -> FloatArray:
        """Grey or RGB in [0, 1], brighter is brighter, same shape as ``values``."""
        grey = (window or self.windows[0]).apply(self.values)
        return 1.0 - grey if self.inverted else grey


def default_window(values: FloatArray, unit: Unit) -> Window:
    """A window for an image that brings none: its unit's range, or its 0.5 to 99.5 percentile."""
    if unit == "unit interval":
        return Window.from_range("full range", 0.0, 1.0)
    if unit == "HU":
        return CT_WINDOWS[0]
    step = max(1, values.size // 1_000_000)
    low, high = np.percentile(values.reshape(-1)[::step], (0.5, 99.5))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    return Window.from_range("automatic (0.5 to 99.5 percentile)", float(low), float(high))


@dataclass(frozen=True, eq=False)
class Region:
    """A named place on the image: a mask with the image's (H, W) or (D, H, W), or a box on one plane.

    Attributes:
        box: (left, top, right, bottom) in pixels, edges not centres; None when ``mask`` is given.
    """

    name: str
    mask: NDArray[np.bool_] | None = None
    box: tuple[float, float, float, float] | None = None

    def __post_init__(self) -> None:
        if (self.mask is None) == (self.box is None):
            raise DataError(f"Region {self.name!r} needs either a mask or a box.")
        if self.mask is not None:
            mask = np.array(self.mask, dtype=bool)
            mask.setflags(write=False)
            object.__setattr__(self, "mask", mask)


@dataclass(frozen=True)
class Provenance:
    """Where a case comes from. Holds no patient identifier and no path.

    Attributes:
        source: in words ("pydicom-data RG1_UNCI", "uploaded file").
        licence: of the image; "" where unknown (an upload).
        sha256: hex digest of the bytes read (a series: of its files' digests in order).
        reader: the reader's id.
        kept: names of the header attributes that survived de-identification.
        notes: sentences a reader of the image must know ("flagged as having annotations burned in").
    """

    source: str
    sha256: str
    reader: str
    licence: str = ""
    kept: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Case:
    """One image with what is known about it.

    Attributes:
        id: stable and free of identifiers (kebab-case for samples, "upload-<hash>" for uploads).
        title: shown in the worklist.
        labels: reference classes, name to truth; empty where unknown.
        attributes: age, sex, view, slice thickness and the like, already readable.
    """

    id: str
    title: str
    image: Image
    provenance: Provenance
    labels: Mapping[str, bool] = field(default_factory=dict)
    regions: tuple[Region, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", MappingProxyType(dict(self.labels)))
        object.__setattr__(self, "attributes", MappingProxyType(dict(self.attributes)))


@dataclass(frozen=True)
class Target:
    """The number that an explanation explains: one output of the network for one class.

    Attributes:
        index: column of the network's output.
        output: "logit" (default); "probability"; "contrast", the logit minus that of ``against_index``.
        activation: what turns this network's logits into probabilities.
    """

    name: str
    index: int
    output: Literal["logit", "probability", "contrast"] = "logit"
    activation: Literal["softmax", "sigmoid"] = "sigmoid"
    against_name: str = ""
    against_index: int | None = None

    def __post_init__(self) -> None:
        if (self.output == "contrast") != (self.against_index is not None):
            raise DataError("A contrast target, and no other, names the class it is contrasted with.")

    @property
    def label(self) -> str:
        """For people: "Melanoma", "Melanoma (probability)", "Melanoma against Nevus"."""
        if self.output == "contrast":
            return f"{self.name} against {self.against_name}"
        return self.name if self.output == "logit" else f"{self.name} (probability)"


@dataclass(frozen=True, eq=False)
class Prediction:
    """A network's answer for one plane image.

    Attributes:
        logits, probabilities: (K,) float32; probabilities are calibrated where the card says so.
        thresholds: (K,) float32, the operating points of the card.
        distance: feature distance to the training images as a percentile of the training images' own
            distances (0 to 100), or None where the card stores no statistics.
        warnings: sentences (wrong modality, unlike the training images).
        masks: (K, H, W) float32 calibrated probabilities of the image's pixels, 0 where the network saw nothing;
            None for a network that does not segment.
    """

    model_id: str
    classes: tuple[str, ...]
    logits: FloatArray
    probabilities: FloatArray
    thresholds: FloatArray
    exclusive: bool
    distance: float | None = None
    warnings: tuple[str, ...] = ()
    masks: FloatArray | None = None

    @property
    def found(self) -> NDArray[np.bool_] | None:
        """(K, H, W), where a class's pixels reach its threshold; None for a network that gives no masks."""
        return None if self.masks is None else self.masks >= self.thresholds[:, None, None]

    @property
    def flagged(self) -> tuple[int, ...]:
        """Classes at or above their threshold, or the one favoured by :func:`favoured` where only one can hold."""
        if self.exclusive:
            return (int(favoured(self.probabilities, self.thresholds)),)
        return tuple(int(i) for i in np.flatnonzero(self.probabilities >= self.thresholds))

    @property
    def leading(self) -> int:
        """The class to look at first: the flagged one furthest above its threshold, else the most probable."""
        if not self.flagged:
            return self.order[0]
        return max(self.flagged, key=lambda index: float(self.probabilities[index] - self.thresholds[index]))

    @property
    def order(self) -> tuple[int, ...]:
        """Class indices from the most to the least probable."""
        return tuple(int(i) for i in np.argsort(-self.probabilities, kind="stable"))


def favoured(probabilities: NDArray[np.floating], thresholds: NDArray[np.floating]) -> NDArray[np.int64]:
    """(...,) index of the class with the largest probability / threshold along the last axis of (..., K).

    With equal thresholds it is the most probable class; a smaller threshold favours a class, as for a rare one.
    """
    return np.asarray(np.argmax(probabilities / np.maximum(thresholds, 1e-6), axis=-1))
