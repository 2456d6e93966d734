"""The Models page without a browser: gallery, one model, adding and removing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.settings import settings
from dashboard.state import services
from tests.measured_model import MEASURED, write_evaluation

MakeModel = Callable[..., Path]
SCRIPT = "from dashboard.pages import models\nmodels.page()\n"


@pytest.fixture(autouse=True)
def own_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_MODELS", str(tmp_path / "zoo"))
    (tmp_path / "zoo").mkdir()


@pytest.fixture
def measured(make_model: MakeModel) -> Path:
    return write_evaluation(make_model("measured", id="measured", title="Measured", **MEASURED))


def opened(model: str = "", tab: str = "") -> AppTest:
    test = AppTest.from_string(SCRIPT, default_timeout=120)
    if model:
        test.query_params["model"] = model
    if tab:
        test.session_state[f"tabs-{model}"] = tab
    test.run()
    assert not test.exception, test.exception
    return test


def said(test: AppTest) -> str:
    """All words of the page, tables included."""
    words = [
        element.value for kind in ("markdown", "caption", "info", "error", "warning") for element in getattr(test, kind)
    ]
    return "\n".join([*words, *(table.value.to_string() for table in (*test.table, *test.dataframe))])


def test_the_gallery_opens_a_model_and_comes_back(measured: Path, make_model: MakeModel) -> None:
    make_model("wrong", task="guess")
    test = opened()
    text = said(test)
    assert "CC-BY-NC-4.0 (non-commercial use only)" in text
    assert "x-ray · 3 findings, any number at once" in text
    assert "not loaded yet" in text
    assert "**wrong**" in test.error[0].value
    assert "field task" in test.error[0].value
    test.button("open-measured").click().run()
    assert test.query_params["model"] == "measured"
    assert test.subheader[0].value == "Measured"
    assert "Misses small ones." in said(test)
    test.button("all-models").click().run()
    assert "model" not in test.query_params
    assert test.subheader[0].value == "Models"
    assert services().desk.engine.state("measured") == "on disk"  # looking at cards loads no network


def test_an_unknown_model_in_the_address_is_said() -> None:
    test = opened("no-such-model")
    assert "no model 'no-such-model'" in test.warning[0].value
    assert test.subheader[0].value == "Models"


@pytest.mark.parametrize(
    ("tab", "expected"),
    [
        ("Card", ["Screening.", "x-ray images", "No: other images.", "0.500", "0.850"]),
        ("Performance", ["0.780 to 0.840", "too few (n = 7)", "too few (n = 4)", "(chosen)", "0.0300", "Confusion"]),
        ("Training", ["focal (best)", "0.030", "1,200", "Patients", "900", "12 min"]),
        ("Robustness", ["60 corrupted", "without corruption, 0.810", "0.600", "99.0%", "other modality", "0.970"]),
        ("Architecture", ["timm:mobilenetv3_small_050", "blocks.4", "288 x 2 x 2", "classifier", "sha256"]),
    ],
)
def test_a_tab_shows_what_was_measured(measured: Path, tab: str, expected: list[str]) -> None:
    test = opened("measured", tab)
    assert not test.error
    text = said(test)
    for words in expected:
        assert words in text


@pytest.mark.parametrize("tab", ["Card", "Performance", "Training", "Robustness", "Architecture"])
def test_a_card_without_figures_says_so(make_model: MakeModel, tab: str) -> None:
    make_model()
    test = opened("tiny", tab)
    assert not test.error
    missing = {
        "Performance": "No evaluation is stored beside this model",
        "Training": "No training history is stored",
        "Robustness": "Robustness was not measured",
    }
    assert missing.get(tab, "") in said(test)


def test_faults_are_one_sentence(measured: Path) -> None:
    (measured / "evaluation" / "metrics.json").write_text("{")
    (measured / "history.csv").unlink()
    (measured / "weights.safetensors").unlink()
    for tab, words in (("Performance", "metrics.json"), ("Training", "history.csv"), ("Architecture", "is missing")):
        errors = opened("measured", tab).error
        assert any(words in error.value for error in errors)
        assert len(errors) <= 2
    shutil.rmtree(measured / "evaluation")
    assert "cannot be loaded" in said(opened())


def drop(test: AppTest, files: list[tuple[str, bytes, str]]) -> AppTest:
    test.file_uploader[0].set_value(files)
    (submit,) = [button for button in test.button if button.label == "Check and add"]
    submit.click().run()
    assert not test.exception, test.exception
    return test


def test_a_model_is_added_used_at_once_and_removed(tmp_path: Path, make_model: MakeModel) -> None:
    folder = make_model("new", id="new-one", title="New one").rename(tmp_path / "new")
    card, weights = (folder / name for name in ("card.toml", "weights.safetensors"))
    test = drop(opened(), [("card.toml", card.read_bytes(), "text/plain")])
    assert "is missing" in test.error[0].value
    own = settings().own_models
    assert not list(own.glob("[!.]*"))
    test = drop(opened(), [(path.name, path.read_bytes(), "") for path in (card, weights)])
    assert test.query_params["model"] == "new-one"
    assert "New one was added" in test.success[0].value
    services().desk.engine.layers("new-one")
    test.button("all-models").click().run()
    assert "added by you" in said(test)
    test = drop(test, [(path.name, path.read_bytes(), "") for path in (card, weights)])
    assert "taken by another model" in test.error[0].value
    test.button("open-new-one").click().run()
    test.button("remove-new-one").click().run()
    assert not test.exception
    assert "new-one" not in services().desk.engine.cards()
    assert not (own / "new-one").exists()
    assert test.subheader[0].value == "Models"
