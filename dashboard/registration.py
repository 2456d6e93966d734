"""Rigid and affine registration of two volumes of one patient, and resampling onto another grid.

Mattes mutual information (Mattes et al., IEEE TMI 2003, 22:120-128) by SimpleITK, from coarse to fine, with seeded samples
in one thread: the same images give the same bytes. Both volumes are first brought onto unsheared, isotropic grids, so
that oblique, anisotropic and sheared (tilted) ones are alike.

A result below a floor is not accepted. The floors lie between what wrong pairs and what right pairs reached, where
information and correlation are those of :class:`Quality`:

- Wrong: a chest CT or a head MR against noise of either kind 0.02 to 0.05 (correlation below 0), against each other 0.07,
  upper against lower half of a chest 0.06, upside down 0.07, two heads with different tumours 0.09, chests of other
  builds 0.06 to 0.11 (correlation up to 0.15), a chest mirrored right to left 0.15 (0.16), front to back 0.24 (-0.84).
- Right: chest CT and head MR with noise, turned by up to 15 degrees about each axis and shifted by up to 20 mm, 0.45 to
  0.57; chests that breathed, with the diaphragm up to 40 mm lower and other noise and density, 0.27 to 0.46 (correlation
  0.47 to 0.91); a head in another contrast with a bias field 0.16. A whole chest bent by 12 mm and more, which no rigid
  motion undoes, 0.08 to 0.21: refused in part.

Chests of two people alike in build and position come near enough to pass (0.29, correlation 0.6, for drawn ones), and so
does a mirrored head (0.18): a floor tells what does not correspond, not who it is. Turns beyond about 40 degrees are not
found, and are refused. The real scans behind these figures are one chest and two heads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dashboard.quantify.grid import check_even, shrunk, shrunk_geometry
from dashboard.resampling import Matrix, resample_array, resample_to, simple_itk
from models.context import RunContext
from models.errors import Cancelled, DataError
from models.types import FloatArray, Geometry, Image

__all__ = ["Quality", "Registration", "register", "resample_array", "resample_to"]

Kind = Literal["rigid", "affine"]
BoolArray = NDArray[np.bool_]

LARGEST = 1_500_000  # voxels of a working grid; larger ones are made coarser
SHRINK = (4, 2, 1)
LEVELS = len(SHRINK)
SAMPLES = (10_000, 15_000, 25_000)
ITERATIONS = 60
BINS = 40
AROUND_MM = 15.0  # the metric looks so far around a mask
LEAST_INFORMATION, LEAST_CORRELATION, LEAST_OVERLAP = 0.13, 0.3, 0.4
HU_RANGE = (-1000.0, 500.0)  # air outside the body differs between scanners, metal between days

_SEARCHING = Lock()


@dataclass(frozen=True)
class Quality:
    """How well two volumes agree where either shows the body, before (as their headers place them) and after.

    Attributes:
        information_before, information_after: mutual information as a share of the mean entropy of both, from 0
            (independent) to 1 (each tells the other).
        correlation_before, correlation_after: normalised cross-correlation, -1 to 1.
        overlap: share of the fixed body that lies inside the moving volume, 0 to 1.
    """

    information_before: float
    information_after: float
    correlation_before: float
    correlation_after: float
    overlap: float


@dataclass(frozen=True, eq=False)
class Registration:
    """Where the moving volume shows what the fixed one shows.

    Attributes:
        matrix: (4, 4), patient mm (LPS) of the fixed volume to those of the moving one.
        centre_mm: (3,), middle of the fixed volume.
        reason: why it was not accepted, in one sentence; empty where it was.
    """

    matrix: Matrix
    kind: Kind
    quality: Quality
    centre_mm: Matrix
    accepted: bool
    reason: str = ""

    @property
    def shift_mm(self) -> float:
        """How far the middle of the fixed volume is moved."""
        return float(np.linalg.norm(self.matrix[:3, :3] @ self.centre_mm + self.matrix[:3, 3] - self.centre_mm))

    @property
    def rotation_degrees(self) -> float:
        """Angle of the rotation nearest to the matrix."""
        left, _, right = np.linalg.svd(self.matrix[:3, :3])
        return float(np.degrees(np.arccos(np.clip((np.trace(left @ right) - 1) / 2, -1.0, 1.0))))


def register(
    fixed: Image,
    moving: Image,
    kind: Kind = "rigid",
    seed: int = 0,
    ctx: RunContext | None = None,
    fixed_mask: BoolArray | None = None,
    moving_mask: BoolArray | None = None,
) -> Registration:
    """The motion that brings a volume onto another, and whether it may be relied on.

    Args:
        fixed, moving: grey volumes in patient coordinates.
        kind: "rigid": turn and shift; "affine": with stretch and shear.
        seed: of the samples that the metric is taken from.
        ctx: ticks once for each of the LEVELS; can stop the search.
        fixed_mask, moving_mask: (D, H, W); their middles are tried as a start, and only what lies around the fixed one
            counts.

    Raises:
        DataError: an image is no grey volume in patient coordinates, or its slices lie at unequal distances.
        Cancelled: through ``ctx``.
    """
    ctx = ctx or RunContext()
    one, other = _Working.of(fixed, "The fixed image", fixed_mask), _Working.of(moving, "The moving image", moving_mask)
    matrix = _search(one, other, kind, seed, ctx)
    before, after = _agreement(one, other, np.eye(4)), _agreement(one, other, matrix)
    quality = Quality(before.information, after.information, before.correlation, after.correlation, after.overlap)
    reason = _refusal(quality, fixed.unit == moving.unit == "HU")
    return Registration(matrix, kind, quality, one.centre, not reason, reason)


def _refusal(quality: Quality, both_hu: bool) -> str:
    """Why a result is not to be relied on; empty where it may be."""
    what = ""
    if quality.overlap < LEAST_OVERLAP:
        what = f"only {quality.overlap:.0%} of the body lies in both (at least {LEAST_OVERLAP:.0%} must)"
    elif quality.information_after < LEAST_INFORMATION:
        what = f"they share {quality.information_after:.3f} of their information (at least {LEAST_INFORMATION:.3f} must be)"
    elif both_hu and quality.correlation_after < LEAST_CORRELATION:
        what = (
            f"their densities correlate with {quality.correlation_after:.2f} (at least {LEAST_CORRELATION:.2f} must be)"
        )
    if not what:
        return ""
    return (
        f"The two scans could not be brought into line: {what}; check that both show the same part of the same patient."
    )


@dataclass(frozen=True, eq=False)
class _Working:
    """A volume on an isotropic grid with axes at right angles.

    Attributes:
        values: (D, H, W).
        geometry: of it.
        inside: (D, H, W), where the volume has voxels.
        body: (D, H, W), brighter than what surrounds the patient.
        around: (D, H, W), where the metric is taken.
        starts: points in mm that may correspond to those of the other volume: the middles of the grid, of the body, of
            the mask.
    """

    values: FloatArray
    geometry: Geometry
    inside: BoolArray
    body: BoolArray
    around: BoolArray
    starts: dict[str, Matrix]

    @property
    def centre(self) -> Matrix:
        return self.starts["grid"]

    @classmethod
    def of(cls, image: Image, what: str, mask: BoolArray | None) -> _Working:
        geometry = image.geometry
        if not image.is_volume or image.depth < 2 or image.is_colour or geometry is None or geometry.frame != "patient":
            raise DataError(
                f"{what} cannot be registered: that needs a grey volume of several slices whose header says where it lies."
            )
        check_even(geometry, what)
        values = image.values[0]
        low, high = HU_RANGE if image.unit == "HU" else np.percentile(values[:: max(1, len(values) // 40)], (0.5, 99.5))
        grid, shape = _isotropic(geometry, values.shape)
        factors = tuple(max(1, int(grid.spacing[0] / mm)) for mm in geometry.spacing[::-1])
        small, small_geometry = shrunk(np.clip(values, low, high), factors), shrunk_geometry(geometry, factors)
        inside = resample_array(np.ones_like(small), small_geometry, grid, shape, order="nearest") > 0
        worked = resample_array(small, small_geometry, grid, shape, fill=float(low))
        body = inside & (worked > _otsu(worked[inside]))
        starts = {"grid": grid.to_world((np.array([shape[::-1]], dtype=float) - 1) / 2)[0]}
        if body.any():
            starts["body"] = _middle(body, grid)
        around = inside
        if mask is not None and mask.any():
            share = resample_array(shrunk(mask.astype(np.float32), factors), small_geometry, grid, shape)
            starts["mask"] = _middle(mask, geometry)
            around = inside & (ndimage.distance_transform_edt(share < 0.5) <= AROUND_MM / grid.spacing[0])
        return cls(worked, grid, inside, body, around, starts)

    def as_itk(self, values: NDArray[Any]) -> Any:
        """Values on this grid with their place."""
        sitk = simple_itk()
        image = sitk.GetImageFromArray(values)
        step = self.geometry.spacing[0]
        image.SetSpacing((step, step, step))
        image.SetOrigin(self.geometry.affine[:3, 3].tolist())
        image.SetDirection((self.geometry.affine[:3, :3] / step).ravel().tolist())
        return image


def _isotropic(geometry: Geometry, shape: tuple[int, ...]) -> tuple[Geometry, tuple[int, int, int]]:
    """The box of cubes around a volume, along its columns and in the plane of its slices; (D, H, W) of it."""
    axes, upper = np.linalg.qr(geometry.affine[:3, :3])
    axes, upper = axes * np.sign(np.diag(upper)), upper * np.sign(np.diag(upper))[:, None]
    ends = np.array(np.meshgrid(*[(0.0, size - 1.0) for size in reversed(shape)])).reshape(3, -1)
    corners = upper @ ends
    low, extent = corners.min(axis=1), np.ptp(corners, axis=1)
    step = max(min(geometry.spacing), float(np.prod(extent) / LARGEST) ** (1 / 3))
    counts = np.maximum(np.floor(extent / step + 1e-6).astype(int) + 1, 2)
    affine = np.eye(4)
    affine[:3, :3] = axes * step
    affine[:3, 3] = geometry.affine[:3, 3] + axes @ (low + (extent - (counts - 1) * step) / 2)
    return Geometry(affine), (int(counts[2]), int(counts[1]), int(counts[0]))


def _otsu(values: FloatArray) -> float:
    """The value that parts them best into two, after Otsu (IEEE Trans Syst Man Cybern 1979, 9:62-66)."""
    counts, edges = np.histogram(values, 128)
    middles, share = (edges[:-1] + edges[1:]) / 2, counts / counts.sum()
    below, mean = np.cumsum(share), np.cumsum(share * middles)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mean[-1] * below - mean) ** 2 / (below * (1 - below))
    return float(edges[int(np.nanargmax(np.where(np.isfinite(between), between, -1.0))) + 1])


def _middle(mask: BoolArray, geometry: Geometry) -> Matrix:
    """(3,) centre of a mask in mm."""
    return geometry.to_world(np.array([ndimage.center_of_mass(mask)])[:, ::-1])[0]


def _search(one: _Working, other: _Working, kind: Kind, seed: int, ctx: RunContext) -> Matrix:
    """The matrix that the metric favours."""
    sitk = simple_itk()
    start = _start(one, other)
    transform = sitk.Euler3DTransform() if kind == "rigid" else sitk.AffineTransform(3)
    transform.SetCenter(one.starts["grid"].tolist())
    transform.SetTranslation(start.tolist())
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricFixedMask(one.as_itk(one.around.astype(np.uint8)))
    method.SetMetricMovingMask(other.as_itk(other.inside.astype(np.uint8)))
    method.SetMetricSamplingStrategy(method.RANDOM)
    shares = [min(1.0, count * shrink**3 / one.values.size) for count, shrink in zip(SAMPLES, SHRINK, strict=True)]
    method.SetMetricSamplingPercentagePerLevel(shares, seed + 1)  # it takes 0 for the time of day
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        2.0, 0.01, ITERATIONS, relaxationFactor=0.6, gradientMagnitudeTolerance=1e-6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(SHRINK)
    method.SetSmoothingSigmasPerLevel([shrink / 2 if shrink > 1 else 0.0 for shrink in SHRINK])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOff()
    method.SetInitialTransform(transform, inPlace=True)
    method.AddCommand(sitk.sitkMultiResolutionIterationEvent, lambda: _go_on(ctx, method, 1))
    method.AddCommand(sitk.sitkIterationEvent, lambda: _go_on(ctx, method, 0))
    try:
        with _one_thread(sitk):
            method.Execute(one.as_itk(one.values), other.as_itk(other.values))
    finally:
        method.RemoveAllCommands()  # they hold the method and the method them, out of sight of the garbage collector
    ctx.check()
    return _matrix_of(transform)


@contextmanager
def _one_thread(sitk: Any) -> Iterator[None]:
    """Sums of several threads differ in their last digit; the method's own number does not reach all that it runs."""
    with _SEARCHING:
        usual = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
        try:
            yield
        finally:
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(usual)


