"""The Compare page: one case under two models, or two cases under one model, with the difference of scores."""

from __future__ import annotations

import streamlit as st

from dashboard.cases import RESEARCH_NOTE, facts_line, readable
from dashboard.serving.types import ExplainRequest
from dashboard.state import Services, case_view, compare_view, owner, services, uploads
from dashboard.widgets import maps
from dashboard.widgets.case_picker import rows
from dashboard.widgets.comparison import TWO_CASES, TWO_MODELS, Side, choices, choose_sides, differences
from dashboard.widgets.viewer.viewer import Pane, viewer
from explainers import get
from models.errors import SightlineError

HALF_HEIGHT = 280  # CSS pixels of a picture where two viewers stand under each other


def page() -> None:
    """Everything of the page, top to bottom."""
    found = services()
    cards = dict(found.desk.engine.cards())
    titles = {row.id: f"{row.title} ({row.subtitle})" for row in rows(found.library, uploads())}
    mode = st.segmented_control("Compare", [TWO_MODELS, TWO_CASES], default=TWO_CASES, key="compare-mode") or TWO_CASES
    if mode == TWO_MODELS and len(cards) < 2:
        st.info(
            "Only one model is installed; add a second model folder to compare two (see the Models page).",
            icon=":material/info:",
        )
        return
    try:
        sides = choose_sides(found, cards, titles, mode)
    except SightlineError as error:
        st.error(str(error), icon=":material/error:")
        return
    for side in sides:
        for warning in side.prediction.warnings:
            st.warning(f"**{side.name}**: {warning}", icon=":material/warning:")
    finding, methods = choices(sides)
    requests = {
        f"{number}-{method}": ExplainRequest(side.card.id, side.image, method, side.target(finding))
        for number, side in enumerate(sides)
        for method in methods
    }
    view = compare_view()
    known = maps.answers(found.desk, requests, owner(), view.held, view.stopped)
    every = 0.3 if any(answer.active for answer in known.values()) else None
    st.fragment(_viewers, run_every=every)(found, sides, requests, mode, every is not None)
    differences(sides)


def _viewers(
    found: Services, sides: list[Side], requests: dict[str, ExplainRequest], mode: str, was_active: bool
) -> None:
    """A fragment: while work is under way it alone runs again."""
    view = compare_view()
    known = maps.answers(found.desk, requests, owner(), view.held, view.stopped)
    groups = [range(len(sides))] if mode == TWO_MODELS else [[number] for number in range(len(sides))]
    for group in groups:
        case = sides[group[0]].case
        panes = [Pane("image", case.title if mode == TWO_CASES else "Image", facts_line(case))]
        for number in group:
            for pane_id, answer in known.items():
                if pane_id.startswith(f"{number}-"):
                    request = requests[pane_id]
                    who = f"{sides[number].card.title}: " if mode == TWO_MODELS else ""
                    title = f"{who}{readable(request.target.label)} · {get(request.method).spec.title}"
                    slices = sides[number].card.input.slices
                    panes.append(maps.pane(pane_id, request.method, answer, title, slices))
        events = viewer(
            case.image,
            panes,
            key=f"compare-{group[0]}",
            group="compare",
            height=None if mode == TWO_MODELS else HALF_HEIGHT,
            slice_index=sides[group[0]].slice,
            regions=case.regions,
            caption=[f"{case.title} · {facts_line(case)}", RESEARCH_NOTE],
            file_name=f"{case.id}-compare.png",
        )
        if maps.react(events, known, view.stopped, found.desk):
            st.rerun()
        if events.slice is not None and events.slice != sides[group[0]].slice:
            case_view().slices[case.id] = events.slice
            st.rerun()
    if was_active and not any(answer.active for answer in known.values()):
        st.rerun()  # the whole page, so that polling ends
