"""What is asked about a whole volume, and what is known of it so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from explainers.types import ParamValue
from explainers.volume import cells_on_image
from models.types import FloatArray, Image, Target

BoolArray = NDArray[np.bool_]
Kind = Literal["slices", "around", "blocks"]


@dataclass(frozen=True, eq=False)
class VolumeRequest:
    """A model on all slices of a volume, and one method on some of them.

    Attributes:
        image: the volume.
        kind: "slices" explains one slice after the other as the Case page does; "around" the score of slice ``at`` over the
            neighbouring slices that the network sees; "blocks" hides cuboids (:mod:`explainers.volume`).
        method: of "slices" and "around".
        params: of the method, as the reader set them.
        slices: to explain ("slices"), or to hide blocks in where the network sees one slice at a time.
        at: the slice shown: it is explained first. Of a network of neighbouring slices, the one whose score "around" and
            "blocks" explain.
    """

    model_id: str
    image: Image
    target: Target
    kind: Kind
    method: str
    slices: range
    at: int
    params: Mapping[str, ParamValue] = field(default_factory=dict)
    seed: int = 0


@dataclass(frozen=True, eq=False)
class SliceScores:
    """A model's answers for the slices of a volume, read-only.

    Attributes:
        logits, probabilities: (D, K) float32; NaN where a slice has not been scored yet.
        thresholds: (K,) float32.
        warnings: sentences, and of how many slices each was said.
        bits: (K, D, H, ceil(W / 8)) uint8, the pixels that reach the thresholds of a segmentation network, packed along
            the rows; None for other networks.
    """

    classes: tuple[str, ...]
    logits: FloatArray
    probabilities: FloatArray
    thresholds: FloatArray
    exclusive: bool
    warnings: Mapping[str, int] = field(default_factory=dict)
    bits: NDArray[np.uint8] | None = None

    @property
    def known(self) -> int:
        """Slices scored."""
        return int(np.isfinite(self.probabilities[:, 0]).sum())

    def highest(self, index: int) -> int | None:
        """The slice with the highest score of a class; None while there is none."""
        return int(np.nanargmax(self.probabilities[:, index])) if self.known else None

    def mask(self, index: int, width: int) -> BoolArray | None:
        """(D, H, W) pixels that a segmentation network marks as the class."""
        if self.bits is None:
            return None
        return np.unpackbits(self.bits[index], axis=-1, count=width).astype(bool)


@dataclass(frozen=True, eq=False)
class VolumeMap:
    """A map over a volume, raw.

    Attributes:
        values: (d, h, w) float32, slice over slice on the network's input grid, channels summed; NaN where not
            known. Read-only.
        grid_to_image: (4, 4) float64, (column, row, slice, 1) on the grid to the same in the volume.
        known: (d,), the slices that have been explained.
        facts: what is worth knowing of it besides.
    """

    title: str
    values: FloatArray
    grid_to_image: NDArray[np.float64]
    known: BoolArray
    signed: bool
    unit: str
    facts: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, ParamValue] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.values.setflags(write=False)


@dataclass(frozen=True, eq=False)
class VolumeResult:
    """All that is known so far; the same map object until a newer one is worth drawing.

    Attributes:
        mass: (D,) float32, :func:`mass_by_slice`; NaN where a slice has not been explained.
        done, of: slices explained (blocks: passes made), and in all.
    """

    scores: SliceScores
    map: VolumeMap | None
    mass: FloatArray
    done: int
    of: int
    complete: bool = False


def strength(values: FloatArray, grid_to_image: NDArray[np.float64], image_shape: tuple[int, int]) -> float:
    """Evidence for the class in one slice: the sum of the positive part of its map, without what lies on padding.

    Args:
        values: (h, w) float32 on the input grid.
        grid_to_image: (3, 3) or (4, 4), columns and rows first.
        image_shape: (H, W).
    """
    rows = cells_on_image(grid_to_image[1, 1], grid_to_image[1, -1], values.shape[0], image_shape[0])
    columns = cells_on_image(grid_to_image[0, 0], grid_to_image[0, -1], values.shape[1], image_shape[1])
    return float(np.maximum(values[slice(*rows), slice(*columns)], 0).sum(dtype=np.float64))


def mass_by_slice(strengths: NDArray[np.float64]) -> FloatArray:
    """(D,) float32: each slice's share of the evidence for the class in all slices known, [0, 1]; NaN stays NaN."""
    return (strengths / (np.nansum(strengths) or 1.0)).astype(np.float32)
