"""Colours of a skin lesion: which of the six of dermoscopy it shows, how much they vary."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dashboard.quantify.grid import BoolArray
from models.types import FloatArray

Lab = NDArray[np.float64]
# CIE Lab of each colour on skin of SKIN, one shade or a few. Values of this project, set by looking at clusters of lesion
# pixels of HAM10000 (k-means over 84,000 pixels, each class alike); the six names are those of Stolz et al. 1994.
PALETTE: dict[str, tuple[tuple[float, float, float], ...]] = {
    "white": ((82, 6, 3),),
    "red": ((47, 42, 8), (48, 62, 30), (42, 56, -4)),
    "light brown": ((53, 26, 18), (50, 34, 34)),
    "dark brown": ((31, 25, 14), (33, 36, 30)),
    "blue-grey": ((45, 7, -6), (38, 26, -18)),
    "black": ((15, 7, 3),),
}
SKIN = (70.0, 16.0, 2.0)  # median of the skin around the lesions of HAM10000
FARTHEST = 25.0  # Lab distance to the nearest colour beyond which a pixel has none of them
LEAST_SHARE = 0.05  # of the lesion that a colour must cover to be counted
DARKEST_SKIN = 20.0  # lightness below which the surroundings are vignette or ink
HAIR_DEPTH, HAIR_WIDTH, HAIR_LENGTH = 8.0, 0.025, 0.10  # lightness; shares of the picture's longer side
_SRGB = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])  # fmt: skip
_WHITE = _SRGB.sum(axis=1)  # D65
_KNEE, _SLOPE = 216 / 24389, 24389 / 27


@dataclass(frozen=True)
class Colours:
    """What a lesion's pixels look like.

    Attributes:
        shares: of the lesion, by colour, largest first; what is like skin or like none of the six is in none.
        spread: root mean square distance in Lab of the lesion's pixels from their mean.
    """

    shares: dict[str, float]
    spread: float

    @property
    def present(self) -> tuple[str, ...]:
        return tuple(name for name, share in self.shares.items() if share >= LEAST_SHARE)


def linear(rgb: FloatArray) -> NDArray[np.float64]:
    """sRGB in [0, 1] to linear light (IEC 61966-2-1)."""
    values = rgb.astype(np.float64)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab_of(light: NDArray[np.float64]) -> Lab:
    """(..., 3) linear sRGB to CIE 1976 L*a*b*, D65: L* in [0, 100]."""
    ratio = light @ _SRGB.T / _WHITE
    f = np.where(ratio > _KNEE, np.cbrt(ratio), (_SLOPE * ratio + 16) / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def _light_of(lab: tuple[float, float, float]) -> NDArray[np.float64]:
    """CIE L*a*b* to linear sRGB."""
    y = (lab[0] + 16) / 116
    f = np.array([y + lab[1] / 500, y, y - lab[2] / 200])
    ratio = np.where(f**3 > _KNEE, f**3, (116 * f - 16) / _SLOPE)
    return np.asarray(np.linalg.solve(_SRGB, ratio * _WHITE))


def on_standard_skin(rgb: FloatArray, skin: BoolArray) -> Lab:
    """(H, W, 3) Lab of an (H, W, 3) sRGB picture under the light in which its skin looks like ``SKIN``.

    Each channel is scaled (von Kries), so that exposure and white balance of the camera do not count as colours.

    Args:
        skin: pixels around the lesion; without any the picture stays as it is.
    """
    light = linear(rgb)
    plain = lab_of(light)
    usable = skin & (plain[..., 0] > DARKEST_SKIN)
    if usable.any():
        light = light * _light_of(SKIN) / np.maximum(np.median(light[usable], axis=0), 1e-3)
        return lab_of(light)
    return plain


def colours(lab: Lab, lesion: BoolArray) -> Colours:
    """Of the pixels of an (H, W, 3) picture that a mask marks, at least one."""
    pixels = lab[lesion]
    named = named_colour(pixels)
    shares = np.bincount(named, minlength=len(PALETTE) + 1) / len(pixels)
    order = np.argsort(-shares[: len(PALETTE)], kind="stable")
    names = list(PALETTE)
    spread = float(np.sqrt(((pixels - pixels.mean(axis=0)) ** 2).sum(axis=1).mean()))
    return Colours({names[k]: float(shares[k]) for k in order}, spread)


def named_colour(pixels: Lab) -> NDArray[np.int64]:
    """(n,) place in ``PALETTE`` of the nearest of (n, 3) Lab colours; its length where that is skin, or none is near."""
    shades = [(place, shade) for place, own in enumerate(PALETTE.values()) for shade in own]
    place = np.array([*(place for place, _ in shades), len(PALETTE)])
    distance = np.linalg.norm(pixels[:, None] - np.array([*(shade for _, shade in shades), SKIN]), axis=2)
    return np.asarray(np.where(distance.min(axis=1) <= FARTHEST, place[distance.argmin(axis=1)], len(PALETTE)))


def hair(lab: Lab, lesion: BoolArray) -> BoolArray:
    """(H, W) thin dark lines that are not of the lesion alone: they go on outside it.

    What a grey closing fills in (the black top hat, after DullRazor, Lee et al. 1997) and is long and thin.
    """
    side = max(lesion.shape)
    width = 2 * round(HAIR_WIDTH * side / 2) + 1
    lightness = lab[..., 0]
    dark = ndimage.grey_closing(lightness, size=(width, width)) - lightness > HAIR_DEPTH
    parts, _ = ndimage.label(dark, np.ones((3, 3)))
    found = np.zeros(lesion.shape, dtype=bool)
    for number, place in enumerate(ndimage.find_objects(parts), start=1):
        inside = parts[place] == number
        length = np.hypot(*(part.stop - part.start for part in place))
        if length >= HAIR_LENGTH * side and (inside & ~lesion[place]).sum() >= 0.2 * inside.sum():
            found[place] |= inside
    return found
