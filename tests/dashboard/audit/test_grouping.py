"""Groups keep apart what differs and put together what does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dashboard.audit.grouping import UNKNOWN, Grouping, crossed, grouping
from dashboard.audit.metrics import collect
from dashboard.audit.table import AuditTable
from tests.dashboard.audit.tables import make_table


def of(values: list[object]) -> AuditTable:
    table = make_table(len(values), attributes=False)
    return replace(table, cases=table.cases.assign(kind=values))


def members(found: Grouping) -> dict[str, list[int]]:
    return {label: np.flatnonzero(found.member == place).tolist() for place, label in enumerate(found.labels)}


def test_a_value_that_says_not_recorded_is_a_missing_one():
    found = grouping(of(["a", UNKNOWN, None, "", "b", " a"]), "kind")
    assert members(found) == {"a": [0, 5], "b": [4], UNKNOWN: [1, 2, 3]}


def test_the_record_holds_every_case_of_such_a_group():
    record, _, _ = collect(of(["a", "b", UNKNOWN, None] * 30), ("kind",), 5)
    assert {name: group["A"]["n"] for name, group in record.subgroups["kind"].items()} == {
        "a": 30,
        "b": 30,
        UNKNOWN: 60,
    }


def test_near_numbers_stay_apart_and_others_stay_short():
    assert grouping(of([0.1234567, 0.12345671, 1.0]), "kind").labels == ("0.1234567", "0.12345671", "1")
    assert grouping(of([0.25, 2.0, 1234567.0]), "kind").labels == ("0.25", "1234567", "2")
    near = grouping(of([*np.linspace(0, 1, 20)]), "kind", (0.1234567, 0.12345671))
    assert near.labels == ("under 0.1234567", "0.1234567 to under 0.12345671", "0.12345671 and over")


@pytest.mark.parametrize(
    ("values", "edges", "labels"),
    [
        (list(range(20)), (5, 6, 10), ("under 5", "5", "6 to 9", "10 and over")),
        ([value / 2 for value in range(20)], (2.5, 5), ("under 2.5", "2.5 to under 5", "5 and over")),
    ],
)
def test_ranges_in_words(values, edges, labels):
    assert grouping(of(values), "kind", edges).labels == labels


def test_crossed_groups_keep_the_labels_of_both_sides():
    table = of(["x · y", "z"] * 10)
    table = replace(table, cases=table.cases.assign(sex=["F"] * 10 + ["M"] * 10))
    both = crossed(grouping(table, "kind"), grouping(table, "sex"))
    assert both.sides == (("x · y", "z"), ("F", "M"))
    assert both.sizes == (2, 2)
    assert both.labels[both.member[1]] == "z · F"
