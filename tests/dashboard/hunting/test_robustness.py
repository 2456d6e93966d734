"""Robustness on a network that reads the mean brightness: every curve is known beforehand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from dashboard.audit.table import AuditTable
from dashboard.hunting.corruptions import STRENGTHS, corrupted
from dashboard.hunting.grid import cell_means
from dashboard.hunting.robustness import enriched, measure, rank_correlation
from dashboard.hunting.robustness_result import FILE, Robustness, losses, stored_robustness
from dashboard.hunting.stored import plain, write_result
from models.context import RunContext
from models.errors import Cancelled, DataError
from models.types import Image, Modality
from tests.dashboard.audit.tables import make_table
from tests.dashboard.hunting.made import MadeCohort, Reader, made_card, made_cohort

N = 60


@pytest.fixture(scope="module")
def brightness() -> tuple[Reader, MadeCohort, np.ndarray, np.ndarray]:
    """Positives are brighter; the class is called from a mean of 0.5 on."""
    rng = np.random.default_rng(1)
    label = (np.arange(N) % 2).astype(np.float32)
    mean = np.clip(0.45 + 0.1 * label + rng.normal(0, 0.05, N), 0.36, 0.64)
    pattern = rng.uniform(-0.3, 0.3, (16, 16))
    pattern -= pattern.mean()
    pictures = [Image((m + pattern)[None].astype(np.float32), "unit interval", Modality.XRAY) for m in mean]
    card = made_card(task="binary")
    reader = Reader(card, lambda shown: np.array([40 * (shown.mean(dtype=np.float64) - 0.5)]))
    scores = card.probabilities((40 * (mean[:, None] - 0.5)).astype(np.float32))
    cases = pd.DataFrame({"case_id": [f"c{k}" for k in range(N)]})
    table = AuditTable("made", "binary", card.classes, cases, label[:, None], scores, (0.5,), card.id)
    return reader, made_cohort(table, card, pictures), mean, label == 1


def test_the_curves_are_those_of_the_arithmetic(brightness: tuple[Reader, MadeCohort, np.ndarray, np.ndarray]) -> None:
    reader, cases, mean, positive = brightness
    result = measure(
        reader.as_engine(), cases, RunContext(), names=("brighter", "darker", "contrast", "shift"), mapped=0
    )
    assert (result.cases, result.patients, result.unit) == (N, N, "cases")
    by = {one.id: one.classes["Alpha"] for one in result.corruptions}
    before = mean[positive] >= 0.5
    assert result.clean["Alpha"].sensitivity.value == pytest.approx(before.mean(), abs=1e-4)
    for name, sign in (("brighter", 1), ("darker", -1)):
        for point, amount in zip(by[name], (0.05, 0.1), strict=False):  # nothing is clipped as far
            called = mean + sign * amount >= 0.5
            assert point.sensitivity.value == pytest.approx(called[positive].mean(), abs=1e-4)
            assert point.specificity.value == pytest.approx(1 - called[~positive].mean(), abs=1e-4)
            assert point.sensitivity_change.value == pytest.approx((called[positive] - 1.0 * before).mean(), abs=1e-4)
            assert point.auroc.value == pytest.approx(roc_auc_score(positive, mean), abs=1e-4)
            assert point.sensitivity.n == positive.sum()
    assert by["contrast"][1].sensitivity == result.clean["Alpha"].sensitivity  # a mean does not feel the contrast
    assert by["contrast"][1].sensitivity_change.value == 0
    known = [one for points in by.values() for one in points if one.sensitivity_change.low is not None]
    assert known
    assert all(
        one.sensitivity_change.low <= one.sensitivity_change.value <= one.sensitivity_change.high for one in known
    )
    worst = losses(result)
    lost = {(one.figure, one.corruption) for one in worst}
    assert lost == {
        ("sensitivity", "Darker"),
        ("sensitivity", "Shift"),
        ("specificity", "Brighter"),
    }  # a shift brings black in
    assert worst[0].strength == min(one.strength for one in worst)
    assert worst[0].figure in worst[0].words


def test_the_interval_of_a_change_is_that_of_resampled_cases(
    brightness: tuple[Reader, MadeCohort, np.ndarray, np.ndarray],
) -> None:
    reader, cases, mean, positive = brightness
    result = measure(reader.as_engine(), cases, RunContext(), names=("darker",), mapped=0)
    point = result.corruptions[0].classes["Alpha"][0].sensitivity_change
    flips = ((mean - 0.05 >= 0.5) * 1.0 - (mean >= 0.5))[positive]
    rng = np.random.default_rng(5)
    drawn = rng.choice(flips, (4000, len(flips))).mean(axis=1)
    assert (point.low, point.high) == pytest.approx(tuple(np.percentile(drawn, (2.5, 97.5))), abs=0.05)


def test_maps_are_compared_where_the_call_stays_and_moved_back(
    brightness: tuple[Reader, MadeCohort, np.ndarray, np.ndarray],
) -> None:
    reader, cases, mean, _ = brightness
    reader.explained.clear()
    result = measure(reader.as_engine(), cases, RunContext(), names=("darker", "noise", "shift"))
    by = {one.id: one.drift for one in result.corruptions}
    kept = mean - 0.05 >= 0.5
    assert by["darker"][0].n == kept.sum()
    assert by["darker"][0].value == 1.0
    assert result.corruptions[0].classes["Alpha"][0].drift == by["darker"][0]
    assert by["darker"][3].value is None
    assert by["darker"][3].note.startswith("too few")
    assert by["shift"][0].value == pytest.approx(1.0, abs=0.05)
    # Noise, from scratch; a picture of 16 x 16 has cells of less than a pixel, which repeat it.
    order = np.random.default_rng(0).permutation(N)
    expected = []
    for number in (n for n in order if mean[n] >= 0.5):
        image = cases.pictures[number]
        assert image is not None
        noisy = corrupted(image, "noise", 4, (0, int(number))).image
        if noisy.display().mean(dtype=np.float64) >= 0.5:
            cells = [cell_means(one.display()[0], np.ones((16, 16), bool), 24) for one in (image, noisy)]
            expected.append(spearmanr(*(one.ravel() for one in cells)).statistic)
    assert by["noise"][3].n == len(expected)
    assert by["noise"][3].value == pytest.approx(np.mean(expected), abs=2e-4)
    assert len(reader.explained) < 2 * N * 13


def test_partial_results_come_and_the_work_can_be_stopped(
    brightness: tuple[Reader, MadeCohort, np.ndarray, np.ndarray],
) -> None:
    reader, cases, _, _ = brightness
    shown: list[Robustness] = []
    ctx = RunContext(on_partial=shown.append)

    def turn(work):  # type: ignore[no-untyped-def]
        if shown:
            ctx.cancel()
        ctx.check()
        return work(RunContext())

    with pytest.raises(Cancelled):
        measure(reader.as_engine(), cases, ctx, turn=turn, names=("darker",), mapped=0)
    assert len(shown) == 1
    assert 0 < shown[0].cases < N


def test_unreadable_pictures_are_counted(brightness: tuple[Reader, MadeCohort, np.ndarray, np.ndarray]) -> None:
    reader, cases, _, _ = brightness
    torn = made_cohort(cases.table, cases.card, [None, *cases.pictures[1:12]], np.arange(12))
    assert measure(reader.as_engine(), torn, RunContext(), names=("darker",), mapped=0).unread == 1
    with pytest.raises(DataError, match="None of the pictures"):
        measure(reader.as_engine(), made_cohort(cases.table, cases.card, [None] * 12, np.arange(12)), RunContext())


def test_rank_correlation_of_odd_maps() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(2, 5, 5))
    one[0, 0] = np.nan
    two[4, 4] = np.nan
    both = np.isfinite(one) & np.isfinite(two)
    assert rank_correlation(one, two) == pytest.approx(spearmanr(one[both], two[both]).statistic, abs=1e-12)
    assert np.isnan(rank_correlation(np.ones((3, 3)), rng.normal(size=(3, 3))))
    assert rank_correlation(rng.normal(size=(3, 3)), np.ones((3, 3))) == 0.0


def test_rare_classes_get_their_places() -> None:
    table = make_table(600, classes=("Common", "Rare", "None"), seed=3)
    labels = table.labels.copy()
    labels[:, 1] = np.arange(600) % 40 == 0
    labels[:, 2] = 0
    table = AuditTable("made", "multilabel", table.classes, table.cases, labels, table.scores.copy(), (0.5,) * 3)
    cases = made_cohort(table, made_card(table.classes))
    found = enriched(cases, 60, 1)
    assert len(found) == 60
    assert len(np.unique(found.rows)) == 60
    rare = table.groups[table.positive[:, 1]]
    assert set(table.groups[found.rows]) >= set(rare)
    assert len(np.unique(rare)) < len(rare)  # a patient's second picture need not be there
    assert (~table.positive[found.rows].any(axis=1)).sum() >= 15
    assert np.array_equal(found.rows, enriched(cases, 60, 1).rows)
    assert enriched(cases, 600) is cases


def test_results_are_stored_and_belong_to_their_weights(
    brightness: tuple[Reader, MadeCohort, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    reader, cases, _, _ = brightness
    result = measure(reader.as_engine(), cases, RunContext(), names=("darker",), mapped=20)
    card = cases.card.model_copy(update={"folder": tmp_path})
    assert stored_robustness(card) is None
    write_result(card, FILE, result)
    assert stored_robustness(card) == result
    assert json.dumps(plain(result))
    weights = card.weights.model_copy(update={"sha256": "b" * 64})
    assert stored_robustness(card.model_copy(update={"weights": weights})) is None
    (tmp_path / FILE).write_text("{")
    assert stored_robustness(card) is None
    assert len(result.corruptions[0].amounts) == len(STRENGTHS) - 1
