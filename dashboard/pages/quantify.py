"""The Quantify page: lungs and lesions of a chest CT in numbers, and what changed since an earlier scan."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dashboard.cases import facts_line
from dashboard.jobs.runner import Job
from dashboard.quantify.visits import Quantities, Settings, key_of, measure
from dashboard.state import (
    CaseView,
    QuantifyView,
    Services,
    case_view,
    owner,
    quantify_jobs,
    quantify_view,
    services,
    uploads,
)
from dashboard.widgets.case_header import from_link, to_link
from dashboard.widgets.case_picker import case_picker, find_case
from dashboard.widgets.quantify_choices import FIRST_CASE, choose, masks_on, measurable, no_scan, other_scans, with_mask
from dashboard.widgets.quantify_followup import change_table, delta_table, density_difference, side_by_side, verdict
from dashboard.widgets.quantify_results import density, download, headline, lesion_table, lung_table, planes
from models.card import ModelCard
from models.context import RunContext
from models.errors import SightlineError
from models.types import Case, Image, Prediction


def page() -> None:
    """Everything of the page, top to bottom."""
    found, view, mine = services(), case_view(), uploads()
    if not view.case_id and "case" not in st.query_params and FIRST_CASE in found.library.entries:
        view.open(FIRST_CASE)
    from_link(view, found.library, dict(found.desk.engine.cards()))
    with st.sidebar:
        chosen = case_picker(found.library, mine, view.case_id, "quantify")
    try:
        case = None if chosen else find_case(found.library, mine, view.case_id)
    except SightlineError as error:
        st.error(str(error), icon=":material/error:")
        return
    if case is not None and not measurable(case):
        chosen = no_scan(case, other_scans(found.library, mine, case.id))
    if chosen is not None:
        view.open(chosen)
        st.rerun()
    if case is not None and measurable(case):
        _show(case, view, quantify_view(), found)


def _show(case: Case, view: CaseView, mine: QuantifyView, found: Services) -> None:
    to_link(view, case, case.image.depth // 2, None, None)
    title, button = st.columns([5, 1], vertical_alignment="bottom")
    title.subheader(case.title, anchor=False)
    title.caption(facts_line(case))
    offered = other_scans(found.library, uploads(), case.id)
    masks = masks_on(case, uploads())
    settings, card, prior_id = choose(case, mine, dict(found.desk.engine.cards()), offered, masks)
    try:
        prior = find_case(found.library, uploads(), prior_id) if prior_id else None
    except SightlineError as error:
        st.error(str(error), icon=":material/error:")
        return
    key, asked = key_of(case, prior, settings, card), mine.asked.get(case.id, "")
    nothing = card is None and not settings.supplied
    if button.button("Measure", type="primary", icon=":material/straighten:", width="stretch", disabled=nothing):
        if asked and asked != key:
            quantify_jobs().stop(asked, owner())
        mine.asked[case.id] = asked = key
        _start(key, with_mask(case, masks.get(settings.mask)), prior, settings, card, found)
    job = quantify_jobs().look(asked) if asked else None
    if job is None and asked:
        st.info("Let go of meanwhile; press Measure again.", icon=":material/history:")
    elif job is None:
        _nothing_yet(card, prior)
    elif job.active:
        st.fragment(_watch, run_every=0.7)(asked, case.id, mine)
    else:
        _ended(case, job, mine, asked == key)


def _start(
    key: str, case: Case, prior: Case | None, settings: Settings, card: ModelCard | None, found: Services
) -> None:
    desk, who = found.desk, owner()

    def ask(slices: Sequence[Image], ctx: RunContext) -> Sequence[Prediction]:
        """The model's answers, behind the explanations that readers wait for."""
        model = "" if card is None else card.id
        return desk.do_in_turn(f"lesions-{who}", lambda own: desk.engine.predict(model, slices, own), who, ctx)

    quantify_jobs().start(key, lambda ctx: measure(case, prior, settings, ask, card, ctx), who)


def _nothing_yet(card: ModelCard | None, prior: Case | None) -> None:
    marked = "takes the lesions from the mask" if card is None else f"lets {card.title} mark lesions in them"
    also = ", does the same with the earlier scan, lays it on this one and says what changed" if prior else ""
    st.info(f"Measure finds both lungs, {marked}{also}. This takes some seconds a scan.", icon=":material/info:")


def _watch(key: str, case_id: str, mine: QuantifyView) -> None:
    """A fragment: how far the work is, and a button to stop it."""
    job = quantify_jobs().look(key)
    if job is None or not job.active:
        st.rerun()
    bar, stop = st.columns([5, 1], vertical_alignment="center")
    doing = "Waiting for the scan before this one" if job.partial is None else job.partial.doing
    bar.progress(job.progress, f"{doing} ...")
    if stop.button("Stop", icon=":material/stop:", key="quantify-stop", width="stretch"):
        quantify_jobs().stop(key, owner())
        mine.asked.pop(case_id, None)  # which goes on where another session waits for it
        st.toast("Stopped; Measure starts again.", icon=":material/stop_circle:")
        st.rerun()


def _ended(case: Case, job: Job[Quantities], mine: QuantifyView, is_current: bool) -> None:
    if job.state == "cancelled":
        st.info("Stopped; Measure starts again.", icon=":material/stop_circle:")
    elif job.state == "failed":
        st.error(job.message, icon=":material/error:")
    found = job.result
    if found is None or found.current is None:
        return
    if not is_current:
        st.info("The choices have changed since; this is what was measured last.", icon=":material/history:")
    headline(found.current)
    if found.refused:
        st.error(f"Not compared. {found.refused}", icon=":material/error:")
    compared = found.follow is not None and verdict(found.follow)
    names = (["Changes"] if compared else []) + ["Lesions", "Lungs", "Density"]
    if compared:
        side_by_side(case, found, mine)
    else:
        planes(case, found.current, mine)
    tabs = dict(zip(names, st.tabs(names), strict=True))
    if compared and found.follow is not None:
        with tabs["Changes"]:
            change_table(case, found, mine)
            delta_table(found.follow)
    with tabs["Lesions"]:
        lesion_table(case, found.current, mine)
    with tabs["Lungs"]:
        lung_table(found.current)
    with tabs["Density"]:
        density(case, found)
        if compared and found.follow is not None:
            density_difference(case, found.follow)
    download(case, found)
