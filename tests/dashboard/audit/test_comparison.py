"""Two models on the same cases: matching, paired differences, exact tests."""

from __future__ import annotations

from dataclasses import replace
from math import comb

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from dashboard.audit import delong
from dashboard.audit.bootstrap import draws
from dashboard.audit.comparison import MACRO, TITLES, compare, disagreement, match, mcnemar, tenths
from dashboard.audit.table import AuditTable
from models.errors import DataError
from tests.dashboard.audit.tables import make_table


def second(table: AuditTable, noise: float = 1.0, seed: int = 9) -> AuditTable:
    """The same cases with worse scores."""
    logit = np.log(table.scores / (1 - table.scores)) + np.random.default_rng(seed).normal(0, noise, table.scores.shape)
    return replace(table, title="other", scores=(1 / (1 + np.exp(-logit))).astype(np.float32))


def test_cases_are_matched_by_id_in_any_order_and_classes_by_name():
    table = make_table(60)
    order = np.random.default_rng(0).permutation(60)[:40]
    other = replace(
        table,
        classes=("C", "X", "A"),
        cases=table.cases.iloc[order].reset_index(drop=True),
        labels=table.labels[order][:, [2, 1, 0]],
        scores=1 - table.scores[order][:, [2, 1, 0]],
    )
    both = match(table, other)
    assert both.classes == ("A", "C")
    assert len(both) == 40
    assert both.alone == (20, 0)
    assert both.differing == both.half_known == 0
    assert (table.cases.case_id.to_numpy()[both.rows[0]] == other.cases.case_id.to_numpy()[both.rows[1]]).all()
    assert both.scores[1] == pytest.approx(1 - both.scores[0])
    assert (both.labels == table.labels[both.rows[0]][:, [0, 2]]).all()
    assert (both.decided[1] == other.decided[both.rows[1]][:, [2, 0]]).all()


def test_labels_that_differ_or_are_known_to_one_only_are_counted_and_left_out():
    table = make_table(80)
    labels = table.labels.copy()
    labels[:5, 0] = 1 - labels[:5, 0]
    labels[5:12, 1] = np.nan
    both = match(table, replace(table, labels=labels))
    assert (both.differing, both.half_known) == (5, 7)
    assert np.isnan(both.labels[:5, 0]).all()
    assert np.isnan(both.labels).sum() == 12
    found = compare(both, count=10)
    assert [one.n for one in found[:3]] == [75, 73, 80]


def test_nothing_shared_is_said():
    table = make_table(20)
    strangers = replace(table, cases=table.cases.assign(case_id=[f"other-{i}" for i in range(20)]))
    with pytest.raises(DataError, match="no case id"):
        match(table, strangers)
    with pytest.raises(DataError, match="no class"):
        match(table, replace(table, classes=("X", "Y", "Z")))


def test_differences_equal_scikit_learn_on_the_same_draws():
    table = make_table(300)
    other = second(table)
    found = compare(match(table, other), count=15, seed=2)
    drawn = draws(table.groups, 15, 2)[table.groups].astype(float)
    slow = {"auroc": roc_auc_score, "auprc": average_precision_score, "brier": brier_score_loss}
    for k, one in enumerate(found[:3]):
        truth = table.positive[:, k]
        for name, measure in slow.items():
            pair = one.figures[name]
            assert pair.first.value == pytest.approx(measure(truth, table.scores[:, k]), abs=1e-6)
            assert pair.second.value == pytest.approx(measure(truth, other.scores[:, k]), abs=1e-6)
            apart = [
                measure(truth, other.scores[:, k], sample_weight=w)
                - measure(truth, table.scores[:, k], sample_weight=w)
                for w in drawn.T
            ]
            gap = pair.difference.estimate
            assert (gap.low, gap.high) == pytest.approx(tuple(np.quantile(apart, (0.025, 0.975))), abs=1e-6)
        auroc = one.figures["auroc"]
        assert (auroc.delong.value, auroc.delong.low, auroc.delong.high, auroc.test) == delong.paired(
            truth, other.scores[:, k], table.scores[:, k]
        )
        only = [int((mine[truth] & ~yours[truth]).sum()) for mine, yours in (
            (table.decided[:, k], other.decided[:, k]), (other.decided[:, k], table.decided[:, k])
        )]  # fmt: skip
        sensitivity = one.figures["sensitivity"]
        assert sensitivity.discordant == tuple(only)
        assert sensitivity.difference.estimate.value == pytest.approx((only[1] - only[0]) / truth.sum())
    mean = found[-1]
    assert mean.name == MACRO
    for name in TITLES:
        expected = np.mean([one.figures[name].difference.estimate.value for one in found[:3]])
        assert mean.figures[name].difference.estimate.value == pytest.approx(expected)


