"""What a finder of parts is given and gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError
from models.registry import Registry
from models.types import Image

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Parts:
    """Parts found on a plane image.

    Attributes:
        masks: (H, W) of the image, by name ("left lung"); they may overlap. Sides are the patient's.
        notes: how each was had and how far to trust it, in a sentence.
        missing: parts that were sought and not found, and why.
    """

    masks: Mapping[str, Mask] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("masks", "notes", "missing"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))


class Finder(Protocol):
    """Finds the parts of one kind of picture."""

    def __call__(self, image: Image, lesion: Mask | None) -> Parts: ...


FINDERS: Registry[Finder] = Registry("finder of body parts")


def parts_of(image: Image, lesion: Mask | None = None) -> Parts:
    """All parts known for that kind of picture; none for a kind without a finder.

    Args:
        image: a plane.
        lesion: (H, W), where a network or a reader outlined one.

    Raises:
        DataError: a volume, or a lesion of another shape.
    """
    if image.is_volume:
        raise DataError(f"Parts of the body are found on one slice; this image has {image.depth}, choose one.")
    if lesion is not None and lesion.shape != image.plane_shape:
        raise DataError(f"The lesion's mask is {lesion.shape} and the image {image.plane_shape}; give a mask of it.")
    if image.modality.value not in FINDERS:
        return Parts(missing={"all": f"Parts of the body are not known on {image.modality.label} images."})
    return FINDERS.get(image.modality.value)(image, lesion)


def masks_of(image: Image, lesion: Mask | None = None) -> Mapping[str, Mask]:
    """The masks of :func:`parts_of` alone."""
    return parts_of(image, lesion).masks
