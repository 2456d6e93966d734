"""Figures by group against scikit-learn with weights, planted gaps, and chance where nothing differs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, precision_score, recall_score, roc_auc_score

from dashboard.audit.bootstrap import draws
from dashboard.audit.grouping import UNKNOWN, Grouping, crossed, grouping
from dashboard.audit.subgroup_replicates import replicates
from dashboard.audit.subgroups import (
    TITLES,
    UNDERDIAGNOSIS,
    by_group,
    each_finding,
    errors_first,
    missed_entirely,
    underdiagnosis,
)
from dashboard.audit.table import AuditTable
from models.errors import DataError
from tests.dashboard.audit.tables import make_table


def with_column(table: AuditTable, **columns) -> AuditTable:
    return replace(table, cases=table.cases.assign(**columns))


def normal_table(labels, logits, patients=None, **columns) -> AuditTable:
    """One class, binormal scores."""
    n = len(labels)
    cases = pd.DataFrame({"case_id": [f"c{i}" for i in range(n)], **columns})
    if patients is not None:
        cases["patient_id"] = patients
    scores = (1 / (1 + np.exp(-np.asarray(logits)))).astype(np.float32)
    return AuditTable("made", "multilabel", ("A",), cases, labels.astype(np.float32)[:, None], scores[:, None], (0.5,))


def ece(truth, scores, weights, bins=15):
    place = np.clip(np.ceil(scores.astype(np.float64) * bins).astype(int) - 1, 0, bins - 1)
    total = sum(abs(np.sum((weights * (truth - scores))[place == b])) for b in range(bins))
    return total / weights.sum()


def by_sklearn(truth, scores, decided, w):
    """Every figure with weights, the slow way."""
    negatives = w * ~truth
    recall = recall_score(truth, decided, sample_weight=w, zero_division=np.nan)
    return {
        "auroc": roc_auc_score(truth, scores, sample_weight=w),
        "auprc": average_precision_score(truth, scores, sample_weight=w),
        "sensitivity": recall,
        "specificity": negatives[~decided].sum() / negatives.sum(),
        "false_positive_rate": negatives[decided].sum() / negatives.sum(),
        "ppv": precision_score(truth, decided, sample_weight=w, zero_division=np.nan),
        "ece": ece(truth, scores, w),
        "miscalibration": np.average(scores.astype(np.float64), weights=w) - np.average(truth, weights=w),
        "prevalence": np.average(truth, weights=w),
    }


@pytest.mark.parametrize("levels", [3, 20, 0])
def test_replicates_equal_scikit_learn_with_the_same_weights(levels):
    table = make_table(120, unknown=0.1, seed=levels)
    if levels:
        # Scores on a grid tie often; they keep away from the ends of bins, where the two may round apart.
        table = table.with_scores((np.round(table.scores * levels) + 0.4) / (levels + 1))
    member = np.random.default_rng(1).integers(0, 3, 120)
    drawn = draws(table.groups, 3, 0)
    found = replicates(table, 0, member, 3, drawn)
    compared = 0
    for g in range(3):
        for side in (0, 1):
            rows = table.known[:, 0] & ((member == g) == (side == 0))
            for replicate in range(3):
                weights = drawn[table.groups[rows], replicate].astype(np.float64)
                slow = by_sklearn(table.positive[rows, 0], table.scores[rows, 0], table.decided[rows, 0], weights)
                assert slow.keys() == found.keys() == TITLES.keys()
                for name, value in slow.items():
                    assert found[name][g, side, replicate] == pytest.approx(value, abs=1e-6, nan_ok=True), name
                    compared += 1
    assert compared == 3 * 2 * 3 * 9


def test_values_gaps_and_intervals_come_from_the_draws():
    table = make_table(500, patients=True)
    result = by_group(table, grouping(table, "sex"), [0], count=60, seed=3)
    drawn, female = draws(table.groups, 60, 3), (table.cases.sex == "F").to_numpy()
    group = result.groups[0]
    assert group.label == "F"
    assert (group.n, group.positives) == (female.sum(), table.positive[female, 0].sum())
    assert group.patients == table.cases.patient_id[female].nunique()

    def area(rows, weights=None):
        return roc_auc_score(table.positive[rows, 0], table.scores[rows, 0], sample_weight=weights)

    gaps = [
        area(female, drawn[table.groups[female], r]) - area(~female, drawn[table.groups[~female], r]) for r in range(60)
    ]
    gap, value = group.gaps["auroc"], group.values["auroc"]
    assert value.value == pytest.approx(area(female))
    assert gap.estimate.value == pytest.approx(area(female) - area(~female))
    assert (gap.estimate.low, gap.estimate.high) == pytest.approx(tuple(np.quantile(gaps, (0.025, 0.975))))
    assert gap.p == pytest.approx(2 * stats.norm.sf(abs(gap.estimate.value) / np.std(gaps, ddof=1)))
    assert result.comparisons("auroc") == 1
    assert gap.adjusted == gap.p
    assert result.groups[1].gaps["auroc"].estimate.value == pytest.approx(-gap.estimate.value)


def test_a_planted_gap_is_found_with_its_size():
    rng = np.random.default_rng(5)
    n = 8000
    labels, site = rng.random(n) < 0.3, rng.choice(list("abcd"), n)
    table = normal_table(labels, rng.normal(size=n) + labels * np.where(site == "c", 0.6, 1.6) - 0.8, site=site)
    result = by_group(table, grouping(table, "site"), [0], count=400)
    bad = result.groups[2]
    planted = stats.norm.cdf(0.6 / np.sqrt(2)) - stats.norm.cdf(1.6 / np.sqrt(2))
    gap = bad.gaps["auroc"]
    assert gap.estimate.low < planted < gap.estimate.high < 0
    assert gap.estimate.value == pytest.approx(planted, abs=0.03)
    assert gap.adjusted < 1e-6
    assert result.worst("auroc") is bad
    missed = stats.norm.cdf(0.8 - 0.6) - stats.norm.cdf(0.8 - 1.6)
    assert bad.gaps["sensitivity"].estimate.value == pytest.approx(-missed, abs=0.05)
    assert result.comparisons("auroc") == 4


def test_where_nothing_differs_about_one_in_twenty_intervals_excludes_nothing():
    """Two images of each patient, three groups of unequal size, calibrated scores."""
    rng = np.random.default_rng(1)
    outside = {"auroc": [], "specificity": [], "miscalibration": []}
    for _ in range(100):
        patient = np.repeat(np.arange(250), 2)
        logits = np.repeat(rng.normal(size=250), 2) + 0.7 * rng.normal(size=500)
        labels = rng.random(500) < 1 / (1 + np.exp(-logits))
        site = rng.choice(list("abc"), 250, p=[0.2, 0.3, 0.5])[patient]
        table = normal_table(labels, logits, patient.astype(str), site=site)
        result = by_group(table, grouping(table, "site"), [0], count=128)
        assert {group.gaps["ece"].estimate.low for group in result.groups} == {None}
        for name, found in outside.items():
            found += [not g.gaps[name].estimate.low <= 0 <= g.gaps[name].estimate.high for g in result.groups]
    for name, found in outside.items():
        assert 0.02 < np.mean(found) < 0.1, name


def test_figures_over_all_findings_are_means_of_those_that_can_be_estimated():
    table = make_table(900, classes=("A", "B", "C"), seed=2)
    rare = table.labels.copy()
    rare[(table.cases.sex == "F").to_numpy() & (rare[:, 2] == 1), 2] = 0
    table = replace(table, labels=rare)
    told = []
    *single, mean = each_finding(table, grouping(table, "sex"), count=50, progress=told.append)
    assert told == pytest.approx([1 / 3, 2 / 3, 1])
    female, male = mean.groups
    areas = [[one.groups[g].values["auroc"].value for one in single] for g in (0, 1)]
    assert areas[0][2] is None
    assert female.values["auroc"].value == pytest.approx(np.mean(areas[0][:2]))
    assert male.values["auroc"].value == pytest.approx(np.mean(areas[1]))
    assert "2 of 3" in female.values["auroc"].note
    # The gap compares the same findings on both sides.
    assert female.gaps["auroc"].estimate.value == pytest.approx(np.mean(areas[0][:2]) - np.mean(areas[1][:2]))
    again = by_group(table, grouping(table, "sex"), [0, 1, 2], count=50)
    assert again.groups[0].gaps["ppv"] == female.gaps["ppv"]
    raw = sorted(one.groups[0].gaps["auroc"].p for one in single[:2])
    adjusted = sorted(one.groups[0].gaps["auroc"].adjusted for one in single[:2])
    assert adjusted == pytest.approx([min(1, 2 * raw[0]), min(1, max(2 * raw[0], raw[1]))])


def test_what_cannot_be_estimated_is_listed_with_the_reason():
    table = make_table(300, patients=False)
    site = np.full(300, "large", dtype=object)
    site[:7], site[7:60], site[60:62] = "seven", "clear", None
    labels = table.labels.copy()
    labels[7:60, 0] = 0
    table = with_column(replace(table, labels=labels), site=site)
    result = by_group(table, grouping(table, "site"), [0], count=50)
    groups = {group.label: group for group in result.groups}
    assert list(groups) == ["clear", "large", "seven", UNKNOWN]
    assert groups["seven"].values["ece"].note == "too few cases (n=7)"
    assert groups["seven"].values["ece"].value is None
    assert groups["clear"].values["auroc"].note == "too few positive cases (n=0)"
    assert groups["clear"].gaps["auroc"].estimate.note == "too few positive cases (n=0)"
    assert groups["clear"].values["specificity"].value is not None
    assert groups["large"].gaps["auroc"].estimate.note.startswith("too few positive cases in the rest")
    assert result.comparisons("auroc") == 0


@pytest.mark.parametrize("n", [0, 1, 2])
def test_tiny_tables(n):
    table = make_table(n)
    for attribute in table.attributes:
        groups = grouping(table, attribute)
        result = by_group(table, groups, [0, 1, 2], count=20)
        assert sum(group.n for group in result.groups) == n
        assert all(value.value is None for group in result.groups for value in group.values.values())
        found = underdiagnosis(table, groups, count=20)
        assert found is not None
        assert all(group.values[UNDERDIAGNOSIS].value is None for group in found.groups)


def test_one_class_and_unknown_labels():
    table = make_table(200)
    labels = table.labels.copy()
    labels[:, 0], labels[:, 1] = np.nan, 1
    table = replace(table, labels=labels)
    unknown, one_class, _, mean = each_finding(table, grouping(table, "view"), count=20)
    assert [group.n for group in unknown.groups] == [0, 0]
    assert {value.value for group in unknown.groups for value in group.values.values()} == {None}
    assert one_class.groups[0].values["auroc"].note.startswith("too few negative")
    assert one_class.groups[0].values["prevalence"].value == 1
    assert one_class.groups[0].values["prevalence"].low < 1
    assert mean.groups[0].values["auroc"].note == "mean of 1 of 3 findings"


def test_underdiagnosis_counts_cases_with_a_finding_and_no_call():
    table = make_table(600, unknown=0.1, seed=4)
    result = underdiagnosis(table, grouping(table, "sex"), count=60)
    drawn = draws(table.groups, 60, 0)
    shares, replicated = [], []
    for sex, group in zip("FM", result.groups, strict=True):
        rows = [
            row for row in range(600) if table.cases.sex[row] == sex and any(label == 1 for label in table.labels[row])
        ]
        hits = np.array([not table.decided[row].any() for row in rows])
        weights = drawn[table.groups[rows]].astype(float)
        shares.append(hits.mean())
        replicated.append((weights * hits[:, None]).sum(0) / weights.sum(0))
        assert list(group.rows) == rows
        assert group.values[UNDERDIAGNOSIS].value == pytest.approx(hits.mean())
    gap = result.groups[0].gaps[UNDERDIAGNOSIS].estimate
    assert gap.value == pytest.approx(shares[0] - shares[1])
    assert (gap.low, gap.high) == pytest.approx(tuple(np.quantile(replicated[0] - replicated[1], (0.025, 0.975))))


def test_underdiagnosis_of_exclusive_classes_needs_one_that_says_no_finding():
    table = make_table(400, task="multiclass")
    assert underdiagnosis(table, grouping(table, "sex")) is None
    named = replace(table, classes=("No_finding", "B", "C"))
    result = underdiagnosis(named, grouping(named, "sex"), count=20)
    ill, missed = missed_entirely(named, [1, 2])
    assert sum(group.n for group in result.groups) == ill.sum() == (named.labels[:, 0] == 0).sum()
    assert (missed == (ill & named.decided[:, 0])).all()


def test_errors_come_first_and_no_case_is_lost():
    table = make_table(200, unknown=0.2)
    rows = np.flatnonzero((table.cases.sex == "F") & table.known[:, 1])
    ordered = errors_first(table, rows, [1])
    wrong = table.decided[ordered, 1] != table.positive[ordered, 1]
    assert sorted(ordered) == list(rows)
    assert wrong.any()
    assert not wrong[wrong.sum() :].any()
    off = np.abs(table.scores[ordered, 1] - table.positive[ordered, 1])
    assert (np.diff(off[wrong]) <= 0).all()


def test_groups_of_ages_and_other_numbers():
    ages = [0.5, 9.9, 10, 59, 60, 119, 120, 414, np.nan, 33]
    table = with_column(
        make_table(10), age=ages, dose=np.arange(10.0), grade=[1, 2] * 5, site=["x", " ", "y", None, "x"] * 2
    )
    decades = grouping(table, "age")
    assert decades.labels == (
        "under 10", "10 to under 20", "30 to under 40", "50 to under 60", "60 to under 70", "90 to under 120",
        "120 and over", UNKNOWN,
    )  # fmt: skip
    assert list(decades.member) == [0, 0, 1, 3, 4, 5, 6, 6, 7, 2]
    whole = grouping(with_column(table, age=np.arange(20, 30)), "age")
    assert whole.labels == ("20 to 29",)
    assert grouping(table, "dose").labels == (
        "under 2.25", "2.25 to under 4.5", "4.5 to under 6.75", "6.75 and over"
    )  # fmt: skip
    assert grouping(table, "grade").labels == ("1", "2")
    assert grouping(table, "site").labels == ("x", "y", UNKNOWN)
    chosen = grouping(table, "dose", [3, 20])
    assert chosen.labels == ("under 3", "3 to 19", "20 and over")
    assert list(np.bincount(chosen.member, minlength=3)) == [3, 7, 0]


def test_crossed_groups_hold_every_pair():
    table = make_table(300)
    sex, view = grouping(table, "sex"), grouping(table, "view")
    both = crossed(sex, view)
    assert both.labels == ("F · AP", "F · PA", "M · AP", "M · PA")
    assert both.sizes == (2, 2)
    for row in range(300):
        assert both.labels[both.member[row]] == f"{table.cases.sex[row]} · {table.cases['view'][row]}"
    empty = crossed(sex, Grouping("none", ("all", "nobody"), np.zeros(300, dtype=np.intp)))
    result = by_group(table, empty, [0], count=20)
    assert [group.n > 0 for group in result.groups] == [True, False, True, False]
    assert result.groups[1].values["auroc"].note == "too few positive patients (n=0)"
    assert result.comparisons("auroc") == 1


@pytest.mark.parametrize(
    ("attribute", "edges", "words"),
    [("weight", None, "no column"), ("who", None, "100 different"), ("age", [5, 5], "rising"), ("age", [], "rising")],
)
def test_what_cannot_be_grouped_is_said(attribute, edges, words):
    table = with_column(make_table(100), who=[f"w{i}" for i in range(100)])
    with pytest.raises(DataError, match=words):
        grouping(table, attribute, edges)
    with pytest.raises(DataError, match="cross to"):
        crossed(*[Grouping("x", tuple(map(str, range(9))), np.zeros(100, dtype=np.intp))] * 2)
