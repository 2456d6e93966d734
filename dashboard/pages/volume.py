"""The Volume page: a scan in three planes, every slice scored, and explanations through its depth."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from dashboard.state import (
    CaseView,
    Services,
    VolumeView,
    case_view,
    owner,
    services,
    to_case_page,
    uploads,
    volume_desk,
    volume_view,
)
from dashboard.volumes.desk import VolumeAnswer
from dashboard.volumes.types import VolumeRequest
from dashboard.widgets.case_header import from_link, reader_notes, target_of, to_link
from dashboard.widgets.case_picker import case_picker, find_case
from dashboard.widgets.operating_point import at_operating_point
from dashboard.widgets.volume_choices import choose_finding, choose_model, choose_work, first_place, no_volume
from dashboard.widgets.volume_results import downloads, planes, start_or_stop, summary
from models.card import ModelCard
from models.errors import SightlineError
from models.types import Case, Prediction


def page() -> None:
    """Everything of the page, top to bottom."""
    found, view, mine = services(), case_view(), uploads()
    from_link(view, found.library, dict(found.desk.engine.cards()))
    with st.sidebar:
        chosen = case_picker(found.library, mine, view.case_id, "volume")
    try:
        case = None if chosen else find_case(found.library, mine, view.case_id)
    except SightlineError as error:
        st.error(str(error), icon=":material/error:")
        return
    if case is not None and not case.image.is_volume:
        chosen = no_volume(found.library, mine, case)
    if chosen is not None:
        view.open(chosen)
        st.rerun()
    if case is not None and case.image.is_volume:
        _show(case, view, volume_view(), found)


def _show(case: Case, view: CaseView, mine: VolumeView, found: Services) -> None:
    engine = found.desk.engine
    title, model, finding = st.columns([5, 4, 4], vertical_alignment="bottom")
    title.subheader(case.title, anchor=False)
    reader_notes(case)
    with model:
        card = choose_model(case, view, dict(engine.cards()), found.library.made_for(case.id))
    place = mine.at.setdefault(case.id, first_place(case.image, view.slices.get(case.id)))
    prediction = _predict(case, card, place[2], found)
    if card is None or prediction is None:
        mine.at[case.id] = planes(case, None, None, None, place)
        return
    with finding:
        target = target_of(view, case, card, prediction)
        if choose_finding(view, card):
            st.rerun()
    choice = choose_work(mine, card, case.image, engine.layers(card.id), tuple(engine.unsupported(card.id)))
    prediction, source = at_operating_point(card, prediction)
    request = VolumeRequest(
        card.id, case.image, target, choice.kind, choice.method, choice.slices, place[2], params=choice.params
    )
    asked = replace(request, at=mine.asked_at)
    if mine.asked and volume_desk().look(asked).key == mine.asked:
        request = asked  # what was asked of one slice stays while the reader looks at others
    to_link(view, case, place[2], card, target)
    one = choice.kind != "slices" and card.input.slices > 1
    every = 0.7 if _answer(request, mine).active else None
    threshold = None if card.exclusive else float(prediction.thresholds[target.index])
    st.fragment(_work, run_every=every)(case, request, mine, threshold, one, every is not None)
    result = None if (answer := _answer(request, mine)).active else answer.result
    if result is not None:
        summary(request, result, prediction.thresholds, source, one)
    _to_case(case, view, mine)
    downloads(case, card, request, result)


def _predict(case: Case, card: ModelCard | None, index: int, found: Services) -> Prediction | None:
    """Of the slice shown, whose leading finding is explained until the reader chooses one."""
    if card is None:
        st.info("Choose a model to score and explain this volume.", icon=":material/info:")
        return None
    try:
        with st.spinner("Scoring ...", show_time=True):
            return found.desk.predict(card.id, case.image.slice(index))
    except SightlineError as error:
        st.error(str(error), icon=":material/error:")
        return None


def _answer(request: VolumeRequest, mine: VolumeView) -> VolumeAnswer:
    """How far the work is; work on what is no longer chosen is let go."""
    answer = volume_desk().look(request)
    if mine.asked and mine.asked != answer.key:
        volume_desk().stop(mine.asked, owner())
        mine.asked = ""
    return volume_desk().ask(request, owner()) if mine.asked else answer


def _work(
    case: Case, request: VolumeRequest, mine: VolumeView, threshold: float | None, one: bool, was_active: bool
) -> None:
    """A fragment: while work is under way it alone runs again."""
    if request.kind == "slices":
        request = replace(request, at=mine.at[case.id][2])  # what is looked at comes first
    answer = _answer(request, mine)
    over = st.container()
    mine.at[case.id] = planes(case, request, answer.result, threshold, mine.at[case.id])
    with over:
        pressed = start_or_stop(answer, request, one)
    if pressed == "stop":
        volume_desk().stop(answer.key, owner())
        mine.asked = ""
    elif pressed == "start":
        mine.asked_at = mine.at[case.id][2]
        volume_desk().retry(answer.key)
        mine.asked = volume_desk().ask(replace(request, at=mine.asked_at), owner()).key
    if pressed or (was_active and not answer.active):
        st.rerun()  # the whole page: polling begins or ends, downloads appear


def _to_case(case: Case, view: CaseView, mine: VolumeView) -> None:
    if st.button(
        "Open this slice on the Case page",
        icon=":material/radiology:",
        key="volume-to-case",
        help="The slice under the crosshair, with its explanations side by side.",
    ):
        view.slices[case.id] = mine.at[case.id][2]
        to_case_page()
