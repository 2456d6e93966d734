"""Structural similarity and ranks against torchmetrics, scipy and a slow re-derivation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torchmetrics.functional.image import structural_similarity_index_measure

from explainers.quality._similarity import ranks, shown, spearman, ssim


def _maps(count: int, height: int = 26, width: int = 31, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    smooth = rng.normal(size=(count, height, width)).cumsum(axis=1).cumsum(axis=2)
    return (smooth / np.abs(smooth).max(axis=(1, 2), keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("extent", [1.0, 2.0])
def test_ssim_is_that_of_torchmetrics(extent: float) -> None:
    first, second = (_maps(4, seed=seed).astype(np.float64) for seed in (0, 1))
    second = 0.6 * first + 0.4 * second
    _, full = structural_similarity_index_measure(
        torch.from_numpy(first)[:, None],
        torch.from_numpy(second)[:, None],
        sigma=1.5,
        kernel_size=11,
        data_range=extent,
        return_full_image=True,
    )
    expected = full[:, 0, 5:-5, 5:-5].mean(dim=(1, 2))  # where the window fits inside; it reflects the rest
    np.testing.assert_allclose(ssim(first, second, extent), expected.numpy(), atol=1e-5)


def test_ssim_is_wangs_formula_window_by_window() -> None:
    first, second = (_maps(1, 14, 13, seed)[0].astype(np.float64) for seed in (3, 4))
    taps = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(taps, taps) / taps.sum() ** 2
    found = []
    for row in range(14 - 10):
        for column in range(13 - 10):
            one, two = (part[row : row + 11, column : column + 11] for part in (first, second))
            mean_1, mean_2 = (window * one).sum(), (window * two).sum()
            spread_1, spread_2 = (window * (one - mean_1) ** 2).sum(), (window * (two - mean_2) ** 2).sum()
            shared = (window * (one - mean_1) * (two - mean_2)).sum()
            luminance = (2 * mean_1 * mean_2 + 0.01**2) / (mean_1**2 + mean_2**2 + 0.01**2)
            found.append(luminance * (2 * shared + 0.03**2) / (spread_1 + spread_2 + 0.03**2))
    assert ssim(first[None], second[None], 1.0)[0] == pytest.approx(np.mean(found), abs=1e-12)


def test_shown_maps_have_no_scale() -> None:
    maps = _maps(3)
    for view, low in (("absolute", 0.0), ("signed", -1.0)):
        one = shown(maps, view)
        np.testing.assert_allclose(one, shown(1e-4 * maps, view), atol=1e-6)
        assert one.min() >= low
        assert one.max() == 1.0
    assert not shown(np.zeros((1, 20, 20), np.float32), "absolute").any()
    assert not shown(np.zeros((1, 20, 20), np.float32), "signed").any()


@pytest.mark.parametrize("view", ["absolute", "signed"])
def test_rank_correlation_is_scipys_with_ties(view: str) -> None:
    first, second = np.round(4 * _maps(3, seed=5)), np.round(4 * _maps(3, seed=6))
    expected = [
        spearmanr(*(np.abs(part.ravel()) if view == "absolute" else part.ravel() for part in pair)).statistic
        for pair in zip(first, second, strict=True)
    ]
    np.testing.assert_allclose(spearman(ranks(first, view), ranks(second, view)), expected, atol=1e-12)


def test_large_maps_are_ranked_by_blocks_and_constant_ones_have_no_ranks() -> None:
    maps = _maps(1, 130, 200, seed=7)
    blocks = maps[0, :128, :200].reshape(32, 4, 50, 4).mean(axis=(1, 3)).ravel()
    assert ranks(maps, "signed").shape == (1, 32 * 50)
    assert spearman(ranks(maps, "signed"), ranks(blocks.reshape(1, 32, 50), "signed"))[0] == pytest.approx(1.0)
    assert np.isnan(spearman(ranks(np.ones((1, 20, 20), np.float32), "signed"), ranks(maps[:, :20, :20], "signed")))[0]
