"""A frontal chest film with a planted finding, projected from drawn thicknesses of tissue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.errors import DataError
from models.types import FloatArray, Geometry, Image, Modality, Region, Window
from sample_data.phantoms._base import Drawing, Phantom, choice, number, register
from sample_data.phantoms._film import Chest, draw_chest, expose, width
from sample_data.phantoms._shapes import Star, fractal, step

_FINDINGS = ("none", "nodule", "effusion", "consolidation", "cardiomegaly")
_NODULE_ENDS = 30.0  # mm; a larger one is called a mass (Fleischner Society glossary 2008)


@register("chest-film")
@dataclass(frozen=True)
class ChestFilm(Phantom):
    """Posteroanterior film of 360 x 360 mm in grey, 0 to 4095, as if acquired digitally."""

    kind: ClassVar[str] = "chest film"
    system: ClassVar[str] = "chest-xray-14"

    finding: str = choice("nodule", _FINDINGS, "what is planted; cardiomegaly only names a ratio above 0.5")
    side: str = choice("right", ("left", "right"), "the patient's side of nodule, effusion or consolidation")
    diameter_mm: float = number(
        22.0, 6.0, 70.0, "mm", "nodule: diameter of the disc of equal area; from 30 mm on a mass"
    )
    effusion_mm: float = number(
        45.0, 15.0, 110.0, "mm", "effusion: height above the costophrenic angle at the chest wall"
    )
    consolidation_mm: float = number(75.0, 30.0, 120.0, "mm", "consolidation: diameter of the disc of equal area")
    cardiothoracic_ratio: float = number(0.45, 0.38, 0.68, "", "width of the heart over the inner width of the chest")
    size_px: int = number(640, 512, 1024, "px", "rows and columns")
    noise_percent: float = number(1.5, 0.0, 8.0, "%", "quantum noise where the film is of medium density")

    def draw(self, rng: np.random.Generator) -> Drawing:
        if (self.finding == "cardiomegaly") != (self.cardiothoracic_ratio > 0.5):
            raise DataError(
                "Phantom chest film: a cardiothoracic ratio above 0.5 goes with the finding 'cardiomegaly' and with no other, "
                f"got {self.cardiothoracic_ratio:g} and {self.finding!r}."
            )
        chest = draw_chest(rng, self.size_px, self.cardiothoracic_ratio)
        planted, mask, words, truth = self._plant(rng, chest)
        film = expose(rng, planted, self.noise_percent)
        regions = [Region(words, mask)] if mask is not None else []
        if self.finding != "cardiomegaly":
            regions.append(Region("Heart", chest.heart))
        regions += [Region("Right lung", chest.right), Region("Left lung", chest.left)]
        ratio = width(chest.heart) / width(chest.right | chest.left)
        told = truth.values() if truth else (f"cardiothoracic ratio {ratio:.2f}",)
        return Drawing(
            image=Image(
                film[None],
                "stored value",
                Modality.XRAY,
                Geometry.from_spacing(chest.mm, chest.mm),
                (Window.from_range("full range", 0, 4095), Window("lungs", 1300, 2400)),
            ),
            finding="chest film, " + (", ".join([words.lower(), *told]) if words else "no finding"),
            regions=tuple(regions),
            labels={name: name == words for name in ("Nodule", "Mass", "Effusion", "Consolidation", "Cardiomegaly")},
            attributes={
                "view": "PA",
                **{f"{words.lower()} {key}": value for key, value in truth.items()},
                "cardiothoracic ratio": f"{ratio:.2f}",
                "pixel spacing": f"{chest.mm:.3f} mm",
            },
        )

    def _plant(
        self, rng: np.random.Generator, chest: Chest
    ) -> tuple[Chest, NDArray[np.bool_] | None, str, dict[str, str]]:
        """The chest with its finding, the mask, the finding's name and its measured truth."""
        if self.finding == "nodule":
            added, mask = self._nodule(rng, chest)
            name = "Mass" if self.diameter_mm >= _NODULE_ENDS else "Nodule"
            truth = {"diameter": f"{self.diameter_mm:.1f} mm", "side": f"{self.side} lung"}
        elif self.finding == "effusion":
            added, mask = self._effusion(rng, chest)
            name, truth = "Effusion", {"height": f"{self.effusion_mm:.0f} mm", "side": f"{self.side} side"}
        elif self.finding == "consolidation":
            added, mask = self._consolidation(rng, chest)
            name, truth = (
                "Consolidation",
                {"area": f"{mask.sum() * chest.mm**2 / 100:.1f} cm2", "side": f"{self.side} lung"},
            )
        elif self.finding == "cardiomegaly":
            return chest, chest.heart, "Cardiomegaly", {}
        else:
            return chest, None, "", {}
        dense = chest.dense + added.astype(np.float32)
        planted = Chest(chest.mm, dense, chest.depth, chest.right, chest.left, chest.heart, chest.x, chest.y)
        return planted, mask, name, truth

    def _lung(self, chest: Chest) -> NDArray[np.bool_]:
        return chest.left if self.side == "left" else chest.right

    def _nodule(self, rng: np.random.Generator, chest: Chest) -> tuple[FloatArray, NDArray[np.bool_]]:
        """A ball of soft tissue in place of lung."""
        radius = self.diameter_mm / 2
        lung = self._lung(chest) & ~chest.heart & (chest.depth > 70)
        depth = ndimage.distance_transform_edt(lung) * chest.mm
        free = np.argwhere(depth > min(1.25 * radius + 2, 0.9 * float(depth.max())))
        row, column = free[rng.integers(len(free))]
        star = Star.random(rng, 0.05, dims=2)
        relative = star.relative((chest.x - chest.x[row, column]) / radius, (chest.y - chest.y[row, column]) / radius)
        chord = 2 * radius * np.sqrt(np.clip(1 - relative**2, 0, None))
        return 0.8 * np.maximum(chord, 5.0 * (relative < 1)), relative < 1

    def _effusion(self, rng: np.random.Generator, chest: Chest) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Free fluid: highest at the chest wall, with a meniscus that falls towards the middle."""
        lung = self._lung(chest)
        rows, columns = np.nonzero(lung)
        foot, outer = chest.y[rows.max(), 0], np.abs(chest.x[0, columns]).max()
        across = np.clip((outer - np.abs(chest.x)) / outer, 0, 1)
        bend = 1.5 * np.sin(chest.x / 17 + rng.uniform(0, 6))
        top = foot - self.effusion_mm * (0.42 + 0.58 * np.exp(-across * 3.2)) + bend
        below = chest.y - top
        mask = _largest(lung & (below > 0))
        # Elsewhere the level runs below the diaphragm, but for a sliver beside the heart that stays air.
        lateral = np.abs(chest.x) > np.abs(chest.x[mask]).min() - 8
        return 0.72 * chest.depth * step(below, 7.0) * lung * lateral, mask

    def _consolidation(self, rng: np.random.Generator, chest: Chest) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Airless lung with ragged edges, and bronchi that stay dark in it."""
        lung = self._lung(chest) & (chest.depth > 25)
        count = round(np.pi * self.consolidation_mm**2 / 4 / chest.mm**2)
        if count > 0.7 * lung.sum():
            raise DataError(
                f"Phantom chest film: a consolidation of {self.consolidation_mm:g} mm does not fit into the lung."
            )
        rows, columns = np.nonzero(lung)
        share = rng.uniform(0.5, 0.75)
        row = int(np.quantile(rows, share))
        column = int(np.median(columns[rows == row]))
        ragged = fractal(rng, lung.shape, 22 / chest.mm, 4)
        relative = (
            np.hypot(chest.x - chest.x[row, column], 1.15 * (chest.y - chest.y[row, column])) / self.consolidation_mm
        )
        field = relative + 0.13 * ragged
        level = np.partition(field[lung], count)[count]
        mask = _largest(lung & (field < level))
        shade = step((level - field) * self.consolidation_mm, 11.0) * (
            0.62 + 0.13 * fractal(rng, lung.shape, 8 / chest.mm, 3)
        )
        return 0.55 * chest.depth * shade * lung, mask


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest connected piece of a mask."""
    pieces, _ = ndimage.label(mask)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray(pieces == sizes.argmax())
