"""CT of the chest with one planted lung nodule, as one slice or as a volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.errors import DataError
from models.types import Region
from sample_data.phantoms._base import Drawing, Phantom, choice, number, register
from sample_data.phantoms._shapes import Star, grow, join, step
from sample_data.phantoms._thorax import Grid, Thorax, draw_thorax, finish

_GLASS_MARGIN = 0.62  # radius of the solid part of a part-solid nodule, relative to the nodule


@dataclass(frozen=True)
class _LungNodule(Phantom):
    system: ClassVar[str] = "lung-cancer-ct"

    diameter_mm: float = number(14.0, 3.0, 40.0, "mm", "diameter of the ball (a slice: of the disc) of equal size")
    density_hu: float = number(30.0, -700.0, 400.0, "HU", "mean density of the nodule")
    texture: str = choice(
        "solid", ("solid", "part-solid"), "part-solid: a rim of ground glass (-600 HU) around a solid core"
    )
    lobulation: float = number(0.07, 0.0, 0.2, "", "relative spread of the radius")
    spicules: int = number(0, 0, 40, "", "fine strands running outwards; not part of the mask")
    side: str = choice("right", ("left", "right"), "lung that holds it, as the patient's")
    noise_hu: float = number(24.0, 0.0, 80.0, "HU", "standard deviation of the scanner noise")

    def _plant(self, rng: np.random.Generator, thorax: Thorax, plane: bool) -> Drawing:
        grid = thorax.grid
        centre = self._place(rng, thorax, plane)
        star = Star.random(rng, self.lobulation, dims=2 if plane else 3)
        radius = self.diameter_mm / 2
        x, y, z = (axis - c for axis, c in zip(grid.mm(), centre, strict=True))
        relative = star.relative(x / radius, y / radius, z / radius)
        mask = relative < 1.0
        share = step((1 - relative) * radius, grid.plane_mm * 0.8)
        density = (
            np.where(relative < _GLASS_MARGIN, self.density_hu, -600.0)
            if self.texture == "part-solid"
            else self.density_hu
        )
        hu = thorax.hu
        if self.spicules:
            hu = self._spiculate(rng, hu, thorax, centre)
        thorax.hu[...] = hu + (density - hu) * share
        image = finish(rng, thorax, self.noise_hu, plane)
        lungs = {"Right lung": thorax.right, "Left lung": thorax.left}
        shape = "area" if plane else "volume"
        size = f"{mask.sum() * grid.plane_mm**2:.0f} mm2" if plane else f"{mask.sum() * grid.voxel_ml:.2f} ml"
        return Drawing(
            image=image,
            finding=f"{self.texture} lung nodule, {self.diameter_mm:g} mm, {self.side} lung",
            regions=tuple(Region(name, (m[0] if plane else m)) for name, m in {"Nodule": mask, **lungs}.items()),
            labels={"Nodule": True},
            attributes={
                "nodule diameter": f"{self.diameter_mm:.1f} mm",
                f"nodule {shape}": size,
                "nodule density": f"{self.density_hu:.0f} HU",
                "nodule centre": f"x {centre[0]:.1f}, y {centre[1]:.1f}, z {centre[2]:.1f} mm",
                "side": self.side,
                "spacing": f"{grid.plane_mm:g} x {grid.plane_mm:g} x {grid.slice_mm:g} mm",
            },
        )

    def _place(self, rng: np.random.Generator, thorax: Thorax, plane: bool) -> NDArray[np.float64]:
        """Centre of the nodule, in mm: well inside the lung, clear of large vessels where possible."""
        lung = thorax.left if self.side == "left" else thorax.right
        room = self.diameter_mm / 2 * (1 + 2.5 * self.lobulation) + thorax.grid.plane_mm
        # Only the lung's own box: the distance transform of the whole volume would take most of the time.
        box = ndimage.find_objects(lung.astype(np.uint8))[0]
        rim = 0 if plane else 1
        within = np.pad(lung[box], ((rim, rim), (1, 1), (1, 1)))
        found = ndimage.distance_transform_edt(within, sampling=thorax.grid.spacing)
        depth = np.zeros(lung.shape, dtype=np.float32)
        depth[box] = found[rim : len(found) - rim, 1:-1, 1:-1]
        free = np.argwhere((depth > room) & (thorax.vessels < 0.05))
        if len(free) == 0:
            raise DataError(
                f"A nodule of {self.diameter_mm:g} mm finds no room in the {self.side} lung; choose a smaller one."
            )
        return thorax.grid.point(free[rng.integers(len(free))])

    def _spiculate(
        self, rng: np.random.Generator, hu: NDArray[np.float32], thorax: Thorax, centre: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Thin strands from the nodule's edge into the lung."""
        radius = self.diameter_mm / 2
        strands = []
        for _ in range(self.spicules):
            way = rng.standard_normal(3) * (1.0, 1.0, 0.25 if thorax.grid.slices == 1 else 1.0)
            way /= np.linalg.norm(way)
            strands.append(
                grow(rng, centre + 0.85 * radius * way, way, radius * rng.uniform(0.4, 0.9) + 2, 0.55, 2, 0.2)
            )
        tree = join(strands)
        reach = float(np.abs(tree.points - centre).max()) + 1
        x, y, z = thorax.grid.mm()
        near = (np.abs(x - centre[0]) < reach) & (np.abs(y - centre[1]) < reach) & (np.abs(z - centre[2]) < reach)
        where = np.argwhere(near & (thorax.left | thorax.right))
        share = tree.cover(thorax.grid.point(where), thorax.grid.plane_mm)
        drawn = hu.copy()
        index = tuple(where.T)
        drawn[index] += (self.density_hu - 120 - drawn[index]) * share * 0.8
        return drawn


@register("lung-nodule-slice")
@dataclass(frozen=True)
class LungNoduleSlice(_LungNodule):
    """One axial slice, 512 x 512 px of 0.7 mm, through the middle of the nodule."""

    kind: ClassVar[str] = "lung nodule slice"

    level_mm: float = number(20.0, -55.0, 70.0, "mm", "height of the slice above the carina")

    def draw(self, rng: np.random.Generator) -> Drawing:
        grid = Grid(512, 512, 1, 0.7, 1.25, self.level_mm)
        return self._plant(rng, draw_thorax(rng, grid), plane=True)


@register("lung-nodule-volume")
@dataclass(frozen=True)
class LungNoduleVolume(_LungNodule):
    """A volume of 256 x 256 x 64 voxels of 1.4 x 1.4 x 2.5 mm."""

    kind: ClassVar[str] = "lung nodule volume"

    def draw(self, rng: np.random.Generator) -> Drawing:
        grid = Grid(256, 256, 64, 1.4, 2.5, -90.0)
        return self._plant(rng, draw_thorax(rng, grid), plane=False)
