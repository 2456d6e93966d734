"""What the marks of the subgroup and comparison figures stand for, and that their keys lead to those cases."""

from __future__ import annotations

import numpy as np
import pytest

from dashboard.audit.comparison import compare, match, tenths
from dashboard.audit.grouping import crossed, grouping
from dashboard.audit.subgroups import TITLES, by_group
from dashboard.figures.paired import agreement, values_and_differences
from dashboard.figures.subgroups import Cell, calibration, heat, values_and_gaps
from tests.dashboard.audit.tables import make_table


@pytest.fixture(scope="module")
def table():
    return make_table(300)


@pytest.fixture(scope="module")
def result(table):
    return by_group(table, crossed(grouping(table, "sex"), grouping(table, "age", [20, 60])), [0], count=30)


def marks(figure):
    """(key, x, y) of every mark that answers a click."""
    return [
        (key[0], x, y)
        for trace in figure.data
        if trace.customdata is not None
        for key, x, y in zip(trace.customdata, trace.x, trace.y, strict=True)
    ]


@pytest.mark.parametrize("name", TITLES)
@pytest.mark.parametrize("dark", [False, True])
def test_every_group_has_a_mark_on_its_line_in_both_panels(result, table, name, dark):
    figure = values_and_gaps(result.groups, name, "title", dark)
    by_label = {group.label: (place, group) for place, group in enumerate(result.groups)}
    for axis, pick in (("x", "values"), ("x2", "gaps")):
        found = [
            (key[0], x, y)
            for trace in figure.data
            if trace.xaxis == axis
            for key, x, y in zip(trace.customdata, trace.x, trace.y, strict=True)
        ]
        assert sorted(key for key, _, _ in found) == sorted(by_label)
        for key, x, y in found:
            place, group = by_label[key]
            estimate = group.values[name] if pick == "values" else group.gaps[name].estimate
            assert y == place
            assert estimate.value is None or x == estimate.value
    for label, (_, group) in by_label.items():
        sex, age = label.split(" · ")
        inside = (table.cases.sex == sex) & (
            (table.cases.age < 20) if age == "under 20" else (table.cases.age >= 60) if "60" in age and "over" in age
            else table.cases.age.between(20, 59)
        )  # fmt: skip
        assert list(group.rows) == list(np.flatnonzero(inside))
    assert list(figure.layout.yaxis.ticktext) == [f"{group.label}  (n = {group.n:,})" for group in result.groups]


def test_what_is_missing_is_said_beside_an_open_mark(result):
    scarce = [group for group in result.groups if group.values["auroc"].value is None]
    assert scarce
    figure = values_and_gaps(result.groups, "auroc", "AUROC")
    texts = [text for trace in figure.data if trace.text is not None for text in trace.text]
    assert len(texts) == 2 * len(scarce)
    assert all(text.startswith(" too few (n=") for text in texts)


def test_calibration_shows_the_observed_rate_and_the_mean_score(result, table):
    found = marks(calibration(result.groups))
    for place, group in enumerate(result.groups):
        if group.values["prevalence"].value is None:
            continue
        at = sorted(x for key, x, y in found if key == group.label and y == place)
        expected = [table.positive[group.rows, 0].mean(), table.scores[group.rows, 0].mean()]
        assert at == pytest.approx(sorted(expected), abs=1e-6)


def test_cells_of_a_heat_table_answer_with_their_key():
    cells = [
        [Cell(10 * row + column, "x", "hover", 0.1 * column if row else None) for column in range(3)] for row in (0, 1)
    ]
    figure = heat(["a", "b"], ["p", "q", "r"], cells, "gap", dark=True)
    assert {(key, x, y) for key, x, y in marks(figure)} == {(10 * r + c, c, r) for r in (0, 1) for c in (0, 1, 2)}
    assert np.isnan(np.asarray(figure.data[0].z, dtype=float)[0]).all()
    assert figure.data[0].zmax == -figure.data[0].zmin == pytest.approx(0.2)
    blank = heat(["a"], ["p"], [[Cell(0, "", "", None)]], "gap")
    assert blank.data[0].zmax == 1


def test_comparison_shows_both_tables_and_their_difference(table):
    other = table.with_scores(1 - table.scores)
    found = compare(match(table, other), count=20)
    figure = values_and_differences(found, [one.name for one in found], "auroc", "AUROC", ("one", "two"))
    first, second, gap = figure.data
    for place, one in enumerate(found):
        pair = one.figures["auroc"]
        assert first.customdata[place][0] == second.customdata[place][0] == gap.customdata[place][0] == one.name
        assert (first.x[place], second.x[place]) == (pair.first.value, pair.second.value)
        assert gap.x[place] == pytest.approx(pair.second.value - pair.first.value)
    assert (first.name, second.name) == ("one", "two")


def test_every_case_is_behind_one_square(table):
    both = match(table, table.with_scores(table.scores[:, ::-1]))
    place = tenths(both, 0)
    cell = 10 * place[0] + place[1]
    counts = np.bincount(cell, minlength=100).reshape(10, 10)
    figure = agreement(counts, np.bincount(cell[table.positive[:, 0]], minlength=100).reshape(10, 10), ("a", "b"))
    (squares,) = figure.data
    assert sum(int(one[1]) for one in squares.customdata) == 300
    for (key, n, positive), x, y in zip(squares.customdata, squares.x, squares.y, strict=True):
        behind = cell == key
        assert (behind.sum(), table.positive[behind, 0].sum()) == (n, positive)
        assert ((place[0][behind] + 1 == y) & (place[1][behind] + 1 == x)).all()
