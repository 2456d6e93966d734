"""The Volume page without a browser: work is started, followed and stopped; empty states; links to and from other pages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from dashboard.settings import settings
from dashboard.state import services, volume_desk
from dashboard.widgets.volume_choices import SAMPLES
from explainers.runtime.hidden import Ways
from models.types import Case, Image, Modality, Provenance, Region

SCAN = "upload-0123456789ab"
NOTE = "The slices are 1.5 to 3 mm apart."


@pytest.fixture(autouse=True)
def own_scan(nodule_model: Path, ct_volume: Image, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("dashboard.settings.ZOO", nodule_model.parent)
    monkeypatch.setattr(Ways, "_make", lambda self: None)
    marked = Region("Nodule", np.zeros((7, 40, 50), bool))
    services().library.keep(
        Case(
            SCAN,
            "CT 012345",
            ct_volume,
            Provenance("uploaded file", "0" * 64, "nifti", notes=(NOTE,)),
            regions=(marked,),
        )
    )
    yield
    volume_desk().close()
    services().desk.close()


def script() -> None:
    from dashboard.pages.volume import page

    page()


def opened(**query: str) -> AppTest:
    test = AppTest.from_function(script, default_timeout=120)
    for name, value in query.items():
        test.query_params[name] = value
    test.run()
    assert not test.exception, test.exception
    return test


def until(test: AppTest, ready: Callable[[AppTest], bool]) -> None:
    for _ in range(400):
        if ready(test):
            return
        time.sleep(0.05)
        test.run()
        assert not test.exception, test.exception
    raise TimeoutError


def test_every_slice_is_explained_and_told_in_words_and_files() -> None:
    test = opened(case=SCAN, model="nodule")
    assert test.subheader[0].value == "CT 012345"
    assert sum(NOTE in caption.value for caption in test.caption) == 1
    assert test.button(key="volume-start").label == "Explain the volume"
    test.button(key="volume-start").click().run()
    until(test, lambda now: bool([said for said in now.markdown if "highest score" in said.value]))
    assert not test.error
    said = " ".join(line.value for line in test.markdown)
    assert "Malignant" in said
    assert "of 7" in said
    assert "Grad-CAM" in said
    assert any("7 slices explained" in line.value for line in test.caption)
    assert test.button(key="volume-start").disabled
    assert dict(test.query_params) == {"case": SCAN, "model": "nodule", "finding": "Malignant"}
    assert len(list((settings().cache / "results").glob("*.npz"))) == 7


def test_one_slice_in_depth_and_blocks_can_be_asked_for() -> None:
    test = opened(case=SCAN, model="nodule")
    test.segmented_control[0].set_value("around").run()
    assert test.button(key="volume-start").label == "Explain this slice"
    test.button(key="volume-start").click().run()
    until(test, lambda now: any("Slice 4 explained" in line.value for line in now.caption))
    test.session_state["volume_view"].params["occlusion-3d"] = {"passes": 60}
    test.segmented_control[0].set_value("blocks").run()
    test.button(key="volume-start").click().run()
    until(test, lambda now: all(button.key != "volume-stop" for button in now.button))
    said = " ".join(line.value for line in test.markdown)
    assert "**3-D occlusion** of the score of slice 4 (logit / ml)" in said
    assert not test.button(key="volume-start").disabled  # for another slice
    assert not test.error


def test_work_is_stopped_and_taken_up_and_another_choice_lets_go_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    own, slow = services().desk.in_turn, [True]

    def in_turn(one, owner, ctx):  # type: ignore[no-untyped-def]
        while slow[0] and one.image.within[1] != 3:
            ctx.check()
            time.sleep(0.01)
        return own(one, owner, ctx)

    monkeypatch.setattr(services().desk, "in_turn", in_turn)
    test = opened(case=SCAN, model="nodule")
    test.button(key="volume-start").click().run()
    until(test, lambda now: now.session_state["volume_view"].asked != "")
    test.button(key="volume-stop").click().run()
    until(test, lambda now: any(button.key == "volume-start" for button in now.button))
    slow[0] = False
    test.button(key="volume-start").click().run()
    until(test, lambda now: any("7 slices explained" in line.value for line in now.caption))
    test.selectbox(key="volume-method").set_value("saliency").run()
    assert test.session_state["volume_view"].asked == ""
    assert test.button(key="volume-start").label == "Explain the volume"


def test_a_single_picture_says_which_samples_are_volumes_and_opens_one() -> None:
    test = opened(case="phantom-skin-symmetric")
    assert "zip" in test.info[0].value
    offered = {button.key for button in test.button if str(button.key).startswith("open-")}
    assert offered == {f"open-{name}" for name in SAMPLES}
    test.button(key="open-lung-ct-nodule").click().run()
    assert not test.exception
    assert "Chest CT" in test.subheader[0].value


def test_bad_links_and_models_that_cannot_read_a_volume_are_one_sentence() -> None:
    assert "no-such-case" in opened(case="no-such-case").error[0].value
    bare = Image(np.zeros((1, 4, 32, 32), np.float32), "HU", Modality.CT)
    services().library.keep(Case("upload-aaaaaaaaaaaa", "CT a", bare, Provenance("uploaded file", "1" * 64, "nifti")))
    test = opened(case="upload-aaaaaaaaaaaa", model="nodule")
    assert [error.value for error in test.error] == [
        "This model needs the pixel spacing in mm, which this image does not give; use DICOM or NIfTI."
    ]


@pytest.mark.parametrize("name", [name for name in SAMPLES if not name.startswith("phantom")])
def test_the_samples_offered_are_volumes(name: str) -> None:
    assert services().library.case(name).image.is_volume
