"""The weakest subgroup is the one that was planted, whatever else is in the table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dashboard.audit.weakest import weakest
from tests.dashboard.audit.tables import make_table


def test_a_planted_group_is_found_with_its_gap() -> None:
    table = make_table(3000, seed=3)
    blind = (table.cases["view"] == "AP").to_numpy()
    scores = table.scores.copy()
    scores[blind] = np.random.default_rng(0).random((blind.sum(), 3))  # nothing is seen in this view
    table = replace(table, scores=scores)
    found = weakest(table, 200)
    assert found is not None
    assert (found.attribute, found.group.label) == ("view", "AP")
    own, rest = (
        np.mean([roc_auc_score(table.labels[side, k], scores[side, k]) for k in range(3)]) for side in (blind, ~blind)
    )
    gap = found.group.gaps["auroc"].estimate
    assert gap.value == pytest.approx(own - rest, abs=1e-6)
    assert gap.low is not None
    assert gap.high is not None
    assert gap.low < gap.value < gap.high < 0
    assert found.groups >= 11  # decades of age, two sexes, two views


def test_a_group_with_the_hard_class_alone_is_not_blamed() -> None:
    """Class A cannot be told at all; only group x has no other class. Group y is worse in class B than the rest."""
    rng = np.random.default_rng(1)
    n = 4000
    table = make_table(n, ("A", "B"), seed=1)
    place = rng.choice(["x", "y", "z"], n)
    labels, scores = (rng.random((n, 2)) < 0.3).astype(np.float32), rng.random((n, 2)).astype(np.float32)
    scores[:, 1] = (
        np.where(labels[:, 1] > 0, 0.5, 0.2) + 0.4 * rng.random(n) - np.where(place == "y", 0.1, 0) * labels[:, 1]
    )
    labels[place == "x", 1] = 0
    table = replace(table, labels=labels, scores=scores, cases=table.cases[["case_id"]].assign(ward=place))
    found = weakest(table, 50)
    assert found is not None
    assert found.group.label == "y"


def test_nothing_to_compare() -> None:
    assert weakest(make_table(300, attributes=False), 20) is None
    assert weakest(make_table(9), 20) is None
    many = make_table(300)
    names = many.cases[["case_id"]].assign(room=[f"r{row}" for row in range(300)])
    assert weakest(replace(many, cases=names), 20) is None
