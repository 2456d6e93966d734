"""The line over the viewer: title, model and methods; and what of it the address keeps."""

from __future__ import annotations

import streamlit as st

from dashboard.cases import middle_slice, readable
from dashboard.library import Library, reading_model
from dashboard.state import CaseView
from explainers import EXPLAINERS
from models.card import ModelCard
from models.errors import SightlineError
from models.types import Case, Modality, Prediction, Target

NO_MODEL = "No model"
MOST_METHODS = 5


def header(case: Case, view: CaseView, cards: dict[str, ModelCard], made_for: str) -> ModelCard | None:
    """Title, model and methods; returns the chosen model, at first the one that the case is made for."""
    likely = view.chosen_models.get(made_for, made_for)
    reading = reading_model(case, cards, likely if likely in cards else view.preferred_model)
    if view.model_id not in (NO_MODEL, *cards):
        view.model_id = reading.id if reading else NO_MODEL
    title, model, methods = st.columns([5, 4, 7], vertical_alignment="bottom", gap="medium")
    title.subheader(case.title, anchor=False)
    options = [NO_MODEL, *cards]
    chosen = model.selectbox(
        "Model",
        options,
        index=options.index(view.model_id),
        key=f"model-{case.id}",
        format_func=lambda name: cards[name].title if name in cards else name,
    )
    if chosen != view.model_id:
        view.choose_model(chosen, made_for)
    specs = sorted((explainer.spec for explainer in EXPLAINERS), key=lambda spec: spec.order)
    titles = {spec.id: spec.title for spec in specs}
    picked = methods.multiselect(
        "Explanations",
        list(titles),
        default=list(view.methods),
        format_func=titles.__getitem__,
        key="methods",
        max_selections=MOST_METHODS,
    )
    view.methods = tuple(sorted(picked, key=list(titles).index))
    card = cards.get(view.model_id)
    if card is None:
        st.info(_why_none(case, reading, cards), icon=":material/info:")
    return card


def _why_none(case: Case, reading: ModelCard | None, cards: dict[str, ModelCard]) -> str:
    if reading is not None:
        return f"No model is chosen. {reading.title} reads this kind of image."
    if case.image.modality is Modality.UNKNOWN:
        return "The file does not say what made the image. Choose the model that reads such images."
    readers = ", ".join(sorted({kind.label for card in cards.values() for kind in card.input.modality}))
    return f"No installed model reads {case.image.modality.label} images, so only the image is shown. Installed models read: {readers}."


def reader_notes(case: Case) -> None:
    """What the reader of the file noted: gaps, unequal spacing, a tilted gantry, further volumes; those of a phantom only say
    how it was drawn."""
    notes = case.provenance.notes
    if notes and case.provenance.reader != "phantom":
        st.caption(f":orange[:material/warning: {' '.join(notes)}]")


def target_of(view: CaseView, case: Case, card: ModelCard, prediction: Prediction) -> Target:
    """The finding to explain: the reader's, else the one planted in a phantom, else the leading one."""
    if view.finding is None or view.finding >= len(card.classes):
        planted = {readable(name) for name, true in case.labels.items() if true and case.id.startswith("phantom-")}
        known = [index for index, name in enumerate(card.classes) if readable(name) in planted]
        view.finding = known[0] if known else prediction.leading
    if view.against is not None and (view.against == view.finding or view.against >= len(card.classes)):
        view.against = None
    name = card.classes[view.finding]
    return card.target(name) if view.against is None else card.target(name, "contrast", card.classes[view.against])


def from_link(view: CaseView, library: Library, cards: dict[str, ModelCard]) -> None:
    """?case=...&model=...&finding=... restores a view, once a session; without one, the first sample opens."""
    if view.case_id:
        return
    query = st.query_params
    view.case_id = query.get("case") or next(iter(library.entries))
    view.model_id = query.get("model", "")
    if query.get("slice", "").isdecimal():
        view.slices[view.case_id] = int(query["slice"]) - 1
    card = cards.get(view.model_id)
    try:
        if card is not None and "finding" in query:
            view.finding = card.target(query["finding"]).index
        if card is not None and "against" in query:
            view.against = card.target(query["against"]).index
    except SightlineError as error:
        st.warning(str(error), icon=":material/link_off:")


def to_link(view: CaseView, case: Case, index: int, card: ModelCard | None, target: Target | None) -> None:
    """The address that :func:`from_link` reads; slices count from 1, as on the screen."""
    link = {"case": view.case_id}
    if card is not None and target is not None:
        link |= {"model": card.id, "finding": target.name}
        if target.against_name:
            link["against"] = target.against_name
    if case.image.is_volume and index != middle_slice(case.image):
        link["slice"] = str(index + 1)
    st.query_params.from_dict(link)
