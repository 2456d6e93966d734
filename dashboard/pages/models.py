"""The Models page: what each installed network is, how well it did, what it must not be used for."""

from __future__ import annotations

import streamlit as st

from dashboard import cards as words
from dashboard.jobs.desk import Desk
from dashboard.state import services
from dashboard.widgets.model_architecture import architecture_tab
from dashboard.widgets.model_card import card_tab
from dashboard.widgets.model_gallery import LINK, gallery
from dashboard.widgets.model_own import add_form, added_note, remove_button
from dashboard.widgets.model_performance import performance_tab
from dashboard.widgets.model_training import robustness_tab, training_tab
from models.card import ModelCard
from models.errors import SightlineError
from models.evaluation import Evaluation, read_evaluation

TABS = ("Card", "Performance", "Training", "Robustness", "Architecture")


def page() -> None:
    """All models, or the one that the address names (?model=ID)."""
    desk = services().desk
    wanted = st.query_params.get(LINK, "")
    card = desk.engine.cards().get(wanted)
    if card is not None:
        _detail(desk, card)
        return
    st.subheader("Models", anchor=False)
    if wanted:
        st.warning(f"There is no model {wanted!r} here; these are the ones installed.", icon=":material/link_off:")
    gallery(desk.engine)
    st.divider()
    add_form(desk)


def _detail(desk: Desk, card: ModelCard) -> None:
    st.button("All models", icon=":material/arrow_back:", type="tertiary", on_click=_close, key="all-models")
    added_note()
    title, actions = st.columns([5, 1], vertical_alignment="center")
    title.subheader(card.title, anchor=False)
    with actions:
        remove_button(desk, card)
    facts = [card.id, f"version {card.version}", words.modalities(card), words.task(card), words.licence(card.licence)]
    st.caption(f"{words.icon(card)} " + " · ".join(facts))
    tabs = dict(zip(TABS, st.tabs(TABS, key=f"tabs-{card.id}", on_change="rerun"), strict=True))
    for name, tab in tabs.items():
        if tab.open:  # the others wait: one of them loads the network
            with tab:
                _tab(desk, card, name)


def _tab(desk: Desk, card: ModelCard, name: str) -> None:
    try:
        if name == "Card":
            card_tab(card)
        elif name == "Performance":
            performance_tab(card, _evaluation(card))
        elif name == "Training":
            training_tab(card, _evaluation(card))
        elif name == "Robustness":
            robustness_tab(card)
        else:
            architecture_tab(desk.engine, card)
    except SightlineError as error:
        st.error(str(error), icon=":material/error:")


def _evaluation(card: ModelCard) -> Evaluation | None:
    """The figures stored beside the card; a file that is wrong is said, and counts as none."""
    try:
        return read_evaluation(card.folder)
    except SightlineError as error:
        st.error(str(error), icon=":material/error:")
        return None


def _close() -> None:
    st.query_params.pop(LINK, None)
