"""The Case page: one image, its findings, and several explanations of one of them side by side."""

from __future__ import annotations

import streamlit as st

from dashboard.cases import middle_slice
from dashboard.quantities import sentence
from dashboard.serving.types import ExplainRequest
from dashboard.state import CaseView, Services, case_view, services, uploads
from dashboard.widgets import maps
from dashboard.widgets.case_header import from_link, header, target_of, to_link
from dashboard.widgets.case_neighbours import neighbours_panel
from dashboard.widgets.case_panels import about_panel, download_panel, findings_panel
from dashboard.widgets.case_picker import case_picker, find_case
from dashboard.widgets.case_quantities import quantities_panel, quantities_region
from dashboard.widgets.case_viewer import Shown, case_viewer
from dashboard.widgets.method_settings import method_settings
from dashboard.widgets.operating_point import at_operating_point
from dashboard.widgets.whatif import whatif_panel
from models.card import ModelCard
from models.errors import SightlineError
from models.types import Case, Image, Prediction


def page() -> None:
    """Everything of the page, top to bottom."""
    found, view, mine = services(), case_view(), uploads()
    from_link(view, found.library, dict(found.desk.engine.cards()))
    with st.sidebar:
        chosen = case_picker(found.library, mine, view.case_id, "case")
    if chosen is not None:
        view.open(chosen)
        st.rerun()
    try:
        case = find_case(found.library, mine, view.case_id)
    except SightlineError as error:
        st.error(str(error), icon=":material/error:")
        return
    _show(case, view, found)


def _show(case: Case, view: CaseView, found: Services) -> None:
    card = header(case, view, dict(found.desk.engine.cards()), found.library.made_for(case.id))
    index = min(view.slices.get(case.id, middle_slice(case.image)), case.image.depth - 1)
    image = case.image.slice(index)
    prediction = _predict(found, card, image)
    target, requests, source = None, {}, ""
    if card is not None and prediction is not None:
        prediction, source = at_operating_point(card, prediction)
    if card is not None and prediction is not None:
        target = target_of(view, case, card, prediction)
        requests = {m: ExplainRequest(card.id, image, m, target, view.params.get(m, {})) for m in view.methods}
    to_link(view, case, index, card, target)
    masks = (*maps.found_regions(prediction), *quantities_region(case, card, index, found.desk))
    known, judged = case_viewer(Shown(case, index, card, requests, view, found, masks))
    quantities_panel(case, card, index, found.desk)
    if card is None or prediction is None or target is None:
        about_panel(case, card, prediction)
        return
    whatif_panel(found.desk, card, case, image, prediction, target, requests)
    neighbours_panel(found, card, image, target)
    extent = sentence(case, prediction, target.index, index)
    if extent:
        st.markdown(extent)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        newly = findings_panel(card, prediction, case, target.index, source, f"findings-{card.id}")
        if newly is not None:
            view.finding, view.against = newly, None
            st.rerun()
    with right:
        about, settings = st.tabs(["About this case", "Method settings"])
        with about:
            about_panel(case, card, prediction)
            ready = {m: a.explanation for m, a in known.items() if a.explanation is not None}
            download_panel(case, index, ready, prediction, judged.verdicts if judged else {})
        with settings:
            method_settings(view, found.desk.engine, card)


def _predict(found: Services, card: ModelCard | None, image: Image) -> Prediction | None:
    if card is None:
        return None
    try:
        with st.spinner("Scoring ...", show_time=True):
            prediction = found.desk.predict(card.id, image, masks=True)
    except SightlineError as error:
        st.error(str(error), icon=":material/error:")
        return None
    for warning in prediction.warnings:
        st.warning(warning, icon=":material/warning:")
    return prediction
