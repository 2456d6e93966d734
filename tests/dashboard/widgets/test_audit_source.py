"""Picking a table, bringing one, and mapping its columns, as a reader does it."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Picture
from scipy.special import expit
from streamlit.testing.v1 import AppTest


def script() -> None:
    from types import SimpleNamespace

    import numpy as np
    import streamlit as st

    from dashboard.settings import ZOO
    from dashboard.widgets.audit.source import choose_table
    from models.card import find_cards
    from models.types import Prediction

    cards, _ = find_cards([ZOO])

    def predict(model_id, images, ctx):
        card = cards[model_id]
        rows = [np.full(len(card.classes), float(image.values.mean()) / 255, np.float32) for image in images]
        return tuple(Prediction(model_id, card.classes, row, row, card.threshold_array, False) for row in rows)

    desk = SimpleNamespace(engine=SimpleNamespace(cards=lambda: cards, predict=predict))
    st.session_state["table"] = choose_table(desk)


@pytest.fixture
def app(monkeypatch, tmp_path):
    empty = tmp_path / "data"
    (empty / "cxr14_external_predictions").mkdir(parents=True)
    frame().to_parquet(empty / "cxr14_external_predictions" / "someones_model.parquet")
    monkeypatch.setenv("SIGHTLINE_DATA", str(empty))
    made = AppTest.from_function(script, default_timeout=60).run()
    assert not made.exception
    return made


def frame(**columns: object) -> pd.DataFrame:
    made = {"image": ["a", "b", "c"], "score_Mass": [0.1, 0.9, 0.4], "label_Mass": [0, 1, 0], "age": [30, 40, 50]}
    return pd.DataFrame(made | columns)


def upload(app: AppTest, data: bytes, name: str = "mine.csv") -> AppTest:
    app.file_uploader(key="audit-upload").set_value((name, data, "text/csv")).run()
    assert not app.exception
    return app


def table(app: AppTest):
    return app.session_state["table"]


def csv(data: pd.DataFrame) -> bytes:
    return data.to_csv(index=False).encode()


def test_the_zoo_comes_first_and_another_table_is_picked(app):
    picker = app.selectbox(key="audit-source")
    assert picker.options[0] == "Chest X-ray, 14 findings"
    assert picker.options[-1] == "Outside model: someones model"
    assert table(app).model_id == "chest-xray-14"
    picker.set_value("data:someones_model").run()
    assert table(app).classes == ("Mass",)
    assert app.session_state["audit_view"].source == "data:someones_model"
    app.run()
    assert table(app).classes == ("Mass",)


def test_a_source_set_by_another_page_is_shown(app):
    app.session_state["audit_view"].source = "zoo:skin-lesion-7"
    app.run()
    assert table(app).model_id == "skin-lesion-7"


def test_an_upload_is_shown_and_equal_content_is_kept_once(app):
    app.session_state["audit_view"].rows = (1, 2)
    upload(app, csv(frame()))
    assert table(app).title == "mine.csv"
    assert app.session_state["audit_view"].rows == ()
    before = len(app.selectbox(key="audit-source").options)
    upload(app, csv(frame()), "again.csv")
    assert len(app.selectbox(key="audit-source").options) == before
    upload(app, csv(frame(age=[1, 2, 3])))
    assert table(app).title == "mine.csv (2)"
    assert table(app).cases["age"].tolist() == [1, 2, 3]


def test_a_file_that_cannot_be_read_leaves_the_table_at_hand(app):
    upload(app, b"a,b\n")
    assert [error.value for error in app.error] == ["mine.csv holds no rows."]
    assert table(app).model_id == "chest-xray-14"


def test_logits_are_refused_and_converted_when_told(app):
    upload(app, csv(frame(score_Mass=[-2.0, 3.0, 0.5])))
    assert table(app) is None
    assert "look like logits" in app.error[0].value
    next(toggle for toggle in app.toggle if toggle.label == "These scores are logits").set_value(True).run()
    next(button for button in app.button if button.label == "Use these columns").click().run()
    assert not app.error
    np.testing.assert_allclose(table(app).scores[:, 0], expit([-2, 3, 0.5]), atol=1e-6)


def test_the_reader_says_whether_classes_exclude_each_other(app):
    logits = np.array([[2.0, -1.0], [-3.0, 0.5], [1.0, 0.0]])
    made = {"image": ["a", "b", "c"]}
    for k in range(2):
        made |= {f"score_{k}": logits[:, k], f"label_{k}": [int(k == truth) for truth in (0, 1, 0)]}
    upload(app, csv(pd.DataFrame(made)))

    def use(kind: str) -> None:
        next(toggle for toggle in app.toggle if toggle.label == "These scores are logits").set_value(True).run()
        next(box for box in app.selectbox if box.label == "Several classes are").set_value(kind).run()
        next(button for button in app.button if button.label == "Use these columns").click().run()

    use(None)
    assert table(app).exclusive
    assert any("softmax" in note for note in table(app).notes)
    use("multilabel")
    assert not table(app).exclusive
    np.testing.assert_allclose(table(app).scores, expit(logits), rtol=1e-6)
    assert next(box for box in app.selectbox if box.label == "Several classes are").value == "multilabel"


def test_a_mapping_that_is_wrong_says_so_and_stays(app):
    tall = pd.DataFrame({"who": list("aabb"), "what": list("XYXY"), "is": [0, 1, 1, 0], "out": [0.1, 0.7, 0.6, 1.2]})
    upload(app, csv(tall))
    assert "mapping" in app.error[0].value
    next(group for group in app.button_group if group.label == "Form").set_value("long").run()

    def choose(**chosen: str) -> None:
        for title, column in chosen.items():
            label = {"Label": "Label (0 or 1)"}.get(title, title)
            next(box for box in app.selectbox if box.label == label).set_value(column).run()
        next(button for button in app.button if button.label == "Use these columns").click().run()

    choose(Case="who", Class="what", Label="is", Score="out")
    assert "Row 4 of mine.csv: out holds 1.2" in app.error[0].value
    assert {box.label: box.value for box in app.selectbox}["Score"] == "out"
    choose(Score="is")
    assert not app.error
    np.testing.assert_array_equal(table(app).scores, [[0, 1], [1, 0]])


def test_the_model_behind_the_scores_lends_its_operating_points(app):
    upload(app, csv(pd.DataFrame({"image": ["a", "b"], "score_malignant": [0.2, 0.9], "label_malignant": [0, 1]})))
    box = next(box for box in app.selectbox if box.label == "Scores of the model")
    box.set_value("lung-nodule").run()
    next(button for button in app.button if button.label == "Use these columns").click().run()
    assert table(app).model_id == "lung-nodule"
    assert table(app).classes == ("Malignant",)
    assert table(app).thresholds != (0.5,)


def test_a_folder_is_scored_and_its_table_shown(app, tmp_path, monkeypatch):
    monkeypatch.setattr("dashboard.widgets.audit.folder.settings", lambda: type("S", (), {"cache": tmp_path / "cache"}))
    for row, grey in enumerate((51, 102, 204)):
        Picture.fromarray(np.full((32, 32), grey, np.uint8)).save(tmp_path / f"{row}.png")
    app.toggle(key="audit-folder-open").set_value(True).run()
    app.text_input(key="audit-folder-path").set_value(str(tmp_path)).run()
    app.selectbox(key="audit-model").set_value("lung-cancer-ct").run()
    labels = b"image,label\n0.png,0\n1.png,1\n2.png,1\n9.png,1\n"
    app.file_uploader(key="audit-labels").set_value(("labels.csv", labels, "text/csv")).run()
    app.button(key="audit-start").click().run()
    deadline = time.monotonic() + 30
    while app.session_state["audit-run"].run.state == "running" and time.monotonic() < deadline:
        time.sleep(0.1)
    app.run()
    assert not app.exception
    assert table(app).model_id == "lung-cancer-ct"
    np.testing.assert_allclose(table(app).scores[:, 0], [0.2, 0.4, 0.8], atol=1e-6)
    assert table(app).labels[:, 0].tolist() == [0, 1, 1]
    assert any("3 images scored" in done.value for done in app.success)
    app.selectbox(key="audit-source").set_value("zoo:chest-xray-14").run()
    assert table(app).model_id == "chest-xray-14"
