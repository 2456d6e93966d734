"""Measurements under the viewer: only when asked for, from the outline that was chosen."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from dashboard.quantify.dermoscopy import NOT_A_DIAGNOSIS, Measure
from dashboard.settings import ZOO
from dashboard.widgets import case_quantities
from dashboard.widgets.case_quantities import kind_of, value_of
from models.card import ModelCard, read_card
from models.types import Case, Geometry, Image, Modality, Prediction, Provenance, Region
from sample_data.samples import load_sample
from tests.dashboard.quantify.test_nodule import GEOMETRY, distance, lung, scan


class Desk:
    """Knows the outline model, or none; counts what it is asked."""

    def __init__(self, mask: np.ndarray | None) -> None:
        self.mask, self.asked = mask, 0
        cards = {} if mask is None else {case_quantities.OUTLINE_MODEL: read_card_of_skin()}
        self.engine = SimpleNamespace(cards=lambda: cards)

    def predict(self, model_id: str, image: Image, masks: bool) -> Prediction:
        self.asked += 1
        half = np.full(1, 0.5, np.float32)
        assert self.mask is not None
        return Prediction(model_id, ("Lesion",), half, half, half, False, masks=self.mask[None].astype(np.float32))


def read_card_of_skin() -> ModelCard:
    return read_card(ZOO / "skin-lesion-7")


def _page() -> None:
    import streamlit as st

    from dashboard.widgets.case_quantities import quantities_panel, quantities_region

    case, card, desk = st.session_state["given"]
    st.session_state["drawn"] = quantities_region(case, card, 0, desk)
    quantities_panel(case, card, 0, desk)


def opened(case: Case, desk: Desk, card: ModelCard | None = None) -> AppTest:
    test = AppTest.from_function(_page, default_timeout=30)
    test.session_state["given"] = (case, card, desk)
    test.run()
    assert not test.exception, test.exception
    return test


def case_of(image: Image, *regions: Region) -> Case:
    return Case("case", "Case", image, Provenance("test", "0" * 64, "test"), regions=regions)


def test_nothing_is_measured_before_the_reader_asks() -> None:
    case = load_sample("phantom-skin-symmetric")
    desk = Desk(case.regions[0].mask)
    test = opened(case, desk)
    assert (desk.asked, test.session_state["drawn"], len(test.table)) == (0, (), 0)

    test.toggle[0].set_value(True).run()
    assert desk.asked == 1
    assert test.caption[0].value == NOT_A_DIAGNOSIS
    assert any("Dice 1.00" in caption.value for caption in test.caption)
    (drawn,) = test.session_state["drawn"]
    np.testing.assert_array_equal(drawn.mask, case.regions[0].mask)
    rows = test.table[0].value.set_index("Measure")["This lesion"]
    said = float(case.attributes["lesion diameter"].split()[0])
    number, unit = rows["Diameter"].split()
    assert unit == "mm"
    assert float(number) == pytest.approx(said * 1.15, rel=0.15)  # the disc of equal area is smaller than the longest

    test.run()
    assert desk.asked == 1


def test_the_reference_is_measured_when_it_is_chosen_or_alone() -> None:
    case = load_sample("phantom-skin-symmetric")
    desk = Desk(np.zeros(case.image.plane_shape, bool))
    test = opened(case, desk)
    test.toggle[0].set_value(True).run()
    assert "no lesion to measure" in test.warning[0].value
    test.session_state["quantities-by-phantom-skin-symmetric"] = "Reference"
    test.run()
    assert not test.warning
    assert len(test.table) == 1
    assert test.session_state["drawn"] == ()  # the viewer draws it anyway

    alone = opened(case, Desk(None))
    alone.toggle[0].set_value(True).run()
    assert len(alone.table) == 1


def test_without_a_model_or_an_outline_nothing_is_offered() -> None:
    case = load_sample("phantom-skin-symmetric")
    assert not opened(case_of(case.image), Desk(None)).toggle


def test_a_nodule_from_its_reference_and_from_a_point(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = distance() <= 8
    case = case_of(scan(lung(truth)), Region("Nodule", truth))
    test = opened(case, Desk(None))
    test.toggle[0].set_value(True).run()
    figures = {metric.label: metric.value for metric in test.metric}
    assert figures["Volume"] == f"{truth.sum() * abs(np.linalg.det(GEOMETRY.affine)) / 1000:.2f} ml"
    assert figures["Mean diameter"].endswith(" mm")
    test.session_state["quantities-by-case"] = "From a point"
    test.session_state["quantities-slice-case"] = 21
    test.run()
    (drawn,) = test.session_state["drawn"]
    assert drawn.mask.sum() == pytest.approx(truth.sum(), rel=0.3)
    test.session_state["quantities-column-case"] = 2
    test.run()
    assert "denser than the lung" in test.warning[0].value
    monkeypatch.setattr(case_quantities, "_nodule", lambda *arguments: case_quantities.Shown(message="drawn"))
    for column in range(3, 4 + case_quantities.KEPT):
        test.session_state["quantities-column-case"] = column
        test.run()
    assert len(case_quantities._known[case.image]) == case_quantities.KEPT


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda image: image, "nodule"),
        (lambda image: Image(image.values, "HU", Modality.CT), None),
        (lambda image: Image(image.values, "stored value", Modality.MR, GEOMETRY), None),
    ],
)
def test_what_can_be_measured(change: Callable[[Image], Image], expected: str | None) -> None:
    truth = distance() <= 8
    assert kind_of(case_of(change(scan(lung(truth))), Region("Nodule", truth)), None) == expected


def test_a_photograph_is_measured_where_a_skin_model_is_chosen() -> None:
    photo = Image(np.full((3, 8, 8), 0.5, np.float32), "unit interval", Modality.UNKNOWN, Geometry.from_spacing(1, 1))
    assert kind_of(case_of(photo), None) is None
    assert kind_of(case_of(photo), read_card_of_skin()) == "skin"


def test_a_number_has_its_unit_or_its_reason() -> None:
    assert value_of(Measure("d", "D", "Diameter", 6.04, "mm", "")) == "6.0 mm"
    assert value_of(Measure("c", "C", "Colours", 3.0, "of 6", "")) == "3 of 6"
    assert value_of(Measure("b", "B", "Abrupt", None, "", "", "too pale")) == "not assessable: too pale"
