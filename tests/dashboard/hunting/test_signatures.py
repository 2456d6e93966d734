"""Maps on the common grid: mass kept, size, padding and orientation gone, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dashboard.hunting.signatures import on_cells, on_image, picture, shares_of, signature, turned
from dashboard.serving.types import Explanation
from explainers.types import Attribution
from models.types import Geometry, Image, Modality, Target

SIDE = 8


def explained(values: NDArray[np.float64], transform: NDArray[np.float64], shape: tuple[int, int]) -> Explanation:
    array = values.astype(np.float32)[None]
    return Explanation(Attribution("m", "M", Target("A", 0), array, True, "", {}, 0, 0.0), transform, shape, {})


def plane(shape: tuple[int, int], geometry: Geometry | None = None) -> Image:
    return Image(np.zeros((1, *shape), np.float32), "unit interval", Modality.OTHER, geometry)


def test_mass_is_added_up_cell_by_cell() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(48, 64))
    found = signature(explained(values, np.eye(3), (48, 64)), plane((48, 64)), SIDE, smooth=0)
    blocks = np.maximum(values, 0).reshape(SIDE, 6, SIDE, 8).sum(axis=(1, 3))
    assert found is not None
    np.testing.assert_allclose(picture(found), blocks / blocks.sum(), rtol=1e-5)


def test_a_letterboxed_map_is_that_of_the_picture_alone() -> None:
    inner = np.random.default_rng(1).random((30, 40))
    padded = np.full((40, 40), 7.0)  # what lies on the padding does not count
    padded[5:35] = inner
    transform = np.array([[2.0, 0, 0.5], [0, 2.0, 0.5 - 10], [0, 0, 1]])  # pixels two by two, five rows of padding
    found = signature(explained(padded, transform, (60, 80)), plane((60, 80)), SIDE, smooth=0)
    direct = signature(explained(inner.repeat(2, 0).repeat(2, 1), np.eye(3), (60, 80)), plane((60, 80)), SIDE, smooth=0)
    assert found is not None
    assert direct is not None
    np.testing.assert_allclose(found, direct, atol=1e-7)


def test_maps_below_zero_count_by_what_is_least_so_and_even_ones_not_at_all() -> None:
    assert signature(explained(np.zeros((16, 16)), np.eye(3), (16, 16)), plane((16, 16)), SIDE) is None
    assert signature(explained(np.full((16, 16), -2.0), np.eye(3), (16, 16)), plane((16, 16)), SIDE) is None
    values = np.full((16, 16), -5.0)
    values[2, 3] = -1
    found = signature(explained(values, np.eye(3), (16, 16)), plane((16, 16)), SIDE, smooth=0)
    assert found is not None
    assert picture(found)[1, 1] == pytest.approx(1)


def test_smoothing_keeps_the_sum_even_at_the_corner() -> None:
    values = np.zeros((16, 16))
    values[0, 0] = 1
    found = signature(explained(values, np.eye(3), (16, 16)), plane((16, 16)), SIDE)
    assert found is not None
    assert found.sum() == pytest.approx(1, abs=1e-5)
    assert found.argmax() == 0


@pytest.mark.parametrize(("x", "y", "flipped"), [(1, 1, ()), (-1, 1, (1,)), (1, -1, (0,)), (-1, -1, (0, 1))])
def test_slices_stored_mirrored_come_to_lie_alike(x: int, y: int, flipped: tuple[int, ...]) -> None:
    values = np.random.default_rng(2).random((16, 16))
    stored = plane((16, 16), Geometry(np.diag([x * 0.7, y * 0.7, 2.0, 1.0])))
    found = signature(explained(np.flip(values, flipped), np.eye(3), (16, 16)), stored, SIDE, smooth=0)
    usual = signature(explained(values, np.eye(3), (16, 16)), plane((16, 16)), SIDE, smooth=0)
    assert found is not None
    assert usual is not None
    np.testing.assert_allclose(found, usual, rtol=1e-6)
    np.testing.assert_array_equal(turned(turned(picture(found), stored), stored), picture(found))


def test_coronal_slices_have_the_head_above() -> None:
    affine = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])  # rows run to the head
    cells = np.arange(4.0).reshape(2, 2)
    np.testing.assert_array_equal(turned(cells, plane((4, 4), Geometry(affine))), cells[::-1])


def test_cells_laid_on_a_picture_come_back() -> None:
    region = np.random.default_rng(3).random((SIDE, SIDE)) > 0.6
    stored = plane((24, 40), Geometry(np.diag([-1.0, 1.0, 1.0, 1.0])))
    laid = np.asarray(on_image(region, stored), dtype=bool)
    assert laid.shape == (24, 40)
    np.testing.assert_allclose(on_cells(laid, stored, SIDE), region)


def test_shares_of_parts_are_those_counted_pixel_by_pixel() -> None:
    rng = np.random.default_rng(4)
    coarse = rng.random((12, 10))
    mask = rng.random((36, 40)) > 0.5
    transform = np.array([[4.0, 0, 1.5], [0, 3.0, 1.0], [0, 0, 1]])
    (marked, area) = shares_of(explained(coarse, transform, (36, 40)), {"part": mask})["part"]
    fine = coarse.repeat(3, axis=0).repeat(4, axis=1)
    assert marked == pytest.approx(fine[mask].sum() / fine.sum())
    assert area == pytest.approx(mask.mean())
