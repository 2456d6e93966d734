"""Shares of attribution, and masks brought onto the input grid."""

from __future__ import annotations

import numpy as np
import pytest

from explainers.passes import Passes
from explainers.quality.anatomy import BORDERS, OUTSIDE, Anatomy, level_of, share_of, shares
from explainers.quality.masks import all_to_grid, seen_of, to_grid
from explainers.quality.types import Evidence, Subject, Verdict
from explainers.types import Attribution
from models.context import RunContext
from models.errors import DataError
from models.preprocess import InputSpec, prepare
from models.types import Geometry, Image, Modality
from tests.explainers.support import logit, prepared_input, smooth_net

SIZE = 48
ALL = np.ones((SIZE, SIZE), dtype=bool)


def _band(width: int = 6) -> np.ndarray:
    mask = np.ones((SIZE, SIZE), dtype=bool)
    mask[width:-width, width:-width] = False
    return mask


def _noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.5, 1.5, (SIZE, SIZE)).astype(np.float32)


def _verdict(values: np.ndarray, anatomy: dict[str, np.ndarray]) -> Verdict:
    given = prepared_input(size=SIZE)
    made = Attribution("any", "Any", logit(), values[None].astype(np.float32), True, "logit", {}, 0, 0.0)
    subject = Subject(given, made.target, Passes(smooth_net(), RunContext()), anatomy=anatomy)
    (verdict,) = Anatomy().run(Evidence(subject, made, lambda _: made))
    return verdict


def test_shares_are_sums_over_sums() -> None:
    values = np.random.default_rng(1).normal(size=(SIZE, SIZE)).astype(np.float32)
    seen = ALL.copy()
    seen[:, :10] = False
    part = _band()
    found = shares(values, {"part": part}, seen)["part"]
    positive = np.maximum(values, 0)
    assert found.attribution == pytest.approx(positive[part & seen].sum() / positive[seen].sum(), rel=1e-6)
    assert found.area == (part & seen).sum() / seen.sum()
    inside, rest = positive[part & seen].mean(), positive[~part & seen].mean()
    assert found.ratio == pytest.approx(inside / rest, rel=1e-5)
    assert found.low < found.ratio < found.high
    below = -np.abs(values)  # nothing above 0: what lies above the mean counts
    negative = shares(below, {"part": part}, seen)["part"]
    above = np.maximum(below - below[seen].mean(), 0)
    assert negative.attribution == pytest.approx(above[part & seen].sum() / above[seen].sum(), rel=1e-6)
    assert shares(np.zeros((SIZE, SIZE), np.float32), {"part": part}, seen) == {}
    assert share_of(positive.astype(float), np.zeros_like(part), seen).low is None


def test_a_ratio_that_is_the_same_in_every_tile_has_no_spread() -> None:
    part = np.zeros((SIZE, SIZE), dtype=bool)
    part[:, ::2] = True
    ratios, intervals = [], []
    for seed in range(40):
        noise = np.random.default_rng(seed).gamma(0.5, size=(8, 8)).repeat(6, 0).repeat(6, 1)
        weight = noise * np.where(part, 1.5, 0.5)
        share = share_of(weight, part, ALL, seed)
        ratios.append(share.ratio)
        intervals.append((share.low, share.high))
    assert np.mean(ratios) == pytest.approx(3, rel=1e-6)
    assert all(low - 1e-6 <= 3 <= high + 1e-6 for low, high in intervals)


