"""What an edit of a picture is, and what it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from explainers.types import Param, ParamValue, resolved
from models.errors import DataError
from models.types import FloatArray, Image, Window

Mask = NDArray[np.bool_]
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class EditSpec:
    """What an edit says of itself.

    Attributes:
        icon: name of a Material symbol.
        region: True where it needs a drawn region, False where it changes the whole picture.
        params: settings with bounds; the interface builds its controls from them.
    """

    id: str
    title: str
    icon: str
    summary: str
    region: bool
    params: tuple[Param, ...] = ()

    def resolve(self, given: Mapping[str, Any]) -> dict[str, ParamValue]:
        """All settings, checked, the missing ones filled in. Raises DataError for an unknown name or a value out of bounds."""
        return resolved(self.title, self.params, given, DataError)


@dataclass(frozen=True, eq=False)
class Edit:
    """One change of a picture.

    Attributes:
        kind: id of the edit.
        params: as the reader set them; missing ones take the edit's defaults.
        mask: (H, W) of the picture before all edits, for those that need a region, else None.
        on: False where it is kept in the list but left out.
        number: tells the edits of one list apart; nothing else.
    """

    kind: str
    params: Mapping[str, ParamValue] = field(default_factory=dict)
    mask: Mask | None = None
    on: bool = True
    number: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "params", MappingProxyType(dict(self.params)))
        if self.mask is not None:
            mask = np.asarray(self.mask, dtype=bool)
            if mask.flags.writeable:
                mask = mask.copy()
                mask.setflags(write=False)
            object.__setattr__(self, "mask", mask)


@dataclass(frozen=True)
class Through:
    """The window through which the network sees the picture: what is black and white to it.

    Attributes:
        low, high: values at the window's ends, in the image's unit.
        inverted: True where larger values are darker.
    """

    low: float
    high: float
    inverted: bool = False

    @classmethod
    def of(cls, image: Image, fixed: Window | None = None) -> Through:
        """The network's fixed window where it has one for images in HU, else the image's own."""
        window = fixed if fixed is not None and image.unit == "HU" else image.windows[0]
        return cls(window.center - window.width / 2, window.center + window.width / 2, image.inverted)

    @property
    def width(self) -> float:
        return self.high - self.low

    @property
    def center(self) -> float:
        return (self.low + self.high) / 2

    def black(self, values: FloatArray) -> float:
        """A value that is black in this window and no brighter in any other than the darkest of ``values``."""
        return max(self.high, float(values.max())) if self.inverted else min(self.low, float(values.min()))


@dataclass(frozen=True, eq=False)
class Move:
    """Where the pixels of a moved picture come from.

    Attributes:
        matrix: (3, 3) float64, (column, row, 1) of the new picture to the same of the old; integers are pixel centres.
        shape: (H, W) of the new picture.
    """

    matrix: Matrix
    shape: tuple[int, int]


class EditKind(Protocol):
    """A kind of edit. Stateless; images are never altered in place."""

    @property
    def spec(self) -> EditSpec: ...

    def start(self, image: Image, through: Through, mask: Mask | None) -> dict[str, ParamValue]:
        """Settings to begin with on this picture, where the defaults do not suit every picture."""
        ...

    def move(self, image: Image, params: Mapping[str, ParamValue]) -> Move | None:
        """Where the pixels go; None for an edit that leaves them in place."""
        ...

    def apply(self, image: Image, params: Mapping[str, ParamValue], mask: Mask | None, through: Through) -> Image:
        """The edited picture or volume, every slice alike.

        Args:
            params: resolved.
            mask: (H, W) of ``image``; given where the spec asks for a region.
        """
        ...
