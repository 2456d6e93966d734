"""Counts over many maps, and the tables and the report's section made of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from dashboard.hunting.evidence import FILE, TOGETHER, Evidence, MethodCounts, count_levels, stored
from dashboard.hunting.evidence_tables import best_words, check_table, number_table, place_table
from dashboard.hunting.stored import write_result
from dashboard.reports.explanations import explanation_sections
from dashboard.settings import ZOO
from explainers.quality.localisation import Located, SetResult, localise_set
from explainers.quality.method_benchmark import GroundTruthSet, MethodRow, stored_methods
from explainers.quality.randomisation import stored as stored_randomisation
from explainers.quality.types import Level, Verdict
from models.card import ModelCard, find_cards, read_card

LEVELS: tuple[Level, ...] = ("ok", "weak", "fails")


def verdicts(count: int, seed: int) -> list[tuple[Verdict, ...]]:
    draw = np.random.default_rng(seed)
    return [
        (
            Verdict("stability", LEVELS[draw.integers(3)], "", float(draw.normal())),
            Verdict("faithfulness", "fails", "", -0.1),
            Verdict("road", LEVELS[draw.integers(3)], "", 0.1),
            Verdict("localisation", "not assessable", ""),
        )
        for _ in range(count)
    ]


@pytest.fixture
def card(make_model: Callable[..., Path]) -> ModelCard:
    return read_card(make_model())


def evidence_for(card: ModelCard, cases: list[tuple[Verdict, ...]]) -> Evidence:
    counts = count_levels(cases, np.arange(len(cases)))
    methods = {"grad-cam": MethodCounts(title="Grad-CAM", params={}, checks=counts)}
    return Evidence(
        model=card.id, weights_sha256=card.weights.sha256, source="drawn", cases=len(cases), patients=len(cases), seed=0, methods=methods
    )  # fmt: skip


def test_counts_are_those_of_a_plain_loop() -> None:
    cases = verdicts(30, 1)
    found = count_levels(cases, np.arange(30))
    for at, name in enumerate(("stability", "faithfulness", "road", "localisation")):
        levels = [case[at].level for case in cases]
        assert {level: count for level, count in found[name].levels.items() if count} == {
            level: levels.count(level) for level in set(levels)
        }
    assert found["stability"].value.value == pytest.approx(np.mean([case[0].value for case in cases]), abs=1e-4)
    assert found["stability"].passed.value == pytest.approx(
        np.mean([case[0].level == "ok" for case in cases]), abs=1e-4
    )
    expected = ["fails" if "fails" in (case[0].level, case[2].level) else "weak" for case in cases]
    assert found[TOGETHER].levels["fails"] == expected.count("fails")
    assert found[TOGETHER].levels["weak"] == expected.count("weak")
    assert found["localisation"].assessed == 0
    assert found["localisation"].passed.value is None


def test_patients_are_drawn_whole() -> None:
    """Thirty copies of each of ten patients say no more than ten cases."""
    cases = verdicts(10, 2)
    alone = count_levels(cases, np.arange(10))["stability"].value
    copied = count_levels([case for case in cases for _ in range(30)], np.repeat(np.arange(10), 30))["stability"].value
    assert None not in (alone.low, alone.high, copied.low, copied.high)
    assert copied.high - copied.low == pytest.approx(alone.high - alone.low, rel=0.15)  # type: ignore[operator]


def test_a_stored_survey_counts_for_its_weights_only(card: ModelCard) -> None:
    assert stored(card) is None
    found = evidence_for(card, verdicts(12, 3))
    write_result(card, FILE, found)
    assert stored(card) == found
    write_result(card, FILE, found.model_copy(update={"weights_sha256": "0" * 64}))
    assert stored(card) is None


def test_tables_and_report_say_the_counts(card: ModelCard) -> None:
    assert "No check" in explanation_sections(card)[0].text[0]
    assert "name no model" in explanation_sections(None)[0].text[0]
    found = evidence_for(card, verdicts(12, 4))
    write_result(card, FILE, found)
    (section,) = explanation_sections(card)
    assert "12 cases (drawn)" in section.text[0]
    line = check_table(found).iloc[0]
    passed = found.methods["grad-cam"].checks["stability"].levels["ok"]
    assert line["Stability"] == f"{passed} of 12"
    assert line["Marks the known place"] == "–"
    numbers = number_table(found).set_index("Check")
    assert numbers.loc["Deletion and insertion", "Fails"] == 12


def test_the_best_method_of_a_shipped_model_is_named_with_its_interval() -> None:
    shipped = dict(find_cards([ZOO])[0])["skin-lesion-7"]
    found = stored_methods(shipped)["ham10000"]
    frame = place_table(found, "everything", stored_randomisation(shipped))
    values = [found.methods[name].result.everything.measures["auprc"].mean for name in found.methods]
    titles = [row.title for row in found.methods.values()]
    assert frame["Method"].iloc[0] == titles[int(np.argmax(values))]
    assert list(frame["Method"].iloc[-2:]) == ["Control: blob in the middle", "Control: by chance"]
    words = best_words(found, {})
    sure = [row for row in found.methods.values() if row.result.everything.level == "ok"]
    assert ("no method" in words) == (not sure)
    if sure:
        best = max(sure, key=lambda row: row.result.everything.measures["auprc"].mean or 0)
        assert f", {best.title} has the most" in words
        assert best.result.everything.margin.words in words


def _located(blur: float) -> SetResult:
    cases = []
    for number in range(8):
        draw = np.random.default_rng(number)
        mask = np.zeros((32, 32), dtype=bool)
        top, left = draw.integers(2, 22, 2)
        mask[top : top + 6, left : left + 6] = True
        values = ndimage.gaussian_filter(mask.astype(np.float32), blur) if blur else draw.normal(size=mask.shape)
        cases.append(Located(values.astype(np.float32), mask))
    return localise_set(cases)


def test_the_best_method_is_above_its_controls_and_depends_on_the_weights() -> None:
    blurs = {"noise": 0.0, "sharp": 1.0, "blurred": 4.0}
    rows = {
        name: MethodRow(method=name, title=name, params={}, seconds=0.1, passes=1, result=_located(blur))
        for name, blur in blurs.items()
    }
    drawn = GroundTruthSet(name="drawn", cases=8, called=8, note="", methods=rows)
    assert ", sharp has the most" in best_words(drawn, {})
    doubted: Any = {"sharp": SimpleNamespace(level="fails")}
    assert ", blurred has the most" in best_words(drawn, doubted)
    alone = drawn.model_copy(update={"methods": {"noise": rows["noise"]}})
    assert "no method marks the place better" in best_words(alone, {})
