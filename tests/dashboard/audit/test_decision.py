"""Decision curves against the counting definition and closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from dashboard.audit.bootstrap import draws
from dashboard.audit.decision import decision_curve, net_benefit
from tests.dashboard.audit.tables import make_table
from tests.dashboard.audit.test_calibration import one_class

GRID = np.linspace(0, 0.9, 31)[1:]


def test_net_benefit_counts_patients():
    table = make_table(n=500, unknown=0.1)
    known = table.known[:, 0]
    y, p = table.labels[known, 0] == 1, table.scores[known, 0].astype(np.float64)
    found = decision_curve(table, 0, draws(table.groups, 50, 0), GRID)
    expected = [((p >= t) & y).sum() / len(y) - ((p >= t) & ~y).sum() / len(y) * t / (1 - t) for t in GRID]
    np.testing.assert_allclose(found.model, expected, atol=1e-12)
    np.testing.assert_allclose(found.treat_all, y.mean() - (1 - y.mean()) * GRID / (1 - GRID), atol=1e-12)
    assert (found.low <= found.high).all()
    assert ((found.low <= found.model) & (found.model <= found.high)).mean() > 0.9
    assert (found.n, found.prevalence) == (known.sum(), pytest.approx(y.mean()))


def test_perfect_and_useless_scores():
    labels = np.repeat([0, 1], [60, 40])
    perfect = decision_curve(one_class(labels, labels), 0, draws(np.arange(100), 20, 0), GRID)
    np.testing.assert_allclose(perfect.model, 0.4)
    same = decision_curve(one_class(np.full(100, 0.95), labels), 0, draws(np.arange(100), 20, 0), GRID)
    np.testing.assert_allclose(same.model, same.treat_all, atol=1e-12)
    assert net_benefit(1, 0, 0.3, 0.3) == pytest.approx(0)
    assert net_benefit(0, 1, 0.3, 0.8) == 0


def test_another_prevalence_is_a_reweighted_table():
    """Cases with the finding counted four times are a table of that prevalence."""
    table = make_table(n=400, patients=False)
    rows = np.concatenate([np.arange(400)] + [np.flatnonzero(table.positive[:, 0])] * 3)
    more = one_class(table.scores[rows, 0], table.labels[rows, 0])
    prevalence = float((more.labels == 1).mean())
    drawn = draws(table.groups, 20, 0)
    found = decision_curve(table, 0, drawn, GRID, prevalence)
    expected = decision_curve(more, 0, draws(more.groups, 20, 0), GRID)
    np.testing.assert_allclose(found.model, expected.model, atol=1e-9)
    np.testing.assert_allclose(found.treat_all, expected.treat_all, atol=1e-9)


def test_without_positives_only_false_alarms_count():
    scores = np.linspace(0, 0.95, 50)
    found = decision_curve(one_class(scores, np.zeros(50)), 0, draws(np.arange(50), 20, 0), GRID)
    expected = [-(np.float32(scores) >= t).mean() * t / (1 - t) for t in GRID]
    np.testing.assert_allclose(found.model, expected, atol=1e-12)
    assert np.isnan(found.low).all()


def test_no_band_from_few_patients():
    who = np.arange(300) % 12
    table = one_class(np.linspace(0, 0.9, 300), who < 3, who)
    found = decision_curve(table, 0, draws(table.groups, 20, 0), GRID)
    assert np.isfinite(found.model).all()
    assert np.isnan(found.low).all()


@pytest.mark.parametrize("labels", [[], [1], [0, 0], [np.nan]])
def test_nothing_to_decide(labels):
    found = decision_curve(one_class([0.5] * len(labels), labels), 0, draws(np.arange(len(labels)), 5, 0), GRID)
    assert len(found.model) == len(GRID)
