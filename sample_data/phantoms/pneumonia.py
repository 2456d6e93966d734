"""CT of the chest with planted ground glass and consolidation of known volume in each lung."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.errors import DataError
from models.types import Geometry, Region
from sample_data.phantoms._base import Drawing, Phantom, choice, number, register
from sample_data.phantoms._shapes import Star, fractal, noise
from sample_data.phantoms._thorax import BLOOD, Grid, Thorax, draw_thorax, finish

_TRIES = 60
_Piece = tuple[tuple[NDArray[np.integer], ...], NDArray[np.float32]]  # index arrays of voxels, their relative radius
# Of one patient at two times: centre (x, y, z) in mm, ml at the first and at the second.
_COURSE = (
    ((-92.0, 42.0, -38.0), 52.0, 18.0),
    ((-104.0, 2.0, -8.0), 16.0, 0.0),
    ((-82.0, 50.0, 32.0), 12.0, 12.0),
    ((92.0, 40.0, -42.0), 30.0, 58.0),
    ((86.0, 46.0, 24.0), 0.0, 9.0),
)
_MOVED_MM = (9.0, -6.0, 14.0)  # of the patient on the couch, between the two


@dataclass(frozen=True)
class _Pneumonia(Phantom):
    system: ClassVar[str] = "pneumonia-ct"

    solid_share: float = number(0.25, 0.0, 1.0, "", "share of the infected volume that is consolidated")
    glass_hu: float = number(-570.0, -750.0, -350.0, "HU", "mean density of ground glass")
    solid_hu: float = number(20.0, -100.0, 80.0, "HU", "mean density of consolidation")
    irregularity: float = number(0.16, 0.0, 0.25, "", "relative spread of a lesion's radius")
    noise_hu: float = number(24.0, 0.0, 80.0, "HU", "standard deviation of the scanner noise")

    def _paint(
        self,
        rng: np.random.Generator,
        thorax: Thorax,
        infected: NDArray[np.bool_],
        solid: NDArray[np.bool_],
        lesions: int,
        plane: bool = False,
    ) -> Drawing:
        """The chest with what is infected, of which ``solid`` is consolidated."""
        grid = thorax.grid
        glass = infected & ~solid
        mottle = fractal(rng, grid.shape, (8 / grid.slice_mm, 8 / grid.plane_mm, 8 / grid.plane_mm), 3)
        density = np.where(solid, self.solid_hu + 14 * mottle, self.glass_hu + 70 * mottle).astype(np.float32)
        # A soft edge, about half way at the edge of the mask, and none at the pleura.
        sigma = (0.0, 1.6 / grid.plane_mm, 1.6 / grid.plane_mm)
        inside = (thorax.right | thorax.left).astype(np.float32)
        share = ndimage.gaussian_filter(infected.astype(np.float32), sigma)
        share *= inside / np.maximum(ndimage.gaussian_filter(inside, sigma), 0.25)
        density = ndimage.gaussian_filter(density, (0.0, 0.9 / grid.plane_mm, 0.9 / grid.plane_mm))
        hu = thorax.hu + (density - thorax.hu) * np.minimum(share, 1.0)
        # Vessels stay visible through ground glass.
        thorax.hu[...] = hu + (BLOOD - hu) * thorax.vessels * glass
        image = finish(rng, thorax, self.noise_hu, plane)
        masks = {"Infection": infected, "Ground glass": glass, "Consolidation": solid}
        masks |= {"Right lung": thorax.right, "Left lung": thorax.left}
        masks = {name: mask for name, mask in masks.items() if mask.any()}
        lung = thorax.right | thorax.left
        attributes = {
            f"infection, {side} lung": f"{(infected & m).sum() * grid.voxel_ml:.1f} ml"
            for side, m in (("right", thorax.right), ("left", thorax.left))
        }
        attributes |= {
            "ground glass": f"{glass.sum() * grid.voxel_ml:.1f} ml",
            "consolidation": f"{solid.sum() * grid.voxel_ml:.1f} ml",
            "lung involvement": f"{100 * infected.sum() / lung.sum():.1f} %",
            "lesions": f"{lesions}",
            "spacing": f"{grid.plane_mm:g} x {grid.plane_mm:g} x {grid.slice_mm:g} mm",
        }
        amount = f"{infected.sum() * grid.voxel_ml:.3g} ml"
        return Drawing(
            image=image,
            finding=f"pneumonia, {amount} of infected lung" if infected.any() else "chest CT without infection",
            regions=tuple(Region(name, (m[0] if plane else m)) for name, m in masks.items()),
            labels={"Infection": bool(infected.any())},
            attributes=attributes,
        )

    def _add(
        self,
        rng: np.random.Generator,
        grid: Grid,
        lesion: _Piece,
        infected: NDArray[np.bool_],
        solid: NDArray[np.bool_],
    ) -> None:
        """Infect a piece of lung, and consolidate its share around the middle."""
        inside, relative = lesion
        infected[inside] = True
        patches = noise(rng, grid.shape, (12 / grid.slice_mm, 9 / grid.plane_mm, 9 / grid.plane_mm))[inside]
        core = np.argsort(relative + 0.35 * patches, kind="stable")[: round(self.solid_share * len(relative))]
        solid[tuple(axis[core] for axis in inside)] = True

    def _lesion(
        self, rng: np.random.Generator, grid: Grid, free: NDArray[np.bool_], candidates: NDArray[np.integer], count: int
    ) -> _Piece | None:
        """(index arrays of ``count`` voxels, their relative radius), or None where they do not fit in one piece."""
        centre = grid.point(candidates[rng.integers(len(candidates))])
        dims = 2 if grid.slices == 1 else 3
        star = Star.random(rng, self.irregularity, dims, detail=1.8)
        stretch = np.exp(rng.normal(0, 0.18, 3))
        size_mm3 = count * grid.voxel_ml * 1000
        radius = np.sqrt(size_mm3 / grid.slice_mm / np.pi) if dims == 2 else (size_mm3 * 3 / (4 * np.pi)) ** (1 / 3)
        axes = grid.mm()
        reach = 2.6 * radius * stretch + grid.slice_mm
        window = tuple(
            np.flatnonzero(np.abs(axis.ravel() - c) <= r)
            for axis, c, r in zip(reversed(axes), centre[::-1], reach[::-1], strict=True)
        )
        block = np.ix_(*window)
        x, y, z = (
            axis[tuple(w if n > 1 else slice(None) for w, n in zip(window, axis.shape, strict=True))] for axis in axes
        )
        x, y, z = ((axis - c) / (radius * s) for axis, c, s in zip((x, y, z), centre, stretch, strict=True))
        relative = star.relative(x, y, z)
        rough = noise(rng, relative.shape, [max(1.0, 0.45 * radius / mm) for mm in grid.spacing])
        relative = relative * (1 + 0.9 * self.irregularity * rough)
        open_to = np.argwhere(free[block])
        if len(open_to) < count:
            return None
        order = relative[tuple(open_to.T)]
        chosen = np.argsort(order, kind="stable")[:count]
        if order[chosen[-1]] > 2.2:
            return None
        piece = np.zeros(relative.shape, dtype=bool)
        piece[tuple(open_to[chosen].T)] = True
        if ndimage.label(piece)[1] != 1:
            return None
        inside = tuple(w[i] for w, i in zip(window, open_to[chosen].T, strict=True))
        return inside, order[chosen]


@dataclass(frozen=True)
class _Scattered(_Pneumonia):
    """Lesions wherever infections of this kind lie."""

    lesions_per_lung: int = number(3, 1, 8, "", "separate lesions in each lung")

    def _plant(self, rng: np.random.Generator, thorax: Thorax, sizes: dict[str, float], plane: bool) -> Drawing:
        """``sizes``: requested lesion volume by side, in ml."""
        grid = thorax.grid
        infected = np.zeros(grid.shape, dtype=bool)
        solid = np.zeros(grid.shape, dtype=bool)
        for side, lung in (("right", thorax.right), ("left", thorax.left)):
            self._infect(rng, grid, lung, side, sizes[side], infected, solid)
        lesions = sum(self.lesions_per_lung for ml in sizes.values() if ml > 0)
        return self._paint(rng, thorax, infected, solid, lesions, plane)

    def _infect(
        self,
        rng: np.random.Generator,
        grid: Grid,
        lung: NDArray[np.bool_],
        side: str,
        volume_ml: float,
        infected: NDArray[np.bool_],
        solid: NDArray[np.bool_],
    ) -> None:
        """Add this lung's lesions: exactly the requested number of voxels, each lesion in one piece."""
        if volume_ml == 0:
            return
        shares = rng.dirichlet(np.full(self.lesions_per_lung, 6.0))
        counts = np.maximum(1, np.round(shares * volume_ml / grid.voxel_ml).astype(int))
        x, y, _ = grid.mm()
        rim = lung & ~ndimage.binary_erosion(lung, iterations=max(1, round(10 / grid.plane_mm)))
        # Infections of this kind lie at the back and near the pleura.
        candidates = np.argwhere(rim & (y > -30) & ((np.abs(x) > 60) | (y > 40)))
        for count in sorted(counts.tolist(), reverse=True):
            for _ in range(_TRIES):
                lesion = self._lesion(rng, grid, lung & ~_near(infected, grid), candidates, count)
                if lesion is not None:
                    break
            else:
                raise DataError(
                    f"{volume_ml:g} ml in {self.lesions_per_lung} lesions do not fit into the {side} lung; ask for less."
                )
            self._add(rng, grid, lesion, infected, solid)


