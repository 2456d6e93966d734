"""What is known of a case before any map is looked at: where the finding is, and where the parts of the body are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dashboard.anatomy import parts_of
from dashboard.cases import as_read_by, readable
from models.card import ModelCard
from models.types import Case, Image, Modality, Region, Target

Mask = NDArray[np.bool_]
BODY = ("lung", "heart", "brain")  # that the name of a region ends with where it is part of the body
LESIONS = (
    "lesion",
    "nodule",
    "tumour",
    "tumor",
    "mass",
    "infection",
)  # that the name of a lesion holds, of whatever kind
NOTHING = ("no ", "normal")  # how the name of a class begins that means nothing was found


def places_of(case: Case, index: int, card: ModelCard, target: Target) -> dict[str, Mask]:
    """(H, W) masks by name of where the target is known to be on slice ``index``; empty where that is not known.

    A region of the target's name is its place. Where a network tells kinds of one lesion apart, the lesion is, whatever
    kind is explained, except for a class that means none.
    """
    name = readable(target.name).casefold()
    regions = [region for region in case.regions if region.name.casefold() == name]
    kinds = card.exclusive or len(card.classes) == 1
    if not regions and kinds and not name.startswith(NOTHING):
        regions = [region for region in case.regions if any(word in region.name.casefold() for word in LESIONS)]
    found = {region.name: mask_on(region, case.image, index) for region in regions}
    return {name: mask for name, mask in found.items() if mask.any()}


def body_of(case: Case, index: int, card: ModelCard, lesion: Mask | None = None) -> dict[str, Mask]:
    """(H, W) masks by name of the parts of the body on slice ``index``: found on the picture, or the case's own."""
    found: Mapping[str, Mask] = parts_of(as_read_by(case.image.slice(index), card), lesion).masks
    own = {region.name.lower(): mask_on(region, case.image, index) for region in case.regions if _is_body(region)}
    return dict(found) | {name: mask for name, mask in own.items() if mask.any()}


def reads_skin(case: Case, card: ModelCard) -> bool:
    """Whether the picture is, or is taken for, one of a dermatoscope."""
    return Modality.DERMOSCOPY in (case.image.modality, *card.input.modality)


def lesion_of(case: Case, index: int) -> Mask | None:
    """The case's own outline of a skin lesion."""
    return next((mask_on(one, case.image, index) for one in case.regions if one.name.casefold() == "lesion"), None)


def mask_on(region: Region, image: Image, index: int) -> Mask:
    """(H, W) of a region on a slice; a pixel is in a box when its centre is."""
    if region.mask is not None:
        return region.mask if region.mask.ndim == 2 else region.mask[index]
    left, top, right, bottom = region.box or (0, 0, 0, 0)
    height, width = image.plane_shape
    rows, columns = np.arange(height) + 0.5, np.arange(width) + 0.5
    inside = ((rows >= top) & (rows < bottom))[:, None] & ((columns >= left) & (columns < right))
    return np.asarray(inside)


def _is_body(region: Region) -> bool:
    return any(region.name.casefold().endswith(part) for part in BODY)
