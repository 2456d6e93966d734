"""The Quantify page without a browser: measuring, comparing, refusing; empty states."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from dashboard.jobs.kept import KeptJobs
from dashboard.quantify.followup import FollowUp, Visit
from dashboard.quantify.lungs import from_sides
from dashboard.quantify.study import study_of
from dashboard.quantify.visits import Quantities, own_lesions
from dashboard.registration import Quality, Registration
from dashboard.state import Uploads, quantify_jobs, services
from dashboard.widgets.quantify_choices import masks_on, with_mask
from dashboard.widgets.quantify_results import index_of
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
def own_scans() -> Iterator[None]:
    for name, title in ((NOW, "Now"), (EARLIER, "Earlier scan")):
        own = Region("Infection", lesions())
        origin = Provenance("uploaded file", name[-1] * 64, "nifti")
        services().library.keep(Case(name, title, scan(), origin, regions=(own,)))
    services().library.keep(Case(SLICE, "One slice", scan(1), Provenance("uploaded file", "c" * 64, "nifti")))
    yield
    quantify_jobs().close()
    services().desk.close()


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
    assert test.dataframe[0].value["Slice"].tolist() == [5]  # of slices 5 and 6, counted from 1
    assert "Right lung" in test.dataframe[1].value
    monkeypatch.setattr(KeptJobs, "look", lambda jobs, key: None)
    test.run()
    assert [info.value for info in test.info] == ["Let go of meanwhile; press Measure again."]


def test_an_uploaded_mask_on_the_grid_of_the_scan_can_be_chosen() -> None:
    marked = lesions()[None].astype(np.float32)
    origin = Provenance("uploaded file", "d" * 64, "nifti")

    def upload(values: np.ndarray, name: str, spacing: float = 8.0) -> Case:
        image = Image(values, "stored value", geometry=Geometry(np.diag([spacing, 8.0, 10.0, 1.0])))
        return Case(name, name, image, origin)

    case = Case(NOW, "Now", scan(), origin)
    mine = Uploads()
    for own in (case, upload(marked, "mask"), upload(marked + 0.5, "scan"), upload(marked, "elsewhere", 9.0)):
        mine.cases[own.id] = own
    found = masks_on(case, mine)
    assert list(found) == ["mask"]
    np.testing.assert_array_equal(own_lesions(with_mask(replace(case, regions=()), found["mask"])), lesions())


def test_a_place_outside_the_scan_is_nowhere_to_go_to() -> None:
    study = visit().study
    assert index_of((8.0 * 3, 8.0 * 4, 10.0 * 5), study) == (3, 4, 5)
    assert index_of((8.0 * 3, 8.0 * 4, 10.0 * SHAPE[0]), study) is None
    assert index_of((-9.0, 8.0, 10.0), study) is None


def test_what_does_not_fit_is_not_compared_and_the_scan_still_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    test = opened(NOW)

    def work(case: Case, prior: Case | None, ctx: RunContext) -> Quantities:
        quality = Quality(0.02, 0.05, -0.3, -0.2, 0.9)
        said = "The two scans could not be brought into line."
        tried = Registration(np.eye(4), "rigid", quality, np.zeros(3), False, said)
        return Quantities(visit(), visit(), FollowUp(visit().study, tried, said))

    test = measured(test, monkeypatch, work)
    assert any("could not be brought into line" in error.value for error in test.error)
    assert any("correlation -0.30 before, -0.20 after" in caption.value for caption in test.caption)
    assert test.metric[0].value == "1"
    assert [tab.label for tab in test.tabs] == ["Lesions", "Lungs", "Density"]


def test_stopping_is_for_this_session_and_a_failing_earlier_scan_leaves_the_figures_of_this_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    test, going = opened(NOW), threading.Event()

    def work(*arguments: object) -> Quantities:
        going.wait(30)
        return Quantities(visit(), refused="Earlier scan: no lungs.")

    monkeypatch.setattr("dashboard.pages.quantify.measure", work)
    next(button for button in test.button if button.label == "Measure").click().run()
    (key,) = test.session_state["quantify_view"].asked.values()
    job = quantify_jobs().start(key, work, "another session")
    next(button for button in test.button if button.label == "Stop").click().run()
    assert not test.session_state["quantify_view"].asked
    assert "finds both lungs" in test.info[0].value
    assert not job.cancelled.is_set()
    going.set()
    assert job.finished.wait(10)
    next(button for button in test.button if button.label == "Measure").click().run()
    assert [error.value for error in test.error] == ["Not compared. Earlier scan: no lungs."]
    assert test.metric[0].value == "1"


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