def test_the_interval_is_as_wide_as_the_scatter_over_patterns() -> None:
    part = np.zeros((SIZE, SIZE), dtype=bool)
    part[:, : SIZE // 2] = True
    found = []
    for seed in range(60):
        noise = np.random.default_rng(seed).gamma(2.0, size=(8, 8)).repeat(6, 0).repeat(6, 1)
        found.append(share_of(noise, part, ALL, seed))
    assert np.mean([share.low <= 1 <= share.high for share in found]) > 0.85
    width = np.mean([share.high - share.low for share in found])
    assert width == pytest.approx(3.92 * np.std([share.ratio for share in found]), rel=0.3)


def test_verdicts() -> None:
    anatomy = {"left lung": ~_band(14), OUTSIDE: _band(4), BORDERS: _band(6)}
    everywhere = _verdict(_noise(), anatomy)
    assert everywhere.level == "weak"  # as strong there as elsewhere: neither clean nor a shortcut
    assert everywhere.value == pytest.approx(1, abs=0.05)
    inside = _verdict(_noise() * ~_band(10), anatomy)
    assert inside.level == "ok"
    assert inside.value == 0
    assert inside.facts["left lung"].endswith("% of the area)")
    frame = _verdict(_noise() * _band(6) + 0.05 * _noise(), anatomy)
    assert frame.level == "fails"
    assert "other than the patient" in frame.sentence
    assert frame.low > 2


def test_a_small_share_cannot_fail() -> None:
    weight = np.ones((SIZE, SIZE))
    part = np.zeros((SIZE, SIZE), dtype=bool)
    part[::6, ::6] = True  # 1/36 of the area
    weight[part] = 3.0
    share = share_of(weight, part, ALL)
    assert share.low > 2
    assert share.attribution < 0.1
    assert level_of(share) == "weak"


def test_what_cannot_be_assessed_says_why() -> None:
    assert _verdict(_noise(), {}).level == "not assessable"
    only = _verdict(_noise(), {"left lung": ~_band()})
    assert only.level == "not assessable"
    assert "left lung" in only.facts
    assert _verdict(np.zeros((SIZE, SIZE)), {OUTSIDE: _band()}).level == "not assessable"
    speck = np.zeros((SIZE, SIZE), dtype=bool)
    speck[0, 0] = True
    assert "Almost nothing" in _verdict(_noise(), {OUTSIDE: speck}).sentence


@pytest.mark.parametrize("fit", ["stretch", "letterbox", "center-crop"])
@pytest.mark.parametrize("shape", [(90, 130), (31, 20)])
def test_masks_land_where_preprocessing_puts_the_picture(fit: str, shape: tuple[int, int]) -> None:
    mask = np.zeros(shape, dtype=bool)
    mask[shape[0] // 3 : shape[0] // 3 * 2, shape[1] // 4 : shape[1] // 2] = True
    picture = Image(mask[None].astype(np.float32), "unit interval", geometry=Geometry.from_spacing(1.0, 1.4))
    prepared = prepare(picture, InputSpec(64, 48, 1, fit))
    expected = prepared.tensor[0, 0].numpy()
    found = to_grid(mask, prepared)
    clear = (expected < 0.05) | (expected > 0.95)
    assert clear.mean() > 0.8
    assert np.array_equal(found[clear], expected[clear] > 0.5)
    assert abs(int(found.sum()) - float(expected.sum())) < 0.06 * expected.sum() + 4
    white = Image(np.ones((1, *shape), np.float32), "unit interval", geometry=Geometry.from_spacing(1.0, 1.4))
    np.testing.assert_array_equal(
        seen_of(prepared), prepare(white, InputSpec(64, 48, 1, fit)).tensor[0, 0].numpy() > 0.5
    )
    both = all_to_grid({"a": mask, "b": ~mask}, prepared)
    assert np.array_equal(both["a"], found)
    with pytest.raises(DataError, match="mask"):
        to_grid(mask[1:], prepared)


def test_masks_on_the_same_grid_stay_as_they_are() -> None:
    given = prepared_input(size=SIZE)
    mask = np.random.default_rng(0).random((SIZE, SIZE)) < 0.3
    assert np.array_equal(to_grid(mask, given), mask)
    assert seen_of(given).all()


def test_a_place_too_small_for_the_grid_keeps_its_best_pixel() -> None:
    image = Image(np.zeros((1, 512, 512), np.float32), "unit interval", Modality.XRAY)
    prepared = prepare(image, InputSpec(height=224, width=224))
    for left in range(200, 210):
        mask = np.zeros((512, 512), dtype=bool)
        mask[300:302, left : left + 2] = True
        rows, columns = np.nonzero(to_grid(mask, prepared))
        assert len(rows) >= 1
        at = prepared.grid_to_image @ np.array([columns[0], rows[0], 1.0])
        assert abs(at[0] - (left + 0.5)) < 2.5
        assert abs(at[1] - 300.5) < 2.5
