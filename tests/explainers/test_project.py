from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import center_of_mass, map_coordinates

from explainers.project import layer_to_input
from models.preprocess import InputSpec, prepare
from models.project import area_means, covered, input_to_image, overlap
from models.types import Geometry, Image

FITS = ["letterbox", "center-crop", "stretch"]
# (image height, image width, row spacing, column spacing)
FRAMES = [(300, 200, 1.0, 1.0), (200, 310, 1.0, 1.0), (240, 160, 0.5, 1.0), (40, 50, 1.0, 1.0), (97, 131, 1.0, 0.7)]


def plane(height: int, width: int, row_mm: float = 1.0, column_mm: float = 1.0) -> Image:
    return Image(
        np.zeros((1, height, width), np.float32), "unit interval", geometry=Geometry.from_spacing(column_mm, row_mm)
    )


def block(shape: tuple[int, int], row: float, column: float, half: float) -> np.ndarray:
    """Cover of each pixel by a square of half-width ``half`` around a centre, in [0, 1]."""
    rows = np.clip(half + 0.5 - np.abs(np.arange(shape[0]) - row), 0, 1)
    columns = np.clip(half + 0.5 - np.abs(np.arange(shape[1]) - column), 0, 1)
    return np.outer(rows, columns).astype(np.float32)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("frame", FRAMES)
def test_a_block_planted_on_the_grid_lands_on_its_place_in_the_image(fit: str, frame: tuple) -> None:
    prepared = prepare(plane(*frame), InputSpec(96, 112, 1, fit))
    for fraction in (0.3, 0.5, 0.62):
        image_row, image_column = fraction * (frame[0] - 1), (1 - fraction) * (frame[1] - 1)
        column, row, _ = np.linalg.inv(prepared.grid_to_image) @ [image_column, image_row, 1]
        laid = input_to_image(block(prepared.grid_shape, row, column, 2), prepared.grid_to_image, prepared.image_shape)
        assert laid.shape == prepared.image_shape
        found = np.array(center_of_mass(laid))
        # Half a pixel of the coarser grid along each axis, in image pixels.
        limit = 0.5 * np.maximum(1.0, [prepared.grid_to_image[1, 1], prepared.grid_to_image[0, 0]])
        assert (np.abs(found - [image_row, image_column]) <= limit).all()


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("frame", FRAMES)
def test_a_bright_block_seen_by_the_network_comes_back_to_where_it_is(fit: str, frame: tuple) -> None:
    """Through the real preprocessing: image to grid by ``prepare``, grid to image by ``input_to_image``."""
    row, column = 0.55 * frame[0], 0.4 * frame[1]
    values = block(frame[:2], row, column, 0.06 * min(frame[:2]))[None]
    image = Image(values, "unit interval", geometry=Geometry.from_spacing(frame[3], frame[2]))
    prepared = prepare(image, InputSpec(96, 112, 1, fit))
    laid = input_to_image(prepared.tensor[0, 0].numpy(), prepared.grid_to_image, prepared.image_shape)
    limit = 0.5 * np.maximum(1.0, [prepared.grid_to_image[1, 1], prepared.grid_to_image[0, 0]])
    assert (np.abs(np.array(center_of_mass(laid)) - [row, column]) <= limit).all()


def test_the_identity_is_exact() -> None:
    values = np.random.default_rng(0).normal(size=(37, 41)).astype(np.float32)
    np.testing.assert_array_equal(input_to_image(values, np.eye(3), values.shape), values)
    np.testing.assert_array_equal(layer_to_input(values, values.shape), values)


def test_upsampling_is_bilinear_at_pixel_centres() -> None:
    """Against scipy, at the coordinates that the convention gives; edges hold the outermost value."""
    values = np.random.default_rng(1).normal(size=(8, 12)).astype(np.float32)
    to_image = np.array([[2.5, 0, 0.75], [0, 3.0, 1.0], [0, 0, 1]])  # a stretch of 12 to 30 and of 8 to 24
    rows, columns = (np.arange(24) - 1.0) / 3.0, (np.arange(30) - 0.75) / 2.5
    grid = np.meshgrid(np.clip(rows, 0, 7), np.clip(columns, 0, 11), indexing="ij")
    expected = map_coordinates(values.astype(np.float64), grid, order=1)
    np.testing.assert_allclose(input_to_image(values, to_image, (24, 30)), expected, atol=1e-6)
    np.testing.assert_allclose(layer_to_input(values, (24, 30)), expected, atol=1e-5)


