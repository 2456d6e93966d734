"""The Case page: one image, its findings, and several explanations of one of them side by side."""

from __future__ import annotations

import streamlit as st

from dashboard.cases import RESEARCH_NOTE, facts_line, middle_slice, readable
from dashboard.jobs.desk import Answer
from dashboard.library import reading_model, require
from dashboard.serving.types import ExplainRequest
from dashboard.state import CaseView, Services, case_view, owner, services, uploads
from dashboard.widgets import maps
from dashboard.widgets.case_panels import about_panel, download_panel, findings_panel
from dashboard.widgets.case_picker import case_picker, rows
from dashboard.widgets.method_settings import method_settings
from dashboard.widgets.viewer.viewer import Pane, ViewerEvents, viewer
from explainers import EXPLAINERS
from models.card import ModelCard
from models.errors import SightlineError
from models.types import Case, Image, Prediction, Target

NO_MODEL = "No model"


def page() -> None:
    """Everything of the page, top to bottom."""
    found, view, mine = services(), case_view(), uploads()
    _from_link(view, found)
    with st.sidebar:
        chosen = case_picker(found.library, mine, view.case_id, "case")
    if chosen is not None:
        view.open(chosen)
        st.rerun()
    try:
        case = require(mine.cases, found.library, view.case_id)
    except SightlineError as error:
        st.error(str(error), icon=":material/error:")
        return
    _show(case, view, found)


def _show(case: Case, view: CaseView, found: Services) -> None:
    cards = dict(found.desk.engine.cards())
    card = _header(case, view, cards)
    index = view.slices.get(case.id, middle_slice(case.image))
    image = case.image.slice(index)
    prediction = _predict(found, card, image)
    target = _target(view, card, prediction)
    requests = {}
    if card is not None and target is not None:
        requests = {m: ExplainRequest(card.id, image, m, target, view.params.get(m, {})) for m in view.methods}
    known = maps.answers(found.desk, requests, owner(), view.held, view.stopped)
    every = 0.3 if any(answer.active for answer in known.values()) else None
    _to_link(view, card, target)
    st.fragment(_viewer, run_every=every)(case, index, requests, view, found, every is not None)
    if card is None or prediction is None or target is None:
        about_panel(case, card, prediction)
        return
    left, right = st.columns([3, 2], gap="medium")
    with left:
        newly = findings_panel(card, prediction, case, target.index, f"findings-{card.id}")
        if newly is not None:
            view.finding, view.against = newly, None
            st.rerun()
    with right:
        about, settings = st.tabs(["About this case", "Method settings"])
        with about:
            about_panel(case, card, prediction)
            ready = {m: a.explanation for m, a in known.items() if a.explanation is not None}
            download_panel(case, image, ready, prediction)
        with settings:
            method_settings(view, found.desk.engine, card)


def _viewer(
    case: Case, index: int, requests: dict[str, ExplainRequest], view: CaseView, found: Services, was_active: bool
) -> None:
    """A fragment: while work is under way it alone runs again."""
    known = maps.answers(found.desk, requests, owner(), view.held, view.stopped)
    panes = [Pane("image", "Image", facts_line(case))]
    panes += [maps.pane(method, method, answer) for method, answer in known.items()]
    caption = [f"{case.title} · {facts_line(case)}", *_said(requests), RESEARCH_NOTE]
    events = viewer(
        case.image,
        panes,
        key="viewer",
        slice_index=index,
        regions=case.regions,
        caption=caption,
        file_name=f"{case.id}.png",
    )
    _react(events, case, index, view, known, found)
    if was_active and not any(answer.active for answer in known.values()):
        st.rerun()  # the whole page: polling ends, downloads appear


def _said(requests: dict[str, ExplainRequest]) -> list[str]:
    return [f"{request.model_id}: {readable(request.target.label)}" for request in list(requests.values())[:1]]


