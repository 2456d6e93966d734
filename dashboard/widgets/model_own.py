"""Adding a model of one's own, and taking it away again."""

from __future__ import annotations

import streamlit as st

from dashboard import cards as words
from dashboard.jobs.desk import Desk
from dashboard.settings import settings
from dashboard.widgets.model_gallery import LINK
from models.card import ModelCard
from models.errors import SightlineError
from models.install import install, is_own, remove, template_zip

_ADDED = "model-added"


def add_form(desk: Desk) -> None:
    """Steps in words, the template, and a drop zone; a model that passes every check is there at once."""
    st.subheader("Add your own model", anchor=False)
    if settings().engine:
        st.markdown(
            f"Models run on the server at {settings().engine}: put the model's folder into its `SIGHTLINE_MODELS` there, and it "
            "shows here within seconds. `docs/model-cards.md` tells how a folder is made."
        )
        return
    steps, drop = st.columns(2, gap="large")
    with steps:
        st.markdown(
            "1. Download the template folder and fill in `card.toml`; every field is explained in it.\n"
            "1. Write the weights with its `export.py`, or put a `.safetensors` file or a PyTorch state dict beside the card.\n"
            "1. Zip the folder and drop it here, or drop `card.toml` and the weights together."
        )
        st.download_button(
            "Template folder (zip)",
            data=template_zip,
            file_name="my-model.zip",
            mime="application/zip",
            icon=":material/download:",
            on_click="ignore",
        )
    with drop, st.form("add-model", clear_on_submit=True, border=False):
        files = st.file_uploader("Model folder as a zip, or its files", accept_multiple_files=True, key="model-files")
        st.caption(
            "Card, digest and network are tried before the model is kept, on this machine only. No code in it is run."
        )
        if st.form_submit_button("Check and add", icon=":material/add:") and files:
            try:
                with st.spinner("Checking the card, the weights and the network ..."):
                    card = install(
                        [(file.name, file) for file in files], settings().own_models, set(desk.engine.cards())
                    )
            except SightlineError as error:
                st.error(str(error), icon=":material/error:")
                return
            desk.rescan()
            st.session_state[_ADDED] = f"{card.title} was added. It reads {words.modalities(card)} images."
            st.query_params[LINK] = card.id
            st.rerun()


def added_note() -> None:
    """Says once, on the model's own page, that it was added."""
    added = st.session_state.pop(_ADDED, "")
    if added:
        st.success(added, icon=":material/check_circle:")


def remove_button(desk: Desk, card: ModelCard) -> None:
    """Asks once more before the model's folder is deleted; nothing is shown for models that were not added here."""
    own = settings().own_models
    if not is_own(card, own):
        return
    with st.popover("Remove", icon=":material/delete:"):
        st.markdown(f"Delete **{card.title}** and its weights from this machine? Saved results stay.")
        if st.button("Delete the model", key=f"remove-{card.id}", type="primary"):
            try:
                remove(card, own)
            except (SightlineError, OSError) as error:
                st.error(f"The model could not be removed: {error}", icon=":material/error:")
                return
            desk.rescan()
            st.query_params.pop(LINK, None)
            st.rerun()
