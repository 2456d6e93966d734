"""Confusion against scikit-learn, plain loops and closed forms; every cell leads to its rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import contingency, norm
from sklearn.metrics import confusion_matrix, multilabel_confusion_matrix

from dashboard.audit import confusion
from dashboard.audit.bootstrap import draws
from dashboard.audit.pairs import Both, difference, product
from dashboard.audit.table import AuditTable
from dashboard.figures.confusion import Cells, grid
from tests.dashboard.audit.tables import make_table

FOUR = ("A", "B", "C", "D")


def with_labels(table: AuditTable, labels: np.ndarray, scores: np.ndarray | None = None) -> AuditTable:
    scored = table.scores if scores is None else scores.astype(np.float32)
    return replace(table, labels=labels.astype(np.float32), scores=scored)


@pytest.mark.parametrize("points", [(1.0, 1.0, 1.0, 1.0), (0.2, 0.5, 1.0, 0.1)])
def test_the_matrix_of_exclusive_classes_is_that_of_scikit_learn(points: tuple[float, ...]) -> None:
    table = make_table(500, FOUR, "multiclass", unknown=0.1).with_thresholds(points)
    known = table.known.all(1)
    truth, made = table.labels[known].argmax(1), (table.scores[known] / np.asarray(points)).argmax(1)
    counts = confusion.matrix(table)
    np.testing.assert_array_equal(counts, confusion_matrix(truth, made, labels=range(4)))
    for normal, part in (("true", confusion.by_row(counts)), ("pred", confusion.by_column(counts))):
        expected = confusion_matrix(truth, made, labels=range(4), normalize=normal)
        np.testing.assert_allclose(part.value, expected)
        assert (part.low <= part.value + 1e-12).all()
        assert (part.value <= part.high + 1e-12).all()


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 60), st.integers(0, 2**31), st.sampled_from([0.0, 0.3, 1.0]))
def test_findings_one_by_one_are_those_of_scikit_learn(n: int, seed: int, unknown: float) -> None:
    table = make_table(n, FOUR, seed=seed, unknown=unknown)
    counts = confusion.two_by_two(table)
    for k in range(4):
        known = table.known[:, k]
        expected = np.zeros((2, 2))
        if known.any():
            expected = confusion_matrix(table.labels[known, k], table.decided[known, k], labels=[1, 0])
        np.testing.assert_array_equal(counts[k], expected)
    if n and not unknown:
        expected = multilabel_confusion_matrix(table.labels.astype(int), table.decided.astype(int))
        np.testing.assert_array_equal(counts, expected[:, ::-1, ::-1])


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_the_rows_of_the_cells_are_all_cases_once_most_confident_first(task: str) -> None:
    table = make_table(300, FOUR, task, unknown=0.1)  # type: ignore[arg-type]
    counts = confusion.two_by_two(table)
    for k in range(4):
        seen: list[int] = []
        for row, present in enumerate((True, False)):
            for column, called in enumerate((True, False)):
                rows = confusion.finding_rows(table, k, present, called)
                assert len(rows) == counts[k, row, column]
                assert (table.labels[rows, k] == present).all()
                assert (table.decided[rows, k] == called).all()
                assert (np.diff(table.scores[rows, k]) * (-1 if called else 1) >= 0).all()
                seen += rows.tolist()
        assert sorted(seen) == np.flatnonzero(table.known[:, k]).tolist()


def test_the_rows_of_the_matrix_are_its_counts() -> None:
    table = make_table(300, FOUR, "multiclass", unknown=0.1)
    counts = confusion.matrix(table)
    for true in range(4):
        for made in range(4):
            rows = confusion.matrix_rows(table, true, made)
            assert len(rows) == counts[true, made]
            assert (table.labels[rows, true] == 1).all()
            assert (table.scores[rows].argmax(1) == made).all()
            assert (np.diff(table.scores[rows, made]) <= 0).all()


def test_findings_called_instead_are_counted_as_a_loop_counts_them() -> None:
    table = make_table(900, FOUR, unknown=0.15)
    found = confusion.confused_with(table)
    label, called = table.labels, table.scores >= 0.5
    for a in range(4):
        for b in range(4):
            if a == b:
                continue
            missed = [i for i in range(900) if label[i, a] == 1 and not called[i, a] and label[i, b] == 0]
            without = [i for i in range(900) if label[i, a] == 0 and label[i, b] == 0]
            hits, anyway = [i for i in missed if called[i, b]], [i for i in without if called[i, b]]
            assert found.rate.hits[a, b] == len(hits)
            assert found.rate.total[a, b] == len(missed)
            assert found.chance.value[a, b] == pytest.approx(len(anyway) / len(without))
            ratio = len(hits) / len(missed) / (len(anyway) / len(without))
            assert found.ratio.value[a, b] == pytest.approx(ratio)
            assert found.ratio.low[a, b] <= ratio <= found.ratio.high[a, b]
            rows = confusion.confused_rows(table, a, b)
            assert sorted(rows) == hits
            assert (np.diff(table.scores[rows, b]) <= 0).all()


def test_independent_cases_have_the_interval_of_katz() -> None:
    table = make_table(600, FOUR, patients=False)
    found = confusion.confused_with(table)
    for a, b in ((0, 1), (1, 0), (2, 3)):
        hits, total = int(found.rate.hits[a, b]), int(found.rate.total[a, b])
        anyway, among = int(found.chance.hits[a, b]), int(found.chance.total[a, b])
        expected = contingency.relative_risk(hits, total, anyway, among).confidence_interval()
        got = [np.log(found.ratio.low[a, b]), np.log(found.ratio.high[a, b])]
        middle = np.log(found.ratio.value[a, b])
        factor = np.sqrt(600 / 599)  # of a variance estimated from 600 cases
        np.testing.assert_allclose(got, middle + factor * (np.log([expected.low, expected.high]) - middle), rtol=1e-5)


def test_intervals_of_clustered_cases_are_those_of_a_bootstrap_of_patients() -> None:
    table = make_table(3000, FOUR)
    whole = np.repeat(np.arange(3000), 3)  # three copies of each case, a patient each
    wide = replace(
        table,
        cases=table.cases.iloc[whole].assign(case_id=[f"c{i}" for i in range(9000)], patient_id=whole.astype(str)),
        labels=table.labels[whole],
        scores=table.scores[whole],
    )
    found, excess = confusion.confused_with(wide).ratio, confusion.cooccurrence(wide).excess
    single = draws(wide.groups, 300)[wide.groups].astype(np.float64)
    missed, absent = wide.positive & ~wide.decided, wide.negative

    def drawn(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return np.asarray((left & right).astype(np.float64) @ single)

    a, b = 0, 1
    false = absent[:, b] & wide.decided[:, b]
    ratio = drawn(missed[:, a], false) / drawn(missed[:, a], absent[:, b])
    ratio /= drawn(absent[:, a], false) / drawn(absent[:, a], absent[:, b])
    spread = np.log(found.high[a, b] / found.low[a, b]) / (2 * norm.ppf(0.975))
    assert spread == pytest.approx(np.log(ratio).std(), rel=0.2)
    every = np.ones(9000, dtype=bool)
    gap = drawn(wide.decided[:, a], wide.decided[:, b]) / drawn(wide.decided[:, a], every)
    gap -= drawn(wide.positive[:, a], wide.positive[:, b]) / drawn(wide.positive[:, a], every)
    assert (excess.high[a, b] - excess.low[a, b]) / (2 * norm.ppf(0.975)) == pytest.approx(gap.std(), rel=0.2)


def test_a_planted_confusion_stands_out_and_nothing_else() -> None:
    rng = np.random.default_rng(3)
    labels = rng.random((6000, 4)) < 0.1
    called = np.where(labels, rng.random((6000, 4)) < 0.7, rng.random((6000, 4)) < 0.1)
    instead = labels[:, 0] & ~called[:, 0] & ~labels[:, 1]
    called[:, 1] |= instead & (rng.random(6000) < 0.4)
    table = with_labels(make_table(6000, FOUR), labels, np.where(called, 0.9, 0.1))
    ratio = confusion.confused_with(table).ratio
    off = ~np.eye(4, dtype=bool)
    assert ratio.low[0, 1] > 2
    assert np.sum((ratio.low > 1.3)[off]) == 1
    assert np.sum((ratio.high < 0.77)[off]) == 0


def test_too_few_missed_cases_and_none_called_say_so() -> None:
    n = 200
    labels, called = np.zeros((n, 3)), np.zeros((n, 3), dtype=bool)
    labels[:9, 0] = labels[20:40, 1] = 1  # nine and twenty missed
    called[50:60, 2] = True  # never where something is missed
    found = confusion.confused_with(with_labels(make_table(n), labels, np.where(called, 0.9, 0.1)))
    assert np.isnan(found.ratio.value[0]).all()
    assert (found.ratio.value[1, 2], found.ratio.low[1, 2]) == (0, 0)
    assert found.ratio.high[1, 2] == pytest.approx(found.rate.high[1, 2] / found.chance.value[1, 2])
    assert np.isnan(found.ratio.value[1, 0])  # never called by chance
    assert np.isnan(np.diag(found.ratio.value)).all()


def test_pairs_in_truth_and_as_called_are_counted_over_the_same_cases() -> None:
    table = make_table(900, FOUR, unknown=0.15)
    found = confusion.cooccurrence(table)
    label, called = table.labels, table.decided
    for a in range(4):
        for b in range(4):
            both = [i for i in range(900) if not np.isnan(label[i, [a, b]]).any()]
            have = [i for i in both if label[i, a] == 1]
            made = [i for i in both if called[i, a]]
            assert found.true.value[a, b] == pytest.approx(np.mean([label[i, b] == 1 for i in have]))
            assert found.called.value[a, b] == pytest.approx(np.mean([called[i, b] for i in made]))
            if a == b:
                continue
            assert found.excess.value[a, b] == pytest.approx(found.called.value[a, b] - found.true.value[a, b])
            true = {i for i in have if label[i, b] == 1}
            calls = {i for i in made if called[i, b]}
            assert set(confusion.pair_rows(table, a, b, "true")) == true
            assert set(confusion.pair_rows(table, a, b, "called")) == calls
            wrong = confusion.pair_rows(table, a, b, "excess")
            assert set(wrong[: len(calls - true)]) == calls - true
            assert set(wrong[len(calls - true) :]) == true - calls


def test_a_difference_of_independent_cases_has_the_textbook_interval() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.random((400, 1)) < 0.5, rng.random((400, 1)) < 0.4
    every = np.ones((400, 1), dtype=bool)
    found = difference(np.arange(400), (Both(every, one), Both(every, every)), (Both(every, other), Both(every, every)))
    moved = one.astype(float) - other
    reach = norm.ppf(0.975) * moved.std(ddof=1) / np.sqrt(400)
    assert found.value[0, 0] == pytest.approx(moved.mean())
    assert found.high[0, 0] - found.value[0, 0] == pytest.approx(reach, rel=1e-5)


def test_intervals_of_a_ratio_cover_at_the_nominal_rate() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(400):
        left = rng.random((300, 1)) < 0.5
        right = rng.random((300, 1)) < np.where(left, 0.4, 0.2)
        every = np.ones_like(left)
        terms = [(Both(left, right), 1), (Both(left, every), -1), (Both(~left, right), -1), (Both(~left, every), 1)]
        found = product(np.arange(300), terms)
        hits += bool(found.low[0, 0] <= 2 <= found.high[0, 0])
    assert 0.92 <= hits / 400 <= 0.98


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("unknown", [0.0, 1.0])
def test_tiny_and_unlabelled_tables_have_no_figures_and_no_warning(n: int, unknown: float) -> None:
    table = make_table(n, unknown=unknown)
    assert confusion.two_by_two(table).sum() == table.known.sum()
    assert np.isnan(confusion.confused_with(table).ratio.value).all()
    assert np.isnan(confusion.cooccurrence(table).excess.value).all()
    exclusive = make_table(n, task="multiclass", unknown=unknown)
    shares = confusion.by_row(confusion.matrix(exclusive))
    assert np.isnan(shares.value[shares.total == 0]).all()


def test_the_marks_of_a_grid_lead_to_their_cells() -> None:
    text = [["a", "b", ""], ["d", "e", "f"]]
    cells = Cells(("r", "s"), ("x", "y", "z"), np.zeros((2, 3)), text, text, "row", "column")
    shades, words, marks = grid(cells).data
    assert shades.hoverinfo == words.hoverinfo == "skip"
    keys = {
        int(key[0]): (mark_y, mark_x) for key, mark_y, mark_x in zip(marks.customdata, marks.y, marks.x, strict=True)
    }
    assert keys == {0: (0, 0), 1: (0, 1), 3: (1, 0), 4: (1, 1), 5: (1, 2)}, "a cell without words cannot be clicked"
    drawn = {(y, x): word for y, x, word in zip(words.y, words.x, words.text, strict=True)}
    assert all(drawn[place] == text[place[0]][place[1]] for place in keys.values())
    assert marks.marker.opacity == 0


@pytest.mark.parametrize("dark", [False, True])
def test_words_of_a_grid_with_a_middle_stand_out_from_both_ends(dark: bool) -> None:
    shade = np.linspace(-1, 1, 5)[None]
    text = [["1"] * 5]
    words = grid(Cells(("r",), tuple("abcde"), shade, text, text, "", "", middle=True), dark).data[1]
    assert words.textfont.color[2] == ("#ffffff" if dark else "#000000")
    assert set(words.textfont.color) <= {"#000000", "#ffffff"}
