"""Registration against motions that were applied by other means, and against what does not correspond."""

from __future__ import annotations

import gc
import threading
import weakref
from dataclasses import replace
from functools import cache

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from dashboard.quantify.grid import Turn, shrunk_geometry
from dashboard.registration import register, resample_to
from models.context import RunContext
from models.errors import Cancelled, DataError
from models.types import Geometry, Image, Modality
from sample_data.phantoms._thorax import Grid, draw_thorax
from sample_data.samples import data_folder

RNG = np.random.default_rng(4)


@cache
def chest(seed: int = 0) -> Image:
    grid = Grid(60, 44, 40, 6.0, 7.0, -140.0)
    return Image(draw_thorax(np.random.default_rng(seed), grid).hu[None], "HU", Modality.CT, grid.geometry)


@cache
def volume(name: str) -> Image:
    """A real volume with every few voxels of a slice."""
    folder = data_folder()
    file = folder / "volumes" / f"{name}_image.nii.gz" if folder else None
    if file is None or not file.exists():
        pytest.skip("the data folder has no volumes; set SIGHTLINE_DATA")
    stored = nib.load(file)
    step = 8 if "lung" in name else 4
    values = np.asarray(stored.dataobj[::step, ::step].T, dtype=np.float32)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ stored.affine @ np.diag([step, step, 1.0, 1.0])
    ct = "lung" in name
    kind = Modality.CT if ct else Modality.MR
    return Image(values[None], "HU" if ct else "stored value", kind, Geometry(affine))


def geometry(image: Image) -> Geometry:
    assert image.geometry is not None
    return image.geometry


def corners(image: Image) -> np.ndarray:
    """Points throughout a volume in mm."""
    ends = [np.linspace(0, size - 1, 5) for size in reversed(image.values.shape[1:])]
    return geometry(image).to_world(np.stack(np.meshgrid(*ends), -1).reshape(-1, 3))


def motion(image: Image, degrees: tuple[float, float, float], shift: tuple[float, float, float]) -> np.ndarray:
    """A turn about the axes, one after the other, through the middle of a volume, and a shift in mm."""
    turn = np.eye(3)
    for (one, other), angle in zip(((1, 2), (2, 0), (0, 1)), np.radians(degrees), strict=True):
        step = np.eye(3)
        step[one, one] = step[other, other] = np.cos(angle)
        step[one, other], step[other, one] = -np.sin(angle), np.sin(angle)
        turn = step @ turn
    middle = corners(image).mean(axis=0)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, middle + np.array(shift) - turn @ middle
    return matrix


def moved(image: Image, matrix: np.ndarray, affine: np.ndarray | None = None, noise: float = 20.0) -> Image:
    """What a scanner sees of the patient after the motion, on the same grid or another, with noise; by scipy."""
    affine = geometry(image).affine if affine is None else affine
    index = np.linalg.inv(geometry(image).affine) @ np.linalg.inv(matrix) @ affine
    order = index[:3, :3][::-1, ::-1], index[:3, 3][::-1]
    values = ndimage.affine_transform(image.values[0], *order, order=1, cval=float(image.values.min()))
    values += RNG.normal(0, noise, values.shape)
    return replace(image, values=values.astype(np.float32)[None], geometry=Geometry(affine))


def error_mm(found: np.ndarray, truth: np.ndarray, image: Image) -> float:
    points = np.c_[corners(image), np.ones(125)]
    return float(np.linalg.norm((points @ (found - truth).T)[:, :3], axis=1).mean())


def test_a_known_motion_of_a_chest_is_recovered_with_the_same_bytes_each_time():
    fixed, shift = chest(), (-11.5, -11.5, 11.5)
    truth = motion(fixed, (15.0, -15.0, 15.0), shift)
    prior = moved(fixed, truth)
    found, again = register(fixed, prior, seed=3), register(fixed, prior, seed=3)
    assert found.matrix.tobytes() == again.matrix.tobytes()
    assert found.quality == again.quality
    assert found.accepted
    assert found.reason == ""
    assert error_mm(found.matrix, truth, fixed) < min(geometry(fixed).spacing)
    assert found.quality.information_after > 2 * found.quality.information_before
    assert found.shift_mm == pytest.approx(np.linalg.norm(shift), abs=2.0)
    turned = np.degrees(np.arccos((np.trace(truth[:3, :3]) - 1) / 2))
    assert found.rotation_degrees == pytest.approx(turned, abs=1.0)


@pytest.mark.parametrize("name", ["lung1", "brain1"])
def test_known_motions_of_real_scans_are_recovered(name):
    fixed = volume(name)
    truth = motion(fixed, (8.0, -6.0, 14.0), (9.0, 12.0, -8.0))
    found = register(fixed, moved(fixed, truth))
    assert found.accepted
    assert error_mm(found.matrix, truth, fixed) < min(geometry(fixed).spacing)


