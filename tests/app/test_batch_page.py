"""The Batch page without a browser: a run started, watched, stopped, taken up again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import streamlit as st
from PIL import Image as Picture
from streamlit.testing.v1 import AppTest

from dashboard.folder_runs import runs
from dashboard.folder_runs.desk import SCORES, BatchDesk, Choice
from dashboard.library import Library
from dashboard.serving.local import LocalEngine
from dashboard.settings import settings
from dashboard.state import batch_desk, services
from models.errors import DataError
from tests.dashboard.inline_pool import Inline


@pytest.fixture(autouse=True)
def own_cache(make_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SIGHTLINE_MODELS", str(make_model().parent))
    monkeypatch.setattr(Library, "start_scan", lambda self: None)
    monkeypatch.setattr(runs, "make_pool", lambda where: Inline())
    settings.cache_clear()
    st.cache_resource.clear()
    yield
    batch_desk().close()
    services().desk.close()
    settings.cache_clear()
    st.cache_resource.clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty pictures, and a damaged one."""
    (tmp_path / "in").mkdir()
    for number in range(20):
        values = np.random.default_rng(number).integers(0, 255, (40, 50), dtype=np.uint8)
        Picture.fromarray(values).save(tmp_path / "in" / f"film {number:02d}.png")
    (tmp_path / "in" / "zz.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    return tmp_path / "in"


def script() -> None:
    from dashboard.pages.batch import page

    page()


def opened() -> AppTest:
    app = AppTest.from_function(script, default_timeout=60).run()
    assert not app.exception
    return app


def start(app: AppTest, source: Path | str, out: Path) -> AppTest:
    app.text_input(key="batch-source").set_value(str(source))
    app.text_input(key="batch-out").set_value(str(out))
    app.selectbox(key="batch-model").set_value("tiny")
    app.run()
    return app.button(key="batch-start").click().run()


def ended(app: AppTest) -> AppTest:
    run, until = batch_desk().run, time.monotonic() + 60
    assert run is not None
    while run.state == "running" and time.monotonic() < until:
        time.sleep(0.02)
    app.run()
    assert not app.exception
    return app


def said(app: AppTest) -> str:
    kinds = (app.success, app.error, app.warning, app.info, app.markdown, app.caption)
    return " ".join(element.value for kind in kinds for element in kind)


def test_a_folder_is_scored_and_what_failed_is_listed(folder: Path, tmp_path: Path) -> None:
    app = opened()
    assert app.button(key="batch-start").disabled
    app = ended(start(app, folder, tmp_path / "out"))
    assert "Done: 20 images scored" in said(app)
    assert len(pd.read_parquet(tmp_path / "out" / SCORES)) == 20
    assert "Images without a result: 1" in said(app)
    failures, warnings = (element.value for element in app.dataframe)
    assert failures["For example"].tolist() == ["zz.png"]
    assert warnings["Images"].tolist() == [20]
    assert "Done: 20 images scored" in said(opened())  # another tab
    assert batch_desk().left is None


def test_a_stopped_run_goes_on_also_after_a_restart(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[int] = []
    held, own = threading.Event(), LocalEngine.predict

    def predict(self, model_id, images, ctx):
        scored.append(len(images))
        if len(scored) == 2:
            held.wait(60)
        return own(self, model_id, images, ctx)

    monkeypatch.setattr(LocalEngine, "predict", predict)
    app = start(opened(), folder, tmp_path / "out")
    while len(scored) < 2:
        time.sleep(0.01)
    app.run()
    assert app.button(key="batch-start").disabled
    app.button(key="batch-stop").click().run()
    held.set()
    app = ended(app)
    assert "Stopped after" in said(app)
    st.cache_resource.clear()  # as a restart of the server does
    app = opened()
    assert "A run was interrupted" in said(app)
    assert str(folder) in said(app)
    done = sum(scored)
    app = ended(app.button(key="batch-again").click().run())
    assert "Done: 20 images scored" in said(app)
    assert sum(scored) - done < 20
    assert "A run was interrupted" not in said(opened())


def test_maps_of_the_methods_and_finding_chosen(folder: Path, tmp_path: Path) -> None:
    app = opened()
    app.selectbox(key="batch-model").set_value("tiny").run()
    app.segmented_control(key="batch-doing").set_value("maps").run()
    app.multiselect(key="batch-methods").set_value(["grad-cam"]).run()
    app.selectbox(key="batch-target-tiny").set_value("Beta").run()
    app = ended(start(app, folder / "film 00.png", tmp_path / "out"))
    assert "Done: 1 explanation of 1 image." in said(app)
    assert (tmp_path / "out" / "film_00.grad-cam.Beta.npz").exists()


def test_what_cannot_be_run_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    assert "There is no folder or file" in said(start(opened(), tmp_path / "nowhere", tmp_path / "out"))
    (tmp_path / "file").write_text("in the way")
    app = ended(start(opened(), folder, tmp_path / "file" / "out"))
    assert "The output cannot be written" in said(app)
    batch_desk().forget()


def test_runs_stay_within_the_folder_that_is_set(folder: Path, tmp_path: Path) -> None:
    desk = BatchDesk(tmp_path / "note.json", within=folder)
    (folder / "way-out").symlink_to(tmp_path)
    inside = Choice(str(folder), "tiny", "scores", str(folder / "out"))
    for source, out in (
        (str(tmp_path), inside.out),
        (inside.source, str(tmp_path / "out")),
        (f"{folder}/../in/..", inside.out),
        (inside.source, str(folder / "way-out" / "out")),
    ):
        with pytest.raises(DataError, match="alone; choose a folder there"):
            desk.start(replace(inside, source=source, out=out))
    assert desk.run is None
    desk.start(inside)
    desk.close()
