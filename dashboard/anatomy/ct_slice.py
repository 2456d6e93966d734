"""Parts of an axial CT slice of the chest: body, air outside it, lungs.

Dark means below -400 HU, half way between lung and chest wall, or below Otsu's threshold where a picture has lost its HU.
Dark that holds two of the picture's corners, or a quarter of its edge, is air outside; other large dark pieces are lungs,
also where a crop has cut the wall off. Sides are told only where the header says how the patient lies.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dashboard.anatomy._base import FINDERS, Mask, Parts
from dashboard.anatomy._pixels import (
    Array,
    closed,
    corners_held,
    edge_length,
    full_size,
    largest,
    opened,
    otsu,
    rim,
    working,
)
from explainers.quality.anatomy import BORDERS, OUTSIDE
from models.types import Geometry, Image, Modality

SIDE = 256
AIR_HU = -400.0
LEAST_BODY = 0.1
EDGE = 0.25  # of the picture's edge: more is air outside, not a lung that a crop cut open
LEAST_PIECE = 0.008  # of the picture, of a lung; smaller is airway or bowel
LUNGS = (0.03, 0.75)  # of both together
TABLE = 0.012  # of the side: thinner things beside the body are table and clothes
VESSELS = 0.02  # of the side: gaps that are closed
PARTING = np.arange(0.0, 0.06, 0.004)  # erosions tried to part the lungs, of the side
LEAST_SHARE = 0.15  # of the smaller lung in the larger
RIM = 0.05


def find(image: Image, lesion: Mask | None = None) -> Parts:
    """See the module; the lesion is not used."""
    dark = dark_parts(image)
    labels, count = ndimage.label(dark)
    outer = np.flatnonzero((edge_length(labels, count) > EDGE) | (corners_held(labels, count) >= 2))
    outside = np.isin(labels, outer[outer > 0])
    body = largest(opened(~outside, TABLE * SIDE)) if outside.any() else np.ones_like(dark)
    masks: dict[str, Mask] = {}
    notes: dict[str, str] = {}
    missing: dict[str, str] = {}
    if body.mean() <= LEAST_BODY:
        missing |= dict.fromkeys(("lungs", OUTSIDE), "No body was recognised in the slice.")
        return Parts(masks, notes, missing)
    if body.mean() < 0.995:
        masks[OUTSIDE], notes[OUTSIDE] = ~body, "Air around the body, table and clothes."
    else:
        missing[OUTSIDE] = "The body fills the slice."
    lungs = _lungs(labels, count, outside, body)
    if lungs is None:
        missing["lungs"] = (
            "No two dark areas of a lung's size lie inside the body; the slice may lie above or below them."
        )
    else:
        masks["lungs"], notes["lungs"] = (
            lungs,
            "Air inside the body, closed over vessels; dense consolidation is missing.",
        )
        masks |= _sides(lungs, image.geometry, notes, missing)
    masks[BORDERS] = rim(dark.shape, RIM) & ~(masks.get("lungs", np.zeros_like(dark)))
    notes[BORDERS] = f"The outermost {RIM:.0%} of the slice, without the lungs."
    return Parts({name: full_size(mask, image) for name, mask in masks.items()}, notes, missing)


def dark_parts(image: Image) -> Mask:
    """(h, w) air and lung, on the working grid."""
    if image.unit == "HU":
        low, high = float(image.values.min()), float(image.values.max())
        scaled = Image((image.values - low) / max(high - low, 1e-6), "unit interval")
        values: Array = working(scaled, SIDE)[0] * max(high - low, 1e-6) + low
        return np.asarray(values < AIR_HU)
    grey = ndimage.gaussian_filter(working(image, SIDE).mean(axis=0), 0.7)
    return np.asarray(grey < otsu(grey))


def _lungs(labels: NDArray[np.int32], count: int, outside: Mask, body: Mask) -> Mask | None:
    sizes = np.bincount(labels.ravel(), minlength=count + 1) / labels.size
    inside = np.bincount(labels[body], minlength=count + 1) / np.maximum(sizes * labels.size, 1)
    # Where the body's own wall is in the picture, dark that meets its edge is air between body, arms and table.
    open_ = edge_length(labels, count) > (0 if outside.any() else 1)
    taken = np.unique(labels[outside])
    kept = [
        piece
        for piece in range(1, count + 1)
        if sizes[piece] > LEAST_PIECE and inside[piece] > 0.9 and not open_[piece] and piece not in taken
    ]
    found = np.isin(labels, kept)
    if not kept or not LUNGS[0] < found.mean() < LUNGS[1]:
        return None
    return closed(found, VESSELS * SIDE) & body


def _sides(lungs: Mask, geometry: Geometry | None, notes: dict[str, str], missing: dict[str, str]) -> dict[str, Mask]:
    """Left and right lung, where it is known which is which."""
    if geometry is None or geometry.frame != "patient":
        missing["left lung"] = missing["right lung"] = "The picture does not say how the patient lies."
        return {}
    depth = ndimage.distance_transform_edt(lungs)
    for deeper in PARTING * SIDE:
        labels, count = ndimage.label(depth > deeper)
        sizes = np.bincount(labels.ravel(), minlength=max(count + 1, 3))
        sizes[0] = 0
        if np.sort(sizes)[-2] > LEAST_SHARE * sizes.max():
            break
    else:
        missing["left lung"] = missing["right lung"] = "The two lungs cannot be told apart in this slice."
        return {}
    pair = np.argsort(sizes)[-2:]
    nearest = ndimage.distance_transform_edt(~np.isin(labels, pair), return_distances=False, return_indices=True)
    owner = labels[tuple(nearest)]
    centres = np.array([ndimage.center_of_mass(labels == piece) for piece in pair])
    world = geometry.affine[:3, 0] * centres[:, 1:2] + geometry.affine[:3, 1] * centres[:, 0:1]
    left = pair[int(np.argmax(world[:, 0]))]
    right = pair[1 - int(np.argmax(world[:, 0]))]
    for name in ("left lung", "right lung"):
        notes[name] = notes["lungs"]
    return {"left lung": lungs & (owner == left), "right lung": lungs & (owner == right)}


FINDERS.register(Modality.CT.value, find)
