"""The System page without a browser: what the engine does is told as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from dashboard.settings import settings
from dashboard.state import services
from dashboard.widgets.style import in_a_line
from models.context import RunContext
from models.types import Image, Modality

SCRIPT = "from dashboard.pages import system\nsystem.page()\n"


@pytest.fixture(autouse=True)
def tiny(own_folders: None, monkeypatch: pytest.MonkeyPatch, make_model: Callable[..., Path]) -> None:
    monkeypatch.setenv("SIGHTLINE_MODELS", str(make_model(title="Tiny").parent))
    settings.cache_clear()


def test_an_engine_at_rest_says_so() -> None:
    at = AppTest.from_string(SCRIPT, default_timeout=60).run()
    assert not at.exception
    told = [caption.value for caption in at.caption]
    assert "No model is loaded; one is when it is first asked for something." in told
    assert "Nothing was asked of the engine in the last hour." in told
    assert in_a_line(services().desk.engine.health()).endswith("0 models · idle · this computer")


def test_work_done_and_under_way_is_shown() -> None:
    engine = services().desk.engine
    picture = Image(np.zeros((1, 64, 64), np.float32), "unit interval", Modality.XRAY)
    for _ in range(3):
        engine.predict("tiny", [picture], RunContext())
    with engine._devices[0].turns.turn(RunContext(), "checks"):  # type: ignore[attr-defined]
        at = AppTest.from_string(SCRIPT, default_timeout=60).run()
        assert in_a_line(engine.health()).endswith("1 model · 1 waiting · this computer")
    assert not at.exception
    values = {metric.label: metric.value for metric in at.metric}
    assert values["In the queue"] == "1"
    assert values["Answers in the last hour"] == "3"
    devices, models = (frame.value for frame in at.dataframe)
    assert devices.loc[0, "Now"] == "Trust checks"
    assert list(models["Model"]) == ["Tiny"]
    assert len(at.get("plotly_chart")) == 2