def _go_on(ctx: RunContext, method: Any, levels: int) -> None:
    """Count levels; end the search once the user stopped it (nothing may be raised through the library)."""
    try:
        ctx.tick(levels)
    except Cancelled:
        method.StopRegistration()


def _start(one: _Working, other: _Working) -> Matrix:
    """(3,) shift in mm to begin with: none, or that of two middles, whichever agrees best."""
    shifts = [np.zeros(3)] + [other.starts[name] - at for name, at in one.starts.items() if name in other.starts]
    return max(shifts, key=lambda shift: _agreement(one, other, _shifted(shift)).score)


def _shifted(shift: Matrix) -> Matrix:
    matrix = np.eye(4)
    matrix[:3, 3] = shift
    return matrix


def _matrix_of(transform: Any) -> Matrix:
    """(4, 4) of a linear transform with a centre."""
    turn = np.array(transform.GetMatrix()).reshape(3, 3)
    centre = np.array(transform.GetCenter())
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = np.array(transform.GetTranslation()) + centre - turn @ centre
    return matrix


@dataclass(frozen=True)
class _Agreement:
    information: float
    correlation: float
    overlap: float

    @property
    def score(self) -> float:
        return self.information * self.overlap


def _agreement(one: _Working, other: _Working, matrix: Matrix) -> _Agreement:
    """Where either shows the body and both have voxels."""
    shape = one.values.shape
    place = (other.geometry, one.geometry, (shape[0], shape[1], shape[2]), matrix)
    moved = resample_array(other.values, *place, order="linear")
    known = resample_array(other.inside.astype(np.float32), *place, order="nearest") > 0
    body = one.body & one.around
    where = (
        one.around & known & (one.body | (resample_array(other.body.astype(np.float32), *place, order="nearest") > 0))
    )
    overlap = float((body & known).sum() / max(1, body.sum()))
    if where.sum() < 1000:
        return _Agreement(0.0, 0.0, overlap)
    a, b = one.values[where].astype(np.float64), moved[where].astype(np.float64)
    spread = a.std() * b.std()
    correlation = float(((a - a.mean()) * (b - b.mean())).mean() / spread) if spread > 0 else 0.0
    return _Agreement(_information(a, b), correlation, overlap)


def _information(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Mutual information as a share of the mean entropy."""
    joint, _, _ = np.histogram2d(a, b, BINS)
    entropies = [_entropy(counts) for counts in (joint.sum(axis=1), joint.sum(axis=0), joint)]
    mean = (entropies[0] + entropies[1]) / 2
    return (entropies[0] + entropies[1] - entropies[2]) / mean if mean > 0 else 0.0


def _entropy(counts: NDArray[np.float64]) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())
