"""Which column holds what: chosen by the reader where the names do not tell, or tell it wrongly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd
import streamlit as st

from dashboard.audit.columns import Columns, Form, guess, partial
from dashboard.audit.reading import build_for
from dashboard.audit.table import AuditTable, Task
from models.card import ModelCard
from models.errors import DataError

FORMS: dict[Form, str] = {"wide": "One row a case", "long": "One row a case and class"}
TASKS: dict[Task | None, str] = {
    None: "as labels and scores tell",
    "multiclass": "classes that exclude each other",
    "multilabel": "findings side by side",
}
_NONE = ""


@dataclass(eq=False)
class OwnTable:
    """A table of this session.

    Attributes:
        digest: SHA-256 of the file, or of what was scored.
        frame: as uploaded; None for a table that was scored here.
        columns: as guessed, or as the reader chose last.
        task: as the reader chose; None to have it recognised.
        model_id: whose scores these are, "" if not told.
        table: None while ``error`` stands in the way.
        tries: how often the reader has chosen columns.
    """

    title: str
    digest: str
    frame: pd.DataFrame | None = None
    columns: Columns | None = None
    task: Task | None = None
    logits: bool = False
    model_id: str = ""
    table: AuditTable | None = None
    error: str = ""
    tries: int = 0

    def read(self, cards: Mapping[str, ModelCard]) -> None:
        """Make the table, or say why it cannot be; the columns stay as they are."""
        if self.frame is None:
            return
        try:
            self.columns = self.columns or guess(self.frame)
            card = cards.get(self.model_id)
            self.table = build_for(card, self.frame, self.columns, self.title, self.task, self.logits)
            self.error = ""
        except DataError as error:
            self.table, self.error = None, str(error)


def mapping(own: OwnTable, cards: Mapping[str, ModelCard]) -> None:
    """The columns of an uploaded table, open while they are not understood."""
    if own.frame is None:
        return
    if own.error:
        st.error(own.error, icon=":material/error:")
    with st.expander("Columns", expanded=own.table is None, icon=":material/view_column:"):
        key = f"audit-map-{own.digest[:16]}-{own.tries}"
        chosen = _columns(own.frame, own.columns, key)
        kind, logit, model, apply = st.columns([2, 2, 2, 1.3], vertical_alignment="bottom")
        task = kind.selectbox(
            "Several classes are",
            list(TASKS),
            index=list(TASKS).index(own.task),
            format_func=TASKS.__getitem__,
            key=f"{key}-task",
            help="Where classes exclude each other one is decided for each case; findings are called one by one.",
        )
        logits = logit.toggle(
            "These scores are logits",
            own.logits,
            key=f"{key}-logits",
            help="They are turned into probabilities: softmax where exactly one class is true, sigmoid elsewhere.",
        )
        ids = [_NONE, *cards]
        model_id = model.selectbox(
            "Scores of the model",
            ids,
            index=ids.index(own.model_id) if own.model_id in ids else 0,
            format_func=lambda name: cards[name].title if name else "another model",
            key=f"{key}-model",
            help="An installed model lends its operating points, and its cases open on the Case page with it.",
        )
        if apply.button("Use these columns", type="primary", key=f"{key}-apply", width="stretch"):
            own.columns, own.task, own.logits, own.model_id = chosen, task, logits, model_id
            own.tries += 1
            own.read(cards)
            st.rerun()


def _columns(frame: pd.DataFrame, known: Columns | None, key: str) -> Columns:
    """What the reader has set; nothing is read yet."""
    names = [str(name) for name in frame.columns]
    start = known or partial(frame)
    form: Form = st.segmented_control(
        "Form", FORMS, default=start.form, format_func=FORMS.__getitem__, key=f"{key}-form", required=True
    )
    case_place, patient_place, split_place = st.columns(3)
    numbered = "number the rows" if form == "wide" else "choose a column"
    case = _select(case_place, "Case", names, start.case, f"{key}-case", numbered)
    patient = _select(patient_place, "Patient", names, start.patient, f"{key}-patient")
    split = _select(split_place, "Part (training, test ...)", names, start.split, f"{key}-split")
    attributes = st.multiselect(
        "Groups and other facts of a case",
        names,
        [name for name in start.attributes if name in names],
        key=f"{key}-attributes",
        help="Age, sex, view, device: what subgroups are made of.",
    )
    wide, long = dict(start.wide), start.long
    if form == "wide":
        wide = _pairs(names, wide, key)
    else:
        places = st.columns(3)
        titles = ("Class", "Label (0 or 1)", "Score")
        of_class, of_label, of_score = (
            _select(place, title, names, before, f"{key}-{title}", "choose a column")
            for place, title, before in zip(places, titles, start.long, strict=True)
        )
        long = (of_class, of_label, of_score)
    taken = {case, patient, split, *(name for pair in wide.values() for name in pair)}
    if form == "long":
        taken = {case, patient, split, *long}
    kept = tuple(name for name in attributes if name not in taken)
    return replace(start, case=case, patient=patient, split=split, attributes=kept, form=form, wide=wide, long=long)


def _pairs(names: list[str], wide: Mapping[str, tuple[str, str]], key: str) -> dict[str, tuple[str, str]]:
    """One line a class; lines not filled in are left out."""
    rows = [{"class": name, "score": score, "label": label} for name, (score, label) in wide.items()]
    edited = st.data_editor(
        pd.DataFrame(rows, columns=["class", "score", "label"], dtype=str),
        column_config={
            "class": st.column_config.TextColumn("Class", required=True),
            "score": st.column_config.SelectboxColumn("Score column", options=names, required=True),
            "label": st.column_config.SelectboxColumn(
                "Label column", options=names, required=True, help="One column for all classes if it names the class."
            ),
        },
        num_rows="dynamic",
        hide_index=True,
        height=min(320, 75 + 35 * len(rows)),
        key=f"{key}-pairs",
    )
    filled = edited.dropna()
    return {str(row["class"]).strip(): (row["score"], row["label"]) for _, row in filled.iterrows()}


def _select(
    place: st.delta_generator.DeltaGenerator, title: str, names: list[str], chosen: str, key: str, none: str = "none"
) -> str:
    options = [_NONE, *names]
    index = options.index(chosen) if chosen in options else 0
    found: str = place.selectbox(title, options, index=index, format_func=lambda name: name or none, key=key)
    return found
