"""Parts of a dermoscopic picture: lesion and skin around it, hair, ruler, ink, dark corners.

The lesion is outlined by whoever calls, by a network or by hand. Hair: thin dark lines, by closing with line segments
(DullRazor, Lee et al. 1997, doi:10.1016/S0010-4825(97)00020-6), kept where they run straight for a while. Ruler: dark marks in
even distance along an edge. Ink: blue, green or violet far more saturated than skin or pigment is. Dark corners: black that
holds a corner of the picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dashboard.anatomy._base import FINDERS, Mask, Parts
from dashboard.anatomy._pixels import Array, full_size, working
from explainers.quality.anatomy import HAIR, INK, RULER, VIGNETTE
from models.types import Image, Modality

SIDE = 400
HAIR_DEPTH = 0.07  # darker than beside it, of the range of grey
HAIR_LENGTH, HAIR_RUN, HAIR_WIDTH = 0.11, 0.07, 0.025  # whole, straight and across, of the longer side
DIRECTIONS = 12
LINE = 0.045  # length of the segments that close lines, of the longer side
INK_HUE, INK_SATURATION = (0.38, 0.83), 0.38  # cyan to violet
DARK = 0.22
LEAST = 0.0008  # of the picture: less is not reported
STRIP, TEETH, EVEN = 0.2, 8, 0.12  # of the side that is searched for a ruler; fewest marks; spread of their distances


def find(image: Image, lesion: Mask | None = None) -> Parts:
    """See the module."""
    shown = working(image, SIDE)
    colour = np.repeat(shown, 3, axis=0) if len(shown) == 1 else shown
    corners = dark_corners(colour)
    lines = black_hat(colour)
    ruler = find_ruler(lines, corners)
    hair = find_hair(lines) & ~corners & ~ruler
    ink = find_ink(colour) & ~corners
    found = {HAIR: hair, RULER: ruler, INK: ink, VIGNETTE: corners}
    notes = {
        HAIR: "Thin dark lines; pale hair and hair over dark pigment are missed.",
        RULER: "Dark marks in even distance along an edge, with the strip they stand on.",
        INK: "Strongly blue, green or violet parts; a blue veil of the lesion may be among them.",
        VIGNETTE: "Black parts that hold a corner of the picture.",
    }
    missing = {name: "None was seen." for name, mask in found.items() if mask.mean() < LEAST}
    masks = {name: full_size(mask, image) for name, mask in found.items() if name not in missing}
    if lesion is None:
        missing |= dict.fromkeys(("lesion", "surrounding skin"), "The lesion was not outlined.")
    else:
        for name in (HAIR, RULER, INK):  # over a lesion they are part of how it looks
            if name in masks:
                masks[name] = masks[name] & ~lesion
        other = np.logical_or.reduce([np.zeros(image.plane_shape, dtype=bool), *masks.values()])
        masks |= {"lesion": lesion, "surrounding skin": ~lesion & ~other}
        notes |= {"lesion": "As outlined.", "surrounding skin": "The rest of the skin."}
    kept = {name: note for name, note in notes.items() if name in masks}
    return Parts(masks, kept, missing)


def black_hat(colour: Array) -> Array:
    """(h, w) how much darker than the ends of a short line through it, the most of four directions, in [0, 1].

    A line along a hair stays dark, one across it does not: the largest over directions sees any thin line.
    """
    length = max(3, round(LINE * max(colour.shape[1:]))) | 1
    grey = colour.min(axis=0)
    flat = [np.ones((1, length), bool), np.ones((length, 1), bool), np.eye(length, dtype=bool)]
    flat.append(flat[2][:, ::-1])
    return np.max([ndimage.grey_closing(grey, footprint=one) - grey for one in flat], axis=0)


def find_hair(lines: Array) -> Mask:
    """Straight runs of thin dark lines, a little widened: a line that turns within their length is pigment or a vessel."""
    side = max(lines.shape)
    dark = ndimage.binary_closing(lines > HAIR_DEPTH, iterations=1)
    thin = dark & (_reached(ndimage.distance_transform_edt(dark)) <= max(2.0, HAIR_WIDTH * side / 2))
    length = max(5, round(HAIR_RUN * side)) | 1
    found = np.zeros(lines.shape, dtype=bool)
    for angle in np.arange(DIRECTIONS) * np.pi / DIRECTIONS:
        found |= ndimage.binary_opening(thin, _segment(length, angle))
    labels, count = ndimage.label(found, np.ones((3, 3)))
    boxes = ndimage.find_objects(labels)
    reach = np.array([0.0, *(np.hypot(*(s.stop - s.start for s in box)) for box in boxes)])
    return np.asarray(ndimage.binary_dilation((reach >= HAIR_LENGTH * side)[labels], iterations=1)) if count else found


def _reached(depth: Array) -> Array:
    """Each pixel's half width of the piece around it: the largest depth near by."""
    return np.asarray(ndimage.maximum_filter(depth, 5))


