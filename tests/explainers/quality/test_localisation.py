"""Localisation against scikit-learn, OpenCV and closed forms; maps whose verdict is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import average_precision_score, jaccard_score

from explainers.passes import Passes
from explainers.quality._bootstrap import estimate
from explainers.quality._place import centre_blob, energy, moved, otsu, overlap, place, pointing, precision_area
from explainers.quality.localisation import LEVELS, Localisation, Located, localise_set, tune
from explainers.quality.types import Evidence, Subject, Verdict
from explainers.types import Attribution
from models.context import RunContext
from models.errors import ExplainError
from tests.explainers.support import logit, prepared_input, smooth_net

SHAPE = (40, 56)
ALL = np.ones(SHAPE, dtype=bool)


def _disc(row: float, column: float, radius: float, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    y, x = np.indices(shape)
    return np.hypot(y - row, x - column) < radius


def _smooth(seed: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 3)
    return (noise / np.abs(noise).max()).astype(np.float32)


def test_precision_area_is_scikit_learns_with_ties() -> None:
    mask = _disc(12, 15, 7)
    for values in (_smooth(1), np.round(3 * _smooth(2)), _smooth(3) + mask):
        seen = _disc(20, 28, 25)
        expected = average_precision_score(mask[seen], values[seen])
        assert precision_area(values.astype(np.float32), mask, seen) == pytest.approx(expected, abs=1e-12)
    assert precision_area(np.zeros(SHAPE, np.float32), mask, ALL) == pytest.approx(mask.mean())
    assert np.isnan(precision_area(_smooth(1), ALL, ALL))


def test_otsu_is_opencvs() -> None:
    for seed in range(4):
        values = np.maximum(_smooth(seed), 0) ** 1.5
        levels = np.round(values / values.max() * 255)
        expected, _ = cv2.threshold(levels.astype(np.uint8), 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
        found = otsu(levels.astype(np.float32), ALL) * 255
        assert np.array_equal(levels > found, levels > expected)
    assert otsu(-np.ones(SHAPE, np.float32), ALL) == 0


def test_overlap_energy_and_pointing() -> None:
    mask, values = _disc(12, 15, 7), _smooth(4)
    chosen = values > 0.3 * values.max()
    assert overlap(values, mask, ALL, 0.3) == pytest.approx(jaccard_score(mask.ravel(), chosen.ravel()))
    positive = np.maximum(values, 0)
    assert energy(values, mask, ALL) == pytest.approx(positive[mask].sum() / positive.sum(), rel=1e-6)
    assert np.isnan(energy(-np.abs(values), mask, ALL))
    peak = np.zeros(SHAPE, np.float32)
    peak[12, 22] = 1  # a pixel off the disc, and 0.03 of 56 is 1.68
    assert pointing(peak, mask) == 1
    assert pointing(peak, mask, tolerance=0.01) == 0
    peak[30, 40] = 1
    assert pointing(peak, mask) == 0.5
    assert np.isnan(pointing(np.zeros(SHAPE, np.float32), mask))


def test_nothing_depends_on_scale_and_padding_does_not_count() -> None:
    mask, values = _disc(20, 28, 6), _smooth(5)
    seen = np.zeros(SHAPE, dtype=bool)
    seen[:, 8:48] = True
    own = place(values, mask, seen, tuned=0.4)
    scaled = place(np.float32(2**-10) * values, mask, seen, tuned=0.4)
    assert scaled == own
    loud = np.where(seen, values, 9).astype(np.float32)
    assert place(loud, mask, seen, tuned=0.4) == own


def test_a_moved_map_keeps_its_values() -> None:
    seen = np.zeros(SHAPE, dtype=bool)
    seen[4:36, 8:48] = True
    values = np.where(seen, _smooth(6), -7).astype(np.float32)
    found = moved(values, seen, np.random.default_rng(0))
    assert not np.array_equal(found, values)
    np.testing.assert_array_equal(np.sort(found[seen]), np.sort(values[seen]))
    assert (found[~seen] == -7).all()
    blob = centre_blob(SHAPE, seen)
    assert np.unravel_index(blob.argmax(), SHAPE) in {(19, 27), (20, 28), (19, 28), (20, 27)}


def _verdict(values: np.ndarray, mask: np.ndarray | None, seed: int = 0) -> Verdict:
    given = prepared_input(size=values.shape[0])
    made = Attribution("any", "Any", logit(), values[None].astype(np.float32), True, "logit", {}, 0, 0.0)
    places = {} if mask is None else {"reference: nodule": mask}
    subject = Subject(given, made.target, Passes(smooth_net(), RunContext()), places=places, seed=seed)
    (verdict,) = Localisation().run(Evidence(subject, made, lambda _: made))
    return verdict


def test_verdicts_of_maps_that_are_known() -> None:
    shape = (64, 64)
    corner, middle = _disc(14, 46, 7, shape), _disc(32, 32, 9, shape)
    perfect = _verdict(ndimage.gaussian_filter(corner.astype(np.float32), 2), corner)
    assert perfect.level == "ok"
    assert perfect.value is not None
    assert perfect.value > 0.5
    assert "marks the known place, nodule" in perfect.sentence
    assert perfect.low <= perfect.value <= perfect.high
    assert _verdict(-ndimage.gaussian_filter(corner.astype(np.float32), 2), corner).level == "fails"
    elsewhere = ndimage.gaussian_filter(_disc(50, 12, 7, shape).astype(np.float32), 2)
    assert _verdict(elsewhere, corner).level == "fails"
    blob = centre_blob(shape, np.ones(shape, dtype=bool))
    assert _verdict(blob, middle).level == "weak"  # right, and no better than always marking the middle
    chance = [_verdict(_smooth(seed, shape), corner).level for seed in range(8)]
    assert chance.count("ok") <= 2
    assert chance.count("fails") >= 2


def test_what_cannot_be_assessed_says_why() -> None:
    shape = (32, 32)
    values = _smooth(0, shape)
    assert _verdict(values, None).level == "not assessable"
    assert "any map would mark it" in _verdict(values, np.ones(shape, dtype=bool)).sentence
    assert "outside" in _verdict(values, np.zeros(shape, dtype=bool)).sentence
    assert "one value" in _verdict(np.zeros(shape), _disc(10, 10, 4, shape)).sentence


def _cases(good: int, bad: int) -> list[Located]:
    cases = []
    for number in range(good + bad):
        rng = np.random.default_rng(number)
        mask = _disc(rng.uniform(10, 30), rng.uniform(12, 44), 6)
        values = ndimage.gaussian_filter(mask.astype(np.float32), 2) if number < good else _smooth(number)
        cases.append(Located(values, mask, group=number // 2, true_positive=number < good))
    return cases


def test_a_set_has_means_of_all_and_of_true_positives() -> None:
    cases = _cases(8, 8)
    found = localise_set(cases, tuned=0.5)
    own = [place(one.values, one.mask, ALL, 0.5) for one in cases]
    for name in ("pointing", "iou_otsu", "iou_tuned", "energy", "auprc", "base"):
        values = np.array([getattr(one, name) for one in own])
        assert found.everything.measures[name].mean == pytest.approx(np.nanmean(values))
        assert found.true_positives.measures[name].mean == pytest.approx(np.nanmean(values[:8]))
    estimated = found.everything.measures["auprc"]
    assert (estimated.n, estimated.groups) == (16, 8)
    assert estimated.low < estimated.mean < estimated.high
    assert found.true_positives.measures["auprc"].groups == 4
    assert found.true_positives.level == "not assessable"  # four lesions are too few for an interval
    assert localise_set(_cases(12, 0)).everything.level == "ok"
    assert localise_set(_cases(0, 12)).everything.level != "ok"
    with pytest.raises(ExplainError, match="empty mask"):
        localise_set([Located(_smooth(0), np.zeros(SHAPE, dtype=bool))])


def test_the_tuned_threshold_is_the_best_of_all_levels() -> None:
    cases = _cases(5, 0)
    means = [np.mean([overlap(one.values, one.mask, ALL, level) for one in cases]) for level in LEVELS]
    assert tune(cases) == LEVELS[int(np.argmax(means))]
    with pytest.raises(ExplainError, match="none"):
        tune([])


def test_intervals_are_those_of_resampled_groups() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(15), rng.integers(1, 5, 15))
    values = rng.normal(size=15)[groups] + 0.1 * rng.normal(size=len(groups))
    found = estimate(values, groups.tolist(), seed=1)
    means = []
    for _ in range(3000):
        drawn = rng.integers(0, 15, 15)
        rows = np.concatenate([np.flatnonzero(groups == one) for one in drawn])
        means.append(values[rows].mean())
    low, high = np.percentile(means, (2.5, 97.5))
    assert found.low == pytest.approx(low, abs=0.06)
    assert found.high == pytest.approx(high, abs=0.06)
    assert found.groups == 15
    alone = estimate(values, seed=1)
    assert alone.high - alone.low < found.high - found.low
    assert estimate(np.array([np.nan, 1.0, 2.0])).model_dump() == {
        "mean": 1.5,
        "low": None,
        "high": None,
        "n": 2,
        "groups": 2,
    }
