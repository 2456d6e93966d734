"""The Case page: one image, its findings, and several explanations of one of them side by side."""

from __future__ import annotations

import streamlit as st

from dashboard.cases import RESEARCH_NOTE, facts_line, middle_slice, readable
from dashboard.jobs.desk import Answer
from dashboard.quantities import sentence
from dashboard.serving.types import ExplainRequest
from dashboard.state import CaseView, Services, case_view, owner, services, uploads
from dashboard.widgets import maps
from dashboard.widgets.case_header import from_link, header, target_of, to_link
from dashboard.widgets.case_panels import about_panel, download_panel, findings_panel
from dashboard.widgets.case_picker import case_picker, find_case, rows
from dashboard.widgets.case_quantities import quantities_panel, quantities_region
from dashboard.widgets.method_settings import method_settings
from dashboard.widgets.operating_point import at_operating_point
from dashboard.widgets.viewer.viewer import Pane, ViewerEvents, preload, viewer
from models.card import ModelCard
from models.errors import SightlineError
from models.types import Case, Image, Prediction, Region


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
    known = maps.answers(found.desk, requests, owner(), view.held, view.stopped)
    every = 0.3 if any(answer.active for answer in known.values()) else None
    preload(case.image, key="viewer")
    slices = card.input.slices if card is not None else 1
    masks = (*maps.found_regions(prediction), *quantities_region(case, card, index, found.desk))
    st.fragment(_viewer, run_every=every)(case, index, requests, view, found, slices, masks, every is not None)
    quantities_panel(case, card, index, found.desk)
    if card is None or prediction is None or target is None:
        about_panel(case, card, prediction)
        return
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
            download_panel(case, index, ready, prediction)
        with settings:
            method_settings(view, found.desk.engine, card)


def _viewer(
    case: Case,
    index: int,
    requests: dict[str, ExplainRequest],
    view: CaseView,
    found: Services,
    slices: int,
    masks: tuple[Region, ...],
    was_active: bool,
) -> None:
    """A fragment: while work is under way it alone runs again."""
    known = maps.answers(found.desk, requests, owner(), view.held, view.stopped)
    panes = [Pane("image", "Image", facts_line(case))]
    panes += [maps.pane(method, method, answer, slices=slices) for method, answer in known.items()]
    events = viewer(
        case.image,
        panes,
        key="viewer",
        slice_index=index,
        regions=case.regions,
        found=masks,
        caption=[f"{case.title} · {facts_line(case)}", *_said(requests), RESEARCH_NOTE],
        file_name=f"{case.id}.png",
        preloaded=True,
    )
    _react(events, case, index, view, known, found)
    if was_active and not any(answer.active for answer in known.values()):
        st.rerun()  # the whole page: polling ends, downloads appear


def _said(requests: dict[str, ExplainRequest]) -> list[str]:
    return [f"{request.model_id}: {readable(request.target.label)}" for request in list(requests.values())[:1]]


def _react(
    events: ViewerEvents, case: Case, index: int, view: CaseView, known: dict[str, Answer], found: Services
) -> None:
    if maps.react(events, known, view.stopped, found.desk):
        st.rerun()
    if events.slice is not None and events.slice != index:
        view.slices[case.id] = events.slice
        st.rerun()
    if events.page:
        ids = [row.id for row in rows(found.library, uploads())]
        view.open(ids[(ids.index(case.id) + events.page) % len(ids)])
        st.rerun()


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