def _segment(length: int, angle: float) -> Mask:
    """A line through the middle of a square."""
    along = np.arange(length) - length // 2
    footprint = np.zeros((length, length), dtype=bool)
    rows = np.round(along * np.sin(angle)).astype(int) + length // 2
    footprint[rows, np.round(along * np.cos(angle)).astype(int) + length // 2] = True
    return footprint


def find_ink(colour: Array) -> Mask:
    """Pixels of a hue and saturation that skin and pigment do not have."""
    hue, saturation, value = _hsv(colour)
    mask = (hue > INK_HUE[0]) & (hue < INK_HUE[1]) & (saturation > INK_SATURATION) & (value > 0.15)
    return np.asarray(ndimage.binary_opening(mask, iterations=1))


def dark_corners(colour: Array) -> Mask:
    """Black pieces that hold a corner."""
    dark = ndimage.gaussian_filter(colour.max(axis=0), 1.0) < DARK
    labels, _ = ndimage.label(dark)
    pieces = labels[[0, 0, -1, -1], [0, -1, 0, -1]]
    return np.isin(labels, pieces[pieces > 0])


def find_ruler(lines: Array, corners: Mask) -> Mask:
    """Strips along an edge with evenly spaced marks; empty where there is none."""
    found = np.zeros(lines.shape, dtype=bool)
    for turned in range(4):
        view, away = np.rot90(lines, turned), np.rot90(corners, turned)
        strip = _marks(view, away)
        if strip is not None:
            np.rot90(found, turned)[strip] = True
    return found


def _marks(lines: Array, corners: Mask) -> tuple[slice, slice] | None:
    """Rows and columns of a ruler along the upper edge."""
    depth = max(8, round(STRIP * len(lines)))
    # A mark is at least three pixels long, straight away from the edge.
    dark = ndimage.binary_opening((lines[:depth] > HAIR_DEPTH) & ~corners[:depth], np.ones((3, 1)))
    best: tuple[int, tuple[slice, slice]] | None = None
    for row in range(1, depth - 1):
        starts = np.flatnonzero(np.diff(dark[row].astype(np.int8), prepend=0) == 1)
        ends = np.flatnonzero(np.diff(dark[row].astype(np.int8), append=0) == -1)
        middles = (starts + ends) / 2
        narrow = ends - starts + 1 <= max(3, lines.shape[1] // 60)
        run = _even_run(middles[narrow])
        if run is not None and (best is None or run[2] > best[0]):
            rows = _rows_of(dark, row, int(run[0]), int(run[1]))
            best = (run[2], (rows, slice(max(0, int(run[0]) - 2), int(run[1]) + 3)))
    return None if best is None else best[1]


def _even_run(middles: NDArray[np.float64]) -> tuple[float, float, int] | None:
    """(first, last, number) of the longest run of marks in even distance; None where it is short."""
    if len(middles) < TEETH:
        return None
    gaps = np.diff(middles)
    best: tuple[float, float, int] | None = None
    first = 0
    for index in range(1, len(gaps) + 1):
        usual = np.median(gaps[first:index])
        if index < len(gaps) and abs(gaps[index] - usual) <= max(1.0, EVEN * usual):
            continue
        number = index - first + 1
        if number >= TEETH and (best is None or number > best[2]):
            best = (float(middles[first]), float(middles[index]), number)
        first = index
    return best


def _rows_of(dark: Mask, row: int, left: int, right: int) -> slice:
    """From the edge to where the marks end."""
    density = dark[:, left : right + 1].mean(axis=1)
    below = np.flatnonzero(density[row:] < 0.25 * density[row])
    return slice(0, row + (int(below[0]) if len(below) else len(dark) - row))


def _hsv(colour: Array) -> tuple[Array, Array, Array]:
    """Hue, saturation and value in [0, 1] of (3, h, w) in [0, 1], as the standard library's for single colours."""
    most, least = colour.max(axis=0), colour.min(axis=0)
    extent = most - least
    safe = np.where(extent > 0, extent, 1.0)
    red, green, blue = (most - colour) / safe
    hue = np.select([colour[0] == most, colour[1] == most], [blue - green, 2 + red - blue], 4 + green - red)
    saturation = np.divide(extent, most, out=np.zeros_like(most), where=most > 0)
    return np.where(extent > 0, (hue / 6) % 1.0, 0.0), saturation, most


FINDERS.register(Modality.DERMOSCOPY.value, find)
