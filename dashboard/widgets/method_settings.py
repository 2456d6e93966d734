"""Controls for the target and the methods, built from what each method declares."""

from __future__ import annotations

import streamlit as st

from dashboard.cases import readable
from dashboard.serving.types import Engine
from dashboard.state import CaseView
from dashboard.widgets.maps import duration
from dashboard.widgets.params import edit_params
from explainers import get
from models.card import ModelCard


def method_settings(view: CaseView, engine: Engine, card: ModelCard) -> None:
    """What is explained, then one block a method. A change recomputes that method alone."""
    others = [None, *(k for k in range(len(card.classes)) if k != view.finding)]
    chosen = st.selectbox(
        "Explain the finding",
        others,
        index=others.index(view.against),
        format_func=lambda k: "by itself" if k is None else f"against {readable(card.classes[k])}",
        key=f"against-{card.id}-{view.finding}",
        help="Against another class: what speaks for the finding rather than for that class.",
    )
    if chosen != view.against:
        view.against = chosen
        st.rerun()
    layers = engine.layers(card.id)
    unsupported = engine.unsupported(card.id)
    for method in view.methods:
        spec = get(method).spec
        st.markdown(f"**{spec.title}**", help=f"{spec.summary} {spec.paper}")
        if method in unsupported:
            st.caption(unsupported[method])
            continue
        current = view.params.get(method, {})
        edited = edit_params(
            spec,
            layers,
            layers[0] if layers else "",
            current,
            f"{card.id}-{method}",
        )
        how = engine.how(card.id, method)
        takes = f"About {duration(engine.forecast(card.id, method, edited))} for a finding"
        st.caption(f"{takes}, by {how}." if how else f"{takes}.")
        known = method in view.params
        view.params[method] = edited
        if known and edited != current:  # what a method starts with is what was asked for already
            st.rerun()
