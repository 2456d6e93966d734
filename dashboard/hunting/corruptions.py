"""Pictures as worse devices, other settings and hasty positioning would give them, at growing strength.

Strength 0 is the picture itself; 1 is hardly seen, 4 is more than a reader would accept. Amounts after Hendrycks and
Dietterich 2019 (arXiv:1903.12261). Differs: amounts are physical where the picture is (Hounsfield units, mm), and
otherwise shares of the grey scale and of the shorter side, as the systems' pictures differ in size. What has two
directions (which way a picture is turned, whether it is too red or too blue) takes one by the seed.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dashboard.hunting._changes import (
    Matrix,
    Planes,
    bias_field,
    blur,
    brighter,
    coarser,
    colour_cast,
    contrast,
    ct_kernel,
    ct_noise,
    ct_offset,
    darker,
    gamma,
    jpeg,
    moved,
    noise,
    rotation,
    shift,
)
from models.errors import DataError
from models.preprocess import InputSpec
from models.types import FloatArray, Image, Modality, Window

STRENGTHS = (0, 1, 2, 3, 4)
_FULL = (Window.from_range("full range", 0.0, 1.0),)


@dataclass(frozen=True)
class Corruption:
    """One way in which a picture can be worse.

    Attributes:
        title: for people.
        amounts: at strengths 1 to 4.
        words: an amount in words, with {} in its place.
        about: what happens to the picture, in a sentence for a reader.
        fits: whether it makes sense for a picture.
        change: planes, amount and generator to (C, S, H, W) values; None for a ``move``.
        move: the same to (3, 3) from pixels (column, row, 1) of the changed picture to those of the original.
    """

    id: str
    title: str
    amounts: tuple[float, float, float, float]
    words: str
    about: str
    fits: Callable[[Image], bool]
    change: Callable[[Planes, float, np.random.Generator], FloatArray] | None = None
    move: Callable[[Planes, float, np.random.Generator], Matrix] | None = None

    def amount(self, strength: int) -> str:
        """ "8 % of the grey scale", or "unchanged" at strength 0."""
        return self.words.format(f"{self.amounts[strength - 1]:g}") if strength else "unchanged"


@dataclass(frozen=True, eq=False)
class Corrupted:
    """A changed picture.

    Attributes:
        to_original: (3, 3) from its pixels (column, row, 1) to those of the original; None where nothing moved.
    """

    image: Image
    to_original: Matrix | None = None

    def undo(self, values: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
        """A map (H, W) of the changed picture laid onto the original, and where it is known there."""
        if self.to_original is None:
            return values, np.ones(values.shape, dtype=bool)
        back: Matrix = np.linalg.inv(self.to_original).astype(np.float64)
        known = moved(np.ones_like(values), back, "constant", 0.0) > 0.5
        return moved(values, back, "nearest", 0.0), known


def _displayed(image: Image) -> bool:
    return image.unit != "HU"


def _hounsfield(image: Image) -> bool:
    return image.unit == "HU"


def _always(_: Image) -> bool:
    return True


_GREY = "{} % of the grey scale"
CORRUPTIONS: dict[str, Corruption] = {
    one.id: one
    for one in (
        Corruption(
            "noise",
            "Noise",
            (2, 4, 8, 16),
            "standard deviation {} % of the grey scale",
            "Grain as of a short exposure.",
            _displayed,
            noise,
        ),
        Corruption(
            "ct-noise",
            "CT noise",
            (10, 20, 40, 80),
            "standard deviation {} HU",
            "Grain as of a lower dose; real noise is coarser.",
            _hounsfield,
            ct_noise,
        ),
        Corruption(
            "blur",
            "Blur",
            (0.25, 0.5, 1, 2),
            "standard deviation {} % of the shorter side",
            "Out of focus or moved.",
            _displayed,
            blur,
        ),
        Corruption(
            "ct-kernel",
            "Softer kernel",
            (1, 1.5, 2.5, 4),
            "{} mm wide at half height",
            "As reconstructed with a softer kernel.",
            _hounsfield,
            ct_kernel,
        ),
        Corruption(
            "ct-offset",
            "Offset of density",
            (10, 20, 40, 80),
            "{} HU up or down",
            "A scanner whose densities are off.",
            _hounsfield,
            ct_offset,
        ),
        Corruption("brighter", "Brighter", (5, 10, 20, 30), _GREY, "A window set too low.", _displayed, brighter),
        Corruption("darker", "Darker", (5, 10, 20, 30), _GREY, "A window set too high.", _displayed, darker),
        Corruption(
            "contrast",
            "Less contrast",
            (85, 70, 50, 30),
            "{} % of the contrast left",
            "A window set too wide.",
            _displayed,
            contrast,
        ),
        Corruption(
            "gamma",
            "Gamma",
            (1.25, 1.5, 2, 3),
            "exponent {}",
            "Another grey-scale curve: middle greys become darker.",
            _displayed,
            gamma,
        ),
        Corruption("jpeg", "JPEG", (75, 50, 25, 10), "quality {}", "Stored with losses.", _displayed, jpeg),
        Corruption(
            "coarser",
            "Coarser pixels",
            (1.5, 2, 3, 4),
            "pixels {} times as wide",
            "Fewer pixels than the network was made for.",
            _always,
            coarser,
        ),
        Corruption(
            "rotation",
            "Rotation",
            (2, 5, 10, 20),
            "{} degrees to either side",
            "Positioned askew; resampling softens a little as well.",
            _always,
            None,
            rotation,
        ),
        Corruption(
            "shift",
            "Shift",
            (2, 5, 10, 15),
            "{} % of the shorter side",
            "Positioned off the middle.",
            _always,
            None,
            shift,
        ),
        Corruption(
            "bias-field",
            "Uneven brightness",
            (10, 20, 40, 60),
            "up to {} % brighter, as much darker elsewhere",
            "The bias field of an MR coil.",
            lambda image: image.modality is Modality.MR and not image.is_colour,
            bias_field,
        ),
        Corruption(
            "colour-cast",
            "Colour cast",
            (5, 10, 20, 30),
            "red and blue {} % apart from green",
            "Another lamp or white balance.",
            lambda image: image.is_colour and _displayed(image),
            colour_cast,
        ),
    )
}


def fitting(image: Image) -> tuple[Corruption, ...]:
    """The corruptions that make sense for a picture, in the order to show them."""
    return tuple(one for one in CORRUPTIONS.values() if one.fits(image))


def corrupted(
    image: Image, name: str, strength: int, seed: int | Sequence[int] = 0, spec: InputSpec | None = None
) -> Corrupted:
    """A plane image made worse; its geometry stays.

    HU stay HU with their windows. Any other picture is changed as it is displayed in its default window and comes back
    in the unit interval.

    Args:
        name: of :data:`CORRUPTIONS`.
        strength: 0 (the image itself) to 4.
        seed: of noise, fields and directions. They do not depend on the strength, so that only the amount differs.
        spec: what the network sees; one of several slices has the neighbours changed as well.

    Raises:
        DataError: the image is a volume, or there is no such corruption or strength.
    """
    if image.is_volume:
        raise DataError(f"A slice is changed, not a volume; this image has {image.depth} slices, choose one.")
    if name not in CORRUPTIONS or strength not in STRENGTHS:
        raise DataError(
            f"There is no corruption {name!r} of strength {strength}; there are {', '.join(CORRUPTIONS)}, each of "
            f"strength {STRENGTHS[0]} to {STRENGTHS[-1]}."
        )
    if strength == 0:
        return Corrupted(image)
    chosen = CORRUPTIONS[name]
    volume, index = _around(image, spec)
    values = volume.display() if _displayed(image) else volume.values
    if not volume.is_volume:
        values = values[:, None]
    planes = Planes(values, image.plane_spacing, image.modality)
    amount = chosen.amounts[strength - 1]
    seeds = (seed,) if isinstance(seed, int) else tuple(seed)
    draw = np.random.default_rng((*seeds, zlib.crc32(name.encode())))
    matrix = None
    if chosen.move is not None:
        matrix = chosen.move(planes, amount, draw)
        # What comes in is air or black film; skin goes on as it was, since black corners tell of a device.
        mode, fill = ("reflect", 0.0) if image.is_colour else ("constant", float(values.min()))
        if _displayed(image):
            fill = 0.0
        planes_moved = [moved(values[place], matrix, mode, fill) for place in np.ndindex(values.shape[:2])]
        changed = np.stack(planes_moved).reshape(values.shape)
    elif chosen.change is not None:
        changed = chosen.change(planes, amount, draw)
    if _displayed(image):
        changed = np.clip(changed, 0, 1)
    changed = np.ascontiguousarray(changed, dtype=np.float32)
    if not volume.is_volume:
        changed = changed[:, 0]
    made = replace(volume, values=changed)
    if _displayed(image):
        made = replace(made, unit="unit interval", windows=_FULL, inverted=False)
    return Corrupted(made.slice(index) if made.is_volume else made, matrix)


def _around(image: Image, spec: InputSpec | None) -> tuple[Image, int]:
    """What has to be changed: the plane, or the slices that a network of several sees, and the plane's place there."""
    if image.within is None or spec is None or spec.slices == 1:
        return replace(image, within=None), 0
    volume, index = image.within
    spacing = volume.geometry.spacing[2] if volume.geometry else spec.slice_step_mm
    reach = int(np.ceil(spec.slices // 2 * spec.slice_step_mm / spacing)) + 1
    first, last = max(0, index - reach), min(volume.depth, index + reach + 1)
    geometry = volume.geometry.at_slice(first) if volume.geometry else None
    return replace(volume, values=volume.values[:, first:last], geometry=geometry), index - first
