"""Methods compared: which of them mark a known place, depend on what was learnt, and pass the trust checks of this model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import streamlit as st

from dashboard.hunting.evidence import METHODS, MOST, Evidence, measure
from dashboard.hunting.evidence import stored as stored_evidence
from dashboard.hunting.evidence_tables import best_words, check_table, number_table, place_table
from dashboard.images import ImageFolder
from dashboard.state import services
from dashboard.widgets.audit.cells import choice
from dashboard.widgets.audit.chart import Audit
from dashboard.widgets.audit.hunting import Work, hunted, network_of, stored_or_measured
from explainers.quality.method_benchmark import GroundTruthSet, stored_methods
from explainers.quality.randomisation import RandomisationResult
from explainers.quality.randomisation import stored as stored_randomisation
from models.card import ModelCard


def explanations_section(audit: Audit) -> None:
    """Where a place is known, how well each method finds it; and how many maps of each pass the checks."""
    card = network_of(audit, "its maps cannot be checked")
    if card is None:
        return
    known = stored_methods(card)
    if known:
        _places(known, stored_randomisation(card))
    else:
        st.caption("No set of images with a known place is stored with this model.")
    st.divider()
    _checks(audit, card)


def _places(sets: Mapping[str, GroundTruthSet], randomised: Mapping[str, RandomisationResult]) -> None:
    titles = {name: one.name for name, one in sets.items()}
    chosen = sets[choice("Images with a known place", titles, "explanations-set")]
    part = choice("Cases", {"everything": "All", "true_positives": "Called for the class"}, "explanations-part")
    st.markdown(best_words(chosen, randomised))
    st.caption(
        f"{chosen.note} {chosen.cases} images, {chosen.called} of them called. In brackets 95 % intervals over patients. "
        "Precision and recall: area under their curve; the margin is that over the better of a blob in the middle of the "
        "picture and the map itself put elsewhere by chance."
    )
    frame = place_table(chosen, part, randomised)
    st.dataframe(frame, hide_index=True, height="content")


def _checks(audit: Audit, card: ModelCard) -> None:
    st.markdown("**How many maps pass the trust checks**")
    found = stored_or_measured(
        audit, "explanations", "Checked", stored_evidence(card), "check their maps", partial(_measured, audit, card)
    )
    if found is None:
        return
    unread = f" {found.unread} could not be checked." if found.unread else ""
    st.caption(
        f"{found.cases} cases ({found.source}) of {found.patients} {audit.table.unit}, each explained for its leading "
        f"class.{unread} A cell holds the maps at ok of those that could be assessed."
    )
    frame = check_table(found)
    st.dataframe(frame, hide_index=True, height="content")
    with st.expander("The numbers behind it"):
        st.dataframe(number_table(found), hide_index=True)


def _measured(audit: Audit, card: ModelCard, folder: ImageFolder) -> Evidence | None:
    most = st.slider(
        "Cases at most", 6, 120, MOST, 6, key="explanations-most", help="A case takes some ten seconds on a CPU."
    )
    found = services()

    def work(given: Work) -> Evidence:
        cases = given.cases.drawn(most)
        return measure(cases, found.desk, found.judge, given.turn, given.ctx, METHODS, source="the cases shown here")

    return hunted(audit, card, folder, "explanations", str(most), "Check the images at hand", work)
