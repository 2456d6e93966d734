"""On the Case page: the tested cases that the network sees as most like the one shown, rightly and wrongly called."""

from __future__ import annotations

import atexit
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from dashboard.audit.reading import has_evaluation, zoo_table
from dashboard.audit.table import CASE, AuditTable
from dashboard.cases import readable
from dashboard.hunting.neighbours import Index, Nearest, Neighbour, nearest, read_index
from dashboard.images import ImageFolder
from dashboard.jobs.desk import Desk
from dashboard.jobs.kept import KeptJobs
from dashboard.serving.types import image_digest
from dashboard.state import Services, owner
from dashboard.widgets.audit.cases import open_case, small_picture
from dashboard.widgets.audit.images import indexed
from models.card import ModelCard
from models.errors import SightlineError
from models.types import FloatArray, Image, Target
from sample_data.folders import image_folder

ACROSS = 4
_UNUSUAL = 99.0  # % of tested cases that have a nearer neighbour, from which on the reader is warned
_KEPT = 64  # pictures of a session whose features are kept


def neighbours_panel(found: Services, card: ModelCard, image: Image, target: Target) -> None:
    """A switch and, when it is on, the nearest cases; nothing for a model without stored cases.

    Args:
        image: the plane that is shown to the network.
        target: of one class.
    """
    index = _index(card.id, card.weights.sha256, card)
    if index is None or target.name not in index.classes:
        return
    if st.toggle("Most similar tested cases", key="neighbours-open"):
        key = f"neighbours-{card.weights.sha256}-{image_digest(image, card.input.spec)}"
        known: dict[str, FloatArray] = st.session_state.setdefault("neighbours-features", {})
        if key in known:
            _around(index, known[key], card, target)
        else:
            st.fragment(_watch, run_every=0.5)(found.desk, card, image, key, known)


def _watch(desk: Desk, card: ModelCard, image: Image, key: str, known: dict[str, FloatArray]) -> None:
    """A fragment, which runs again until the network has read the picture."""
    job = _jobs().start(key, lambda ctx: desk.engine.features(card.id, [image], ctx)[0], owner())
    if job.state == "failed":
        st.error(job.message, icon=":material/error:")
    elif job.result is None:
        st.caption("The network reads the picture ...")
    else:
        while len(known) >= _KEPT:
            known.pop(next(iter(known)))
        known[key] = job.result
        st.rerun()


def _around(index: Index, features: FloatArray, card: ModelCard, target: Target) -> None:
    try:
        around = nearest(index, features, card, target, ACROSS)
    except SightlineError as error:
        st.error(str(error), icon=":material/error:")
        return
    _said(index, around)
    table, folder = _table(card.id, card.weights.sha256, card), _folder(card)
    for title, cases in (("Rightly called", around.right), ("Wrongly called", around.wrong)):
        st.markdown(f"**{title}**")
        if not cases:
            st.caption("None.")
        elif table is None or folder is None:
            st.dataframe(_facts(around.finding, cases), hide_index=True)
        else:
            _pictures(cases, table, folder, card, target)


def _said(index: Index, around: Nearest) -> None:
    finding = readable(around.finding)
    share = around.share
    if share.value is not None:
        st.markdown(
            f"Of the {share.n} nearest cases **{share.value:.0%} are labelled {finding}** ({share.low:.0%} to {share.high:.0%})."
        )
    if around.unusual >= _UNUSUAL:
        st.warning(
            f"Hardly any tested case lies so far from its nearest: {around.unusual:.0f} % of them have a nearer one. "
            "Nothing like this picture was tested.",
            icon=":material/warning:",
        )
    itself = " This case is one of them; it and its patient's other pictures are left out." if around.itself else ""
    st.caption(
        f"Among {len(index):,} cases the model was tested on, not those it learned from; nearest in what the network's last "
        f"layer reads, compressed ({index.kept:.0%} of the ten nearest stay so).{itself} The interval "
        "takes cases as independent."
    )


def _facts(finding: str, cases: Sequence[Neighbour]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Case": [one.name for one in cases],
            readable(finding): ["yes" if one.has else "no" for one in cases],
            "Called": ["yes" if one.called else "no" for one in cases],
            "Score": [round(one.score, 3) for one in cases],
            "Nearer than": [f"{one.farther:.1f} % of pairs of cases" for one in cases],
        }
    )


def _pictures(
    cases: Sequence[Neighbour], table: AuditTable, folder: ImageFolder, card: ModelCard, target: Target
) -> None:
    rows = {str(name): row for row, name in enumerate(table.cases[CASE])}
    for place, one in zip(st.columns(ACROSS), cases, strict=False):
        row = rows.get(one.name)
        path = None if row is None else folder.find(table.cases, row)
        with place:
            if path is not None:
                try:
                    st.image(small_picture(str(path), card.input.modality[0].value), width="stretch")
                except SightlineError as error:
                    st.caption(str(error))
            st.caption(
                f"{one.name}  \n{readable(target.name)}: {'yes' if one.has else 'no'}, "
                f"{'called' if one.called else 'not called'}, score {one.score:.2f}  \n"
                f"nearer than {one.farther:.1f} % of pairs"
            )
            if (
                row is not None
                and path is not None
                and st.button("Open", key=f"neighbours-open-{row}", width="stretch")
            ):
                open_case(table, row, folder, card, target.index)


def _folder(card: ModelCard) -> ImageFolder | None:
    try:
        named = image_folder(card.id)
        return None if named is None else indexed(str(named))
    except SightlineError:
        return None


@st.cache_resource(show_spinner=False)
def _jobs() -> KeptJobs[FloatArray]:
    """Beside the hunts, which take minutes."""
    made: KeptJobs[FloatArray] = KeptJobs()
    atexit.register(made.close)
    return made


@st.cache_resource(max_entries=8, show_spinner=False)
def _index(model_id: str, weights: str, _card: ModelCard) -> Index | None:
    return read_index(_card)


@st.cache_resource(max_entries=8, show_spinner=False)
def _table(model_id: str, weights: str, _card: ModelCard) -> AuditTable | None:
    return zoo_table(_card) if has_evaluation(_card) else None
