"""A scan and an earlier one measured in the background: order of what is told, progress, stopping, settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from dashboard.quantify.visits import Quantities, Settings, key_of, measure, own_lesions
from dashboard.settings import ZOO
from models.card import read_card
from models.context import RunContext
from models.errors import Cancelled, DataError
from models.types import Case, Geometry, Image, Modality, Prediction, Provenance, Region
from tests.dashboard.quantify.thorax import Ball, Chest, draw

SPACING = (5.0, 5.0, 6.0)


def case_of(name: str, chest: Chest, moved: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Case:
    affine = chest.geometry.affine.copy()
    affine[:3, 3] += moved
    image = replace(chest.image, geometry=Geometry(affine))
    regions = (Region("Infection", chest.infected),)
    return Case(
        name, name, image, Provenance("drawn", name.ljust(64, "0"), "phantom", notes=("A drawing.",)), {}, regions
    )


@pytest.fixture(scope="module")
def first() -> Case:
    return case_of("first", draw(SPACING, [Ball(-76, 40, 20, 20, -300), Ball(76, 40, -30, 18, -300)]))


@pytest.fixture(scope="module")
def second() -> Case:
    return case_of(
        "second", draw(SPACING, [Ball(-76, 40, 20, 30, -300), Ball(76, -40, 40, 18, -300)]), (7.0, -4.0, 9.0)
    )


def test_both_scans_are_measured_and_compared(first: Case, second: Case) -> None:
    fractions: list[float] = []
    told: list[Quantities] = []
    ctx = RunContext(on_progress=fractions.append, on_partial=told.append)
    found = measure(second, first, Settings(supplied=True), None, None, ctx)
    assert found.current is not None
    assert found.follow is not None
    assert found.follow.reason == ""
    voxels = sum(int(region.mask.sum()) for region in second.regions if region.mask is not None)
    assert found.current.study.lesions.total_ml == pytest.approx(voxels * 0.15)
    assert {change.verdict for change in found.follow.changes} == {"grown", "resolved", "new"}
    assert found.follow.registration is not None
    assert found.follow.registration.shift_mm == pytest.approx(np.sqrt(49 + 16 + 81), abs=2.5)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert [one.current is not None for one in told] == sorted(one.current is not None for one in told)
    assert told[0].doing == "Finding the lungs"
    assert told[-1].doing == "Bringing the earlier scan into line"
    assert "A drawing." not in found.current.study.warnings


def test_stopping_ends_the_work(first: Case) -> None:
    ctx = RunContext()
    ctx.cancel()
    with pytest.raises(Cancelled):
        measure(first, None, Settings(supplied=True), None, None, ctx)


def test_an_earlier_scan_that_cannot_be_measured_costs_the_comparison_alone(first: Case) -> None:
    bare = replace(first, id="bare", title="Bare", regions=())
    found = measure(first, bare, Settings(supplied=True), None, None, RunContext())
    assert found.current is not None
    assert found.follow is None
    assert found.refused == "Earlier scan: “Bare” brings no mask of its lesions; let a model mark them."


def test_stopping_reaches_the_model(first: Case) -> None:
    ctx, asked = RunContext(), []

    def ask(slices: Sequence[Image], own: RunContext) -> Sequence[Prediction]:
        asked.append(len(slices))
        ctx.cancel()
        own.check()
        raise AssertionError

    card = SimpleNamespace(id="some", task="segmentation", weights=SimpleNamespace(sha256="0" * 64))
    with pytest.raises(Cancelled):
        measure(first, None, Settings(), ask, card, ctx)  # type: ignore[arg-type]
    assert asked == [8]


def test_a_case_without_a_mask_says_so(first: Case) -> None:
    bare = replace(first, regions=())
    assert own_lesions(bare) is None
    with pytest.raises(DataError, match="no mask of its lesions"):
        measure(bare, None, Settings(supplied=True), None, None, RunContext())


def test_the_key_holds_all_that_the_numbers_depend_on(first: Case, second: Case) -> None:
    keys = {
        key_of(first, None, Settings(), None),
        key_of(second, None, Settings(), None),
        key_of(first, second, Settings(), None),
        key_of(second, first, Settings(), None),
        key_of(first, None, Settings(connectivity=6), None),
        key_of(first, None, Settings(minimum_mm3=10), None),
        key_of(first, None, Settings(supplied=True), None),
        key_of(first, None, Settings(supplied=True, mask="upload-00000000000a"), None),
    }
    card = read_card(ZOO / "pneumonia-ct")
    lower = card.model_copy(update={"thresholds": card.thresholds.model_copy(update={"default": 0.123, "values": {}})})
    other = card.model_copy(update={"input": card.input.model_copy(update={"modality": (Modality.MR,)})})
    keys |= {key_of(first, None, Settings(), one) for one in (card, lower, other)}
    assert len(keys) == 11


def test_a_part_of_the_work_counts_as_much_as_it_is_worth() -> None:
    fractions: list[float] = []
    whole = RunContext(10, fractions.append)
    whole.tick(2)
    part = whole.part(8, 4)
    part.tick()
    part.tick(3)
    assert fractions == pytest.approx([0.2, 0.4, 1.0])
    whole.cancel()
    with pytest.raises(Cancelled):
        part.check()