def _near(mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.bool_]:
    """The mask and a margin, so that lesions stay apart and can be counted."""
    if not mask.any():
        return mask
    across = 2 * round(4 / grid.plane_mm) + 1
    return ndimage.maximum_filter(mask, (3 if grid.slices > 1 else 1, across, across))


@register("pneumonia-slice")
@dataclass(frozen=True)
class PneumoniaSlice(_Scattered):
    """One axial slice, 512 x 512 px of 0.7 mm, 5 mm thick."""

    kind: ClassVar[str] = "pneumonia slice"

    right_cm2: float = number(18.0, 0.0, 120.0, "cm2", "infected area of the right lung")
    left_cm2: float = number(10.0, 0.0, 120.0, "cm2", "infected area of the left lung")
    level_mm: float = number(-20.0, -55.0, 60.0, "mm", "height of the slice above the carina")

    def draw(self, rng: np.random.Generator) -> Drawing:
        grid = Grid(512, 512, 1, 0.7, 5.0, self.level_mm)
        # An area of 1 cm2 in a slice of 5 mm holds 0.5 ml.
        sizes = {"right": self.right_cm2 * 0.5, "left": self.left_cm2 * 0.5}
        return self._plant(rng, draw_thorax(rng, grid), sizes, plane=True)


@register("pneumonia-volume")
@dataclass(frozen=True)
class PneumoniaVolume(_Scattered):
    """A volume of 256 x 256 x 40 voxels of 1.4 x 1.4 x 5 mm."""

    kind: ClassVar[str] = "pneumonia volume"

    right_ml: float = number(180.0, 0.0, 900.0, "ml", "infected volume of the right lung")
    left_ml: float = number(90.0, 0.0, 900.0, "ml", "infected volume of the left lung")

    def draw(self, rng: np.random.Generator) -> Drawing:
        grid = Grid(256, 256, 40, 1.4, 5.0, -95.0)
        sizes = {"right": self.right_ml, "left": self.left_ml}
        return self._plant(rng, draw_thorax(rng, grid), sizes, plane=False)


