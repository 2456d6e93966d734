"""The cases behind a mark: pictures where the images are at hand, a table of all, each opening on the Case page."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from dashboard.audit.table import CASE, PATIENT, AuditTable, Rows
from dashboard.cases import readable
from dashboard.images import ImageFolder
from dashboard.state import AuditView, audit_view, case_view, services, to_case_page
from dashboard.thumbnail import thumbnail
from dashboard.widgets.audit.images import images_of
from models.card import ModelCard
from models.errors import SightlineError
from models.io import read_case
from models.types import Modality

ACROSS, DOWN = 6, 2
PICTURE = 160  # pixels


def case_list(table: AuditTable, card: ModelCard | None) -> None:
    """Nothing until a mark has been clicked."""
    view = audit_view()
    if not view.title:
        return
    with st.container(border=True, key="audit-cases"):
        head, close = st.columns([8, 1], vertical_alignment="center")
        head.markdown(f"**{view.title}** · {len(view.rows):,} {'case' if len(view.rows) == 1 else 'cases'}")
        close.button("Close", icon=":material/close:", type="tertiary", on_click=_close, key="audit-cases-close")
        rows = np.asarray([row for row in view.rows if row < len(table)], dtype=np.intp)
        if not len(rows):
            st.caption("No case is behind this mark.")
            return
        folder = images_of(table, "audit")
        if folder is None:
            st.caption("Give the folder of the images to see them here and to open them on the Case page.")
        else:
            _pictures(table, rows, folder, card, view)
        _table(table, rows, view.finding)


def _pictures(table: AuditTable, rows: Rows, folder: ImageFolder, card: ModelCard | None, view: AuditView) -> None:
    size = ACROSS * DOWN
    pages = -(-len(rows) // size)
    view.page = min(view.page, pages - 1)
    shown = rows[view.page * size : (view.page + 1) * size]
    for start in range(0, len(shown), ACROSS):
        for place, row in zip(st.columns(ACROSS), shown[start : start + ACROSS], strict=False):
            with place:
                _picture(table, int(row), folder, card, view.finding)
    if pages > 1:
        back, where, on = st.columns([1, 4, 1], vertical_alignment="center")
        back.button("Previous", disabled=not view.page, on_click=_turn, args=(-1,), key="audit-previous")
        where.caption(f"Pictures {view.page * size + 1} to {view.page * size + len(shown)} of {len(rows):,}")
        on.button("Next", disabled=view.page == pages - 1, on_click=_turn, args=(1,), key="audit-next")


def _picture(table: AuditTable, row: int, folder: ImageFolder, card: ModelCard | None, finding: int) -> None:
    path = folder.find(table.cases, row)
    score = float(table.scores[row, finding])
    name = str(table.cases.iloc[row][CASE])
    if path is None:
        st.caption(f"{name}: no image of that name in the folder.")
        return
    modality = card.input.modality[0] if card is not None else None
    try:
        st.image(small_picture(str(path), None if modality is None else modality.value), width="stretch")
    except SightlineError as error:
        st.caption(f"{name}: {error}")
        return
    st.caption(f"{readable(table.classes[finding])} {score:.2f} · {_truth(table, row)}")
    if st.button("Open", key=f"audit-open-{row}", help=f"{name}, on the Case page", width="stretch"):
        open_case(table, row, folder, card, finding)


def open_case(table: AuditTable, row: int, folder: ImageFolder, card: ModelCard | None, finding: int) -> None:
    """Turn to the Case page with a row of the table; ``finding`` is the class to look at."""
    try:
        case = folder.case(table, row, card.input.modality[0] if card is not None else None)
    except SightlineError as error:
        st.error(str(error), icon=":material/error:")
        return
    services().library.keep(case)
    view = case_view()
    view.open(case.id)
    if card is not None:
        view.choose_model(card.id, "")
        view.finding = card.classes.index(table.classes[finding]) if table.classes[finding] in card.classes else None
    to_case_page()


@st.cache_data(max_entries=2000, show_spinner=False)
def small_picture(path: str, modality: str | None) -> bytes:
    """A JPEG of a file's middle slice."""
    return thumbnail(read_case(path, modality=None if modality is None else Modality(modality)).image, PICTURE)


def _truth(table: AuditTable, row: int) -> str:
    true = [readable(name) for k, name in enumerate(table.classes) if table.positive[row, k]]
    if not table.known[row].all():
        true.append("some unknown")
    return "true: " + (", ".join(true) or "none")


def _table(table: AuditTable, rows: Rows, finding: int) -> None:
    cases = table.cases.iloc[rows].reset_index(drop=True)
    label = table.labels[rows, finding]
    facts = pd.DataFrame(
        {
            "Case": cases[CASE],
            readable(table.classes[finding]): table.scores[rows, finding],
            "Label": np.where(np.isnan(label), "unknown", np.where(label == 1, "yes", "no")),
            "Called": np.where(table.decided[rows, finding], "yes", "no"),
            "True findings": [_truth(table, int(row)).removeprefix("true: ") for row in rows[:1000]]
            + [""] * max(0, len(rows) - 1000),
        }
    )
    if table.has_patients:
        facts.insert(1, "Patient", cases[PATIENT])
    for name in table.attributes:
        facts[readable(name).capitalize()] = cases[name]
    with st.expander(f"All {len(rows):,} as a table", expanded=len(rows) <= 12):
        st.dataframe(
            facts,
            hide_index=True,
            height=min(420, 40 + 35 * len(facts)),
            column_config={readable(table.classes[finding]): st.column_config.NumberColumn(format="%.3f")},
        )


def _turn(by: int) -> None:
    audit_view().page += by


def _close() -> None:
    view = audit_view()
    view.title, view.rows = "", ()
