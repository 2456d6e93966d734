from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from explainers.reduce import apply_sign, marked, reduce_channels, robust_scale, top_mask, top_threshold
from models.errors import ExplainError

MAP = np.array([[[1.0, -4.0]], [[2.0, 3.0]], [[-5.0, 0.5]]], dtype=np.float32)  # (3, 1, 2)
MAPS = arrays(np.float32, (6, 7), elements=st.floats(-100, 100, width=32))


def test_channel_rules_by_hand() -> None:
    np.testing.assert_array_equal(reduce_channels(MAP), [[-2.0, -0.5]])
    np.testing.assert_array_equal(reduce_channels(MAP, "absolute sum"), [[8.0, 7.5]])
    np.testing.assert_array_equal(reduce_channels(MAP, "largest"), [[-5.0, -4.0]])
    assert reduce_channels(MAP).dtype == reduce_channels(MAP, "largest").dtype == np.float32


def test_the_sum_over_channels_keeps_completeness() -> None:
    values = np.random.default_rng(0).normal(size=(3, 40, 40)).astype(np.float32)
    assert reduce_channels(values).sum(dtype=float) == pytest.approx(values.sum(dtype=float), abs=1e-3)


def test_sign_rules_by_hand() -> None:
    values = np.array([[-2.0, 0.0, 3.0]], dtype=np.float32)
    np.testing.assert_array_equal(apply_sign(values), values)
    np.testing.assert_array_equal(apply_sign(values, "positive"), [[0.0, 0.0, 3.0]])
    np.testing.assert_array_equal(apply_sign(values, "absolute"), [[2.0, 0.0, 3.0]])


def test_robust_scale_ignores_a_few_extremes_and_what_was_not_seen() -> None:
    values = np.tile(np.float32([1.0, -1.0]), (100, 50))
    values[0, :5] = 1e6
    assert robust_scale(values) == 1.0
    assert robust_scale(values, 100) == 1e6
    seen = np.ones(values.shape, dtype=bool)
    seen[0] = False
    assert robust_scale(values, 100, seen) == 1.0


def test_robust_scale_is_safe_to_divide_by() -> None:
    sparse = np.zeros((100, 100), dtype=np.float32)
    assert robust_scale(sparse) == 1.0
    sparse[0, 0] = -7.0
    assert robust_scale(sparse) == 7.0
    assert robust_scale(sparse, where=np.zeros(sparse.shape, dtype=bool)) == 1.0


def test_top_mask_takes_the_strongest_of_either_sign() -> None:
    values = np.arange(-50, 50, dtype=np.float32).reshape(10, 10)
    mask = top_mask(values, 3)
    assert sorted(values[mask]) == [-50.0, -49.0, 49.0]
    assert top_threshold(values, 3) == 49.0
    seen = values > -49.5
    assert -50.0 not in values[top_mask(values, 3, seen)]


@given(values=MAPS, percent=st.floats(0.5, 100))
def test_top_mask_holds_its_share_and_nothing_stronger_is_left_out(values: np.ndarray, percent: float) -> None:
    mask = top_mask(values, percent)
    magnitude = np.abs(values)
    wanted = max(1, round(values.size * percent / 100))
    assert not mask[magnitude == 0].any()
    assert mask.sum() >= min(wanted, (magnitude > 0).sum())
    if mask.any() and not mask.all():
        assert magnitude[~mask].max() < magnitude[mask].min()


@pytest.mark.parametrize("percent", [0, -1, 101, float("nan")])
def test_percentages_out_of_range_are_refused(percent: float) -> None:
    for function in (robust_scale, top_threshold, top_mask):
        with pytest.raises(ExplainError, match="above 0 and at most at 100"):
            function(MAP, percent)


def test_what_a_map_marks() -> None:
    values = np.random.default_rng(3).normal(size=(12, 12)).astype(np.float32)
    seen = np.ones((12, 12), dtype=bool)
    seen[:, :2] = False
    mixed = marked(values, seen)
    assert mixed is not None
    assert np.array_equal(mixed, np.where(seen, np.maximum(values, 0), 0).astype(np.float64))
    low = values - 4  # hardly anything is above 0
    found = marked(low, seen)
    assert found is not None
    assert not found[~seen].any()
    np.testing.assert_allclose(found[seen], np.maximum(low[seen] - low[seen].mean(dtype=np.float64), 0), atol=1e-6)
    assert marked(np.full((12, 12), -1, np.float32), seen) is None
    assert marked(np.zeros((12, 12), np.float32), seen) is None
