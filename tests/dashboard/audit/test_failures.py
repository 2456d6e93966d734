"""Rankings against plain loops over pairs, and planted label errors found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import log_loss

from dashboard.audit import failures
from dashboard.audit.failures import Ranking
from dashboard.audit.table import AuditTable
from dashboard.widgets.audit.failures import listing
from tests.dashboard.audit.tables import make_table

POINTS = (0.1, 0.5, 0.8)
ALL = (
    failures.confident_errors,
    failures.largest_loss,
    failures.near_threshold,
    failures.suspected_labels,
)


def table_of(task: str = "multilabel", n: int = 300, unknown: float = 0.15) -> AuditTable:
    table = make_table(n, task=task, unknown=unknown)  # type: ignore[arg-type]
    return table if task == "multiclass" else table.with_thresholds(POINTS)


def pairs(found: Ranking) -> dict[tuple[int, int], float]:
    assert found.total == len(found)
    places = [(int(row), int(column)) for row, column in zip(found.rows, found.columns, strict=True)]
    assert len(set(places)) == len(places)
    return dict(zip(places, found.numbers, strict=True))


def labelled(table: AuditTable) -> list[tuple[int, int]]:
    return [(i, k) for i in range(len(table)) for k in range(3) if not np.isnan(table.labels[i, k])]


def test_confident_errors_are_all_wrong_decisions_by_their_margin() -> None:
    table = table_of()
    found = failures.confident_errors(table)
    expected = {}
    for i, k in labelled(table):
        score, point = float(table.scores[i, k]), POINTS[k]
        if (score >= point) != (table.labels[i, k] == 1):
            expected[i, k] = (score - point) / (1 - point) if score >= point else (point - score) / point
    assert pairs(found) == pytest.approx(expected, abs=1e-6)
    assert (np.diff(found.numbers) <= 0).all()


def test_confident_errors_of_exclusive_classes_are_by_the_decided_class() -> None:
    table = table_of("multiclass")
    truth, made = table.labels.argmax(1), table.scores.argmax(1)
    wrong = [i for i in range(300) if table.known[i, 0] and truth[i] != made[i]]
    found = failures.confident_errors(table)
    assert pairs(found) == {(i, made[i]): pytest.approx(table.scores[i, made[i]]) for i in wrong}
    one = failures.confident_errors(table, 1)
    assert set(one.rows) == {i for i in wrong if 1 in (truth[i], made[i])}


def test_losses_are_those_of_scikit_learn() -> None:
    table = table_of()
    found = pairs(failures.largest_loss(table))
    for k in range(3):
        known = table.known[:, k]
        mean = np.mean([loss for (_, column), loss in found.items() if column == k])
        assert mean == pytest.approx(log_loss(table.labels[known, k], table.scores[known, k].astype(float)), rel=1e-6)
    assert set(found) == set(labelled(table))
    exclusive = table_of("multiclass")
    known = exclusive.known[:, 0]
    losses = failures.largest_loss(exclusive)
    scores = exclusive.scores[known].astype(float)
    expected = log_loss(exclusive.labels[known], scores / scores.sum(1, keepdims=True))
    assert losses.numbers.mean() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_the_loss_of_a_case_is_the_mean_over_what_is_known(task: str) -> None:
    table = table_of(task)
    each = pairs(failures.largest_loss(table))
    found = failures.largest_case_loss(table)
    for row, column, number in zip(found.rows, found.columns, found.numbers, strict=True):
        own = {k: loss for (i, k), loss in each.items() if i == row}
        assert number == pytest.approx(np.mean(list(own.values())))
        assert own[column] == max(own.values())
    assert sorted(found.rows) == np.flatnonzero(table.known.any(1)).tolist()


def test_cases_near_the_threshold_come_closest_first() -> None:
    table = table_of()
    found = failures.near_threshold(table)

    def log_odds(p: float) -> float:
        return float(np.log(p / (1 - p)))

    expected = {(i, k): abs(log_odds(float(table.scores[i, k])) - log_odds(POINTS[k])) for i, k in labelled(table)}
    assert pairs(found) == pytest.approx(expected, abs=1e-5)
    assert (np.diff(found.numbers) >= 0).all()


def test_near_the_threshold_of_exclusive_classes_is_between_the_first_two() -> None:
    points = (0.5, 1.0, 0.8)
    table = table_of("multiclass").with_thresholds(points)
    found = failures.near_threshold(table)
    for row, column, number in zip(found.rows, found.columns, found.numbers, strict=True):
        first, second = sorted(table.scores[row] / np.asarray(points), reverse=True)[:2]
        assert number == pytest.approx(np.log(first / second), abs=1e-5)
        assert table.decided[row, column]
    one = failures.near_threshold(table, 2)
    best = np.flatnonzero(table.known[:, 0])
    weighed = np.log(table.scores[best] / np.asarray(points))
    gap = np.abs(weighed[:, 2] - weighed[:, :2].max(1))
    np.testing.assert_allclose(one.numbers, np.sort(gap), atol=1e-5)


def test_suspected_labels_pass_the_self_confidence_of_the_other_label() -> None:
    table = table_of()
    expected = {}
    for k in range(3):
        own = [i for i, column in labelled(table) if column == k]
        scores = table.scores[:, k].astype(float)
        present = np.mean([scores[i] for i in own if table.labels[i, k] == 1])
        absent = np.mean([1 - scores[i] for i in own if table.labels[i, k] == 0])
        for i in own:
            likely = {label: p for label, p, mean in ((1, scores[i], present), (0, 1 - scores[i], absent)) if p >= mean}
            if likely:
                label = max(likely, key=lambda one: likely[one])
                if label != table.labels[i, k]:
                    mean = present if label else absent
                    expected[i, k] = (likely[label] - mean) / (1 - mean)
    assert pairs(failures.suspected_labels(table)) == pytest.approx(expected)
    assert expected


def test_suspected_labels_of_exclusive_classes_follow_the_paper() -> None:
    table = table_of("multiclass")
    truth, scores = table.labels.argmax(1), table.scores.astype(float)
    known = table.known[:, 0]
    mean = [scores[known & (truth == k), k].mean() for k in range(3)]
    expected = {}
    for i in np.flatnonzero(known):
        passing = [k for k in range(3) if scores[i, k] >= mean[k]]
        best = max(passing, key=lambda k: scores[i, k], default=truth[i])
        if best != truth[i]:
            expected[int(i), int(best)] = (scores[i, best] - mean[best]) / (1 - mean[best])
    assert pairs(failures.suspected_labels(table)) == pytest.approx(expected)
    assert expected


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_planted_label_errors_come_first(task: str) -> None:
    rng = np.random.default_rng(5)
    n = 2000
    truth = rng.integers(0, 3, n)
    labels = np.eye(3)[truth]
    scores = np.where(labels == 1, rng.beta(8, 2, (n, 3)), rng.beta(2, 8, (n, 3)))
    if task == "multiclass":
        scores /= scores.sum(1, keepdims=True)
    flipped = rng.choice(n, 60, replace=False)
    labels[flipped] = np.eye(3)[(truth[flipped] + 1) % 3]
    table = make_table(n, task=task)  # type: ignore[arg-type]
    table = replace(table, labels=labels.astype(np.float32), scores=scores.astype(np.float32))
    first = failures.suspected_labels(table).cases[:60]
    assert len(first) >= 30
    assert len(set(first) & set(flipped)) >= 0.8 * len(first)


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
@pytest.mark.parametrize("find", ALL)
def test_one_class_is_that_part_of_all_and_short_lists_are_the_first(find, task: str) -> None:  # type: ignore[no-untyped-def]
    table = table_of(task)
    every, one, short = find(table), find(table, 1), find(table, most=7)
    if task == "multilabel":
        of_one = every.columns == 1
        np.testing.assert_array_equal(one.rows, every.rows[of_one])
        np.testing.assert_array_equal(one.numbers, every.numbers[of_one])
    assert (len(short), short.total) == (min(7, every.total), every.total)
    np.testing.assert_array_equal(short.numbers, every.numbers[:7])
    np.testing.assert_array_equal(short.rows, every.rows[:7])


def test_equal_scores_are_listed_in_the_order_of_the_table() -> None:
    table = make_table(40).with_scores(np.full((40, 3), 0.5))
    found = failures.largest_loss(table, 0, most=10)
    assert found.rows.tolist() == list(range(10))
    assert found.total == 40


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("unknown", [0.0, 1.0])
def test_tiny_and_unlabelled_tables_are_ranked_without_warning(n: int, task: str, unknown: float) -> None:
    table = table_of(task, n, unknown)
    for find in ALL:
        assert len(find(table)) <= 3 * n
        assert len(find(table, 1)) <= n
    assert len(failures.largest_case_loss(table)) == (n if not unknown else 0)
    assert len(failures.suspected_labels(table)) == 0, "fewer than ten cases of a label say nothing of it"


def test_scores_of_exactly_0_and_1_have_a_finite_loss() -> None:
    table = make_table(20).with_scores(np.tile([0.0, 1.0, 0.5], (20, 1)))
    assert failures.largest_loss(table).numbers.max() == pytest.approx(-np.log(1e-7))
    assert np.isfinite(failures.near_threshold(table).numbers).all()


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_the_listing_says_what_was_ranked_and_by_what(task: str) -> None:
    table = table_of(task)
    found = failures.confident_errors(table)
    frame = listing(table, found, "Confidence")
    np.testing.assert_array_equal(frame["Confidence"], found.numbers)
    assert frame["Case"].tolist() == table.cases["case_id"].iloc[found.rows].tolist()
    np.testing.assert_array_equal(frame["Score"], table.scores[found.rows, found.columns])
    if task == "multiclass":
        assert (frame["True class"] != frame["Decided"]).all()
        assert (frame["Class"] == frame["Decided"]).all()
    else:
        assert ((frame["Label"] == "present") != (frame["Called"] == "yes")).all()
    assert len(found.cases) == len(set(found.rows))
