"""Maps by group: a planted difference is found, none where there is none, and no difference of labels is taken for one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dashboard.audit.table import AuditTable
from dashboard.hunting import drift
from dashboard.hunting._matched import coefficients, permuted_distances
from dashboard.hunting.drift import Maps, attributes, chosen, compare_all, measure
from dashboard.hunting.drift_result import CELLS, FILE, SCALE, Comparison, Drift, NotCompared, stored_drift
from dashboard.hunting.grid import excess
from dashboard.hunting.stored import write_result
from models.context import RunContext
from models.errors import DataError
from models.types import Image, Modality
from tests.dashboard.audit.tables import make_table
from tests.dashboard.hunting.made import Reader, made_card, made_cohort

RNG = np.random.default_rng(0)
AREA = CELLS * CELLS


def table_of(n: int, label: np.ndarray, score: np.ndarray, **columns: object) -> AuditTable:
    cases = pd.DataFrame({"case_id": [f"c{k}" for k in range(n)], **columns})
    labels, scores = label.astype(np.float32)[:, None], score.astype(np.float32)[:, None]
    return AuditTable("made", "binary", ("Alpha",), cases, labels, scores, (0.0,))


def noise_maps(n: int, rng: np.random.Generator) -> np.ndarray:
    cells = rng.gamma(2.0, size=(n, AREA))
    return cells / cells.sum(axis=1, keepdims=True)


def compared(table: AuditTable, cells: np.ndarray, shares: dict[str, np.ndarray] | None = None) -> Drift:
    cases = made_cohort(table, made_card(task="binary"))
    maps = {"Alpha": Maps(np.arange(len(table)), cells, shares or {})}
    return compare_all(cases, maps, "test cases", "grad-cam", 0, len(table), 0, RunContext())


def test_a_planted_difference_is_found_and_said_where(tmp_path: Path) -> None:
    n = 60
    women = np.arange(n) % 2 == 0
    cells = noise_maps(n, RNG).reshape(n, CELLS, CELLS)
    cells[women, :, -4:] *= 1.8  # to the right
    cells = cells.reshape(n, AREA) / cells.reshape(n, AREA).sum(axis=1, keepdims=True)
    right = cells.reshape(n, CELLS, CELLS)[:, :, -4:].sum(axis=(1, 2))
    table = table_of(
        n, RNG.random(n) < 0.5, RNG.random(n), sex=np.where(women, "F", "M"), view=RNG.choice(["AP", "PA"], n)
    )
    result = compared(table, cells, {"right quarter": right, "ink": np.full(n, np.nan)})
    first, second = result.comparisons
    assert (first.attribute, first.group, first.sure) == ("sex", "F", True)
    assert (second.attribute, second.sure) == ("view", False)
    assert first.distance > first.chance_high > first.chance
    assert first.moved[0] > 2
    assert abs(first.moved[1]) < 1
    share = first.parts[0]
    assert share.difference.low is not None
    assert share.difference.low > 0.05
    assert share.group.value - share.others.value == pytest.approx(share.difference.value, abs=2e-4)  # type: ignore[operator]
    assert first.parts[1].difference.note.startswith("too few")
    assert sum(first.group_map) == pytest.approx(SCALE, abs=AREA)
    # The mean maps within strata, by a table's own grouping; both strata weights as of Mantel and Haenszel.
    label, score = table.positive[:, 0], table.scores[:, 0]
    upper = score > np.where(label, np.median(score[label]), np.median(score[~label]))
    frame = pd.DataFrame({"stratum": 2 * label + upper, "woman": women})
    parts, weights = [], []
    for _, own in frame.groupby("stratum"):
        a, b = own.index[own.woman], own.index[~own.woman]
        weights.append(len(a) * len(b) / len(own))
        parts.append(cells[a].mean(axis=0) - cells[b].mean(axis=0))
    expected = np.abs(np.average(parts, axis=0, weights=weights)).sum() / 2
    assert first.distance == pytest.approx(expected, abs=1e-4)
    card = made_card(task="binary", folder=tmp_path)
    write_result(card, FILE, result)
    assert stored_drift(card) == result
    assert "corrected" in first.words


def test_p_is_uniform_where_groups_mean_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "PERMUTATIONS", 199)
    monkeypatch.setattr(drift, "REPLICATES", 20)
    n, count = 40, 80
    rng = np.random.default_rng(4)
    facts = {f"fact {k}": rng.choice(["a", "b"], n) for k in range(count)}
    result = compared(table_of(n, rng.random(n) < 0.4, rng.random(n), **facts), noise_maps(n, rng))
    p = np.array([one.p for one in result.comparisons])
    assert len(p) == count
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert not any(one.sure for one in result.comparisons)


def test_a_difference_of_labels_is_not_one_of_groups() -> None:
    n = 80
    rng = np.random.default_rng(2)
    label = rng.random(n) < 0.5
    old = rng.random(n) < np.where(label, 0.75, 0.25)  # the finding is commoner among the old
    cells = noise_maps(n, rng)
    cells[label, : AREA // 4] *= 2.5  # and sits elsewhere than what is called by mistake
    cells /= cells.sum(axis=1, keepdims=True)
    (found,) = compared(table_of(n, label, rng.random(n), age=np.where(old, "old", "young")), cells).comparisons
    assert found.p > 0.05
    flat = np.zeros(n, dtype=np.intp)
    weights = coefficients(old, flat)
    plain = np.abs(weights @ cells).sum() / 2
    assert (permuted_distances(cells, weights, flat, 500, 0) < plain).mean() > 0.99


def test_what_cannot_be_compared_is_listed() -> None:
    n = 40
    site = np.array(["back"] * 25 + ["face"] * 12 + ["ear"] * 3)
    label = np.arange(n) % 2
    table = table_of(n, label, RNG.random(n), site=site, kind=np.where(label, "ill", "well"), sex="unknown")
    result = compared(table, noise_maps(n, RNG))
    assert {(one.attribute, one.group) for one in result.comparisons} == {("site", "back"), ("site", "face")}
    left = {(one.attribute, one.group): one for one in result.not_compared}
    assert left["site", "ear"].why == "too few (n=3)"
    assert left["site", "ear"].n == 3
    assert "like those of the other side" in left["kind", "ill"].why  # no label is shared
    assert all(isinstance(one, NotCompared) for one in result.not_compared)


def test_what_counts_of_a_map_is_what_lies_above_its_mean() -> None:
    values = np.array([[-4.0, -3.0], [-2.0, 9.0]], dtype=np.float32)
    seen = np.array([[True, True], [True, False]])
    found = excess(values, seen)
    assert found is not None
    assert found.tolist() == [[0, 0], [1, 0]]
    assert np.allclose(excess(3 * values + 5, seen), found)  # neither scale nor offset count
    assert excess(np.ones((2, 2), np.float32), seen) is None


def test_quantities_stand_as_ranges_and_patients_count_once() -> None:
    table = make_table(200, seed=1)
    assert attributes(table) == ("age", "sex", "view")
    banded = table.cases.assign(age_band=np.where(table.cases["age"] > 50, "old", "young"))
    assert attributes(replace(table, cases=banded)) == ("sex", "view", "age_band")
    plan = chosen(made_cohort(table, made_card(table.classes)), 15)
    for k, rows in plan.items():
        order = sorted(rows)
        assert table.decided[order, k].all()
        assert len(order) <= 15
        assert len(set(table.groups[order])) == len(order)


def test_maps_are_made_of_called_cases_alone() -> None:
    n = 40
    pictures: list[Image | None] = []
    for k in range(n):
        values = np.full((1, 32, 32), 0.05, np.float32)
        values[0, :, slice(0, 16) if k % 2 else slice(16, 32)] = 0.9
        pictures.append(Image(values, "unit interval", Modality.OTHER))
    pictures[0] = None
    card = made_card(task="binary")
    label = np.arange(n) // 2 % 2
    table = table_of(n, label, np.where(np.arange(n) < 38, 0.9, 0.1), device=np.where(np.arange(n) % 2, "new", "old"))
    table = table.with_thresholds((0.5,))
    reader = Reader(card, lambda _: np.zeros(1))
    shown: list[Drift] = []
    result = measure(reader.as_engine(), made_cohort(table, card, pictures), RunContext(on_partial=shown.append))
    assert (result.cases, result.unread, len(reader.explained)) == (37, 1, 37)
    (one,) = result.comparisons
    assert isinstance(one, Comparison)
    assert one.sure
    assert (one.n, one.others) == (19, 18)
    assert one.distance == pytest.approx(1.0)  # what is above the mean changes sides as a whole, by half the width
    assert one.moved == pytest.approx((-50.0, 0.0))
    assert shown
    assert shown[0].cases <= 25
    nothing = table_of(n, label, np.ones(n))
    with pytest.raises(DataError, match="no groups"):
        measure(reader.as_engine(), made_cohort(nothing, card, pictures), RunContext())
