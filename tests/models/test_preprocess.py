"""Preprocessing against a slow re-derivation, and its map back to the image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as PILImage

from models.errors import DataError
from models.preprocess import Fit, InputSpec, prepare, stack
from models.types import Geometry, Image, Modality, Window

SHAPES = [(100, 140), (140, 100), (64, 64), (300, 90)]
FITS: tuple[Fit, ...] = ("stretch", "letterbox", "center-crop")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 1.0), (2.0, 0.7)])
def test_a_bright_block_maps_back_to_its_place(shape: tuple[int, int], fit: Fit, spacing: tuple[float, float]) -> None:
    """The centroid of a planted block on the input grid, sent through grid_to_image, is the block's centre."""
    height, width = shape
    row, column = height * 0.52, width * 0.49  # inside what a centre crop keeps
    rows, columns = np.mgrid[:height, :width]
    blob = np.exp(-(((rows - row) / (min(shape) * 0.03)) ** 2) - ((columns - column) / (min(shape) * 0.03)) ** 2)
    image = Image(blob[None].astype(np.float32), "unit interval", geometry=Geometry.from_spacing(*spacing))
    prepared = prepare(image, InputSpec(96, 64, 1, fit))
    seen = prepared.tensor[0, 0].double().numpy()
    grid_rows, grid_columns = np.mgrid[:96, :64]
    centroid = np.array([(grid_columns * seen).sum(), (grid_rows * seen).sum(), seen.sum()]) / seen.sum()
    back = prepared.grid_to_image @ centroid
    step = np.abs(np.diag(prepared.grid_to_image)[:2]).max()
    assert abs(back[0] - column) < 0.25 * step + 0.05
    assert abs(back[1] - row) < 0.25 * step + 0.05


def test_non_square_pixels_become_square() -> None:
    """A 40 x 40 mm disc stays as wide as high, though its pixels are 2 mm wide and 1 mm high."""
    rows, columns = np.mgrid[:80, :40]
    disc = ((rows - 39.5) ** 2 + (2 * (columns - 19.5)) ** 2 < 20**2).astype(np.float32)
    prepared = prepare(
        Image(disc[None], "unit interval", geometry=Geometry.from_spacing(2.0, 1.0)), InputSpec(64, 64, 1)
    )
    seen = prepared.tensor[0, 0].numpy() > 0.5
    assert abs(int(seen.any(0).sum()) - int(seen.any(1).sum())) <= 1


def test_downsampling_averages_as_pillow_does() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((90, 60)).astype(np.float32)
    prepared = prepare(Image(values[None], "unit interval"), InputSpec(30, 20, 1, "stretch"))
    expected = np.asarray(PILImage.fromarray(values).resize((20, 30), PILImage.Resampling.BILINEAR))
    np.testing.assert_allclose(prepared.tensor[0, 0].numpy(), expected, atol=1e-5)


def test_normalisation_grey_to_three_channels_and_black() -> None:
    spec = InputSpec(8, 8, 3, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.5))
    prepared = prepare(Image(np.full((1, 8, 8), 0.25, np.float32), "unit interval"), spec)
    for channel, (mean, std) in enumerate(zip(spec.mean, spec.std, strict=True)):
        np.testing.assert_allclose(prepared.tensor[0, channel], (0.25 - mean) / std, rtol=1e-5)
        np.testing.assert_allclose(prepared.black[channel], -mean / std, rtol=1e-5)


def test_colour_to_grey_uses_the_bt601_weights() -> None:
    values = np.zeros((3, 8, 8), np.float32)
    values[1] = 1
    prepared = prepare(Image(values, "unit interval"), InputSpec(8, 8, 1))
    np.testing.assert_allclose(prepared.tensor.numpy(), 0.587, rtol=1e-5)


def test_a_fixed_window_is_for_hounsfield_units_only() -> None:
    lung = Window("model", -600, 1500)
    spec = InputSpec(8, 8, 1, window=lung)
    values = np.full((1, 8, 8), -600, np.float32)
    assert prepare(Image(values, "HU"), spec).tensor.mean().item() == pytest.approx(0.5)
    own = (Window.from_range("own", -600, 0),)
    film = Image(values, "stored value", Modality.XRAY, windows=own)
    assert prepare(film, spec).tensor.max().item() == pytest.approx(0.0)


