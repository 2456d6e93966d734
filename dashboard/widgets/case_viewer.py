"""The row of pictures of the Case page, and the evidence for one of its maps: what runs again while work is under way."""

from __future__ import annotations

from dataclasses import dataclass, replace

import streamlit as st

from dashboard.cases import RESEARCH_NOTE, facts_line, readable
from dashboard.jobs.desk import Answer
from dashboard.serving.types import ExplainRequest
from dashboard.state import CaseView, Services, owner, uploads
from dashboard.trust.judge import Judged
from dashboard.widgets import maps, trust
from dashboard.widgets.case_picker import rows
from dashboard.widgets.viewer.viewer import Pane, ViewerEvents, preload, viewer
from models.card import ModelCard
from models.types import Case, Region

COMPUTING_S, CHECKING_S = 0.3, 0.6  # between looks at the work


@dataclass(frozen=True, eq=False)
class Shown:
    """A slice of a case, and what is asked of it.

    Attributes:
        requests: by method.
        masks: found by models or measurements, drawn dashed.
    """

    case: Case
    index: int
    card: ModelCard | None
    requests: dict[str, ExplainRequest]
    view: CaseView
    found: Services
    masks: tuple[Region, ...]

    def answers(self) -> dict[str, Answer]:
        return maps.answers(self.found.desk, self.requests, owner(), self.view.held, self.view.stopped)

    def judged(self, known: dict[str, Answer]) -> Judged | None:
        return trust.judging(self.case, self.index, self.card, self.requests, known, self.view, self.found)


def case_viewer(shown: Shown) -> tuple[dict[str, Answer], Judged | None]:
    """Viewer and, once asked for, evidence; returns how far each map is, and its checks."""
    known = shown.answers()
    judged = shown.judged(known)
    computing, checking = _computing(known), judged is not None and judged.active
    every = COMPUTING_S if computing else CHECKING_S if checking else None
    preload(shown.case.image, key="viewer")
    st.fragment(_viewer, run_every=every)(shown, computing, checking)
    if shown.view.evidence in known:
        st.fragment(_evidence, run_every=every)(shown)
    return known, judged


def _computing(known: dict[str, Answer]) -> bool:
    return any(answer.active for answer in known.values())


def _viewer(shown: Shown, computing: bool, checking: bool) -> None:
    """A fragment: while work is under way it alone runs again; the page does when maps, or checks, are complete."""
    case, card, view = shown.case, shown.card, shown.view
    known = shown.answers()
    judged = shown.judged(known)
    panes = [Pane("image", "Image", facts_line(case))]
    for method, answer in known.items():
        pane = maps.pane(method, method, answer, slices=card.input.slices if card is not None else 1)
        said = trust.line(judged, method, method == view.evidence) if answer.explanation else None
        panes.append(replace(pane, trust=said, doubt=trust.doubt(card, answer)))
    events = viewer(
        case.image,
        panes,
        key="viewer",
        slice_index=shown.index,
        regions=case.regions,
        found=shown.masks,
        caption=[f"{case.title} · {facts_line(case)}", *_said(shown.requests), RESEARCH_NOTE],
        file_name=f"{case.id}.png",
        preloaded=True,
    )
    _react(events, shown, known, judged)
    if (computing and not _computing(known)) or (checking and not (judged is not None and judged.active)):
        st.rerun()


def _evidence(shown: Shown) -> None:
    """A fragment beside the viewer's: the checks of one map, while they come in."""
    known, view = shown.answers(), shown.view
    judged = shown.judged(known)
    if view.evidence in known and trust.evidence_panel(judged, view.evidence, shown.case, shown.index, known):
        view.evidence = ""
        st.rerun()


def _said(requests: dict[str, ExplainRequest]) -> list[str]:
    return [f"{request.model_id}: {readable(request.target.label)}" for request in list(requests.values())[:1]]


def _react(events: ViewerEvents, shown: Shown, known: dict[str, Answer], judged: Judged | None) -> None:
    view, found, case = shown.view, shown.found, shown.case
    if events.evidence in known:
        trust.opened(view, events.evidence, judged, found)
        st.rerun()
    if maps.react(events, known, view.stopped, found.desk):
        st.rerun()
    if events.slice is not None and events.slice != shown.index:
        view.slices[case.id] = events.slice
        st.rerun()
    if events.page:
        ids = [row.id for row in rows(found.library, uploads())]
        view.open(ids[(ids.index(case.id) + events.page) % len(ids)])
        st.rerun()
