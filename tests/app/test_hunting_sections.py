"""Robustness, maps by group and nearest cases on the screen, from what is stored with a model."""

from __future__ import annotations

from pathlib import Path

from streamlit.testing.v1 import AppTest

from dashboard.hunting.drift_result import stored_drift
from dashboard.hunting.neighbours import read_index
from dashboard.hunting.robustness_result import stored_robustness
from models.card import read_card

MODEL = "lung-nodule"
CARD = read_card(Path("models/zoo") / MODEL)
SECTIONS = f"""
from pathlib import Path
from dashboard.audit.reading import zoo_table
from dashboard.widgets.audit.chart import Audit
from dashboard.widgets.audit.drift import drift_section
from dashboard.widgets.audit.robustness import robustness_section
from models.card import read_card
table = zoo_table(read_card(Path("models/zoo/{MODEL}")))
audit = Audit(table.in_split("test"), table, 0)
robustness_section(audit)
drift_section(audit)
"""
PANEL = f"""
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from dashboard.hunting.neighbours import read_index
from dashboard.widgets.case_neighbours import neighbours_panel
from models.card import read_card
from models.types import Image
card = read_card(Path("models/zoo/{MODEL}"))
index = read_index(card)
engine = SimpleNamespace(features=lambda model, images, ctx: (index.points[:1] @ index.components + index.mean))
image = Image(np.zeros((1, 8, 8), np.float32), "HU")
neighbours_panel(SimpleNamespace(desk=SimpleNamespace(engine=engine)), card, image, card.target("Malignant"))
"""


def said(test: AppTest) -> str:
    return "\n".join(one.value for kind in ("markdown", "caption", "info", "error") for one in getattr(test, kind))


def test_stored_results_are_shown_and_new_ones_need_the_images() -> None:
    test = AppTest.from_string(SECTIONS, default_timeout=60).run()
    assert not test.exception, test.exception
    robust, groups = stored_robustness(CARD), stored_drift(CARD)
    assert robust is not None
    assert groups is not None
    words = said(test)
    assert f"{robust.cases} test cases of {robust.patients} patients" in words
    assert f"Grad-CAM maps of {groups.cases} test cases; {len(groups.comparisons)} comparisons" in words
    test.segmented_control(key="robustness-way").set_value("here")
    test.run()
    assert "Give the folder of the images to measure on them." in said(test)
    assert not test.exception


def test_the_nearest_cases_are_listed_without_the_case_itself() -> None:
    test = AppTest.from_string(PANEL, default_timeout=60).run()
    assert not test.dataframe  # nothing is done before the reader asks
    test.toggle(key="neighbours-open").set_value(True)
    for _ in range(20):
        test.run()
        if test.dataframe:
            break
    assert not test.exception, test.exception
    index = read_index(CARD)
    assert index is not None
    words = said(test)
    assert f"Among {len(index)} cases the model was tested on, not those it learned from" in words
    assert "This case is one of them" in words
    shown = [name for frame in test.dataframe for name in frame.value["Case"]]
    assert 4 < len(shown) <= 8
    assert index.names[0] not in shown
