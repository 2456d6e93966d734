"""Calibration against planted lines, scikit-learn and slow sums."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from models.training.calibrate import calibrate, fit, quality, targets


def planted(
    n: int, scale: list[float], offset: list[float], seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, labels drawn from sigmoid(scale * logit + offset), groups."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, len(scale))).astype(np.float32)
    labels = (rng.random(logits.shape) < expit(logits * scale + offset)).astype(np.float32)
    return logits, labels, np.array([f"g{k // 2}" for k in range(n)])


def test_platt_equals_logistic_regression() -> None:
    logits, labels, _ = planted(400, [0.6], [-1.2])
    scale, offset = fit("platt", logits.astype(float), labels.astype(float), exclusive=False)
    soft = targets(labels.astype(float), exclusive=False).ravel()
    line = LogisticRegression(C=1e9, tol=1e-8).fit(
        np.concatenate([logits, logits]), np.repeat([1, 0], len(soft)), np.concatenate([soft, 1 - soft])
    )
    assert scale[0] == pytest.approx(line.coef_[0, 0], rel=1e-3)
    assert offset[0] == pytest.approx(line.intercept_[0], rel=1e-3)


@pytest.mark.parametrize(
    ("scale", "offset", "expected"),
    [
        ([1.0] * 3, [0.0] * 3, {"none", "temperature", "platt"}),
        ([0.4] * 3, [-1.0] * 3, {"platt"}),
        ([0.5, 1.0, 2.0], [-2.0, 0.0, 1.0], {"platt-per-class"}),
    ],
)
def test_the_planted_kind_of_line_wins(scale: list[float], offset: list[float], expected: set[str]) -> None:
    logits, labels, groups = planted(4000, scale, offset)
    table, candidates = calibrate(logits, labels, groups, False, "here")
    assert table.method in expected
    np.testing.assert_allclose(np.broadcast_to(table.scale, 3), scale, rtol=0.2)
    np.testing.assert_allclose(np.broadcast_to(table.offset, 3), offset, atol=0.2)
    assert [one.method for one in candidates] == ["none", "temperature", "platt", "platt-per-class"]


def test_lines_of_single_classes_do_not_win_by_overfitting() -> None:
    wins = 0
    for seed in range(5):
        logits, labels, groups = planted(60, [0.6] * 8, [-1.5] * 8, seed)
        wins += calibrate(logits, labels, groups, False, "here")[0].method == "platt-per-class"
    assert wins <= 1


def test_a_class_with_few_positives_keeps_the_common_line() -> None:
    logits, labels, _ = planted(300, [0.5, 1.5, 1.0], [0.0, 0.0, 0.0])
    labels[:, 2] = 0
    labels[:3, 2] = 1
    logits[:, 2] = 0  # says nothing, so that the other two alone give the slope
    common = fit("platt", logits.astype(float), labels.astype(float), False)
    own = fit("platt-per-class", logits.astype(float), labels.astype(float), False)
    assert own[0][2] == common[0][2]
    assert own[1][2] == common[1][2]
    assert own[0][0] < common[0][0] < own[0][1]


def test_a_part_told_apart_without_a_mistake_gives_no_certainty() -> None:
    logits = np.concatenate([np.linspace(3, 9, 40), np.linspace(-9, -3, 40)])[:, None]
    labels = (logits > 0).astype(float)
    table, _ = calibrate(logits.astype(np.float32), labels.astype(np.float32), np.arange(80).astype(str), False, "here")
    assert np.max(table.scale) <= 1


def test_temperature_is_the_best_of_a_fine_grid() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (500, 4))
    truth = np.array([rng.choice(4, p=row) for row in softmax(logits * 0.4, axis=1)])
    scale, offset = fit("temperature", logits, np.eye(4)[truth], exclusive=True)
    grid = np.linspace(0.2, 0.8, 601)
    soft = targets(np.eye(4)[truth], exclusive=True)
    losses = [-(soft * np.log(softmax(logits * value, axis=1))).sum(1).mean() for value in grid]
    assert scale[0] == pytest.approx(grid[int(np.argmin(losses))], abs=2e-3)
    assert (offset == 0).all()


def test_vector_scaling_finds_offsets_of_exclusive_classes() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (3000, 3)).astype(np.float32)
    offset = np.array([1.5, 0.0, -1.5])
    truth = np.array([rng.choice(3, p=row) for row in softmax(logits + offset, axis=1)])
    groups = np.array([str(k) for k in range(3000)])
    table, _ = calibrate(logits, np.eye(3, dtype=np.float32)[truth], groups, True, "here")
    assert table.method == "vector"
    found = np.asarray(table.offset)
    np.testing.assert_allclose(found - found.mean(), offset, atol=0.25)


def test_a_network_that_ranks_the_wrong_way_gets_a_flat_line_not_a_turned_one() -> None:
    logits, labels, groups = planted(200, [-1.0], [0.0])
    table, _ = calibrate(logits, labels, groups, False, "here")
    assert 0 < np.min(table.scale) < 0.05


@pytest.mark.parametrize("exclusive", [True, False])
def test_quality_equals_scikit_learn_and_a_slow_sum(exclusive: bool) -> None:
    rng = np.random.default_rng(2)
    if exclusive:
        p, y = softmax(rng.normal(size=(200, 3)), axis=1), np.eye(3)[rng.integers(0, 3, 200)]
        said, true = p.max(1), (p.argmax(1) == y.argmax(1)).astype(float)
        expected_loss, expected_brier = log_loss(y.argmax(1), p), float(((p - y) ** 2).sum(1).mean())
    else:
        p, y = rng.random((200, 3)), (rng.random((200, 3)) < 0.5).astype(float)
        said, true = p.ravel(), y.ravel()
        expected_loss, expected_brier = log_loss(true, said), float(((said - true) ** 2).mean())
    error = 0.0
    for low in np.arange(15) / 15:
        inside = (said >= low) & (said < low + 1 / 15)
        if inside.any():
            error += inside.mean() * abs(said[inside].mean() - true[inside].mean())
    found = quality(p, y, exclusive)
    assert found.nll == pytest.approx(expected_loss, abs=1e-9)
    assert found.brier == pytest.approx(expected_brier, abs=1e-12)
    assert found.ece == pytest.approx(error, abs=1e-12)
