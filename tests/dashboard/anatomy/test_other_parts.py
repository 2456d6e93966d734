"""Parts of CT slices, brain slices and dermoscopic pictures: phantoms, and marks that the test itself draws."""

from __future__ import annotations

import colorsys
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from dashboard.anatomy import FINDERS, masks_of, parts_of
from dashboard.anatomy._pixels import closed, full_size, largest, opened, otsu, working
from dashboard.anatomy.brain_mr import hull_area, oval
from dashboard.anatomy.dermoscopy import _hsv
from explainers.quality.anatomy import HAIR, INK, OUTSIDE, RULER, VIGNETTE
from models.errors import DataError
from models.types import Case, Geometry, Image, Modality
from sample_data.phantoms import make


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / (first | second).sum())


def _truth(case: Case) -> dict[str, np.ndarray]:
    return {region.name: region.mask for region in case.regions if region.mask is not None}


@pytest.fixture(scope="module")
def chest() -> Case:
    return make("lung-nodule-slice", 1)


@pytest.fixture(scope="module")
def skin() -> Case:
    return make("skin-lesion", 1)


def test_lungs_of_a_slice_by_side(chest: Case) -> None:
    found, truth = masks_of(chest.image), _truth(chest)
    assert overlap(found["left lung"], truth["Left lung"] | (truth["Nodule"] & found["left lung"])) > 0.95
    assert overlap(found["right lung"], truth["Right lung"] | (truth["Nodule"] & found["right lung"])) > 0.95
    assert not (found[OUTSIDE] & found["lungs"]).any()
    assert chest.image.values[0][found[OUTSIDE]].mean() < -800


def test_sides_follow_the_header(chest: Case) -> None:
    geometry = chest.image.geometry
    assert geometry is not None
    affine = geometry.affine.copy()
    affine[:3, 0] *= -1
    mirrored = masks_of(replace(chest.image, geometry=Geometry(affine)))
    own = masks_of(chest.image)
    assert np.array_equal(mirrored["left lung"], own["right lung"])
    unknown = parts_of(replace(chest.image, geometry=None))
    assert "left lung" not in unknown.masks
    assert "how the patient lies" in unknown.missing["left lung"]
    assert np.array_equal(unknown.masks["lungs"], own["lungs"])


def test_an_eight_bit_picture_and_a_crop_give_the_same_lungs(chest: Case) -> None:
    grey = chest.image.display()
    own = masks_of(chest.image)["lungs"]
    assert overlap(masks_of(Image(grey, "unit interval", Modality.CT))["lungs"], own) > 0.95
    rows, columns = np.nonzero(own)
    cut = np.s_[:, rows.min() + 8 : rows.max() - 8, columns.min() + 8 : columns.max() - 8]
    cropped = parts_of(Image(np.ascontiguousarray(grey[cut]), "unit interval", Modality.CT))
    assert overlap(cropped.masks["lungs"], own[cut[1:]]) > 0.93
    assert OUTSIDE not in cropped.masks


def test_a_slice_without_lungs_says_so() -> None:
    y, x = np.indices((128, 128))
    values = np.where(np.hypot(y - 64, x - 64) < 50, 40.0, -1000.0).astype(np.float32)
    found = parts_of(Image(values[None], "HU", Modality.CT))
    assert "lungs" not in found.masks
    assert "above or below" in found.missing["lungs"]
    assert overlap(found.masks[OUTSIDE], values < -500) > 0.97
    empty = parts_of(Image(np.full((1, 64, 64), -1000, np.float32), "HU", Modality.CT))
    assert not empty.masks
    assert empty.missing["lungs"]


@pytest.mark.parametrize("lesion", ["ring-enhancing", "meningioma-like"])
def test_brain_of_a_phantom(lesion: str) -> None:
    case = make("brain-mr-slice", 2, lesion=lesion)
    truth = np.logical_or.reduce(list(_truth(case).values()))
    found = masks_of(case.image)
    assert overlap(found["brain"], truth) > 0.85
    assert not (found["brain"] & found[OUTSIDE]).any()
    assert (truth & found[OUTSIDE]).sum() == 0


def test_a_slice_through_the_neck_and_a_picture_without_head_give_no_brain() -> None:
    y, x = np.indices((160, 160))
    values = np.where(np.hypot(y - 70, x - 80) < 50, 0.6, 0.0) + np.where((y > 100) & (np.abs(x - 80) < 30), 0.6, 0.0)
    neck = parts_of(Image(np.clip(values, 0, 0.6)[None].astype(np.float32), "unit interval", Modality.MR))
    assert "brain" not in neck.masks
    assert "neck" in neck.missing["brain"]
    assert neck.masks[OUTSIDE][0, 0]
    assert parts_of(Image(np.zeros((1, 64, 64), np.float32), "unit interval", Modality.MR)).missing["brain"]


