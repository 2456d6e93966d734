"""Calibration figures against scikit-learn, torchmetrics, a brute-force likelihood and closed forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from dashboard.audit.bootstrap import draws
from dashboard.audit.calibration import bins, by_chance, class_wise, cox, outcomes, summary
from dashboard.audit.intervals import wilson
from dashboard.audit.resample import band, several, sums
from dashboard.audit.table import AuditTable
from models.errors import DataError
from tests.dashboard.audit.tables import make_table

EXTERNAL = Path(__file__).parents[4] / "shared/data/cxr14_external_predictions/chexnet_reproduction_test_22433.parquet"


def one_class(scores, labels, patients=None) -> AuditTable:
    cases = pd.DataFrame({"case_id": [f"c{row}" for row in range(len(scores))]})
    if patients is not None:
        cases["patient_id"] = [f"p{who}" for who in patients]
    columns = (np.asarray(part, dtype=np.float32)[:, None] for part in (labels, scores))
    labels, scores = columns
    return AuditTable("made", "binary", ("A",), cases, labels, scores, (0.5,))


def values(table: AuditTable, index: int | None, replicates: int = 3, count: int = 15) -> dict[str, float | None]:
    found = summary(outcomes(table, index), draws(table.groups, replicates, 0), count)
    return {name: estimate.value for name, estimate in found.items()}


@pytest.mark.parametrize("count", [5, 15, 30])
@pytest.mark.parametrize("seed", [0, 1])
def test_errors_equal_torchmetrics(seed, count):
    table = make_table(seed=seed, unknown=0.1)
    found = values(table, 1, count=count)
    known = table.known[:, 1]
    scores = torch.tensor(table.scores[known, 1], dtype=torch.float64)
    labels = torch.tensor(table.labels[known, 1]).long()
    for name, norm in (("ece", "l1"), ("mce", "max")):
        expected = binary_calibration_error(scores, labels, count, norm).item()
        assert found[name] == pytest.approx(expected, abs=1e-9)


def test_top_label_equals_torchmetrics():
    table = make_table(task="multiclass", n=700, unknown=0.05)
    known = table.known.all(1)
    expected = multiclass_calibration_error(
        torch.tensor(table.scores[known]), torch.tensor(table.labels[known].argmax(1)), 3, n_bins=15
    ).item()
    found = values(table, None)
    assert found["ece"] == pytest.approx(expected, abs=1e-6)
    truth = table.labels[known].argmax(1)
    scores = table.scores[known].astype(np.float64)
    assert found["nll"] == pytest.approx(log_loss(truth, scores / scores.sum(1, keepdims=True)), abs=1e-6)


def test_top_label_follows_the_operating_points():
    table = make_table(task="multiclass").with_thresholds([1e-5, 1.0, 1.0])
    assert np.array_equal(outcomes(table, None).score, table.scores[:, 0].astype(np.float64))


def test_no_top_label_where_classes_can_hold_together():
    with pytest.raises(DataError, match="no top label"):
        outcomes(make_table(), None)


def test_external_table_equals_torchmetrics():
    if not EXTERNAL.is_file():
        pytest.skip("the external predictions are not on this machine")
    frame = pd.read_parquet(EXTERNAL)
    names = tuple(name.removeprefix("score_") for name in frame if name.startswith("score_"))
    cases = pd.DataFrame({"case_id": frame["image"], "patient_id": frame["patient_id"].astype(str)})
    labels, scores = (frame[[f"{part}_{name}" for name in names]].to_numpy(np.float32) for part in ("label", "score"))
    table = AuditTable("external", "multilabel", names, cases, labels, scores, (0.5,) * len(names))
    mean, each = class_wise(table)
    for index, estimate in enumerate(each):
        expected = binary_calibration_error(
            torch.tensor(scores[:, index], dtype=torch.float64), torch.tensor(labels[:, index]).long(), 15
        ).item()
        assert estimate.value == pytest.approx(expected, abs=1e-6)
    assert mean.value == pytest.approx(np.mean([estimate.value for estimate in each]))


@pytest.mark.parametrize(("scheme", "strategy"), [("width", "uniform"), ("mass", "quantile")])
def test_bins_equal_scikit_learn(scheme, strategy):
    table = make_table(n=998)  # so that no quantile is a case, which the two would put on different sides
    found = bins(outcomes(table, 0), scheme, 10)
    observed, confidence = calibration_curve(
        table.labels[:, 0], table.scores[:, 0].astype(float), n_bins=10, strategy=strategy
    )
    filled = found.n > 0
    np.testing.assert_allclose(found.observed[filled], observed, atol=1e-6)
    np.testing.assert_allclose(found.confidence[filled], confidence, atol=1e-6)


def test_bins_by_hand():
    table = one_class([0.0, 0.1, 0.2, 0.2, 0.9, 1.0, 0.5], [0, 0, 1, 0, 1, 1, np.nan])
    found = bins(outcomes(table, 0), "width", 5)
    assert found.n.tolist() == [2, 2, 0, 0, 2]  # 0.2 opens the second bin, 1.0 belongs to the last
    assert found.rows_of(1).tolist() == [2, 3]
    assert found.rows_of(4).tolist() == [4, 5]
    assert np.isnan(found.observed[2])
    assert np.isnan(found.low[2])
    low, high = wilson(1, 2)
    assert (found.low[1], found.high[1]) == (pytest.approx(low), pytest.approx(high))


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=60), st.sampled_from(["width", "mass"]))
@settings(max_examples=60, deadline=None)
def test_every_case_is_in_one_bin_that_holds_its_score(pairs, scheme):
    scores, labels = [score / 20 for score, _ in pairs], [float(label) for _, label in pairs]
    found = bins(outcomes(one_class(scores, labels), 0), scheme, 7)
    behind = np.concatenate([found.rows_of(number) for number in range(len(found.n))])
    assert sorted(behind.tolist()) == list(range(len(pairs)))
    for number in range(len(found.n)):
        inside = np.float32(scores)[found.rows_of(number)].astype(np.float64)
        assert len(inside) == found.n[number]
        assert ((inside >= found.edges[number]) & (inside <= found.edges[number + 1])).all()
    for score in set(scores):
        assert len({number for number, other in zip(found.member, scores, strict=True) if other == score}) == 1


def test_equal_mass_bins_hold_equally_many():
    found = bins(outcomes(make_table(n=1000), 0), "mass", 10)
    assert found.n.tolist() == [100] * 10


@pytest.mark.parametrize("seed", [0, 3])
def test_brier_and_loss_equal_scikit_learn(seed):
    table = make_table(seed=seed)
    found = values(table, 0)
    scores = table.scores[:, 0].astype(np.float64)
    assert found["brier"] == pytest.approx(brier_score_loss(table.labels[:, 0], scores), abs=1e-9)
    assert found["nll"] == pytest.approx(log_loss(table.labels[:, 0], scores), abs=1e-9)
    whole = found["reliability"] - found["resolution"] + found["uncertainty"] + found["within"]
    assert whole == pytest.approx(found["brier"], abs=1e-12)


def test_murphys_split_is_exact_where_a_bin_holds_one_score():
    rng = np.random.default_rng(0)
    scores = rng.choice([0.1, 0.3, 0.7, 0.9], 500)
    labels = rng.random(500) < 0.2 + 0.6 * scores
    found = values(one_class(scores, labels), 0, count=5)
    assert found["within"] == pytest.approx(0, abs=1e-9)
    means = np.array([labels[scores == score].mean() for score in scores])
    assert found["reliability"] == pytest.approx(np.mean((scores - means) ** 2), abs=1e-6)
    assert found["resolution"] == pytest.approx(np.mean((means - labels.mean()) ** 2), abs=1e-6)
    assert found["uncertainty"] == pytest.approx(labels.var(), abs=1e-9)


def test_slope_and_intercepts_equal_a_brute_force_search():
    table = make_table(n=600, seed=5)
    p, y = table.scores[:, 0].astype(np.float64), table.labels[:, 0].astype(np.float64)
    z = np.log(p / (1 - p))

    def loss(odds):
        return -(y * odds - np.logaddexp(0, odds)).sum()

    options = {"xatol": 1e-9, "fatol": 1e-12, "maxiter": 5000}
    line = minimize(lambda b: loss(b[0] + b[1] * z), [0, 1], method="Nelder-Mead", options=options).x
    large = minimize(lambda b: loss(b[0] + z), [0], method="Nelder-Mead", options=options).x
    found = cox(outcomes(table, 0))
    assert found["intercept"].value == pytest.approx(line[0], abs=1e-6)
    assert found["slope"].value == pytest.approx(line[1], abs=1e-6)
    assert found["offset"].value == pytest.approx(large[0], abs=1e-6)


def test_slope_finds_what_was_planted_and_its_interval_covers():
    inside = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        z = rng.normal(size=500)
        who = rng.integers(0, 200, 500)
        labels = rng.random(500) < 1 / (1 + np.exp(-(0.3 + 0.7 * z)))
        found = cox(outcomes(one_class(1 / (1 + np.exp(-z)), labels, who), 0))["slope"]
        inside += found.low <= 0.7 <= found.high
    assert inside >= 51  # 57 expected


def test_doubling_every_case_of_a_patient_leaves_the_interval():
    table = make_table(n=300, seed=2, patients=False)
    twice = np.concatenate([np.arange(300)] * 2)
    doubled = one_class(table.scores[twice, 0], table.labels[twice, 0], twice)
    single = one_class(table.scores[:, 0], table.labels[:, 0], np.arange(300))
    once, again = (cox(outcomes(each, 0))["slope"] for each in (single, doubled))
    assert (again.low, again.high) == (pytest.approx(once.low, abs=1e-6), pytest.approx(once.high, abs=1e-6))


def test_scores_that_part_the_two_have_no_slope():
    table = one_class(np.linspace(0.1, 0.9, 40), [0] * 20 + [1] * 20)
    found = cox(outcomes(table, 0))
    assert found["slope"].value is None
    assert "without overlap" in found["slope"].note
    assert found["offset"].value is not None


@pytest.mark.parametrize("n", [0, 1, 2, 9])
def test_few_cases_say_so(n):
    found = summary(outcomes(one_class([0.5] * n, [1] * n), 0), draws(np.arange(n), 5, 0))
    assert {estimate.note for estimate in found.values()} == {f"too few cases (n={n})"}


def test_one_class_and_unknown_class():
    table = one_class([0.2, 0.4] * 20, [0] * 40)
    found = summary(outcomes(table, 0), draws(table.groups, 5, 0))
    assert found["ece"].value == pytest.approx(0.3, abs=1e-6)
    assert found["slope"].note == "too few positive cases (n=0)"
    empty = one_class([0.2] * 40, [np.nan] * 40)
    mean, each = class_wise(empty)
    assert mean.value is None
    assert each[0].note == "too few cases (n=0)"


def test_scores_of_0_and_1_stay_finite():
    found = values(one_class([0.0, 1.0] * 20, [0, 1] * 18 + [1, 0] * 2), 0)
    assert all(value is None or np.isfinite(value) for value in found.values())


def test_interval_equals_resampling_by_hand():
    table = make_table(n=200, seed=4, unknown=0.1)
    drawn = draws(table.groups, 40, 0)
    found = summary(outcomes(table, 0), drawn)
    known = np.flatnonzero(table.known[:, 0])
    briers, losses = [], []
    for column in drawn.T:
        rows = np.repeat(np.arange(len(known)), column[table.groups[known]])
        p, y = table.scores[known[rows], 0].astype(np.float64), table.labels[known[rows], 0]
        briers.append(np.mean((p - y) ** 2))
        losses.append(log_loss(y, p))
    for name, replicates in (("brier", briers), ("nll", losses)):
        low, high = np.quantile(replicates, [0.025, 0.975])
        assert (found[name].low, found[name].high) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))
    for name in ("ece", "mce", "ace", "reliability", "resolution"):
        assert found[name].low is found[name].high is None


@pytest.mark.parametrize("scheme", ["width", "mass"])
def test_chance_is_the_mean_of_tables_whose_labels_are_drawn_from_the_scores(scheme):
    rng = np.random.default_rng(1)
    scores = np.concatenate([rng.beta(0.3, 3, 300), rng.random(60), [0.0, 1.0]]).astype(np.float32)
    found = outcomes(one_class(scores, np.zeros(len(scores))), 0)
    cut = bins(found, scheme, 5)  # wide, so that the spread of the scores in a bin counts
    labels = rng.random((3000, len(scores))) < scores
    gaps = np.array([[abs((found.score - row)[cut.member == b].sum()) for b in range(5)] for row in labels[:, :]])
    expected = by_chance(found.score, cut.member, len(cut.n), draws=3000)
    assert expected["error"] == pytest.approx(gaps.sum(1).mean() / len(scores), rel=0.03)
    assert expected["largest"] == pytest.approx((gaps / cut.n).max(1).mean(), rel=0.03)
    assert expected["squared"] == pytest.approx((gaps**2 / cut.n).sum(1).mean() / len(scores), rel=0.05)
    shown = summary(found, draws(found.group, 5, 0), 5)["ece" if scheme == "width" else "ace"]
    assert shown.chance == pytest.approx(expected["error"], rel=0.1)
    assert shown.text == f"{shown.value:.3f} ({shown.chance:.3f} by chance)"


def test_images_of_few_patients_are_too_few():
    who = np.arange(200) % 9
    found = summary(outcomes(one_class(np.linspace(0.1, 0.9, 200), who % 2, who), 0), draws(who, 20, 0))
    assert {estimate.note for estimate in found.values()} == {"too few patients (n=9)"}
    mean, each = class_wise(one_class(np.linspace(0.1, 0.9, 200), who % 2, who))
    assert mean.value is each[0].value is None
    who = np.arange(240) % 24
    slope = cox(outcomes(one_class(np.linspace(0.1, 0.9, 240), who < 3, who), 0))["slope"]
    assert slope.note == "too few positive patients (n=3)"


def test_equal_scores_have_no_slope():
    found = cox(outcomes(one_class(np.full(40, 0.3), [0, 1] * 20), 0))
    assert found["slope"].note == "not defined: all scores are equal"


def test_sums_equal_a_loop():
    rng = np.random.default_rng(0)
    cells, groups, value = rng.integers(0, 4, 50), rng.integers(0, 9, 50), rng.normal(size=50)
    drawn = draws(np.arange(9), 600, 0)
    expected = np.array([[sum(value[cells == c] * drawn[groups[cells == c], r]) for r in range(600)] for c in range(4)])
    np.testing.assert_allclose(sums(cells, 4, groups, drawn, value), expected, atol=1e-12)
    np.testing.assert_allclose(several(cells, 4, groups, drawn, np.stack([value, 2 * value]))[1], 2 * expected)
    counted = np.array([[drawn[groups[cells == c], r].sum() for r in range(600)] for c in range(4)])
    assert np.array_equal(sums(cells, 4, groups, drawn), counted)
    assert sums(cells[:0], 4, groups[:0], drawn[:, :0]).shape == (4, 0)


def test_band_leaves_out_what_is_not_defined():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(6, 101))
    values[rng.random(values.shape) < 0.3] = np.nan
    values[5] = np.nan
    low, high = band(values)
    np.testing.assert_allclose(low[:5], np.nanquantile(values[:5], 0.025, axis=1))
    np.testing.assert_allclose(high[:5], np.nanquantile(values[:5], 0.975, axis=1))
    assert np.isnan([low[5], high[5]]).all()
