"""Lung segmentation against drawn chests whose lungs are known."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from dashboard.quantify.grid import Turn, upright
from dashboard.quantify.lungs import Lungs, lungs_of_mask, segment_lungs
from dashboard.quantities import dice
from models.errors import DataError
from models.types import Geometry, Image, Modality
from sample_data.samples import load_sample
from tests.dashboard.quantify.thorax import AXES, LPS_TO_RAS, Ball, Chest, draw

AT_PLEURA = (Ball(-134, 0, 0, 20, 30), Ball(90, 78, -20, 14, 40), Ball(-60, 70, 20, 16, -300))


def check(chest: Chest, lungs: Lungs, least: float = 0.97) -> None:
    assert dice(lungs.right, chest.right) > least
    assert dice(lungs.left, chest.left) > least
    assert not (lungs.both & chest.gas).any()
    assert (lungs.both & chest.trachea).sum() < 0.02 * chest.trachea.sum()


@pytest.mark.parametrize("spacing", [(3.0, 3.0, 3.0), (1.3, 1.6, 8.0)])
def test_lungs_have_the_volume_of_their_ellipsoids(spacing: tuple[float, float, float]) -> None:
    chest = draw(spacing)
    lungs = segment_lungs(chest.image)
    check(chest, lungs)
    ellipsoid_ml = 4 / 3 * np.pi * np.prod(AXES) / 1000
    assert lungs.right_ml == pytest.approx(ellipsoid_ml, rel=0.03)
    assert lungs.left_ml == pytest.approx(ellipsoid_ml, rel=0.03)
    assert lungs.warnings == ()


@pytest.mark.parametrize("spacing", [(3.0, 3.0, 3.0), (1.8, 1.8, 8.0)])
def test_consolidations_at_the_pleura_are_taken_in(spacing: tuple[float, float, float]) -> None:
    chest = draw(spacing, AT_PLEURA)
    lungs = segment_lungs(chest.image)
    check(chest, lungs)
    for lesion in chest.lesions:
        assert (lesion & lungs.both).sum() > 0.8 * lesion.sum()


def test_lungs_that_meet_in_front_are_parted() -> None:
    chest = draw(bridge=True)
    check(chest, segment_lungs(chest.image), least=0.96)


def test_an_oblique_scan() -> None:
    chest = draw(angles=(12, -8, 10))
    check(chest, segment_lungs(chest.image))


@pytest.mark.parametrize("codes", ["RAS", "ASR", "SLP"])
def test_sides_and_volumes_do_not_depend_on_the_order_of_the_axes(codes: str) -> None:
    chest = draw((3, 3, 6), AT_PLEURA)
    lungs = segment_lungs(chest.image)
    stored = nib.Nifti1Image(chest.image.values[0].T, LPS_TO_RAS @ chest.geometry.affine)
    order = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(stored.affine), nib.orientations.axcodes2ornt(codes)
    )
    stored = stored.as_reoriented(order)
    geometry = Geometry(LPS_TO_RAS @ stored.affine)
    turned = Image(stored.get_fdata(dtype=np.float32).T[None], "HU", Modality.CT, geometry)
    found = segment_lungs(turned)
    assert (found.right_ml, found.left_ml) == pytest.approx((lungs.right_ml, lungs.left_ml), rel=1e-9)
    x = geometry.to_world(np.argwhere(found.left)[:, ::-1].astype(float))[:, 0]
    assert x.mean() == pytest.approx(76, abs=3)
    again = upright(turned)
    np.testing.assert_array_equal(again.values, chest.image.values)
    np.testing.assert_allclose(again.geometry.affine, chest.geometry.affine, atol=1e-9)
    np.testing.assert_array_equal(Turn.of(geometry).apply(found.right), lungs.right)


def test_the_pneumonia_phantom() -> None:
    case = load_sample("phantom-pneumonia-volume")
    truth = {region.name: region.mask for region in case.regions}
    lungs = segment_lungs(case.image)
    assert dice(lungs.right, truth["Right lung"]) > 0.98
    assert dice(lungs.left, truth["Left lung"]) > 0.98
    assert (lungs.both & truth["Infection"]).sum() > 0.96 * truth["Infection"].sum()


def test_lungs_cut_off_at_one_end_are_reported() -> None:
    (warning,) = segment_lungs(draw(low=-70).image).warnings
    assert "lower end" in warning


def test_a_consolidated_base_is_reported() -> None:
    chest = draw()
    values = chest.image.values.copy()
    base = chest.right.copy()
    base[chest.right.shape[0] * 2 // 5 :] = False
    values[0][base] = 40
    (warning,) = segment_lungs(Image(values, "HU", Modality.CT, chest.geometry)).warnings
    assert "above the other" in warning


@pytest.mark.parametrize(
    ("low", "high", "words"), [(-40, 40, "part of the lungs only"), (30, 140, "part of the lungs only")]
)
def test_a_patch_is_refused(low: float, high: float, words: str) -> None:
    with pytest.raises(DataError, match=words):
        segment_lungs(draw(low=low, high=high).image)


def test_the_committed_crop_is_refused_as_a_part() -> None:
    with pytest.raises(DataError, match="part of the lungs only"):
        segment_lungs(load_sample("lung-ct-nodule").image)


def test_one_lung_is_refused() -> None:
    chest = draw()
    values = chest.image.values.copy()
    values[0][chest.left] = 40
    with pytest.raises(DataError, match=r"Two lungs cannot be told apart|implausible"):
        segment_lungs(Image(values, "HU", Modality.CT, chest.geometry))


def test_small_lungs_are_refused() -> None:
    chest = draw()
    affine = chest.geometry.affine.copy()
    affine[:3] *= 0.55
    with pytest.raises(DataError, match="implausible"):
        segment_lungs(Image(chest.image.values, "HU", Modality.CT, Geometry(affine)))


def test_supplied_masks_of_one_and_of_two_labels() -> None:
    chest = draw(bridge=True)
    one = lungs_of_mask((chest.right | chest.left).astype(np.uint8), chest.geometry)
    assert dice(one.right, chest.right) > 0.97
    two = lungs_of_mask((chest.left + 2 * chest.right).astype(np.uint8), chest.geometry)
    np.testing.assert_array_equal(two.right, chest.right)
    np.testing.assert_array_equal(two.left, chest.left)


def test_bad_scans_get_one_sentence() -> None:
    chest = draw((6, 6, 10))
    values, geometry = chest.image.values, chest.geometry
    spacing_only = Geometry(np.diag([2.0, 2.0, 5.0, 1.0]), "plane")
    cases = {
        "single slice": Image(values[:, 10], "HU", Modality.CT, geometry),
        "spacing": Image(values, "HU", Modality.CT, None),
        "stands for unknown": Image(values, "HU", Modality.CT, Geometry(np.eye(4), "plane")),
        "how the patient lies": Image(values, "HU", Modality.CT, spacing_only),
        "Hounsfield": Image(values, "stored value", Modality.MR, geometry),
        "colour": Image(np.repeat(values, 3, axis=0), "unit interval", geometry=geometry),
        "no air inside a body": Image(np.full_like(values, 40.0), "HU", Modality.CT, geometry),
    }
    for words, image in cases.items():
        with pytest.raises(DataError, match=words) as caught:
            segment_lungs(image)
        assert str(caught.value).endswith((".", ";")), words
        assert "\n" not in str(caught.value)