SPACING = InputSpec(40, 48, 3, "spacing", Window("lung", -600, 1500), spacing_mm=0.5, slices=3, slice_step_mm=2.5)


def ct_volume(depth: int = 9, slice_mm: float = 1.25, plane_mm: tuple[float, float] = (0.7, 0.6)) -> Image:
    values = np.random.default_rng(5).normal(-500, 300, (1, depth, 30, 36)).astype(np.float32)
    return Image(values, "HU", Modality.CT, Geometry(np.diag([*plane_mm, slice_mm, 1.0])))


@pytest.mark.parametrize("index", [0, 1, 4, 8])
@pytest.mark.parametrize("slice_mm", [1.0, 1.25, 3.0])
def test_the_neighbours_lie_at_the_asked_distance(index: int, slice_mm: float) -> None:
    """Against numpy's linear interpolation along the slices, pixel by pixel, held at the ends."""
    volume = ct_volume(slice_mm=slice_mm)
    seen = stack(volume.slice(index), SPACING)
    heights = np.arange(9) * slice_mm
    for channel, offset in enumerate((-2.5, 0.0, 2.5)):
        expected = np.apply_along_axis(
            lambda column: np.interp(index * slice_mm + offset, heights, column),  # noqa: B023
            0,
            volume.values[0].astype(np.float64),
        )
        np.testing.assert_allclose(seen[channel], expected, atol=1e-3)


def test_windowing_comes_after_the_interpolation_and_a_lone_slice_is_repeated() -> None:
    values = np.stack([np.full((30, 36), hu, np.float32) for hu in (-3000, 1000, 1000)])[None]
    volume = Image(values, "HU", Modality.CT, Geometry(np.diag([1.0, 1.0, 5.0, 1.0])))
    grey = prepare(volume.slice(1), SPACING).tensor[0, :, 20, 24]
    np.testing.assert_allclose(grey, [0.35 / 1.5, 1.0, 1.0], atol=1e-6)  # -1000 HU lies half-way
    alone = replace(volume.slice(1), within=None)
    assert prepare(alone, SPACING).tensor[0, :, 20, 24].tolist() == [1.0, 1.0, 1.0]


def test_spacing_cuts_and_pads_around_the_centre_in_millimetres() -> None:
    """30 x 0.6 mm and 36 x 0.7 mm become 36 x 50 pixels of 0.5 mm, on a frame of 40 x 48."""
    image = ct_volume().slice(4)
    prepared = prepare(image, SPACING)
    assert prepared.tensor.shape == (1, 3, 40, 48)
    np.testing.assert_allclose(np.diag(prepared.grid_to_image)[:2], [36 / 50, 30 / 36])
    centre = prepared.grid_to_image @ [23.5, 19.5, 1]
    np.testing.assert_allclose(centre[:2], [17.5, 14.5])
    assert prepared.tensor[0, :, :2].eq(0).all()
    assert prepared.tensor[0, :, -2:].eq(0).all()
    assert prepared.tensor[0, :, 2].gt(0).any()


def test_without_a_pixel_spacing_there_is_one_sentence() -> None:
    with pytest.raises(DataError, match="needs the pixel spacing in mm"):
        prepare(Image(np.zeros((1, 30, 36), np.float32), "unit interval", Modality.CT), SPACING)


def test_monochrome1_is_turned_round() -> None:
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 8, 8)
    plain = prepare(Image(values, "unit interval"), InputSpec(8, 8, 1)).tensor
    turned = prepare(Image(values, "unit interval", inverted=True), InputSpec(8, 8, 1)).tensor
    np.testing.assert_allclose(plain + turned, 1.0, atol=1e-6)


def test_padding_is_black() -> None:
    prepared = prepare(
        Image(np.ones((1, 10, 20), np.float32), "unit interval"), InputSpec(20, 20, 1, mean=(0.5,), std=(0.5,))
    )
    assert prepared.tensor[0, 0, 0].eq(prepared.black[0]).all()
    assert prepared.tensor[0, 0, 10].eq(1.0).all()
