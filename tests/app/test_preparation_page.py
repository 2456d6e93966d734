"""The Preparation page without a browser: steps are chosen, run and told, and the model is asked with and without each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from dashboard.state import services
from dashboard.widgets.preparation_runs import preparations
from models.types import Case, Image, Modality, Provenance
from tests.dashboard.preparation.phantoms import mr, tissues

CASE = "upload-5e9a11aa22bb"


def keep(image: Image, reader: str = "nifti", notes: tuple[str, ...] = ()) -> None:
    known = Provenance("uploaded file", "5" * 64, reader, notes=notes)
    services().library.keep(Case(CASE, "MR 5e9a11", image, known))


def draw_page() -> None:
    from dashboard.pages.preparation import page

    page()


def opened(**query: str) -> AppTest:
    test = AppTest.from_function(draw_page, default_timeout=60)
    for name, value in query.items():
        test.query_params[name] = value
    test.run()
    assert not test.exception, test.exception
    return test


def switch(test: AppTest, title: str, on: bool) -> None:
    (toggle,) = [toggle for toggle in test.toggle if toggle.label == title]
    toggle.set_value(on)


def ran(test: AppTest) -> AppTest:
    """The page once the work it has started is done."""
    test.button(key="preparation-run").click().run()
    key = test.session_state["preparation_view"].asked[CASE]
    job = preparations().look(key)
    assert job is not None
    assert job.finished.wait(60)
    test.run()
    assert not test.exception, test.exception
    return test


def test_steps_are_run_and_told_without_a_model() -> None:
    keep(mr(tissues((10, 24, 24))[0]))
    test = opened(case=CASE, model="none-such")
    switch(test, "Skull stripping", False)
    switch(test, "Bias-field correction (N4)", False)
    switch(test, "Noise filter", True)
    ran(test)
    told = " ".join(one.value for one in test.markdown)
    assert "**Noise filter**: as expected" in told
    assert "**Intensity: z-score**: as expected" in told
    assert "Skull stripping**" not in told
    assert not test.error
    test.slider(key=f"preparation-slice-{CASE}").set_value(2).run()
    assert any("choices have changed" in info.value for info in test.info)


def test_a_step_that_cannot_be_done_says_why_before_it_is_run() -> None:
    plane = Image(np.random.default_rng(0).random((1, 32, 32)).astype(np.float32), "stored value", Modality.MR)
    keep(plane, notes=("Volume 1 of 2 is shown.",))
    test = opened(case=CASE)
    assert sum("Volume 1 of 2 is shown." in caption.value for caption in test.caption) == 1
    (toggle,) = [toggle for toggle in test.toggle if toggle.label == "Skull stripping"]
    assert toggle.disabled
    assert any("at least 8 slices" in caption.value for caption in test.caption)
    keep(plane, "phantom", ("Drawn by formula.",))
    assert not any("Drawn by formula." in caption.value for caption in test.run().caption)


def test_the_model_is_asked_with_and_without_each_step(
    make_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_model(input={"height": 64, "width": 64, "modality": ["mr"]}, task="multiclass")
    monkeypatch.setattr("dashboard.settings.ZOO", folder.parent)
    keep(mr(tissues((10, 24, 24))[0]))
    test = opened(case=CASE, model="tiny")
    switch(test, "Skull stripping", False)
    switch(test, "Bias-field correction (N4)", False)
    ran(test)
    (table,) = [frame.value for frame in test.dataframe if "The call" in frame.value]
    assert list(table["Steps"]) == ["With all steps", "Without intensity: z-score", "With none"]
    image = services().library.upload(CASE).image  # type: ignore[union-attr]
    prediction = services().desk.predict("tiny", image.slice(5))
    for index, name in enumerate(prediction.classes):
        assert table[name].iloc[2] == pytest.approx(float(prediction.probabilities[index]), abs=1e-5)
    assert any("The model's own input steps" in one.value for one in test.markdown)
    test.selectbox(key="preparation-method").set_value("grad-cam").run()
    assert not test.exception
    assert any("belong to slice 6 alone" in caption.value for caption in test.caption)


def test_the_page_opens_with_a_brain() -> None:
    test = opened()
    assert test.session_state["case_view"].case_id == "brain-mr-tumour-1"
    assert any("press Run" in info.value for info in test.info)