def test_a_tilted_flipped_prior_far_away_is_brought_into_line_by_its_lungs():
    fixed = chest()
    truth = motion(fixed, (5.0, 0.0, -6.0), (4.0, 200.0, -700.0))
    affine = np.diag([-6.0, 6.0, 7.0, 1.0])
    affine[1, 2] = 1.5  # the gantry leans by 14 degrees
    last = np.array(fixed.values.shape[:0:-1]) - 1.0
    affine[:3, 3] = (truth @ np.r_[corners(fixed).mean(axis=0), 1])[:3] - affine[:3, :3] @ last / 2
    prior = moved(fixed, truth, affine)
    lungs = [ndimage.binary_opening(image.values[0] < -600, iterations=2) for image in (fixed, prior)]
    lungs = [mask & ~_outside(mask) for mask in lungs]
    found = register(fixed, prior, fixed_mask=lungs[0], moving_mask=lungs[1])
    assert found.accepted
    assert error_mm(found.matrix, truth, fixed) < min(geometry(fixed).spacing)


def _outside(air: np.ndarray) -> np.ndarray:
    labels, _ = ndimage.label(air)
    return np.isin(labels, np.unique(labels[:, [0, -1]]))


def test_an_affine_motion_is_recovered_as_one():
    fixed = chest()
    truth = motion(fixed, (4.0, -3.0, 6.0), (0.0, 0.0, 0.0))
    middle = corners(fixed).mean(axis=0)
    truth[:3, :3] = truth[:3, :3] @ np.diag([1.06, 0.95, 1.04])
    truth[:3, 3] = middle + np.array([6.0, -5.0, 4.0]) - truth[:3, :3] @ middle
    found = register(fixed, moved(fixed, truth), "affine")
    assert found.accepted
    assert found.kind == "affine"
    assert error_mm(found.matrix, truth, fixed) < min(geometry(fixed).spacing)


def test_noise_is_refused():
    fixed = chest()
    noise = ndimage.gaussian_filter(RNG.normal(0, 1, fixed.values.shape[1:]), 1.0)
    values = fixed.values.mean() + noise / noise.std() * fixed.values.std()
    found = register(fixed, replace(fixed, values=values.astype(np.float32)[None]))
    assert not found.accepted
    assert found.reason.startswith("The two scans could not be brought into line")
    assert found.reason.count(". ") == 0


def test_the_user_can_stop_it():
    stopped = threading.Event()
    stopped.set()
    ctx = RunContext(cancelled=stopped)
    held = weakref.ref(ctx)
    with pytest.raises(Cancelled):
        register(chest(), chest(), ctx=ctx)
    del ctx
    gc.collect()
    assert held() is None  # nor anything else of the search


def test_slices_at_unequal_distances_are_refused_wherever_they_were_turned():
    uneven = replace(geometry(chest()), uneven_mm=(7.0, 14.0))
    turned = Turn((0, 1, 2), (True, False, True)).geometry(uneven, chest().values.shape[1:])
    for grid in (uneven, turned, shrunk_geometry(uneven, (1, 2, 2))):
        with pytest.raises(DataError, match="The fixed image has slices at unequal distances"):
            register(replace(chest(), geometry=grid), chest())


@pytest.mark.parametrize("image", [chest().slice(3), replace(chest(), geometry=None)])
def test_what_has_no_place_is_refused(image):
    with pytest.raises(DataError, match="The moving image cannot be registered"):
        register(chest(), image)


def test_a_block_keeps_its_place_in_mm_through_resampling():
    affine = motion(chest(), (10.0, 20.0, -30.0), (0.0, 0.0, 0.0)) @ np.diag([1.0, 1.5, 2.0, 1.0])
    affine[0, 1] += 0.4
    source = Geometry(affine)
    values = np.zeros((1, 30, 40, 50), dtype=np.float32)
    values[0, 10:15, 20:25, 30:36] = 7.0
    place = source.to_world(np.array([[32.5, 22.0, 12.0]]))[0]
    wanted = Geometry(np.diag([0.8, 0.9, 1.1, 1.0]))
    start = wanted.affine.copy()
    start[:3, 3] = place - (20, 22, 24)
    shift = np.eye(4)
    shift[:3, 3] = (3.0, -2.0, 1.0)
    for order in ("linear", "nearest"):
        new = resample_to(Image(values, "HU", geometry=source), Geometry(start), (44, 50, 52), shift, order)
        weights = new.values[0].astype(np.float64)
        centre = np.array(ndimage.center_of_mass(weights))[::-1]
        assert geometry(new).to_world(centre[None])[0] + (3, -2, 1) == pytest.approx(place, abs=0.1)
        voxel = abs(np.linalg.det(geometry(new).affine[:3, :3]))
        assert weights.sum() * voxel == pytest.approx(7 * 150 * abs(np.linalg.det(affine[:3, :3])), rel=0.03)
