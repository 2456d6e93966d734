"""The Quantify page without a browser: measuring, comparing, refusing; empty states."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dashboard.library import Library
from dashboard.quantify.followup import FollowUp, Visit
from dashboard.quantify.lungs import from_sides
from dashboard.quantify.study import study_of
from dashboard.quantify.visits import Quantities
from dashboard.settings import settings
from dashboard.state import quantify_jobs, services
from models.context import RunContext
from models.errors import DataError
from models.types import Case, Geometry, Image, Modality, Provenance, Region

NOW, EARLIER, SLICE = "upload-00000000000a", "upload-00000000000b", "upload-00000000000c"
SHAPE = (12, 20, 24)


def scan(depth: int = SHAPE[0]) -> Image:
    values = np.full((1, depth, *SHAPE[1:]), -850, np.float32)
    return Image(values if depth > 1 else values[:, 0], "HU", Modality.CT, Geometry(np.diag([8.0, 8.0, 10.0, 1.0])))


def lesions() -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[4:6, 5:8, 3:6] = True  # 18 voxels of 0.64 ml
    return mask


def visit() -> Visit:
    sides = np.zeros(SHAPE, np.uint8)
    sides[2:10, 2:18, 2:10], sides[2:10, 2:18, 14:22] = 1, 2
    image = scan()
    assert image.geometry is not None
    lungs = from_sides(sides, image.geometry, "drawn")
    return Visit(study_of(lesions(), image.geometry, "supplied mask", image, lungs), image)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SIGHTLINE_DATA", str(tmp_path))
    monkeypatch.setattr(Library, "start_scan", lambda self: None)
    settings.cache_clear()
    st.cache_resource.clear()
    for name, title in ((NOW, "Now"), (EARLIER, "Earlier scan")):
        own = Region("Infection", lesions())
        origin = Provenance("uploaded file", name[-1] * 64, "nifti")
        services().library.keep(Case(name, title, scan(), origin, regions=(own,)))
    services().library.keep(Case(SLICE, "One slice", scan(1), Provenance("uploaded file", "c" * 64, "nifti")))
    yield
    quantify_jobs().close()
    services().desk.close()
    settings.cache_clear()
    st.cache_resource.clear()


def script() -> None:
    from dashboard.pages.quantify import page

    page()


def opened(case: str) -> AppTest:
    test = AppTest.from_function(script, default_timeout=120)
    test.query_params["case"] = case
    test.run()
    assert not test.exception, test.exception
    return test


def measured(test: AppTest, monkeypatch: pytest.MonkeyPatch, work: Callable[..., Quantities]) -> AppTest:
    monkeypatch.setattr("dashboard.pages.quantify.measure", lambda case, prior, *rest: work(case, prior, rest[-1]))
    next(button for button in test.button if button.label == "Measure").click().run()
    for _ in range(100):
        if not any(button.label == "Stop" for button in test.button):
            break
        time.sleep(0.05)
        test.run()
    assert not test.exception, test.exception
    return test


def test_figures_tables_and_planes(monkeypatch: pytest.MonkeyPatch) -> None:
    test = measured(opened(NOW), monkeypatch, lambda case, prior, ctx: Quantities(visit()))
    shown = {metric.label: metric.value for metric in test.metric}
    assert shown["Lesions"] == "1"
    assert shown["Lesion volume"] == f"{18 * 0.64:.1f} ml"
    assert shown["Of the lungs"] == f"{100 * 18 / (2 * 8 * 16 * 8):.1f} %"
    assert shown["CT severity"] == "1 of 5"
    assert test.dataframe[0].value["Volume (ml)"].tolist() == pytest.approx([11.52])
    assert "Right lung" in test.dataframe[1].value


def test_what_does_not_fit_is_not_compared_and_the_scan_still_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    test = opened(NOW)

    def work(case: Case, prior: Case | None, ctx: RunContext) -> Quantities:
        return Quantities(
            visit(), visit(), FollowUp(visit().study, None, "The two scans could not be brought into line.")
        )

    test = measured(test, monkeypatch, work)
    assert any("could not be brought into line" in error.value for error in test.error)
    assert test.metric[0].value == "1"
    assert [tab.label for tab in test.tabs] == ["Lesions", "Lungs", "Density"]


def test_a_failure_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(case: Case, prior: Case | None, ctx: RunContext) -> Quantities:
        raise DataError("No lungs are found in the scan; give their mask.")

    test = measured(opened(NOW), monkeypatch, work)
    assert [error.value for error in test.error] == ["No lungs are found in the scan; give their mask."]
    assert not test.metric


def test_a_single_slice_is_told_what_to_open() -> None:
    test = opened(SLICE)
    assert "chest CT of several slices" in test.info[0].value
    next(button for button in test.button if "later" in button.label).click().run()
    assert test.session_state["case_view"].case_id == "phantom-chest-ct-follow-up"
    earlier = next(box for box in test.selectbox if box.label == "Compare with an earlier scan")
    assert earlier.value == "phantom-chest-ct-baseline"