def _drawn(skin: Case, change: np.ndarray, colour: tuple[float, float, float]) -> Image:
    values = skin.image.values.copy()
    values[:, change] = np.array(colour, np.float32)[:, None]
    return Image(values, "unit interval", Modality.DERMOSCOPY)


def test_clean_skin_has_no_marks(skin: Case) -> None:
    found = parts_of(skin.image)
    assert not found.masks
    assert set(found.missing) == {HAIR, RULER, INK, VIGNETTE, "lesion", "surrounding skin"}
    lesion = _truth(skin)["Lesion"]
    outlined = parts_of(skin.image, lesion)
    assert np.array_equal(outlined.masks["lesion"], lesion)
    assert np.array_equal(outlined.masks["surrounding skin"], ~lesion)


def test_hair_is_found_and_other_dark_shapes_are_not(skin: Case) -> None:
    height, width = skin.image.plane_shape
    y, x = np.indices((height, width))
    hair = np.abs(y - 60 - 0.35 * x) < 1.6
    hair &= (x > 60) & (x < 420)
    found = masks_of(_drawn(skin, hair, (0.15, 0.1, 0.08)))[HAIR]
    assert (found & hair).sum() > 0.7 * hair.sum()  # over dark pigment it is missed
    near = ndimage.binary_dilation(hair, iterations=5)
    assert (found & ~near).sum() < 0.1 * found.sum()
    blob = np.hypot(y - 60, x - 80) < 18
    assert HAIR not in masks_of(_drawn(skin, blob, (0.15, 0.1, 0.08)))


def test_ruler_ink_and_dark_corners(skin: Case) -> None:
    ruler = make("skin-lesion", 1, ruler=True)
    found = parts_of(ruler.image, _truth(ruler)["Lesion"])
    strip = found.masks[RULER]
    assert strip[-20:].mean() > 0.9
    assert not strip[: int(0.75 * len(strip))].any()
    y, x = np.indices(skin.image.plane_shape)
    pen = (np.abs(y - 40) < 6) & (x > 100) & (x < 250)
    ink = masks_of(_drawn(skin, pen, (0.2, 0.15, 0.7)))
    assert overlap(ink[INK], pen) > 0.8
    round_ = np.hypot(y - 225, x - 300) > 330
    corners = masks_of(_drawn(skin, round_, (0.03, 0.03, 0.03)))
    assert overlap(corners[VIGNETTE], round_) > 0.9
    assert HAIR not in corners or corners[HAIR].mean() < 0.005


def test_hue_and_saturation_are_the_standard_librarys() -> None:
    colours = np.random.default_rng(0).random((3, 4, 5))
    colours[:, 0, 0], colours[:, 0, 1] = 0.4, 0.0
    found = np.stack(_hsv(colours), axis=-1)
    expected = [[colorsys.rgb_to_hsv(*colours[:, row, column]) for column in range(5)] for row in range(4)]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_what_cannot_be_asked() -> None:
    volume = Image(np.zeros((1, 2, 8, 8), np.float32), "HU", Modality.CT)
    with pytest.raises(DataError, match="choose one"):
        parts_of(volume)
    plane = Image(np.zeros((1, 8, 8), np.float32), "unit interval", Modality.OTHER)
    assert parts_of(plane).missing["all"]
    with pytest.raises(DataError, match="lesion"):
        parts_of(replace(plane, modality=Modality.DERMOSCOPY), np.zeros((4, 4), dtype=bool))
    assert set(FINDERS.ids()) == {"x-ray", "ct", "mr", "dermoscopy"}


def test_pixels() -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((40, 50)) < 0.5
    y, x = np.ogrid[-3:4, -3:4]
    footprint = x**2 + y**2 <= 9
    padded = np.pad(ndimage.binary_dilation(mask, iterations=2), 10, mode="edge")
    expected = ndimage.binary_opening(padded, footprint)[10:-10, 10:-10]
    assert overlap(opened(ndimage.binary_dilation(mask, iterations=2), 2.9), expected) > 0.9
    blob = np.zeros((40, 50), dtype=bool)
    blob[10:20, 10:30] = True
    gap = blob.copy()
    gap[14:16, 12:28] = False
    assert np.array_equal(closed(gap, 2.0), blob)
    assert np.array_equal(largest(blob | np.eye(40, 50, 47, dtype=bool)), blob)
    assert hull_area(blob) == pytest.approx(200)
    disc = np.hypot(*(np.indices((60, 60)) - 30)) < 20
    assert oval(disc) > 0.97
    assert oval(blob) < 0.95
    values = np.concatenate([rng.normal(0.2, 0.02, 500), rng.normal(0.8, 0.02, 500)])
    assert 0.25 < otsu(values) < 0.75
    image = Image(rng.random((1, 300, 200)).astype(np.float32), "unit interval")
    assert working(image, 100).shape == (1, 100, 67)
    whole = full_size(np.ones((100, 67), dtype=bool), image)
    assert whole.shape == (300, 200)
    assert whole.all()
