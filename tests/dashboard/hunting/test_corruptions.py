"""Corruptions against re-derivations and invariants."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from scipy import signal
from torchvision.transforms.functional import InterpolationMode, rotate

from dashboard.hunting.corruptions import CORRUPTIONS, STRENGTHS, corrupted, fitting
from models.errors import DataError
from models.preprocess import InputSpec, prepare, stack
from models.types import FloatArray, Geometry, Image, Modality, Window

RNG = np.random.default_rng(0)
FILM = Image(RNG.uniform(0.2, 0.8, (1, 40, 36)).astype(np.float32), "unit interval", Modality.XRAY)
SKIN = Image(RNG.uniform(0.1, 0.6, (3, 24, 32)).astype(np.float32), "unit interval", Modality.DERMOSCOPY)
CT = Image(
    RNG.normal(0, 300, (1, 30, 28)).astype(np.float32), "HU", Modality.CT, Geometry(np.diag([0.5, 0.8, 1.0, 1.0]))
)
MR = Image(
    np.round(RNG.uniform(0, 4000, (1, 32, 32))).astype(np.float32),
    "stored value",
    Modality.MR,
    windows=(Window("sigmoid", 1500, 2000, "sigmoid"),),
)


def changed(image: Image, name: str, strength: int, seed: int = 0) -> FloatArray:
    return corrupted(image, name, strength, seed).image.values


@pytest.mark.parametrize("image", [FILM, SKIN, CT, MR], ids=["film", "skin", "ct", "mr"])
def test_every_fitting_corruption_keeps_the_geometry_and_grows(image: Image) -> None:
    assert {one.id for one in fitting(image)} >= {"rotation", "shift", "coarser"}
    clean = image.values if image.unit == "HU" else image.display()
    for one in fitting(image):
        assert corrupted(image, one.id, 0).image is image
        far = []
        for strength in STRENGTHS[1:]:
            found = corrupted(image, one.id, strength, 3)
            again = corrupted(image, one.id, strength, 3).image
            assert found.image.values.tobytes() == again.values.tobytes()
            assert found.image.values.shape == image.values.shape
            assert (found.image.geometry, found.image.modality) == (image.geometry, image.modality)
            assert (found.image.unit == "HU") == (image.unit == "HU")
            assert (found.to_original is not None) == (one.id in ("rotation", "shift"))
            far.append(float(np.abs(found.image.values - clean).mean()))
        if one.id not in ("rotation", "shift"):
            assert far == sorted(far), one.id
            assert far[-1] > 0, one.id
        assert one.amount(0) == "unchanged"
        assert f"{one.amounts[3]:g}" in one.amount(4)


def test_what_fits_which_picture() -> None:
    names = {kind: {one.id for one in fitting(image)} for kind, image in {"film": FILM, "skin": SKIN, "ct": CT, "mr": MR}.items()}  # fmt: skip
    assert "colour-cast" in names["skin"]
    assert "colour-cast" not in names["film"]
    assert "bias-field" in names["mr"]
    assert "bias-field" not in names["film"]
    assert {"ct-noise", "ct-kernel", "ct-offset"} <= names["ct"]
    assert not names["ct"] & {"jpeg", "gamma", "noise"}


def test_grey_changes_are_their_formulas_in_the_displayed_picture() -> None:
    shown = MR.display().astype(np.float64)
    assert np.allclose(changed(MR, "brighter", 3), np.minimum(shown + 0.2, 1), atol=1e-6)
    assert np.allclose(changed(MR, "darker", 2), np.maximum(shown - 0.1, 0), atol=1e-6)
    assert np.allclose(changed(MR, "gamma", 4), shown**3, atol=1e-6)
    assert np.allclose(changed(MR, "contrast", 3), 0.5 * shown + 0.5 * shown.mean(), atol=1e-6)
    negative = replace(MR, inverted=True)
    assert np.allclose(changed(negative, "brighter", 1), np.minimum(1 - shown + 0.05, 1), atol=1e-6)


def test_the_network_sees_the_displayed_change_and_a_ct_network_its_own_window() -> None:
    spec = InputSpec(30, 28, 1, "stretch", Window("lung", -600, 1500))
    found = corrupted(CT, "ct-offset", 4, 1).image
    step = float((found.values - CT.values).mean())
    assert abs(step) == pytest.approx(80)
    seen = prepare(found, spec).tensor.numpy()[0]
    assert np.allclose(seen, np.clip((CT.values + step + 1350) / 1500, 0, 1), atol=1e-5)


def test_noise_has_the_strength_it_says() -> None:
    flat = Image(np.full((1, 200, 200), 0.5, np.float32), "unit interval", Modality.XRAY)
    assert changed(flat, "noise", 2).std() == pytest.approx(0.04, rel=0.02)
    # Rician: black MR has the mean of a Rayleigh distribution.
    black = Image(np.zeros((1, 200, 200), np.float32), "unit interval", Modality.MR)
    assert changed(black, "noise", 3).mean() == pytest.approx(0.08 * np.sqrt(np.pi / 2), rel=0.02)
    water = Image(np.zeros((1, 200, 200), np.float32), "HU", Modality.CT)
    assert changed(water, "ct-noise", 4).std() == pytest.approx(80, rel=0.02)
    one, two = (changed(flat, "noise", strength) - 0.5 for strength in (1, 2))
    assert np.allclose(2 * one, two, atol=1e-6)  # the same grain, stronger


def test_blur_is_a_convolution_with_a_gaussian_of_the_stated_width() -> None:
    point = np.zeros((1, 101, 101), np.float32)
    point[0, 50, 50] = 1
    sigma = 0.02 * 101
    x = np.arange(101) - 50
    bell = np.exp(-(x**2) / (2 * sigma**2))
    bell[np.abs(x) > int(4 * sigma + 0.5)] = 0
    bell /= bell.sum()
    assert np.allclose(changed(Image(point, "unit interval"), "blur", 4)[0], np.outer(bell, bell), atol=1e-6)
    # In mm: half as high at half the stated width to each side, along columns of 0.5 mm and rows of 0.8 mm.
    ct = Image(1000 * point, "HU", Modality.CT, Geometry(np.diag([0.5, 0.8, 1.0, 1.0])))
    soft = changed(ct, "ct-kernel", 4)[0]
    assert soft[50, 54] / soft[50, 50] == pytest.approx(0.5, rel=0.02)
    assert np.interp(2 / 0.8, np.arange(4), soft[50:54, 50]) / soft[50, 50] == pytest.approx(0.5, rel=0.05)
    assert signal.convolve(soft, np.ones((1, 1))).sum() == pytest.approx(1000, rel=1e-3)


def test_jpeg_is_what_the_library_writes() -> None:
    written = io.BytesIO()
    Picture.fromarray(np.rint(SKIN.values * 255).astype(np.uint8).transpose(1, 2, 0)).save(written, "JPEG", quality=25)
    expected = np.asarray(Picture.open(written)).transpose(2, 0, 1) / 255
    assert np.allclose(changed(SKIN, "jpeg", 3), expected, atol=1e-6)


def test_coarser_pixels_are_block_means_in_between() -> None:
    found = changed(FILM, "coarser", 4)[0]  # 4 x 4 pixels become one
    means = FILM.values[0].reshape(10, 4, 9, 4).mean(axis=(1, 3))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(means)[None, None], size=(40, 36), mode="bilinear", align_corners=False
    )
    assert np.allclose(found, expected[0, 0].numpy(), atol=1e-5)


def test_shift_moves_whole_pixels_and_rotation_turns_as_torchvision_does() -> None:
    expected = round(0.15 * 36)
    found = corrupted(FILM, "shift", 4, 5)
    assert found.to_original is not None
    across, down = found.to_original[:2, 2].astype(int)
    assert sorted((abs(across), abs(down))) == [0, expected]
    rolled = np.roll(FILM.values[0], (-down, -across), (0, 1))
    inside = np.s_[expected:-expected, expected:-expected]
    assert np.allclose(found.image.values[0][inside], rolled[inside], atol=1e-6)
    assert (found.image.values == 0).sum() == expected * (40 if across else 36)  # black comes in

    smooth = np.asarray(corrupted(FILM, "blur", 4).image.values)
    film = Image(smooth, "unit interval", Modality.XRAY)
    turned = corrupted(film, "rotation", 4, 2)
    assert turned.to_original is not None
    angle = np.degrees(np.arctan2(turned.to_original[1, 0], turned.to_original[0, 0]))
    assert abs(angle) == pytest.approx(20)
    theirs = rotate(torch.tensor(smooth), float(angle), InterpolationMode.BILINEAR).numpy()
    core = np.s_[0, 8:-8, 8:-8]
    assert np.allclose(turned.image.values[core], theirs[core], atol=1e-4)


@pytest.mark.parametrize("name", ["shift", "rotation"])
def test_a_map_goes_back_to_where_it_was(name: str) -> None:
    rows, columns = np.mgrid[:40, :36]
    picture = np.exp(-((rows - 18) ** 2 + (columns - 20) ** 2) / 40).astype(np.float32)
    image = Image(picture[None], "unit interval", Modality.XRAY, Geometry(np.diag([1.0, 2.0, 1.0, 1.0])))
    found = corrupted(image, name, 3, 4)
    assert np.abs(found.image.values[0] - picture).max() > 0.1
    back, known = found.undo(found.image.values[0])
    assert known.mean() > 0.7
    assert np.abs(back - picture)[known].max() < 0.03


def test_fields_and_casts_are_multiplications() -> None:
    flat = Image(np.full((1, 64, 64), 0.4, np.float32), "unit interval", Modality.MR)
    gain = changed(flat, "bias-field", 4) / 0.4
    assert gain.max() == pytest.approx(1.6, rel=1e-4)
    assert gain.min() == pytest.approx(1 / 1.6, rel=1e-4)
    assert np.abs(np.diff(gain[0], 3, axis=0)).max() < 1e-3  # smooth
    ratio = changed(SKIN, "colour-cast", 3) / SKIN.values
    assert np.allclose(np.sort(ratio.mean(axis=(1, 2))), [0.8, 1.0, 1.2], atol=1e-5)
    assert np.allclose(ratio[1], 1)
    casts = {
        float(np.sign(changed(SKIN, "colour-cast", 1, seed)[0].mean() - SKIN.values[0].mean())) for seed in range(8)
    }
    assert casts == {-1.0, 1.0}


def test_neighbouring_slices_change_with_the_slice(ct_volume: Image) -> None:
    spec = InputSpec(40, 50, 3, "stretch", slices=3, slice_step_mm=1.5)
    plain = stack(ct_volume.slice(3), spec)
    found = corrupted(ct_volume.slice(3), "ct-offset", 2, 0, spec).image
    assert np.allclose(np.abs(stack(found, spec) - plain), 20, atol=1e-3)
    assert found.geometry is not None
    assert np.allclose(found.geometry.affine, ct_volume.slice(3).geometry.affine)
    noisy = stack(corrupted(ct_volume.slice(3), "ct-noise", 2, 0, spec).image, spec) - plain
    assert abs(np.corrcoef(noisy[0].ravel(), noisy[1].ravel())[0, 1]) < 0.1


def test_what_cannot_be_changed_is_said() -> None:
    with pytest.raises(DataError, match="choose one"):
        corrupted(Image(np.zeros((1, 2, 4, 4), np.float32), "HU"), "shift", 1)
    with pytest.raises(DataError, match="no corruption 'fog'"):
        corrupted(FILM, "fog", 1)
    with pytest.raises(DataError, match="strength 0 to 4"):
        corrupted(FILM, next(iter(CORRUPTIONS)), 5)
