"""A region on its way to the browser and back."""

from __future__ import annotations

import numpy as np
import pytest

from dashboard.widgets.drawing.drawing import MOST, decode, encode, sheet_of
from models.errors import DataError
from models.types import Image, Window

FULL = Window("full", 0.5, 1.0)


def sheet(height: int, width: int, channels: int = 1):  # type: ignore[no-untyped-def]
    values = np.random.default_rng(0).random((channels, height, width)).astype(np.float32)
    return sheet_of(Image(values, "unit interval"), FULL), values


def test_a_region_comes_back_as_it_went() -> None:
    small, _ = sheet(30, 41)
    rng = np.random.default_rng(1)
    for share in (0.0, 0.02, 0.5, 1.0):
        mask = rng.random((30, 41)) < share
        runs = encode(mask, small)
        slow = [index for index, inside in enumerate(mask.ravel()) if inside]
        told = [
            index for first, length in zip(runs[::2], runs[1::2], strict=True) for index in range(first, first + length)
        ]
        assert told == slow
        assert np.array_equal(decode(runs, small), mask)


def test_a_large_picture_is_drawn_on_in_blocks() -> None:
    large, values = sheet(MOST * 2 - 1, 900, 3)
    assert (large.factor, large.grid) == (2, (MOST, 450))
    assert len(large.packed.data) == 32 + 3 * MOST * 450
    first = np.frombuffer(large.packed.data[32:35], dtype=np.uint8)
    assert np.array_equal(first, np.rint(values[:, :2, :2].mean(axis=(1, 2)) * 255))
    mask = np.zeros(large.shape, dtype=bool)
    mask[-1, 11] = True
    back = decode(encode(mask, large), large)
    assert back.shape == mask.shape
    assert list(zip(*np.nonzero(back), strict=True)) == [(2 * MOST - 2, 10), (2 * MOST - 2, 11)]


@pytest.mark.parametrize(
    "runs", [None, [1], [0, 0], [5, 3, 6, 1], [-1, 2], [0, 10**9], [0.5, 1.5], ["a", "b"], [[0, 1]]]
)
def test_what_is_no_region_is_refused(runs: object) -> None:
    small, _ = sheet(10, 10)
    with pytest.raises(DataError, match="draw it again"):
        decode(runs, small)


def test_a_mask_of_another_picture_is_refused() -> None:
    small, _ = sheet(10, 10)
    with pytest.raises(DataError, match="draw it on this picture"):
        encode(np.zeros((9, 10), dtype=bool), small)
