"""A dermoscopic picture of a pigmented lesion whose asymmetry, border and colours are set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.types import FloatArray, Geometry, Image, Modality, Region
from sample_data.phantoms._base import Drawing, Phantom, flag, number, register
from sample_data.phantoms._shapes import fractal, grain, line_distance, noise, step

_SKIN = np.array([0.87, 0.68, 0.60], dtype=np.float32)
# In the order in which they are added: light brown, dark brown, black, red, blue-grey, white.
_COLOURS = np.array(
    [
        (0.62, 0.41, 0.29),
        (0.37, 0.22, 0.15),
        (0.15, 0.10, 0.09),
        (0.70, 0.34, 0.30),
        (0.42, 0.43, 0.50),
        (0.86, 0.78, 0.74),
    ],
    dtype=np.float32,
)
_HEIGHT, _WIDTH, _MM = 450, 600, 0.03


@register("skin-lesion")
@dataclass(frozen=True)
class SkinLesion(Phantom):
    """RGB picture of 600 x 450 px, 0.03 mm a pixel, after the ABCD rule of dermoscopy (Stolz et al. 1994)."""

    kind: ClassVar[str] = "skin lesion"
    system: ClassVar[str] = "skin-lesion-7"

    diameter_mm: float = number(6.0, 2.0, 10.0, "mm", "diameter of the disc of equal area")
    asymmetry: float = number(
        0.1, 0.0, 0.6, "", "departure from an ellipse: relative spread of the radius at low frequency"
    )
    border: float = number(0.1, 0.0, 1.0, "", "notches of the edge: 0 smooth and faded, 1 ragged and abrupt")
    colours: int = number(2, 1, 6, "", "number of colours: light brown, dark brown, black, red, blue-grey, white")
    network: float = number(0.5, 0.0, 1.0, "", "strength of the pigment network")
    globules: int = number(12, 0, 80, "", "brown dots and globules")
    hairs: int = number(0, 0, 60, "", "hairs across the field")
    ruler: bool = flag(False, "a millimetre scale along the lower edge")

    def draw(self, rng: np.random.Generator) -> Drawing:
        shape = (_HEIGHT, _WIDTH)
        x = ((np.arange(_WIDTH) - (_WIDTH - 1) / 2) * _MM).astype(np.float32)[None, :]
        y = ((np.arange(_HEIGHT) - (_HEIGHT - 1) / 2) * _MM).astype(np.float32)[:, None]
        inward, mask = self._outline(rng, x, y)
        picture = self._skin(rng, shape)
        lesion = self._pigment(rng, shape, inward)
        fade = step(inward, 0.75 - 0.6 * self.border)
        picture += (lesion * (picture / _SKIN[:, None, None]) ** 0.4 - picture) * fade * 0.94
        picture = self._dots(rng, picture, inward, mask)
        light = 1.04 - 0.20 * ((x / 9) ** 2 + (y / 9) ** 2) + 0.03 * (x / 9)
        picture = np.asarray(picture * light, dtype=np.float32)
        picture = self._hair(rng, picture)
        if self.ruler:
            picture = _ruler(picture)
        picture = ndimage.gaussian_filter(picture, (0, 0.6, 0.6)) + 0.010 * grain(rng, (3, *shape), (0, 0.5, 0.5))
        values = np.round(np.clip(picture, 0, 1) * 255).astype(np.float32) / np.float32(255)
        asymmetry = _fold_asymmetry(mask)
        return Drawing(
            image=Image(values, "unit interval", Modality.DERMOSCOPY, Geometry.from_spacing(_MM, _MM)),
            finding=f"pigmented skin lesion, {self.diameter_mm:g} mm, {self.colours} colour{'s' if self.colours > 1 else ''}",
            regions=(Region("Lesion", mask),),
            labels={},
            attributes={
                "lesion diameter": f"{self.diameter_mm:.1f} mm",
                "lesion area": f"{mask.sum() * _MM**2:.1f} mm2",
                "asymmetry": f"{asymmetry:.2f} (share of the area that does not match when folded)",
                "border irregularity": f"{self.border:.2f}",
                "colours": f"{self.colours}",
                "hairs": f"{self.hairs}",
                "pixel spacing": f"{_MM:g} mm",
            },
        )

    def _outline(self, rng: np.random.Generator, x: FloatArray, y: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
        """(distance in mm into the lesion, mask): an ellipse bent at low and at high frequency, area as asked for."""
        theta = np.linspace(-np.pi, np.pi, 1441)
        bend = np.ones_like(theta)
        for k in (1, 2, 3):
            bend += (
                self.asymmetry
                * rng.uniform(0.4, 0.8)
                * np.cos(k * theta + rng.uniform(0, 2 * np.pi))
                / (1 if k > 1 else 1.6)
            )
        for k in range(6, 19):
            bend += 0.024 * self.border * rng.normal() * np.cos(k * theta + rng.uniform(0, 2 * np.pi))
        tilt = rng.uniform(0, np.pi)
        stretch = rng.uniform(1.05, 1.25)
        ellipse = 1 / np.sqrt((np.cos(theta - tilt) / stretch) ** 2 + (np.sin(theta - tilt) * stretch) ** 2)
        radius = ellipse * np.clip(bend, 0.3, 2.0)
        area = 0.5 * np.sum((radius[:-1] ** 2 + radius[1:] ** 2) / 2) * (theta[1] - theta[0])
        radius *= np.sqrt(np.pi * (self.diameter_mm / 2) ** 2 / area)
        # The centre of area goes to the middle of the picture, with a little room for chance.
        cx = float(np.mean(radius**3 * np.cos(theta)) / np.mean(radius**2) * 2 / 3)
        cy = float(np.mean(radius**3 * np.sin(theta)) / np.mean(radius**2) * 2 / 3)
        cx, cy = cx + rng.uniform(-0.4, 0.4), cy + rng.uniform(-0.3, 0.3)
        dx, dy = x + cx, y + cy
        edge = np.interp(np.arctan2(dy, dx), theta, radius)
        mask = np.hypot(dx, dy) < edge
        inside = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
        return (inside * _MM).astype(np.float32), mask

    def _skin(self, rng: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
        """(3, H, W): mottled skin with fine lines and a few small vessels."""
        tone = 0.022 * fractal(rng, shape, 60, 4) + 0.014 * fractal(rng, shape, 9, 3)
        lines = np.abs(noise(rng, shape, 13)) + 0.4 * np.abs(noise(rng, shape, 7))
        tone -= 0.022 * np.exp(-((lines / 0.22) ** 2))
        redness = 0.011 * fractal(rng, shape, 40, 3)
        return _SKIN[:, None, None] + np.stack([tone + 0.3 * redness, tone - redness, tone - 0.8 * redness])

    def _pigment(self, rng: np.random.Generator, shape: tuple[int, int], inward: FloatArray) -> FloatArray:
        """(3, H, W): colours in patches, the paler brown outside, crossed by the pigment network."""
        size = self.diameter_mm / 2
        colour = np.broadcast_to(_COLOURS[0][:, None, None], (3, *shape)).astype(np.float32)
        if self.colours > 1:
            centre = inward / size - 0.38 + 0.17 * fractal(rng, shape, 45, 4)
            colour = colour + (_COLOURS[1][:, None, None] - colour) * step(centre, 0.22) * 0.9
        for index in range(2, self.colours):
            patch = noise(rng, shape, 0.42 * size / _MM) + 0.35 * fractal(rng, shape, 20, 3)
            level = np.quantile(patch[inward > 0.2 * size] if (inward > 0.2 * size).any() else patch, 0.80)
            share = step(patch - level, 0.35) * step(inward - 0.06 * size, 0.15)
            colour = colour + (_COLOURS[index][:, None, None] - colour) * share * 0.75
        tone = 1 + 0.07 * fractal(rng, shape, 14, 3)
        if self.network > 0:
            mesh = _mesh(rng, shape)
            tone = tone - 0.34 * self.network * mesh * step(0.85 * size - inward + 0.3 * noise(rng, shape, 50), 0.5)
        return np.asarray(colour * tone, dtype=np.float32)

    def _dots(
        self, rng: np.random.Generator, picture: FloatArray, inward: FloatArray, mask: NDArray[np.bool_]
    ) -> FloatArray:
        """Round globules of dark pigment inside the lesion."""
        if self.globules == 0:
            return picture
        places = np.argwhere(mask & (inward > 0.1))
        spots = np.zeros(mask.shape, dtype=np.float32)
        for row, column in places[rng.integers(len(places), size=self.globules)]:
            radius = rng.uniform(1.3, 3.2)
            reach = int(np.ceil(radius)) + 2
            top, left = max(row - reach, 0), max(column - reach, 0)
            block = spots[top : row + reach + 1, left : column + reach + 1]
            r, c = np.ogrid[top : top + block.shape[0], left : left + block.shape[1]]
            np.maximum(block, step(radius - np.hypot(r - row, c - column), 1.2), out=block)
        return np.asarray(picture + (_COLOURS[1][:, None, None] * 0.8 - picture) * spots * 0.75, dtype=np.float32)

    def _hair(self, rng: np.random.Generator, picture: FloatArray) -> FloatArray:
        """Dark hairs with a bright edge, some thick and some thin."""
        shape = (picture.shape[1], picture.shape[2])
        main = rng.uniform(0, np.pi)
        for thickness in (0.7, 1.2, 1.8):
            lines = []
            for _ in range(self.hairs // 3 + (thickness == 1.2) * (self.hairs % 3)):
                start = np.array([rng.uniform(0, shape[1]), rng.uniform(0, shape[0])])
                angle = main + rng.normal(0, 0.45)
                along = np.array([np.cos(angle), np.sin(angle)]) * rng.uniform(90, 330)
                across = np.array([-along[1], along[0]]) * rng.normal(0, 0.13)
                t = np.linspace(0, 1, 24)[:, None]
                lines.append(start + along * t + 4 * across * t * (1 - t))
            if lines:
                distance = line_distance(lines, shape)
                picture = picture + (np.float32(0.92) - picture) * 0.16 * step(thickness + 1.6 - distance, 1.0)
                dark = np.array([0.16, 0.11, 0.09], dtype=np.float32)[:, None, None]
                picture = picture + (dark - picture) * 0.9 * step(thickness - distance, 0.7)
        return np.asarray(picture, dtype=np.float32)


def _mesh(rng: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
    """Honeycomb of lines around jittered cells about 0.25 mm wide, 0 to 1."""
    pitch = 8.5
    rows, columns = int(shape[0] / pitch) + 3, int(shape[1] / pitch) + 3
    r, c = np.mgrid[0:rows, 0:columns].astype(float)
    c += 0.5 * (r % 2)
    r, c = (r - 1) * pitch + rng.normal(0, 1.5, r.shape), (c - 1) * pitch + rng.normal(0, 1.5, c.shape)
    seeds = np.ones(shape, dtype=bool)
    inside = (r >= 0) & (r < shape[0] - 0.5) & (c >= 0) & (c < shape[1] - 0.5)
    seeds[r[inside].astype(int), c[inside].astype(int)] = False
    distance, (ri, ci) = ndimage.distance_transform_edt(seeds, return_indices=True)
    cell = (ri * shape[1] + ci).astype(np.int64)
    border = (cell != np.roll(cell, 1, 0)) | (cell != np.roll(cell, 1, 1))
    line = ndimage.distance_transform_edt(~border)
    strength = np.clip(0.75 + 0.4 * noise(rng, shape, 40), 0.1, 1.2)
    return np.asarray(np.exp(-((line / 1.25) ** 2)) * strength * (distance < 3 * pitch), dtype=np.float32)


def _ruler(picture: FloatArray) -> FloatArray:
    """Millimetre ticks on a pale strip, every fifth longer."""
    drawn = picture.copy()
    top = drawn.shape[1] - 52
    drawn[:, top:] += (np.float32(0.9) - drawn[:, top:]) * 0.82
    for k in range(int(drawn.shape[2] * _MM) + 1):
        column = round(k / _MM)
        drawn[:, top : top + (26 if k % 5 == 0 else 14), column : column + 2] = 0.12
    return drawn


def _fold_asymmetry(mask: NDArray[np.bool_]) -> float:
    """Area that does not overlap when the lesion is folded along each of its principal axes, over its area; the larger."""
    points = np.argwhere(mask).astype(float)
    points -= points.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov(points.T))
    along = points @ axes
    size = int(np.ceil(np.abs(along).max())) + 2
    worst = 0.0
    for flip in ((-1, 1), (1, -1)):
        grid = np.zeros((2, 2 * size + 1, 2 * size + 1), dtype=bool)
        for k, cloud in enumerate((along, along * flip)):
            index = np.round(cloud).astype(int) + size
            grid[k, index[:, 0], index[:, 1]] = True
        closed = ndimage.binary_closing(grid, np.ones((1, 3, 3), dtype=bool))
        worst = max(worst, float((closed[0] & ~closed[1]).sum() / closed[0].sum()))
    return worst
