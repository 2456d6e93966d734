"""The Preparation page: an image prepared step by step, and which step flipped the call."""

from __future__ import annotations

import streamlit as st

from dashboard.cases import facts_line, middle_slice
from dashboard.preparation.keys import key_of
from dashboard.preparation.outcome import Outcome
from dashboard.state import (
    CaseView,
    PreparationView,
    Services,
    case_view,
    owner,
    preparation_view,
    services,
    uploads,
)
from dashboard.widgets.case_header import from_link, reader_notes, to_link
from dashboard.widgets.case_picker import case_picker, find_case
from dashboard.widgets.preparation_choices import choose_preset, choose_reference, choose_steps
from dashboard.widgets.preparation_maps import maps_panel
from dashboard.widgets.preparation_runs import preparations, watch, work_of
from dashboard.widgets.preparation_trace import download, effects_panel, trace_rows
from dashboard.widgets.volume_choices import choose_model
from models.errors import SightlineError
from models.types import Case

FIRST_CASE = "brain-mr-tumour-1"  # where the reader has not opened another


def page() -> None:
    """Everything of the page, top to bottom."""
    found, view, mine = services(), case_view(), uploads()
    if not view.case_id and "case" not in st.query_params and FIRST_CASE in found.library.entries:
        view.open(FIRST_CASE)
    from_link(view, found.library, dict(found.desk.engine.cards()))
    with st.sidebar:
        chosen = case_picker(found.library, mine, view.case_id, "preparation")
    if chosen is not None:
        view.open(chosen)
        st.rerun()
    try:
        case = find_case(found.library, mine, view.case_id)
    except SightlineError as error:
        st.error(str(error), icon=":material/error:")
        return
    _show(case, view, preparation_view(), found)


def _show(case: Case, view: CaseView, mine: PreparationView, found: Services) -> None:
    title, model, where = st.columns([5, 4, 4], vertical_alignment="bottom")
    title.subheader(case.title, anchor=False)
    title.caption(facts_line(case))
    with model:
        card = choose_model(case, view, dict(found.desk.engine.cards()), found.library.made_for(case.id))
    with where:
        native_slice = _choose_slice(case, view)
    to_link(view, case, native_slice, card, None)
    reader_notes(case)
    left, right = st.columns([2, 5], gap="medium")
    with left:
        preset_id = choose_preset(case, mine)
        button = st.container()
        choices = choose_steps(case, preset_id, mine)
        reference = choose_reference(case, choices, mine, found.library, uploads())
        against = mine.reference if reference is not None else ""
        weights = "" if card is None else card.weights.sha256
        key = key_of(case, choices, "" if card is None else card.id, weights, native_slice, against)
        asked = mine.asked.get(case.id, "")
        nothing = not any(choice.on for choice in choices) and card is None
        if button.button(
            "Run",
            type="primary",
            icon=":material/play_arrow:",
            key="preparation-run",
            width="stretch",
            disabled=nothing,
        ):
            if asked and asked != key:
                preparations().stop(asked, owner())
            work = work_of(case.image, choices, native_slice, card, found.desk, reference)
            mine.asked[case.id] = asked = key
            preparations().start(key, work, owner())
    with right:
        outcome = _result(case, asked, asked == key, mine)
    effects = None if outcome is None or not outcome.trace.records else outcome.effects
    same = (
        effects is not None and card is not None and effects.classes == tuple(card.classes)
    )  # the model that was asked
    if outcome is not None and card is not None and same:
        maps_panel(case, outcome, card, found.desk, mine)


def _choose_slice(case: Case, view: CaseView) -> int:
    """The slice that the model is asked about, from 0; it is the Case page's too."""
    depth = case.image.depth
    if depth == 1:
        return 0
    known = min(view.slices.get(case.id, middle_slice(case.image)), depth - 1)
    chosen = st.slider("Slice the model is asked about", 1, depth, known + 1, key=f"preparation-slice-{case.id}") - 1
    view.slices[case.id] = chosen
    return chosen


def _result(case: Case, asked: str, current: bool, mine: PreparationView) -> Outcome | None:
    """What there is of the work last asked for; returned once it is complete."""
    job = preparations().look(asked) if asked else None
    if job is None and asked:
        st.info("Let go of meanwhile; press Run again.", icon=":material/history:")
        return None
    if job is None:
        st.info(
            "Choose the steps at the left and press Run. Each step then shows the image before and after it, whether the "
            "result is plausible, and what leaving it out would change in the model's answer.",
            icon=":material/info:",
        )
        return None
    if job.active:
        st.fragment(watch, run_every=0.7)(asked, trace_rows, lambda: mine.asked.pop(case.id, None))
        return None
    if job.state == "cancelled":
        st.info("Stopped; Run starts again.", icon=":material/stop_circle:")
    elif job.state == "failed":
        st.error(job.message, icon=":material/error:")
    outcome = job.result
    if outcome is not None:
        if not current:
            st.info("The choices have changed since; this is the result of the last run.", icon=":material/history:")
        if outcome.effects is not None and outcome.trace.records:
            effects_panel(outcome.effects, case.image.depth)
        trace_rows(outcome)
        download(case, outcome)
    return outcome
