"""A chest in Hounsfield units, drawn on any grid of patient millimetres; shared by the CT phantoms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.types import CT_WINDOWS, FloatArray, Geometry, Image, Modality
from sample_data.phantoms._shapes import Tree, fractal, grain, grow, join, noise, step

AIR, LUNG, FAT, BLOOD, MUSCLE, LIVER = -1000.0, -865.0, -95.0, 42.0, 52.0, 58.0


@dataclass(frozen=True, eq=False)
class Grid:
    """Voxel centres in mm, LPS: x to the patient's left, y to the back, z to the head; z = 0 at the carina."""

    columns: int
    rows: int
    slices: int
    plane_mm: float
    slice_mm: float
    first_z: float

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.slices, self.rows, self.columns

    @property
    def voxel_ml(self) -> float:
        return self.plane_mm**2 * self.slice_mm / 1000

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm along (slice, row, column)."""
        return self.slice_mm, self.plane_mm, self.plane_mm

    @property
    def geometry(self) -> Geometry:
        affine = np.diag([self.plane_mm, self.plane_mm, self.slice_mm, 1.0])
        affine[:3, 3] = [-(self.columns - 1) / 2 * self.plane_mm, -(self.rows - 1) / 2 * self.plane_mm, self.first_z]
        return Geometry(affine)

    def mm(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """x (1, 1, W), y (1, H, 1) and z (D, 1, 1)."""
        affine = self.geometry.affine
        x = (affine[0, 3] + self.plane_mm * np.arange(self.columns)).astype(np.float32)
        y = (affine[1, 3] + self.plane_mm * np.arange(self.rows)).astype(np.float32)
        z = (affine[2, 3] + self.slice_mm * np.arange(self.slices)).astype(np.float32)
        return x[None, None, :], y[None, :, None], z[:, None, None]

    def point(self, index: NDArray[np.integer]) -> NDArray[np.float64]:
        """(slice, row, column) indices (..., 3) to (x, y, z) mm."""
        return self.geometry.to_world(np.asarray(index)[..., ::-1].reshape(-1, 3)).reshape(np.shape(index))


@dataclass(frozen=True, eq=False)
class Thorax:
    """A drawn chest, noise-free, ready for findings.

    Attributes:
        hu: (D, H, W) float32, HU.
        right, left: (D, H, W) bool, the lungs with their vessels.
        vessels: (D, H, W) float32, share of a voxel filled by a vessel, in [0, 1].
    """

    grid: Grid
    hu: FloatArray
    right: NDArray[np.bool_]
    left: NDArray[np.bool_]
    vessels: FloatArray


def draw_thorax(rng: np.random.Generator, grid: Grid) -> Thorax:
    """Body wall, ribs, spine, mediastinum, heart, liver and lungs with branching vessels."""
    x, y, z = grid.mm()
    wobble_scale = (60 / grid.slice_mm, 55 / grid.plane_mm, 55 / grid.plane_mm)
    wx = x + 2.5 * noise(rng, grid.shape, wobble_scale)
    wy = y + 2.5 * noise(rng, grid.shape, wobble_scale)
    soft = grid.plane_mm * 0.9

    body = _ring(wx, wy, 172 + 10 * step(z - 40, 40), 118, 2.5)
    body = body / (1 + np.float32(0.03) * np.cos(2 * np.arctan2(wy, wx)))
    cavity_x, cavity_y = _cavity_radii(z)
    cavity = _ring(wx, wy - 2, cavity_x, cavity_y, 2.3)
    hu = np.full(grid.shape, np.float32(AIR))
    hu = _lay(
        hu,
        FAT + 8 * fractal(rng, grid.shape, (20 / grid.slice_mm, 14 / grid.plane_mm, 14 / grid.plane_mm), 3),
        step((1 - body) * 120, soft),
    )
    muscle = np.maximum(1.24 - cavity + 0.05 * noise(rng, grid.shape, (30, 30 / grid.plane_mm, 24 / grid.plane_mm)), -1)
    # Planes of fat between the muscles keep the wall from looking like plastic.
    planes = np.abs(noise(rng, grid.shape, (40 / grid.slice_mm, 11 / grid.plane_mm, 30 / grid.plane_mm)))
    streaky = np.asarray(MUSCLE - 125 * np.exp(-((planes / 0.09) ** 2)), dtype=np.float32)
    hu = _lay(hu, streaky, step(muscle * 110, soft) * (body < 0.97))
    hu = _lay(hu, FAT, step((1.03 - cavity) * 110, soft))
    hu = _lay(hu, MUSCLE - 12, step((1.015 - cavity) * 110, soft))

    middle = _mediastinum(wx, wy, z)
    dome_right = -78 + 34 * (1 - ((wx + 72) / 95) ** 2 - ((wy + 5) / 95) ** 2)
    dome_left = -92 + 34 * (1 - ((wx - 74) / 95) ** 2 - ((wy + 5) / 95) ** 2)
    above = z - np.where(wx < 0, dome_right, dome_left)
    inside = np.minimum((1 - cavity) * np.minimum(cavity_x, cavity_y), np.minimum(middle, above))
    organs = _lay(
        np.full(grid.shape, np.float32(FAT)),
        LIVER,
        step((0.985 - cavity) * 110, soft) * step(-above, 2.0) * (middle > -6),
    )
    hu = np.where((cavity < 1.0) & (inside < soft), _lay(hu, organs, step((1.0 - cavity) * 110, soft)), hu)
    hu = _draw_mediastinum(hu, wx, wy, z, cavity, soft)

    texture = fractal(rng, grid.shape, (6 / grid.slice_mm, 5 / grid.plane_mm, 5 / grid.plane_mm), 3)
    air = LUNG + 0.28 * y + 9 * texture
    hu = _lay(hu, np.asarray(air, dtype=np.float32), step(inside, soft))
    lungs = inside > 0
    vessels = np.zeros(grid.shape, dtype=np.float32)
    tree = _vessels(rng)
    points = tree.points[:, 2]
    near = (points > z.min() - 8) & (points < z.max() + 8)
    where = np.argwhere(inside > -soft)
    if near.any() and len(where):
        kept = Tree(tree.points[near], tree.radii[near], tree.level[near])
        vessels[tuple(where.T)] = kept.cover(grid.point(where), grid.plane_mm)
    hu = _lay(hu, BLOOD, vessels * 0.95)
    hu = _draw_bones(hu, rng, wx, wy, z, cavity, soft)
    hu = _draw_airways(hu, wx, wy, z, soft)
    hu = _draw_table(hu, x, y, z, soft)
    return Thorax(grid, hu.astype(np.float32), lungs & (x < 0), lungs & (x > 0), vessels)


def finish(rng: np.random.Generator, thorax: Thorax, noise_hu: float, plane: bool) -> Image:
    """Scanner blur and noise, whole HU, as an image: one plane, or the volume."""
    grid = thorax.grid
    hu = thorax.hu + np.float32(noise_hu) * grain(rng, grid.shape, (0, 0.65, 0.65))
    values = np.clip(np.round(hu), -1024, 3071).astype(np.float32)
    windows = CT_WINDOWS[:2]
    return Image((values if plane else values[None]), "HU", Modality.CT, grid.geometry, windows)


def _lay(below: FloatArray, value: FloatArray | float, share: FloatArray) -> FloatArray:
    """Paint ``value`` over ``below`` with opacity ``share``."""
    return (below + (np.asarray(value, dtype=np.float32) - below) * share).astype(np.float32)


def _ring(x: FloatArray, y: FloatArray, a: FloatArray | float, b: FloatArray | float, power: float) -> FloatArray:
    """Relative radius in a superellipse of half widths a and b: 1 on its edge."""
    return np.asarray((np.abs(x / a) ** power + np.abs(y / b) ** power) ** (1 / power), dtype=np.float32)


def _cavity_radii(z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Half widths of the chest cavity in mm: narrowing to the apex at z = 110."""
    taper = np.sqrt(np.clip(1 - (np.clip(z + 30, 0, None) / 150) ** 2.4, 0.03, 1))
    return (136 * taper).astype(np.float32), (94 * np.sqrt(taper)).astype(np.float32)


