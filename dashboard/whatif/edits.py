"""Edits of one picture, in order: the picture that a network is asked about instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dashboard.whatif.geometry import Crop, Flip, Rotate, carried
from dashboard.whatif.region import Blur, Cover, Inpaint
from dashboard.whatif.tone import Brightness, Contrast, Rewindow
from dashboard.whatif.types import Edit, EditKind, Mask, Move, Through
from models.errors import DataError
from models.preprocess import InputSpec, neighbours
from models.registry import Registry
from models.types import Image

EDITS: Registry[EditKind] = Registry("edit")
for _kind in (Cover(), Blur(), Inpaint(), Crop(), Rewindow(), Flip(), Rotate(), Contrast(), Brightness()):
    EDITS.register(_kind.spec.id, _kind)


def apply_edits(image: Image, edits: Sequence[Edit], spec: InputSpec | None = None) -> Image:
    """The picture with the edits that are switched on, one after the other.

    Regions are drawn on the picture before all edits and go along where it is moved, so switching a flip or a crop off
    leaves them on the same anatomy. A network of several slices sees its neighbouring slices edited alike.

    Args:
        image: a plane image, which may be a slice of a volume.
        spec: what the network wants to see, for its window and its slices; None for the image alone.

    Returns:
        A new image, or ``image`` itself where nothing is switched on.

    Raises:
        DataError: there is no such edit, a setting is out of bounds, or a region is missing or has another shape.
    """
    active = [edit for edit in edits if edit.on]
    if not active:
        return image
    stacked, index = _seen(image, spec)
    through = Through.of(image, spec.window if spec else None)
    moves: list[Move] = []
    for edit in active:
        kind = EDITS.get(edit.kind, DataError)
        params = kind.spec.resolve(edit.params)
        mask = _mask(edit, kind, image, moves) if kind.spec.region else None
        move = kind.move(stacked, params)
        stacked = kind.apply(stacked, params, mask, through)
        if move is not None:
            moves.append(move)
    return stacked.slice(index)


def carry(mask: Mask, image: Image, edits: Sequence[Edit]) -> Mask:
    """Where a region of the picture lies once the edits that are switched on have moved it.

    Args:
        mask: (H, W) of ``image``.
        image: the plane image before all edits.

    Returns:
        (H, W) of the edited image.
    """
    for edit in edits:
        kind = EDITS.get(edit.kind, DataError)
        move = kind.move(image, kind.spec.resolve(edit.params)) if edit.on else None
        if move is not None:
            mask = carried(mask, move)
            # Only its shape and spacing matter to the next move.
            image = Image(np.zeros((1, *move.shape), dtype=np.float32), image.unit, geometry=image.geometry)
    return mask


def _mask(edit: Edit, kind: EditKind, image: Image, moves: Sequence[Move]) -> Mask:
    """The edit's region on the picture as it is by now."""
    if edit.mask is None:
        raise DataError(f"{kind.spec.title} needs a region; draw one on the picture first.")
    if edit.mask.shape != image.plane_shape:
        raise DataError(
            f"The region of {kind.spec.title.lower()!r} is {edit.mask.shape} pixels and the picture {image.plane_shape}; "
            "draw it on this picture."
        )
    mask = edit.mask
    for move in moves:
        mask = carried(mask, move)
    return mask


def _seen(image: Image, spec: InputSpec | None) -> tuple[Image, int]:
    """What the edits change: the plane itself, or those slices around it that the network sees; and the plane's index."""
    if spec is None or spec.slices == 1 or image.within is None:
        return replace(image, within=None), 0
    volume, index = image.within
    below, above, _ = neighbours(image, spec)
    first, last = min(int(below.min()), index), max(int(above.max()), index)
    geometry = volume.geometry.at_slice(first) if volume.geometry else None
    part = replace(volume, values=volume.values[:, first : last + 1], geometry=geometry, windows=image.windows)
    return part, index - first