@register("pneumonia-course")
@dataclass(frozen=True)
class PneumoniaCourse(_Pneumonia):
    """One patient at two times, 200 x 200 x 49 voxels of 1.8 x 1.8 x 5 mm.

    At the second time the patient lies 18 mm elsewhere; of five lesions one has shrunk, one resolved, one stayed, one
    grown, and one is new. The same seed is the same patient.
    """

    kind: ClassVar[str] = "pneumonia at two times"

    time: str = choice("first", ("first", "second"), "which scan of the two")

    def draw(self, rng: np.random.Generator) -> Drawing:
        second = self.time == "second"
        grid = Grid(200, 200, 49, 1.8, 5.0, -111.0 if second else -113.0)
        thorax = draw_thorax(rng, grid)
        infected = np.zeros(grid.shape, dtype=bool)
        solid = np.zeros(grid.shape, dtype=bool)
        lung = thorax.right | thorax.left
        sizes = {which: times[second] for which, (_, *times) in enumerate(_COURSE) if times[second] > 0}
        for which, ml in sizes.items():
            place = np.linalg.solve(grid.geometry.affine, np.array([*_COURSE[which][0], 1.0]))[:3][::-1]
            count, free = round(ml / grid.voxel_ml), lung & ~_near(infected, grid)
            for attempt in range(_TRIES):
                own = np.random.default_rng((which, attempt))
                lesion = self._lesion(own, grid, free, np.rint(place)[None].astype(int), count)
                if lesion is not None:
                    break
            else:
                raise DataError("The lesions do not fit into this chest; take another seed or less irregularity.")
            self._add(own, grid, lesion, infected, solid)
        drawing = self._paint(rng, thorax, infected, solid, len(sizes))
        if not second or drawing.image.geometry is None:
            return drawing
        affine = drawing.image.geometry.affine.copy()
        affine[:3, 3] += _MOVED_MM
        return replace(drawing, image=replace(drawing.image, geometry=Geometry(affine)))
