"""The Models page: what each installed network is, how well it did, what it must not be used for."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard.cases import readable
from dashboard.serving.types import Engine
from dashboard.state import services
from models.card import ModelCard
from models.errors import SightlineError


def page() -> None:
    """One block a model, then folders that could not be used, then how to add one."""
    engine = services().desk.engine
    st.subheader("Models", anchor=False)
    for card in engine.cards().values():
        with st.container(border=True):
            _card(engine, card)
    for fault in engine.faults():
        st.error(f"**{fault.name}**: {fault.message}", icon=":material/error:")
    st.markdown(
        "**Add your own**: put a folder with `card.toml` and its weights (`.safetensors`, or a `.pt` state dict) "
        "somewhere, set `SIGHTLINE_MODELS` to that folder or its parent, and start Sightline again. "
        "`docs/model-cards.md` lists the fields."
    )


def _card(engine: Engine, card: ModelCard) -> None:
    st.markdown(f"#### {card.title}")
    st.caption(f"{card.id} · version {card.version} · {card.architecture} · licence {card.licence}")
    left, right = st.columns([3, 2], gap="medium")
    with left:
        st.markdown(f"**Intended use**: {card.intended_use}")
        kinds = ", ".join(kind.label for kind in card.input.modality)
        st.markdown(f"**Reads**: {kinds} images at {card.input.width} x {card.input.height} pixels ({card.input.fit})")
        st.markdown(f"**Classes**: {', '.join(readable(name) for name in card.classes)}")
        st.markdown(f"**Trained on**: {card.training.data}. {card.training.notes}")
        if card.limits:
            st.markdown("**Known limits**\n" + "\n".join(f"- {limit}" for limit in card.limits))
    with right:
        _performance(card)
        try:
            with st.spinner("Trying the network ..."):
                layers = engine.layers(card.id)
                unsupported = engine.unsupported(card.id)
        except SightlineError as error:
            st.error(str(error), icon=":material/error:")
            return
        st.markdown("**Loads**: :material/check_circle: forward, gradient and target layers were tried")
        st.markdown("**Target layers**: " + (", ".join(f"`{name}`" for name in layers) or "none found"))
        for reason in unsupported.values():
            st.caption(reason)
    st.caption(f"Thresholds: {card.thresholds.source}. Weights sha256 {card.weights.sha256}")


def _performance(card: ModelCard) -> None:
    if not card.performance:
        st.markdown("**Performance**: the card states none")
        return
    rows = [
        {
            "Measured": measure.metric,
            "Value": f"{measure.value:.3f}",
            "95 % interval": "" if measure.low is None else f"{measure.low:.3f} to {measure.high:.3f}",
            "n": measure.n,
            "Split": measure.split,
        }
        for measure in card.performance
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True)
