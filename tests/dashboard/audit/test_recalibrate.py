"""Recalibration against scikit-learn, brute-force likelihoods, Bayes' rule and the card's own arithmetic."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tomli_w
from scipy.optimize import minimize, minimize_scalar
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import log_loss

from dashboard.audit.card_copy import recalibrated_card
from dashboard.audit.recalibrate import (
    base_rates,
    caution,
    estimated_prevalence,
    fit,
    halves,
    shift,
)
from dashboard.audit.table import AuditTable
from models.card import CARD_FILE, ModelCard, read_card
from models.errors import DataError
from models.types import favoured
from tests.dashboard.audit.tables import make_table


def odds(p):
    p = np.asarray(p, dtype=np.float64)
    return np.log(p / (1 - p))


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def targets(y):
    return np.where(y == 1, (y.sum() + 1) / (y.sum() + 2), 1 / ((1 - y).sum() + 2))


def cross_entropy(z, t):
    return (np.logaddexp(0, z) - t * z).sum()


OPTIONS = {"xatol": 1e-10, "fatol": 1e-13, "maxiter": 20000, "maxfev": 20000}


@pytest.mark.parametrize("method", ["temperature", "platt", "beta"])
def test_fits_equal_a_brute_force_search(method):
    table = make_table(n=500, seed=1, unknown=0.05)
    found = fit(table, method, "all").curve.apply(table.scores)
    for index in range(3):
        known = table.known[:, index]
        p, y = table.scores[known, index].astype(np.float64), table.labels[known, index]
        z, t = odds(p), targets(y)
        if method == "temperature":
            best = minimize_scalar(lambda s, z=z, t=t: cross_entropy(s * z, t), (0.1, 5), options={"xtol": 1e-10})
            expected = sigmoid(best.x * z)
        elif method == "platt":
            b = minimize(
                lambda b, z=z, t=t: cross_entropy(b[0] * z + b[1], t), [1, 0], method="Nelder-Mead", options=OPTIONS
            ).x
            expected = sigmoid(b[0] * z + b[1])
        else:
            x, w = np.log(p), -np.log(1 - p)
            b = minimize(
                lambda b, x=x, w=w, t=t: cross_entropy(abs(b[0]) * x + abs(b[1]) * w + b[2], t),
                [1, 1, 0], method="Nelder-Mead", options=OPTIONS,
            ).x  # fmt: skip
            expected = sigmoid(abs(b[0]) * x + abs(b[1]) * w + b[2])
        np.testing.assert_allclose(found[known, index], expected, atol=2e-5)


def test_isotonic_equals_scikit_learn():
    table = make_table(n=500, seed=1)
    other = make_table(n=300, seed=2)
    found = fit(table, "isotonic", "all").curve.apply(other.scores)
    for index in range(3):
        fitted = IsotonicRegression(out_of_bounds="clip").fit(
            table.scores[:, index].astype(float), table.labels[:, index]
        )
        np.testing.assert_allclose(found[:, index], fitted.predict(other.scores[:, index].astype(float)), atol=1e-6)


def test_planted_distortion_is_undone():
    rng = np.random.default_rng(0)
    true = rng.normal(size=(20000, 1)) * 1.5 - 1
    labels = (rng.random(true.shape) < sigmoid(true)).astype(np.float32)
    scores = sigmoid((true - 0.8) / 0.6).astype(np.float32)  # true = 0.6 z + 0.8
    table = plain(scores, labels, ("A",), "binary")
    line = fit(table, "platt", "all").curve
    assert line.scale[0] == pytest.approx(0.6, abs=0.03)
    assert line.offset[0] == pytest.approx(0.8, abs=0.05)


def test_softmax_lines_equal_a_brute_force_search():
    table = make_table(task="multiclass", n=400, seed=3)
    logs = np.log(table.scores.astype(np.float64))
    high = (400 + 1) / (400 + 2)
    t = np.where(table.labels == 1, high, (1 - high) / 2)

    def loss(b):
        z = b[0] * logs + np.array([0, b[1], b[2]])
        return -(t * (z - np.logaddexp.reduce(z, axis=1, keepdims=True))).sum()

    found = fit(table, "platt", "all").curve
    best = minimize(loss, [1, 0, 0], method="Nelder-Mead", options=OPTIONS).x
    assert found.scale == pytest.approx(np.full(3, best[0]), abs=1e-4)
    assert found.offset - found.offset[0] == pytest.approx([0, best[1], best[2]], abs=1e-4)
    alone = fit(table, "temperature", "all").curve
    single = minimize_scalar(lambda s: loss([s, 0, 0]), (0.1, 5)).x
    assert alone.scale == pytest.approx(np.full(3, single), abs=1e-4)
    assert not alone.offset.any()


@pytest.mark.parametrize("method", ["temperature", "platt", "isotonic", "beta"])
@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_held_out_loss_falls_for_distorted_scores(method, task):
    table = make_table(task=task, n=3000, seed=6)
    if task == "multilabel":
        truth = np.random.default_rng(0).random(table.scores.shape) < table.scores
        table = replace(table, labels=truth.astype(np.float32))
        scores = sigmoid(2.5 * odds(table.scores) + (method != "temperature"))
    else:
        scores = table.scores.astype(np.float64) ** 3
        scores /= scores.sum(1, keepdims=True)
    bad = table.with_scores(scores)
    first, second = halves(bad)
    ground, shown = bad.part(first), bad.part(second)
    found = fit(ground, method, "half").show(shown)
    assert np.isfinite(found.scores).all()
    if task == "multiclass":
        np.testing.assert_allclose(found.scores.sum(1), 1, atol=1e-5)
    for index in range(3):
        y = shown.labels[:, index]
        before, after = (log_loss(y, np.clip(each.scores[:, index], 1e-4, 1 - 1e-4)) for each in (shown, found))
        assert after < before


def test_halves_part_patients():
    table = make_table(n=300)
    first, second = halves(table)
    assert np.array_equal(first, ~second)
    assert not set(table.groups[first]) & set(table.groups[second])
    assert 0.3 < first.mean() < 0.7
    again, _ = halves(table)
    assert np.array_equal(first, again)


def test_refuses_to_be_shown_on_what_it_was_fitted_on():
    table = make_table(n=300)
    found = fit(table.in_split("val"), "platt", "part val, n = 150")
    with pytest.raises(DataError, match="fitted on 150 of these 300 cases"):
        found.show(table)
    assert len(found.show(table.in_split("test"))) == 150


def test_patients_in_both_parts_are_counted_and_refused_where_all_are():
    table = make_table(n=300)
    ground, shown = table.in_split("val"), table.in_split("test")
    found = fit(ground, "platt", "part val")
    shared = set(ground.cases.patient_id) & set(shown.cases.patient_id)
    assert found.shared_patients(shown) == len(shared) > 0
    assert len(found.show(shown)) == len(shown)
    with pytest.raises(DataError, match=f"All {len(shared)} patients"):
        found.show(shown.part(shown.cases.patient_id.isin(shared).to_numpy()))
    alone = replace(shown, cases=shown.cases.drop(columns="patient_id"))
    assert found.shared_patients(alone) == 0


def test_scarce_and_contrary_classes_stay_as_they_are():
    labels = np.zeros((100, 3), dtype=np.float32)
    labels[:5, 0] = 1  # too few
    labels[:50, 1:] = 1
    rng = np.random.default_rng(0)
    scores = np.clip(0.3 + 0.3 * labels + rng.normal(0, 0.1, labels.shape), 0.01, 0.99)
    scores[:, 2] = 1 - scores[:, 2]  # runs against its labels
    table = plain(scores, labels, ("few", "fine", "contrary"), "multilabel")
    for method in ("platt", "isotonic", "beta"):
        found = fit(table, method, "all")
        assert found.kept == ("few", "contrary")
        np.testing.assert_allclose(found.curve.apply(table.scores)[:, [0, 2]], table.scores[:, [0, 2]], atol=1e-6)
    with pytest.raises(DataError, match="No class has 10 cases"):
        fit(table.part(labels[:, 1] == 1), "platt", "some")


def test_scores_without_overlap_stay_finite():
    labels = np.repeat([[0.0], [1.0]], 30, axis=0).astype(np.float32)
    table = plain(np.where(labels == 1, 0.6, 0.4), labels, ("A",), "binary")
    for method in ("temperature", "platt", "beta", "isotonic"):
        assert np.isfinite(fit(table, method, "all").curve.apply(table.scores)).all()


def test_prevalence_shift_is_bayes_rule():
    table = make_table(n=400)
    wanted = np.array([0.5, np.nan, np.nan])
    found = shift(table, wanted, "all").curve.apply(table.scores)
    old, p = base_rates(table)[0], table.scores[:, 0].astype(np.float64)
    yes, no = p * 0.5 / old, (1 - p) * 0.5 / (1 - old)
    np.testing.assert_allclose(found[:, 0], yes / (yes + no), atol=1e-6)
    np.testing.assert_allclose(found[:, 1:], table.scores[:, 1:], atol=1e-6)
    many = make_table(task="multiclass", n=400)
    old, wanted = base_rates(many), np.array([0.2, np.nan, np.nan])
    found = shift(many, wanted, "all").curve.apply(many.scores)
    new = np.array([0.2, *(0.8 * old[1:] / old[1:].sum())])
    weighed = many.scores * new / old
    np.testing.assert_allclose(found, weighed / weighed.sum(1, keepdims=True), atol=1e-5)


@pytest.mark.parametrize("wrong", [0.0, 1.0, -0.1, 3.0])
def test_impossible_prevalence(wrong):
    with pytest.raises(DataError, match="between 0 and 1"):
        shift(make_table(), np.array([wrong, np.nan, np.nan]), "all")


def test_impossible_prevalences_of_exclusive_classes():
    with pytest.raises(DataError, match="leave something"):
        shift(make_table(task="multiclass"), np.array([0.6, 0.5, np.nan]), "all")


def test_estimated_prevalence_finds_what_was_planted():
    rng = np.random.default_rng(0)
    old, new = 0.5, 0.1
    labels = rng.random(40000) < new
    x = rng.normal(size=40000) + 2 * labels  # log likelihood ratio 2 x - 2
    p = sigmoid(2 * x - 2 + odds(old))[:, None].astype(np.float32)
    assert estimated_prevalence(p, np.array([old]), False)[0] == pytest.approx(new, abs=0.01)
    two = np.concatenate([p, 1 - p], axis=1)
    assert estimated_prevalence(two, np.array([old, 1 - old]), True) == pytest.approx([new, 1 - new], abs=0.01)
    assert np.isnan(estimated_prevalence(p, np.array([np.nan]), False)).all()
    assert estimated_prevalence(p[:0], np.array([0.3]), False).tolist() == [0.3]


def plain(scores, labels, classes, task) -> AuditTable:
    cases = pd.DataFrame({"case_id": [f"c{row}" for row in range(len(scores))]})
    labels, scores = (np.asarray(part, dtype=np.float32) for part in (labels, scores))
    return AuditTable("made", task, classes, cases, labels, scores, (0.5,) * len(classes))


def card_in(folder: Path, task: str, **more) -> ModelCard:
    fields = {
        "id": "made", "title": "Made", "architecture": "timm:resnet18", "task": task, "classes": ["A", "B", "C"],
        "input": {"height": 32, "width": 32, "modality": ["x-ray"]},
        "weights": {"file": "weights.safetensors", "sha256": "0" * 64},
        "training": {"data": "none", "licence": "none", "loss": "focal"}, "licence": "none", "intended_use": "tests",
        "thresholds": {"values": {"A": 0.3, "B": 0.4, "C": 0.25}, "source": "by hand"},
    } | more  # fmt: skip
    (folder / CARD_FILE).write_text(tomli_w.dumps(fields), encoding="utf-8")
    return read_card(folder)


@pytest.mark.parametrize(
    ("task", "old"),
    [
        ("multilabel", {"method": "none"}),
        ("multilabel", {"method": "platt", "scale": 2.0, "offset": -0.5, "source": "validation"}),
        ("multilabel", {"method": "platt-per-class", "scale": [2.0, 0.5, 1.1], "offset": [-0.5, 0.2, 0.0]}),
        ("multiclass", {"method": "temperature", "scale": 1.4}),
        ("multiclass", {"method": "vector", "scale": [1.1, 0.8, 0.9], "offset": [0.6, -0.2, 0.0]}),
    ],
)
@pytest.mark.parametrize("method", ["temperature", "platt", "prior"])
def test_a_card_copy_gives_the_recalibrated_scores_and_the_same_decisions(tmp_path, task, old, method):
    card = card_in(tmp_path, task, calibration=old)
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(400, 3)).astype(np.float32) * 1.5
    scores = card.probabilities(logits)
    if task == "multiclass":
        labels = np.eye(3)[[rng.choice(3, p=p / p.sum()) for p in scores.astype(np.float64) ** 0.6]]
    else:
        labels = rng.random(scores.shape) < sigmoid(0.6 * odds(scores) + 0.3)
    table = plain(scores, labels, ("A", "B", "C"), task)
    part, wanted = "part val, n = 400", np.array([0.2, np.nan, np.nan])
    found = shift(table, wanted, part) if method == "prior" else fit(table, method, part)
    text = recalibrated_card(card, found, table.classes)
    (tmp_path / CARD_FILE).write_text(text, encoding="utf-8")
    new = read_card(tmp_path)
    after = new.probabilities(logits)
    np.testing.assert_allclose(after, found.curve.apply(scores), atol=2e-6)
    assert "part val, n = 400" in new.calibration.source
    if task == "multiclass":
        assert np.array_equal(favoured(after, new.threshold_array), favoured(scores, card.threshold_array))
    else:
        assert np.array_equal(after >= new.threshold_array, scores >= card.threshold_array)
    left = {key: value for key, value in tomllib.loads(text).items() if key not in ("calibration", "thresholds")}
    kept = card_in(tmp_path, task, calibration=old).model_dump(exclude={"calibration", "thresholds", "folder"})
    assert ModelCard(**left).model_dump(exclude={"calibration", "thresholds", "folder"}) == kept


@pytest.mark.parametrize("method", ["isotonic", "beta"])
def test_a_card_cannot_hold_a_curve(tmp_path, method):
    table = make_table()
    with pytest.raises(DataError, match="holds a line"):
        recalibrated_card(card_in(tmp_path, "multilabel"), fit(table, method, "all"), table.classes)


def test_a_card_of_other_classes_stays(tmp_path):
    found = fit(make_table(), "platt", "all")
    with pytest.raises(DataError, match="so its card stays"):
        recalibrated_card(card_in(tmp_path, "multilabel"), found, ("A", "C", "B"))


def test_caution(tmp_path):
    assert "no probabilities" in caution(card_in(tmp_path, "multilabel"))
    assert caution(card_in(tmp_path, "multilabel", calibration={"method": "platt", "scale": 2.0})) == ""
    plain_loss = {"data": "none", "licence": "none", "loss": "cross-entropy"}
    assert caution(card_in(tmp_path, "multilabel", training=plain_loss)) == ""
    adjusted = plain_loss | {"loss": "logit-adjusted"}
    assert "equally frequent" in caution(card_in(tmp_path, "multilabel", training=adjusted))
    weighted = plain_loss | {"loss": "root-weighted"}
    assert "rare class" in caution(card_in(tmp_path, "multilabel", training=weighted))