def _mediastinum(x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
    """Signed distance in mm, positive outside the mediastinum, heart and spine."""
    low = step(-z - 5, 30)
    front = 5 + 26 * np.exp(-(((y + 22) / 34) ** 2)) + 15 * np.exp(-(((y - 25) / 26) ** 2))
    column = np.abs(x - 2) - np.where(y < 48, front, 12 + 14 * step(y - 52, 10))
    heart = _blob(x, y, z, (16, -26, -62), (62, 47, 58), 40)
    aorta = np.hypot(x - 25, y - 46) - 14
    arch = _blob(x, y, z, (14, 12, 32), (26, 40, 13), 20)
    hilum_r = _blob(x, y, z, (-34, 16, -14), (20, 20, 24), 18)
    hilum_l = _blob(x, y, z, (36, 16, -8), (20, 20, 22), 18)
    shapes = [column, heart, aorta + 0 * z, arch, hilum_r, hilum_l, np.hypot(x, y - 68) - 24]
    joined = shapes[0]
    for shape in shapes[1:]:
        # Smooth minimum: organs run into one another without a notch.
        mix = np.clip(0.5 + 0.5 * (joined - shape) / 9, 0, 1)
        joined = joined * (1 - mix) + shape * mix - 9 * mix * (1 - mix) * (0.6 + 0.4 * low)
    return np.asarray(joined, dtype=np.float32)


def _blob(
    x: FloatArray,
    y: FloatArray,
    z: FloatArray,
    centre: tuple[float, float, float],
    radii: tuple[float, float, float],
    scale: float,
) -> FloatArray:
    """About the distance in mm to an ellipsoid, negative inside."""
    r = np.sqrt(
        ((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 + ((z - centre[2]) / radii[2]) ** 2
    )
    return np.asarray((r - 1) * scale, dtype=np.float32)


def _draw_mediastinum(
    hu: FloatArray, x: FloatArray, y: FloatArray, z: FloatArray, cavity: FloatArray, soft: float
) -> FloatArray:
    """Heart, great vessels, oesophagus; what lies between stays fat."""
    heart = _blob(x, y, z, (16, -26, -62), (58, 43, 56), 45)
    fade = (cavity < 0.99).astype(np.float32)
    upper = step(z + 30, 10)
    for shape, value in (
        (heart, MUSCLE - 8),
        (np.hypot(x - 25, y - 46) - 12 + 0 * z, BLOOD),
        (np.hypot(x + 14, y + 12) - 16 + 60 * (1 - upper), BLOOD),
        (np.hypot(x + 31, y + 6) - 9 + 60 * (1 - upper), BLOOD - 2),
        (_blob(x, y, z, (14, 12, 32), (22, 36, 11), 20), BLOOD),
        (_blob(x, y, z, (18, -14, -12), (20, 17, 15), 17), BLOOD),
        (_blob(x, y, z, (0, 6, -16), (44, 9, 9), 9), BLOOD),
        (_blob(x, y, z, (-30, 14, -16), (11, 11, 18), 11), BLOOD),
        (_blob(x, y, z, (34, 14, -10), (11, 11, 16), 11), BLOOD),
        (np.hypot((x - 8) / 1.25, y - 38) - 6 + 0 * z, MUSCLE - 14),
    ):
        hu = _lay(hu, value, step(-shape, soft) * fade)
    return hu


def _draw_airways(hu: FloatArray, x: FloatArray, y: FloatArray, z: FloatArray, soft: float) -> FloatArray:
    """Trachea above the carina, main bronchi below it."""
    trachea = np.hypot(x, (y - 20) / 0.95) - 8.5 + 60 * step(-z + 3, 4)
    reach = np.clip(-z + 6, 0, 44)
    bronchi = np.minimum(np.hypot(x + reach * 0.95, y - 20) - 6.2, np.hypot(x - reach * 1.1, y - 20) - 5.6)
    bronchi = bronchi + 60 * step(z - 3, 4) + 60 * step(-z - 38, 4)
    tube = np.minimum(trachea, bronchi)
    hu = _lay(hu, MUSCLE - 20, step(1.3 - tube, soft))
    return _lay(hu, -990.0, step(-tube, soft))


def _draw_bones(
    hu: FloatArray,
    rng: np.random.Generator,
    x: FloatArray,
    y: FloatArray,
    z: FloatArray,
    cavity: FloatArray,
    soft: float,
) -> FloatArray:
    """Ribs that descend to the front, vertebrae with discs, sternum, shoulder blades."""
    marrow = 170 + 45 * noise(rng, hu.shape, (1.5, 2, 2))
    front = np.clip(0.5 - y / 190, 0, 1)
    phase = (z + 62 * front + 4) / 25
    along = np.abs(phase - np.round(phase)) * 25
    band = np.abs(cavity - 1.062) * 105
    rib = 1 - np.sqrt((along / 7.5) ** 2 + (band / 5.0) ** 2)
    rib = np.where((np.abs(x) < 26) | (z > 105), -1, rib) * 5.5
    level = np.abs((z + 9) / 23 - np.round((z + 9) / 23)) * 23
    body = 17 - np.sqrt((x / 1.12) ** 2 + np.clip(y - 66, -40, 40) ** 2 * np.where(y > 66, 1.7, 1.2))
    arch = np.maximum(3.6 - np.abs(np.hypot(x * 0.9, y - 88) - 12.5), 3.2 - np.abs(x) - 0.4 * np.clip(97 - y, 0, 30))
    arch = np.where((y > 80) & (y < 116), arch, -9)
    transverse = np.where(np.abs(x) < 31, 4.2 - np.abs(y - 86 - 0.25 * np.abs(x)), -9)
    arch = np.maximum(arch, np.where(np.abs(x) > 11, transverse, -9))
    canal = 9.5 - np.hypot(x * 0.85, y - 88)
    sternum = 5.5 * (1 - ((np.abs(x) / 17) ** 3 + (np.abs(y + _front_wall(z)) / 5.5) ** 3) ** (1 / 3))
    bearing = np.degrees(np.arctan2(y, np.abs(x)))
    blade = 2.6 - np.abs(cavity - 1.165 - 0.0012 * (bearing - 45) + 0.02 * np.sin(bearing / 7)) * 108
    blade = np.where((bearing > 24) & (bearing < 60), blade, -9) - 60 * step(18 - z, 8)
    hu = _lay(hu, np.where(level > 9.6, 78.0, marrow), step(body, soft))
    hu = _lay(hu, 36.0, step(canal, soft))
    for shape, cortex, shell in ((rib, 640.0, 1.5), (arch, 480.0, 1.4), (sternum, 420.0, 1.3), (blade, 620.0, 1.3)):
        hu = _lay(hu, cortex, step(shape, soft))
        hu = _lay(hu, marrow, step(shape - shell, soft))
    ring = step(body, soft) * step(1.4 - body, soft) * (level < 9.6)
    return _lay(hu, 430.0, ring * 0.85)


def _front_wall(z: FloatArray) -> FloatArray:
    """Distance of the breastbone in front of the centre, mm."""
    return np.asarray(_cavity_radii(z)[1] * 1.05 - 2, dtype=np.float32)


def _draw_table(hu: FloatArray, x: FloatArray, y: FloatArray, z: FloatArray, soft: float) -> FloatArray:
    """The couch under the patient."""
    curve = y - 132 + (x / 62) ** 2
    share = step(1.6 - np.abs(curve), soft) * (np.abs(x) < 165) + 0 * z
    return np.where(hu < -900, _lay(hu, -420.0, share.astype(np.float32)), hu)


# Directions of the segmental vessels: outwards, to the back, to the head.
_HEADINGS = (
    (1.0, -0.5, 0.9), (1.0, 0.6, 0.6), (1.0, -0.9, 0.2), (1.0, 0.9, -0.3), (0.8, -0.3, -1.0), (0.8, 0.7, -1.0),
    (0.5, 0.3, 1.4), (1.0, 0.1, 0.2), (0.6, -1.0, -0.5), (0.9, 0.2, -0.7), (0.5, 1.0, 0.3), (0.4, -0.8, 1.0),
)  # fmt: skip


def _vessels(rng: np.random.Generator) -> Tree:
    """Pulmonary vessels of both lungs, from the hila outwards."""
    trees = []
    for side in (-1, 1):
        for across, back, up in _HEADINGS * 2:  # arteries and veins
            way = np.array([side * across, back, up]) + rng.normal(0, 0.22, 3)
            root = np.array([side * 38, 16, -10 + 10 * np.sign(up)]) + rng.normal(0, 5, 3)
            trees.append(grow(rng, root, way, length=27, radius=rng.uniform(2.8, 4.4), levels=9, spread=0.4))
    return join(trees)