def _react(
    events: ViewerEvents, case: Case, index: int, view: CaseView, known: dict[str, Answer], found: Services
) -> None:
    if events.cancel in known:
        view.stopped.add(known[events.cancel].key)
        st.rerun()
    if events.retry in known:
        view.stopped.discard(known[events.retry].key)
        found.desk.retry(known[events.retry].key)
        st.rerun()
    if events.slice is not None and events.slice != index:
        view.slices[case.id] = events.slice
        st.rerun()
    if events.page:
        ids = [row.id for row in rows(found.library, uploads())]
        view.open(ids[(ids.index(case.id) + events.page) % len(ids)])
        st.rerun()


def _header(case: Case, view: CaseView, cards: dict[str, ModelCard]) -> ModelCard | None:
    """Title, model and methods in one line; returns the chosen model."""
    if view.model_id not in cards and view.model_id != NO_MODEL:
        reading = reading_model(case, cards, view.preferred_model)
        view.model_id = reading.id if reading else NO_MODEL
    title, model, methods = st.columns([5, 4, 7], vertical_alignment="bottom", gap="medium")
    title.subheader(case.title, anchor=False)
    options = [NO_MODEL, *cards]
    view.model_id = model.selectbox(
        "Model",
        options,
        index=options.index(view.model_id),
        key=f"model-{case.id}-{view.model_id}",
        format_func=lambda name: cards[name].title if name in cards else name,
    )
    specs = [explainer.spec for explainer in sorted(EXPLAINERS, key=lambda e: e.spec.order)]
    titles = {spec.id: spec.title for spec in specs}
    picked = methods.multiselect(
        "Explanations",
        list(titles),
        default=list(view.methods),
        format_func=titles.__getitem__,
        key="methods",
        max_selections=5,
    )
    view.methods = tuple(sorted(picked, key=lambda name: list(titles).index(name)))
    card = cards.get(view.model_id)
    if card is None:
        readers = ", ".join(sorted({str(m) for c in cards.values() for m in c.input.modality}))
        st.info(
            f"No installed model reads {case.image.modality} images, so only the image is shown. Installed models read: {readers}.",
            icon=":material/info:",
        )
    return card


def _predict(found: Services, card: ModelCard | None, image: Image) -> Prediction | None:
    if card is None:
        return None
    try:
        with st.spinner("Scoring ...", show_time=True):
            prediction = found.desk.predict(card.id, image)
    except SightlineError as error:
        st.error(str(error), icon=":material/error:")
        return None
    for warning in prediction.warnings:
        st.warning(warning, icon=":material/warning:")
    return prediction


def _target(view: CaseView, card: ModelCard | None, prediction: Prediction | None) -> Target | None:
    """The finding to explain: the reader's, else the leading flagged one, else the most probable."""
    if card is None or prediction is None:
        return None
    if view.finding is None or view.finding >= len(card.classes):
        flagged = sorted(
            prediction.flagged, key=lambda k: -float(prediction.probabilities[k] - prediction.thresholds[k])
        )
        view.finding = (flagged or list(prediction.order))[0]
    name = card.classes[view.finding]
    if view.against is None or view.against == view.finding or view.against >= len(card.classes):
        return card.target(name)
    return card.target(name, "contrast", card.classes[view.against])


def _from_link(view: CaseView, found: Services) -> None:
    """?case=...&model=...&finding=... restores a view, once a session; without one, the first sample opens."""
    if view.case_id:
        return
    query = st.query_params
    view.case_id = query.get("case") or next(iter(found.library.entries))
    view.model_id = query.get("model", "")
    card = found.desk.engine.cards().get(view.model_id)
    if card is not None and "finding" in query:
        try:
            view.finding = card.target(query["finding"]).index
        except SightlineError as error:
            st.warning(str(error), icon=":material/link_off:")


def _to_link(view: CaseView, card: ModelCard | None, target: Target | None) -> None:
    link = {"case": view.case_id}
    if card is not None and target is not None:
        link |= {"model": card.id, "finding": target.name}
    st.query_params.from_dict(link)
