"""The shortcut section of the Audit page: what it asks for, and a finished hunt on the screen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from streamlit.testing.v1 import AppTest

from dashboard.hunting.cohort import Cohort
from dashboard.hunting.masking import mask_and_predict
from dashboard.hunting.shortcuts import HuntSettings, hunt
from dashboard.images import ImageFolder
from models.context import RunContext
from tests.dashboard.hunting.made import made_card
from tests.dashboard.hunting.reading import Reader, desk_of, pictures, table_of, written


def script() -> None:
    from dataclasses import replace

    import streamlit as st

    from dashboard.widgets.audit.chart import Audit
    from dashboard.widgets.audit.shortcuts import shortcuts_section

    table = replace(st.session_state["made_table"], model_id="lung-nodule")
    shortcuts_section(Audit(table, table, 0))


def test_a_finished_hunt_is_shown_with_what_covering_did(tmp_path: Path) -> None:
    size = {"height": 64, "width": 64, "modality": ["other"], "mean": [0.5] * 3, "std": [0.25] * 3}
    reader = Reader(made_card(["Finding"], task="binary", input=size))
    values, labels, _ = pictures(48)
    table = table_of(reader, values, labels)
    desk = desk_of(reader, tmp_path)
    folder = ImageFolder(written(values, tmp_path / "images"))
    called = np.flatnonzero(table.decided[:, 0]).astype(np.intp)
    cases = Cohort(table, folder, reader.card, called)
    try:
        found = hunt(cases, HuntSettings("Finding"), desk, "me", RunContext())
        masked = mask_and_predict(found, found.clusters[0], cases, desk, "me", RunContext(), fill="black")
    finally:
        desk.close()

    from dashboard.widgets.audit.shortcuts import _View

    test = AppTest.from_function(script, default_timeout=60)
    test.session_state["made_table"] = table
    test.run()
    assert not test.exception
    assert "Give the folder of the images" in "\n".join(one.value for one in test.caption)
    view = _View("kept", cases, HuntSettings("Finding"), found, masked={found.clusters[0].number: masked})
    test.session_state["audit_shortcuts"] = view
    test.text_input(key="shortcuts-images").set_value(str(tmp_path / "images")).run()
    assert not test.exception
    said = "\n".join(one.value for one in [*test.markdown, *test.error, *test.warning])
    assert f"**{len(found.clusters)} clusters** · {len(found)} cases" in said
    assert masked[0].sentence in said
    assert test.dataframe[0].value["Cases"].tolist() == [len(one) for one in found.clusters]
