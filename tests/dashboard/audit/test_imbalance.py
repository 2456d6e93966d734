"""Counts against plain loops, weights against the training losses, lift and leakage against planted truth."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from torch.nn import functional

from dashboard.audit import imbalance
from dashboard.audit.discrimination import discrimination
from dashboard.audit.table import AuditTable
from dashboard.figures.imbalance import against_prevalence, prevalence_chart
from models.training.losses import BETA, LOSSES
from tests.dashboard.audit.tables import make_table

FOUR = ("A", "B", "C", "D")


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_prevalence_is_what_a_loop_counts(task: str) -> None:
    table = make_table(300, FOUR, task, unknown=0.2)  # type: ignore[arg-type]
    frame = imbalance.prevalence(table).set_index(["split", "class"])
    assert len(frame) == 8
    for split in ("test", "val"):
        here = [i for i in range(300) if table.cases["split"][i] == split]
        sizes = {name: sum(table.labels[i, k] == 1 for i in here) for k, name in enumerate(FOUR)}
        for k, name in enumerate(FOUR):
            known = [i for i in here if not np.isnan(table.labels[i, k])]
            row = frame.loc[split, name]
            people = {table.cases["patient_id"][i] for i in known if table.labels[i, k] == 1}
            assert row["images"] == len(known)
            assert row["patients"] == len({table.cases["patient_id"][i] for i in known})
            assert (row["positives"], row["positive_patients"]) == (sizes[name], len(people))
            assert row["prevalence"] == pytest.approx(sizes[name] / len(known))
            assert row["low"] < row["prevalence"] < row["high"]
            against = max(sizes.values()) if task == "multiclass" else len(known) - sizes[name]
            assert row["imbalance_ratio"] == pytest.approx(against / sizes[name])
            never = np.mean([table.labels[i, k] == 0 for i in known])
            assert row["always_no"] == pytest.approx(never)


def test_effective_numbers_are_the_sum_that_they_stand_for() -> None:
    counts = np.array([0, 1, 2, 100, 5000])
    series = [sum(0.999**i for i in range(count)) for count in counts]
    np.testing.assert_allclose(imbalance.effective_number(counts), series, rtol=1e-9)
    assert imbalance.effective_number(np.array([10**9]))[0] == pytest.approx(1000)
    assert imbalance.BETA == BETA


@pytest.mark.parametrize("share", [0.5, 0.7, 0.93])
def test_positives_needed_are_the_fewest_that_reach_the_width(share: float) -> None:
    needed = imbalance.positives_needed(share)
    assert needed is not None

    def half(n: int) -> float:
        return float(norm.ppf(0.975) * np.sqrt(share * (1 - share) / n))

    assert half(needed) <= 0.05 < half(needed - 1)
    assert imbalance.positives_needed(0.5) == 385


@pytest.mark.parametrize("share", [0.0, 1.0, float("nan")])
def test_no_number_is_given_where_the_formula_does_not_apply(share: float) -> None:
    assert imbalance.positives_needed(share) is None


@pytest.mark.parametrize("name", ["cross-entropy", "weighted", "root-weighted", "effective-number", "logit-adjusted"])
@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_weights_are_those_of_the_training_losses(name: str, task: str) -> None:
    table = make_table(700, FOUR, task)  # type: ignore[arg-type]
    frame = imbalance.loss_weights(table)
    labels = torch.tensor(np.array(table.labels))
    logits = torch.randn(labels.shape, generator=torch.Generator().manual_seed(0))
    exclusive = task == "multiclass"
    got = LOSSES[name](labels, exclusive)(logits, labels)
    weight = torch.tensor(frame[name].to_numpy(), dtype=torch.float32)
    if name == "logit-adjusted":
        logits, weight = logits + weight, torch.ones(4)
    if exclusive:
        expected = functional.cross_entropy(logits, labels, weight=weight, label_smoothing=0.05)
    else:
        expected = functional.binary_cross_entropy_with_logits(logits, labels, pos_weight=weight)
    assert float(got) == pytest.approx(float(expected), rel=1e-5)


def test_unknown_labels_do_not_count_towards_weights() -> None:
    table = make_table(400, unknown=0.3)
    known = table.known[:, 1]
    alone = replace(
        table.part(known),
        classes=("B",),
        labels=table.labels[known][:, [1]],
        scores=table.scores[known][:, [1]],
        thresholds=(0.5,),
    )
    every = imbalance.loss_weights(table).iloc[1, 1:].to_numpy(float)
    np.testing.assert_allclose(every, imbalance.loss_weights(alone).iloc[0, 1:].to_numpy(float))


def test_lift_is_one_without_and_planted_with_dependence() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random((8000, 3)) < (0.2, 0.1, 0.1)
    labels[:, 2] = np.where(labels[:, 0], rng.random(8000) < 0.4, labels[:, 2])  # 0.4 against 0.4 * 0.2 + 0.1 * 0.8
    table = replace(make_table(8000, patients=False), labels=labels.astype(np.float32))
    found = imbalance.label_pairs(table)
    assert found.lift.low[0, 1] < 1 < found.lift.high[0, 1]
    assert found.lift.low[0, 2] < 0.4 / 0.16 < found.lift.high[0, 2]
    assert found.lift.low[0, 2] > 1.5
    np.testing.assert_allclose(found.lift.value, found.lift.value.T)
    assert np.isnan(np.diag(found.lift.value)).all()


def test_lift_and_counts_are_those_of_a_loop() -> None:
    table = make_table(400, unknown=0.2)
    found = imbalance.label_pairs(table)
    for a, b in combinations(range(3), 2):
        known = [i for i in range(400) if not np.isnan(table.labels[i, [a, b]]).any()]
        both = [i for i in known if table.labels[i, a] == table.labels[i, b] == 1]
        one, other = (sum(table.labels[i, k] == 1 for i in known) for k in (a, b))
        assert (found.counts[a, b], found.known[a, b]) == (len(both), len(known))
        assert found.lift.value[a, b] == pytest.approx(len(both) * len(known) / (one * other))
        assert imbalance.label_pair_rows(table, a, b).tolist() == both


def with_parts(parts: list[str | None], patients: list[str] | None) -> AuditTable:
    table = make_table(len(parts), attributes=False)
    cases = pd.DataFrame({"case_id": table.cases["case_id"], "split": parts})
    if patients is not None:
        cases["patient_id"] = patients
    return replace(table, cases=cases)


def test_patients_in_two_parts_are_found_with_all_their_cases() -> None:
    table = with_parts(["a", "a", "b", "b", "c", None], ["p", "q", "p", "r", "r", "q"])
    found = {(leak.one, leak.other): leak for leak in imbalance.leakage(table)}
    assert {pair: (leak.patients, leak.rows.tolist()) for pair, leak in found.items()} == {
        ("a", "b"): (1, [0, 2]),
        ("a", "c"): (0, []),
        ("b", "c"): (1, [3, 4]),
    }
    part = table.in_split("b")
    assert imbalance.rows_in(part, table, found["a", "b"].rows).tolist() == [0]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("pqrstuv")), max_size=14))
def test_leakage_is_what_sets_say(cases: list[tuple[str, str]]) -> None:
    table = with_parts([part for part, _ in cases], [who for _, who in cases])
    people = {name: {who for part, who in cases if part == name} for name in table.splits}
    for leak in imbalance.leakage(table):
        shared = people[leak.one] & people[leak.other]
        assert leak.patients == len(shared)
        here = [i for i, (part, who) in enumerate(cases) if who in shared and part in (leak.one, leak.other)]
        assert leak.rows.tolist() == here
        assert leak.cases == 0


def test_without_parts_or_patients_nothing_is_claimed() -> None:
    (leak,) = imbalance.leakage(with_parts(["a", "b"], None))
    assert (leak.patients, leak.rows.size) == (0, 0)
    assert imbalance.leakage(with_parts(["a", "a"], ["p", "p"])) == ()
    same = with_parts(["a", "b"], ["p", "q"])
    twice = replace(same, cases=same.cases.assign(case_id="one"))
    assert imbalance.leakage(twice)[0].cases == 1


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_tiny_and_unlabelled_tables_have_no_figures_and_no_warning(n: int, task: str) -> None:
    for unknown in (0.0, 1.0):
        table = make_table(n, task=task, unknown=unknown)  # type: ignore[arg-type]
        frame = imbalance.prevalence(table)
        assert (frame["images"] <= n).all()
        assert np.isfinite(imbalance.loss_weights(table).drop(columns="class").to_numpy()).all()
        assert np.isnan(np.diag(imbalance.label_pairs(table).lift.value)).all()
        assert len(prevalence_chart(frame, log=True).data) == len(set(frame["split"]))


def test_the_marks_of_prevalence_lead_to_their_rows() -> None:
    frame = imbalance.prevalence(make_table(300, FOUR))
    figure = prevalence_chart(frame, log=True)
    names = list(figure.layout.yaxis.ticktext)
    marks = [
        (trace.name, names[round(y)], x, frame.loc[key[0]])
        for trace in figure.data
        for x, y, key in zip(trace.x, trace.y, trace.customdata, strict=True)
    ]
    assert len(marks) == 8
    for part, name, value, row in marks:
        assert (row["split"], row["class"], row["prevalence"]) == (part, name, value)
    assert names == sorted(names, key=lambda name: frame[frame["class"] == name]["prevalence"].max())


def test_a_class_without_positives_is_named_on_the_logarithmic_axis() -> None:
    table = make_table(50)
    labels = np.array(table.labels)
    labels[:, 1] = 0
    frame = imbalance.prevalence(replace(table, labels=labels))
    assert [note.text for note in prevalence_chart(frame, log=True).layout.annotations] == ["no positive case"]
    assert np.isinf(frame.loc[frame["class"] == "B", "imbalance_ratio"]).all()


@pytest.mark.parametrize(("metric", "guess"), [("auroc", 0.5), ("lift", 1.0), ("auprc", None)])
def test_figures_against_prevalence_lead_to_their_class(metric: str, guess: float | None) -> None:
    table = make_table(300, FOUR)
    labels = np.array(table.labels)
    labels[:, 2] = 0  # not estimated, not drawn
    found = discrimination(replace(table, labels=labels), 20).classes
    figure = against_prevalence(found, metric, metric, log=True)
    marks, line = figure.data
    assert [key[0] for key in marks.customdata] == ["A", "B", "D"]
    for key, x, y in zip(marks.customdata, marks.x, marks.y, strict=True):
        one = found[FOUR.index(key[0])]
        assert x == one.prevalence
        expected = one.lift if metric == "lift" else one.figures[metric].value
        assert y == pytest.approx(expected)
    assert list(line.y) == (list(line.x) if guess is None else [guess] * 50)