def test_a_coarser_image_misses_nothing() -> None:
    """A single bright pixel of a fine grid keeps its total, wherever it lies."""
    prepared = prepare(plane(24, 28), InputSpec(96, 112, 1, "stretch"))
    for row, column in ((40, 40), (41, 43), (57, 70)):
        values = np.zeros(prepared.grid_shape, np.float32)
        values[row, column] = 1.0
        laid = input_to_image(values, prepared.grid_to_image, prepared.image_shape)
        assert laid.sum() * 16 == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("frame", [(300, 200, 1.0, 1.0), (40, 100, 1.0, 1.0)])
def test_letterbox_padding_never_bleeds_into_the_image(frame: tuple) -> None:
    prepared = prepare(plane(*frame), InputSpec(96, 96, 1, "letterbox"))
    inside = np.ones(prepared.grid_shape, bool)
    column, row = np.meshgrid(np.arange(96), np.arange(96))
    place = prepared.grid_to_image @ np.stack([column.ravel(), row.ravel(), np.ones(96 * 96)])
    inside = (
        (place[0] > -0.5) & (place[0] < frame[1] - 0.5) & (place[1] > -0.5) & (place[1] < frame[0] - 0.5)
    ).reshape(96, 96)
    assert 0 < inside.sum() < inside.size
    values = np.where(inside, 1.0, 1e6).astype(np.float32)
    laid = input_to_image(values, prepared.grid_to_image, prepared.image_shape)
    np.testing.assert_allclose(laid, 1.0, rtol=1e-6)
    assert covered(prepared.grid_to_image, prepared.grid_shape, prepared.image_shape).all()


def test_what_a_centre_crop_cuts_off_is_marked_and_left_empty() -> None:
    prepared = prepare(plane(100, 200), InputSpec(50, 50, 1, "center-crop"))
    seen = covered(prepared.grid_to_image, prepared.grid_shape, prepared.image_shape)
    expected = np.zeros((100, 200), bool)
    expected[:, 50:150] = True
    np.testing.assert_array_equal(seen, expected)
    ones = np.ones((50, 50), np.float32)
    np.testing.assert_allclose(input_to_image(ones, prepared.grid_to_image, (100, 200)), expected, rtol=1e-6)
    empty = input_to_image(ones, prepared.grid_to_image, (100, 200), outside=float("nan"))
    np.testing.assert_array_equal(np.isnan(empty), ~expected)


def test_layer_cells_are_centred_over_what_they_cover() -> None:
    native = np.zeros((4, 6), np.float32)
    native[1, 4] = 1.0
    values = layer_to_input(native, (64, 96))
    assert values.dtype == np.float32
    assert center_of_mass(values) == pytest.approx((1.5 * 16 - 0.5, 4.5 * 16 - 0.5), abs=1e-4)


def test_a_turned_grid_is_a_programming_error() -> None:
    turned = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    with pytest.raises(ValueError, match="scale and shift only"):
        input_to_image(np.ones((4, 4), np.float32), turned, (4, 4))


def test_two_cells_share_the_middle_of_three_pixels() -> None:
    np.testing.assert_allclose(overlap(2, 1.5, -0.5, 3), [[1, 0.5, 0], [0, 0.5, 1]])
    np.testing.assert_allclose(area_means(2, 1.5, -0.5, 3), [[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]])
    # A pixel 2 wide lies half in a cell; a cell off the pixels has no weights.
    np.testing.assert_allclose(overlap(1, 1, 0.5, 1, scale=2, shift=0.5), [[0.5]])
    assert not area_means(1, 1, 5, 3).any()
