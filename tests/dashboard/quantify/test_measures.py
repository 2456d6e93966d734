"""Measures of lungs against plain counting."""

from __future__ import annotations

import numpy as np
import pytest

from dashboard.quantify.lesions import find_lesions
from dashboard.quantify.lungs import LEFT, RIGHT, from_sides
from dashboard.quantify.measures import EDGES_HU, measure_lungs, severity_of
from models.types import Geometry

GEOMETRY = Geometry(np.diag([5.0, 5.0, 8.0, 1.0]))  # 0.2 ml


@pytest.mark.parametrize(
    ("percent", "expected"),
    [(0, 0), (0.01, 1), (4.99, 1), (5, 2), (24.9, 2), (25, 3), (49.9, 3), (50, 4), (75, 4), (75.1, 5), (100, 5)],
)
def test_severity(percent: float, expected: int) -> None:
    assert severity_of(percent) == expected


def test_measures_by_counting() -> None:
    rng = np.random.default_rng(0)
    side = rng.integers(0, 3, (6, 20, 30)).astype(np.uint8)
    hu = rng.integers(-1100, 300, side.shape).astype(np.float32)
    mask = rng.random(side.shape) < 0.1
    lungs = from_sides(side, GEOMETRY, "drawn")
    lesions = find_lesions(mask, GEOMETRY, hu, lungs)
    right, left, both = measure_lungs(lungs, lesions, GEOMETRY, hu)
    for found, wanted in ((right, {RIGHT}), (left, {LEFT}), (both, {RIGHT, LEFT})):
        values = [
            (float(h), bool(m)) for s, h, m in zip(side.flat, hu.flat, mask.flat, strict=True) if int(s) in wanted
        ]
        infected = sum(inside for _, inside in values)
        assert found.volume_ml == pytest.approx(0.2 * len(values))
        assert found.lesion_ml == pytest.approx(0.2 * infected)
        assert found.involvement_percent == pytest.approx(100 * infected / len(values))
        assert found.mean_hu == pytest.approx(np.mean([h for h, _ in values]))
        counts = {
            "hyper-inflated": sum(h < -900 for h, _ in values),
            "normally aerated": sum(-900 <= h < -500 for h, _ in values),
            "poorly aerated": sum(-500 <= h < -100 for h, _ in values),
            "non-aerated": sum(-100 <= h <= 100 for h, _ in values),
            "denser than tissue": sum(h > 100 for h, _ in values),
        }
        assert {band.name: band.volume_ml for band in found.aeration} == pytest.approx(
            {name: 0.2 * count for name, count in counts.items()}
        )
        assert sum(band.percent for band in found.aeration) == pytest.approx(100)
        assert found.histogram_ml.sum() == pytest.approx(found.volume_ml)
        bin_ = int(np.flatnonzero(EDGES_HU == -500)[0])
        assert found.histogram_ml[bin_] == pytest.approx(0.2 * sum(-500 <= h < -475 for h, _ in values))
        assert found.histogram_ml[0] == pytest.approx(0.2 * sum(h < -1025 for h, _ in values))
    assert both.lesion_count == right.lesion_count + left.lesion_count == len(lesions.items)


def test_masks_alone_have_no_density() -> None:
    side = np.full((2, 3, 4), RIGHT, np.uint8)
    lungs = from_sides(side, GEOMETRY, "drawn")
    right, left, _ = measure_lungs(lungs, find_lesions(side > 0, GEOMETRY, lungs=lungs), GEOMETRY, None)
    assert (right.mean_hu, right.aeration, right.histogram_ml.size) == (None, (), 0)
    assert right.involvement_percent == 100
    assert (left.volume_ml, left.involvement_percent, left.severity) == (0, 0, 0)
