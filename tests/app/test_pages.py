"""Every page runs without a browser, with and without a model that reads the image."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from dashboard.settings import settings
from dashboard.state import services
from explainers.runtime.hidden import Ways
from models.types import Case, Image, Modality, Provenance

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ways, "_make", lambda self: None)  # for each test anew


def opened(page: str = "", **query: str) -> AppTest:
    test = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    for name, value in query.items():
        test.query_params[name] = value
    test.run()
    if page:
        test.switch_page(page).run()
    assert not test.exception, test.exception
    return test


def test_the_case_page_opens_the_first_sample() -> None:
    test = opened()
    assert test.subheader[0].value
    assert test.selectbox[0].value == "chest-xray-14"
    assert not test.error


def test_a_link_restores_case_model_and_finding() -> None:
    test = opened(case="phantom-chest-cardiomegaly", model="chest-xray-14", finding="Cardiomegaly")
    assert "cardiothoracic" in test.subheader[0].value
    assert test.session_state["case_view"].finding == 1


def test_a_link_to_an_unknown_case_is_one_sentence() -> None:
    test = opened(case="no-such-case")
    assert len(test.error) == 1
    assert "no-such-case" in test.error[0].value


def test_an_image_no_model_reads_is_shown_without_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "chest-xray-14").symlink_to(ROOT / "models" / "zoo" / "chest-xray-14")
    monkeypatch.setattr("dashboard.settings.ZOO", tmp_path / "zoo")
    test = opened(case="phantom-brain-ring")
    assert test.selectbox[0].value == "No model"
    assert "No installed model reads MR images" in test.info[0].value


def test_a_wrong_model_is_not_scored_silently() -> None:
    test = opened(case="phantom-brain-ring", model="chest-xray-14")
    assert any("this one is MR" in warning.value for warning in test.warning)


def test_another_model_starts_anew_and_the_choice_stays() -> None:
    """Class 12 of the chest model means nothing to the skin model, nor does its contrast."""
    test = opened(case="phantom-chest-nodule", model="chest-xray-14", finding="Hernia", against="Fibrosis")
    assert test.session_state["case_view"].against == 11
    for name in ("skin-lesion-7", "chest-xray-14", "skin-lesion-7"):
        test.selectbox[0].set_value(name).run()
        assert not test.exception
        assert test.selectbox[0].value == name
        view = test.session_state["case_view"]
        assert (view.model_id, view.against) == (name, None)
    assert view.finding is not None
    assert view.finding < 7


def test_an_upload_is_found_again_after_a_reload() -> None:
    """A reload is a new session: only the address is left."""
    values = np.random.default_rng(0).random((1, 64, 64)).astype(np.float32)
    image = Image(values, "unit interval", Modality.XRAY)
    case = Case("upload-0123456789ab", "X-ray 012345", image, Provenance("uploaded file", "0" * 64, "raster"))
    services().library.keep(case)
    assert opened(case=case.id).subheader[0].value == "X-ray 012345"
    gone = opened(case="upload-ffffffffffff")
    assert "Drop the file again" in gone.error[0].value


@pytest.fixture
def own_models(segmenter: Callable[..., Path], nodule_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_MODELS", str(segmenter(thresholds={"default": 0.01}).parent))


@pytest.mark.usefixtures("own_models")
def test_what_a_segmentation_model_found_is_told_with_units_and_compared_with_the_reference() -> None:
    test = opened(case="phantom-pneumonia-slice", model="segmenter", finding="Infection")
    line = next(said.value for said in test.markdown if said.value.startswith("Infection: "))
    case, desk = services().library.case("phantom-pneumonia-slice"), services().desk
    found = desk.predict("segmenter", case.image, masks=True).found[0]
    column_mm, row_mm = case.image.plane_spacing
    assert f"{found.sum() * column_mm * row_mm / 100:.1f} cm²" in line
    assert f"{100 * found.mean():.1f} % of the slice" in line
    truth = next(region.mask for region in case.regions if region.name.casefold() == "infection")
    overlap = 2 * (found & truth).sum() / (found.sum() + truth.sum())
    assert f"Dice {overlap:.2f} against the reference" in line


@pytest.mark.usefixtures("own_models")
def test_a_model_that_cannot_be_shown_an_image_says_why_and_shows_the_image() -> None:
    image = Image(np.full((1, 64, 64), 0.5, np.float32), "unit interval", Modality.CT)
    case = Case("upload-00112233aabb", "CT 001122", image, Provenance("uploaded file", "0" * 64, "raster"))
    services().library.keep(case)
    test = opened(case=case.id, model="nodule")
    assert [error.value for error in test.error] == [
        "This model needs the pixel spacing in mm, which this image does not give; use DICOM or NIfTI."
    ]
    assert test.subheader[0].value == "CT 001122"


@pytest.mark.usefixtures("own_models")
def test_a_choice_of_model_holds_for_cases_of_the_same_kind() -> None:
    test = opened(case="phantom-lung-nodule")
    test.selectbox[0].set_value("nodule").run()
    view = test.session_state["case_view"]
    view.methods = ()  # what is shown of them does not matter here
    for case, expected in (("phantom-skin-hair", "skin-lesion-7"), ("phantom-lung-spiculated", "nodule")):
        view.open(case)
        test.run()
        assert not test.exception
        assert test.selectbox[0].value == expected


def test_explanations_arrive_and_are_found_again() -> None:
    test = opened(case="phantom-chest-nodule")
    view = test.session_state["case_view"]
    for _ in range(240):
        if len(list((Path(settings().cache) / "results").glob("*.npz"))) >= len(view.methods):
            break
        time.sleep(0.25)
    test.run()
    assert not test.exception
    assert len(list((Path(settings().cache) / "results").glob("*.npz"))) == 3


@pytest.mark.parametrize("page", ["compare", "models"])
def test_the_other_pages_open(page: str) -> None:
    test = opened(case="phantom-chest-nodule")
    test.query_params.clear()
    script = f"import streamlit as st\nfrom dashboard.pages import {page}\n{page}.page()\n"
    other = AppTest.from_string(script, default_timeout=120).run()
    assert not other.exception, other.exception
    assert not other.error
