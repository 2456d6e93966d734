"""The what-if panel without a browser: a region is answered, kept, moved along and undone; a call is turned."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from dashboard.state import flip_jobs, services
from models.types import Case, Image, Modality, Provenance

CASE = "upload-77aa11bb22cc"


@pytest.fixture(autouse=True)
def own_film(make_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = make_model()
    monkeypatch.setattr("dashboard.settings.ZOO", folder.parent)
    values = np.random.default_rng(3).random((1, 64, 64)).astype(np.float32)
    image = Image(values, "unit interval", Modality.XRAY)
    services().library.keep(Case(CASE, "Film 77aa11", image, Provenance("uploaded file", "0" * 64, "raster")))
    yield
    flip_jobs().close()
    services().desk.close()


def script() -> None:
    from dataclasses import replace

    from dashboard.state import services, uploads
    from dashboard.widgets.case_picker import find_case
    from dashboard.widgets.whatif import whatif_panel

    found = services()
    case = find_case(found.library, uploads(), "upload-77aa11bb22cc")
    card = found.desk.engine.cards()["tiny"]
    prediction = found.desk.predict("tiny", case.image)
    # All classes are flagged, by a hair: a network with random weights is moved little by what is covered.
    prediction = replace(prediction, thresholds=prediction.probabilities - 2e-4)
    whatif_panel(found.desk, card, case, case.image, prediction, card.target("Beta"))


def opened() -> AppTest:
    test = AppTest.from_function(script, default_timeout=60).run()
    test.toggle(key=f"whatif-open-{CASE}").set_value(True)
    return ran(test)


def ran(test: AppTest) -> AppTest:
    test.run()
    assert not test.exception, test.exception
    return test


def state(test: AppTest) -> Any:
    return test.session_state["whatif_views"].of(CASE)


def texts(test: AppTest) -> str:
    return " ".join(element.value for element in (*test.markdown, *test.caption, *test.error))


def test_edits_are_kept_undone_and_refused_in_words() -> None:
    test = opened()
    assert "No decision changes" not in texts(test)  # nothing has been changed yet
    state(test).draw(np.eye(64, dtype=bool))
    ran(test)
    assert "The call changes" in texts(test)
    test.button(key=f"whatif-keep-{CASE}").click()
    ran(test)
    test.button(key=f"whatif-add-crop-{CASE}").click()
    ran(test)
    assert [edit.kind for edit in state(test).edits] == ["cover", "crop"]
    test.slider(key=f"whatif-edit-{CASE}-2-0-left").set_value(85.0)
    ran(test)
    (said,) = test.error
    assert "cut off less" in said.value
    test.button(key=f"whatif-undo-{CASE}").click()
    ran(test)
    assert not test.error
    assert state(test).edits[1].params["left"] == 10.0
    test.toggle(key=f"whatif-edit-{CASE}-2-1-on").set_value(False)
    ran(test)
    assert [edit.on for edit in state(test).edits] == [True, False]
    test.button(key=f"whatif-reset-{CASE}").click()
    ran(test)
    assert not state(test).edits
    assert not test.query_params


def test_a_region_that_turns_the_call_turns_it_on_the_drawing_too() -> None:
    test = opened()
    test.button(key=f"whatif-find-{CASE}").click()
    ran(test)
    job = flip_jobs().look(state(test).flip)
    assert job is not None
    assert job.finished.wait(60)
    time.sleep(0.05)
    ran(test)
    assert job.result is not None
    assert job.result.turned
    assert "turns the call" in texts(test)
    test.button(key=f"whatif-use-{CASE}").click()
    ran(test)
    assert "The call changes" in texts(test)
    assert state(test).drawn.mean() == pytest.approx(job.result.share)