def test_mcnemar_is_the_exact_binomial_test():
    for first, other in ((0, 0), (5, 5), (1, 8), (12, 3), (0, 6)):
        n = first + other
        tail = sum(comb(n, k) for k in range(min(first, other) + 1)) / 2**n if n else 1
        assert mcnemar(first, other) == pytest.approx(min(1, 2 * tail))


def test_a_planted_difference_is_found_and_a_table_equals_itself():
    rng = np.random.default_rng(3)
    table = make_table(6000, classes=("A", "B"), seed=3)
    shared, own = rng.normal(size=(6000, 2)), rng.normal(size=(2, 6000, 2))
    logits = [shared + 0.5 * own[0] + 1.5 * table.labels, shared + 0.5 * own[1] + np.array([0.9, 1.5]) * table.labels]
    a, b = (table.with_scores(1 / (1 + np.exp(1.0 - logit))) for logit in logits)
    worse, same, _ = compare(match(a, b), count=300)
    planted = stats.norm.cdf(0.9 / np.sqrt(2.5)) - stats.norm.cdf(1.5 / np.sqrt(2.5))
    gap = worse.figures["auroc"].difference
    assert gap.estimate.low < planted < gap.estimate.high < 0
    assert gap.adjusted < 1e-6
    assert worse.figures["auroc"].test < 1e-6
    assert same.figures["auroc"].difference.adjusted > 0.01
    for one in compare(match(a, a), count=20)[:2]:
        for pair in one.figures.values():
            assert (pair.difference.estimate.value, pair.difference.p) == (0, None)
            assert pair.test in (None, 1)


def test_where_nothing_differs_about_one_in_twenty_intervals_excludes_nothing():
    rng = np.random.default_rng(0)
    outside = {name: [] for name in TITLES if name != "ece"}
    for _ in range(80):
        table = make_table(300, classes=("A",), seed=int(rng.integers(1 << 30)))
        truth = rng.normal(size=(300, 1)) + 1.5 * table.labels - 1
        a, b = (table.with_scores(1 / (1 + np.exp(-truth - 0.8 * rng.normal(size=(300, 1))))) for _ in range(2))
        (one,) = compare(match(a, b), count=128)
        for name, pair in one.figures.items():
            gap = pair.difference.estimate
            if name == "ece":
                assert gap.low is None
                continue
            outside[name].append(not gap.low <= 0 <= gap.high)
    for name, found in outside.items():
        assert np.mean(found) < 0.12, name
    assert 0.02 < np.mean(list(outside.values())) < 0.09


def test_too_few_and_one_class():
    table = make_table(30, patients=False)
    labels = table.labels.copy()
    labels[:, 0], labels[:, 1] = 1, np.nan
    table = replace(table, labels=labels)
    found = compare(match(table, second(table)), count=10)
    assert [one.name for one in found] == ["A", "B", "C"]
    assert found[0].figures["auroc"].first.note == "too few negative cases (n=0)"
    assert found[0].figures["sensitivity"].first.value is not None
    assert all(pair.difference.estimate.value is None for pair in found[1].figures.values())
    one = compare(match(table.part(np.arange(30) == 3), second(table)), count=5)
    assert all(pair.first.value is None for row in one for pair in row.figures.values())


def test_the_cases_they_disagree_on_most_come_first():
    table = make_table(200)
    other = second(table, 2.0)
    both = match(table, other)
    ordered = disagreement(both, 0)
    split = table.decided[ordered, 0] != other.decided[ordered, 0]
    assert sorted(ordered) == list(range(200))
    assert split.any()
    assert not split[split.sum() :].any()
    apart = np.abs(table.scores[ordered, 0] - other.scores[ordered, 0])
    assert (np.diff(apart[split]) <= 0).all()
    assert (np.diff(apart[~split]) <= 0).all()


def test_tenths_hold_a_tenth_each_and_ties_stay_together():
    both = match(make_table(200), second(make_table(200)))
    assert (np.bincount(tenths(both, 0)[0]) == 20).all()
    table = make_table(200).with_scores(np.full((200, 3), 0.5))
    assert set(tenths(match(table, table), 1).ravel()) == {4, 5} & set(tenths(match(table, table), 1).ravel())
    assert len(set(tenths(match(table, table), 1).ravel())) == 1
