"""Contrast-enhanced T1-weighted MR of the head with a planted lesion, as one slice or as a volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.errors import DataError
from models.types import FloatArray, Image, Modality, Region, Window
from sample_data.phantoms._base import Drawing, Phantom, choice, number, register
from sample_data.phantoms._head import CSF, ENHANCED, Head, Push, draw_head, skin_depth
from sample_data.phantoms._shapes import Star, fractal, grain, noise, step
from sample_data.phantoms._thorax import Grid

_LESIONS = ("ring-enhancing", "meningioma-like", "pituitary-like", "none")
_SELLA_MM = -24.0
_WHITE_MATTER = 1000.0  # stored value of relative intensity 1


@dataclass(frozen=True)
class _BrainMr(Phantom):
    system: ClassVar[str] = "brain-tumor-mri"

    lesion: str = choice("ring-enhancing", _LESIONS, "look of the planted lesion")
    diameter_mm: float = number(30.0, 8.0, 60.0, "mm", "diameter of the ball (a slice: of the disc) of equal size")
    side: str = choice("left", ("left", "right"), "the patient's side; a pituitary-like lesion lies in the middle")
    bias: float = number(
        0.15, 0.0, 0.6, "", "strength of the coil's shading: relative change from the centre to the edge"
    )
    noise_percent: float = number(2.5, 0.0, 15.0, "%", "Rician noise, of the white matter's intensity")

    def _plant(self, rng: np.random.Generator, grid: Grid, plane: bool) -> Drawing:
        centre = self._centre(rng, grid, plane)
        star = Star.random(rng, 0.03 if self.lesion == "meningioma-like" else 0.08, dims=2 if plane else 3, detail=2.0)
        head = draw_head(rng, grid, self._push(centre))
        x, y, z = (axis - c for axis, c in zip(grid.mm(), centre, strict=True))
        radius = self.diameter_mm / 2
        mask = np.zeros(grid.shape, dtype=bool)
        signal = head.signal
        if self.lesion != "none":
            relative = star.relative(x / radius, y / radius, (z if not plane else 0 * z) / radius)
            mask, level = self._mask(relative, head, grid)
            signal = self._paint(rng, grid, head, relative / level, mask)
        signal = signal * self._shading(rng, grid)
        noisy = self.noise_percent / 100 * 0.62
        real = signal + noisy * grain(rng, grid.shape, (0, 0.5, 0.5))
        imaginary = noisy * grain(rng, grid.shape, (0, 0.5, 0.5))
        values = np.round(np.hypot(real, imaginary) * _WHITE_MATTER).astype(np.float32)
        words = {"none": "No lesion"}.get(self.lesion, f"{self.lesion.capitalize()} lesion")
        regions = {words: mask} if mask.any() else {}
        regions["Brain"] = head.brain & ~mask
        attributes = {"sequence": "T1-weighted with contrast (drawn)", "bias field": f"{self.bias:.2f}"}
        if mask.any():
            middle = grid.point(np.argwhere(mask)).mean(axis=0)
            size = f"{mask.sum() * grid.plane_mm**2:.0f} mm2" if plane else f"{mask.sum() * grid.voxel_ml:.2f} ml"
            attributes |= {
                "lesion diameter": f"{self.diameter_mm:.1f} mm",
                f"lesion {'area' if plane else 'volume'}": size,
                "lesion centre": f"x {middle[0]:.1f}, y {middle[1]:.1f}, z {middle[2]:.1f} mm",
            }
        attributes["spacing"] = f"{grid.plane_mm:g} x {grid.plane_mm:g} x {grid.slice_mm:g} mm"
        return Drawing(
            image=Image(
                values if plane else values[None],
                "stored value",
                Modality.MR,
                grid.geometry,
                (Window.from_range("brain", 0, 1000), Window.from_range("full range", 0, float(values.max()))),
            ),
            finding=f"brain MR, {words.lower()}" + (f", {self.diameter_mm:g} mm" if mask.any() else ""),
            regions=tuple(Region(name, (m[0] if plane else m)) for name, m in regions.items()),
            labels={f"{name.capitalize()} lesion": name == self.lesion for name in _LESIONS if name != "none"},
            attributes=attributes,
        )

    def _centre(self, rng: np.random.Generator, grid: Grid, plane: bool) -> NDArray[np.float64]:
        """Middle of the lesion, in mm."""
        sign = 1 if self.side == "left" else -1
        level = float(grid.mm()[2].mean()) if plane else rng.uniform(12, 26)
        if self.lesion == "pituitary-like":
            return np.array([0.0, -14.0, _SELLA_MM])
        if self.lesion == "meningioma-like":
            angle = np.radians(rng.uniform(-55, 55))
            way = np.array([sign * np.cos(angle), np.sin(angle), 0.0])
            # Out along the ray to where half the lesion's radius lies inside the skull.
            reach = np.arange(20, 100, 0.25)
            depth = skin_depth(reach * way[0], reach * way[1], level) - 12.5
            edge = reach[np.argmin(np.abs(depth - 0.45 * self.diameter_mm / 2))]
            return np.array([edge * way[0], edge * way[1], level])
        return np.array([sign * rng.uniform(28, 40), rng.uniform(-38, 38), level])

    def _push(self, centre: NDArray[np.float64]) -> Push | None:
        """Mass effect: tissue around the lesion comes from nearer its centre."""
        if self.lesion == "none":
            return None
        reach = self.diameter_mm * 0.75

        def push(x: FloatArray, y: FloatArray, z: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
            dx, dy, dz = x - centre[0], y - centre[1], z - centre[2]
            pull = 0.34 * np.exp(-(dx**2 + dy**2 + dz**2) / reach**2)
            return (
                (x - pull * dx).astype(np.float32),
                (y - pull * dy).astype(np.float32),
                (z - pull * dz).astype(np.float32),
            )

        return push

    def _mask(self, relative: FloatArray, head: Head, grid: Grid) -> tuple[NDArray[np.bool_], float]:
        """The voxels nearest the centre inside the skull, as many as the diameter asks for, and their edge."""
        radius = self.diameter_mm / 2
        voxels = (
            np.pi * radius**2 / grid.plane_mm**2
            if grid.slices == 1
            else 4 / 3 * np.pi * radius**3 / 1000 / grid.voxel_ml
        )
        inside = head.inner > 0.6
        count = round(voxels)
        if count >= 0.3 * inside.sum():
            raise DataError(
                f"A lesion of {self.diameter_mm:g} mm does not fit into the head at this level; choose a smaller one."
            )
        level = float(np.partition(relative[inside], count)[count])
        return inside & (relative < level), level

    def _paint(
        self, rng: np.random.Generator, grid: Grid, head: Head, relative: FloatArray, mask: NDArray[np.bool_]
    ) -> FloatArray:
        radius = self.diameter_mm / 2
        into = (1 - relative) * radius
        rough = fractal(rng, grid.shape, [6 / mm for mm in grid.spacing], 3)
        skull = step(head.inner - 0.6, 0.8)
        edge = step(into, grid.plane_mm * 0.9) * skull
        signal = head.signal
        if self.lesion == "ring-enhancing":
            # Swelling follows the white matter and spares the cortex.
            spread = step(0.75 * radius + 2.5 * noise(rng, grid.shape, [14 / mm for mm in grid.spacing]) + into, 5.0)
            white = ndimage.gaussian_filter(head.white, [0, 1 / grid.plane_mm, 1 / grid.plane_mm])
            signal = signal - 0.17 * spread * white
            wall = (0.22 * radius + 1.2) * (1 + 0.35 * noise(rng, grid.shape, [9 / mm for mm in grid.spacing]))
            rim = step(wall - into, 0.9)
            inside = 0.31 + 0.04 * rough + (ENHANCED - 0.36 + 0.03 * rough) * rim
            return (signal + (inside - signal) * edge).astype(np.float32)
        if self.lesion == "meningioma-like":
            cleft = step(into + 2.2, 0.8) * skull
            signal = signal + (CSF + 0.08 - signal) * cleft
            tail = step(1.9 - np.abs(head.inner - 0.8), 0.7) * step(into + 0.75 * radius, 0.25 * radius)
            signal = signal + (0.85 - signal) * tail
        value = 0.86 + 0.025 * rough if self.lesion == "meningioma-like" else 0.80 + 0.04 * rough
        return (signal + (value - signal) * edge).astype(np.float32)

    def _shading(self, rng: np.random.Generator, grid: Grid) -> FloatArray:
        """Smooth multiplicative field, 1 on average over the head."""
        x, y, z = grid.mm()
        tilt = rng.normal(0, 0.5, 2)
        field = ((x / 80) ** 2 + (y / 95) ** 2) * 0.8 - 0.35 + tilt[0] * x / 80 + tilt[1] * y / 95 + 0 * z
        return np.asarray(np.exp(self.bias * field), dtype=np.float32)


@register("brain-mr-slice")
@dataclass(frozen=True)
class BrainMrSlice(_BrainMr):
    """One axial slice, 320 x 320 px of 0.7 mm, 5 mm thick."""

    kind: ClassVar[str] = "brain MR slice"

    level_mm: float = number(
        12.0, 2.0, 50.0, "mm", "height above the commissures; a pituitary-like lesion is shown at -24"
    )

    def draw(self, rng: np.random.Generator) -> Drawing:
        level = _SELLA_MM if self.lesion == "pituitary-like" else self.level_mm
        return self._plant(rng, Grid(320, 320, 1, 0.7, 5.0, level), plane=True)


@register("brain-mr-volume")
@dataclass(frozen=True)
class BrainMrVolume(_BrainMr):
    """A volume of 224 x 224 x 28 voxels of 1 x 1 x 4 mm."""

    kind: ClassVar[str] = "brain MR volume"

    def draw(self, rng: np.random.Generator) -> Drawing:
        return self._plant(rng, Grid(224, 224, 28, 1.0, 4.0, -36.0), plane=False)
