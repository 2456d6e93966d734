"""The layers of a network, and where class activation maps can be read."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard.serving.types import Engine
from dashboard.widgets.model_gallery import weights_size
from models.card import ModelCard


def architecture_tab(engine: Engine, card: ModelCard) -> None:
    """Loads the network. Raises ModelError or Unavailable."""
    with st.spinner("Trying the network ..."):
        inspection = engine.inspect(card.id)
        candidates = engine.layers(card.id)
        unsupported = engine.unsupported(card.id)
    facts = {
        "Network": f"`{card.architecture}`",
        "Input": f"{card.input.channels} x {card.input.height} x {card.input.width}",
        "Parameters": f"{inspection.parameters / 1e6:.2f} million",
        "Multiply-adds": f"{inspection.macs / 1e6:,.0f} million an image",
        "Weights": ", ".join([card.weights.file, *weights_size(card)]),
    }
    st.markdown(" · ".join(f"**{name}** {fact}" for name, fact in facts.items()))
    st.caption(f"Weights sha256 {card.weights.sha256}")
    st.markdown(
        ":material/check_circle: Forward pass and gradient were tried. Target layers, the default first: "
        + (", ".join(f"`{name}`" for name in candidates) or "none found")
    )
    for reason in unsupported.values():
        st.caption(reason)
    everything = st.toggle("Every layer", key=f"layers-{card.id}")
    rows = [
        {
            "Layer": layer.name,
            "Target layer": "yes" if layer.name in candidates else "",
            "Kind": layer.kind,
            "Output": " x ".join(map(str, layer.shape)),
            "Parameters": layer.parameters,
        }
        for layer in inspection.layers
        if everything or layer.depth == 0 or layer.name in candidates
    ]
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        height="content" if len(rows) < 40 else 800,
        column_config={
            "Parameters": st.column_config.NumberColumn(
                format="localized", help="Those of the layers inside are included."
            ),
            "Output": st.column_config.TextColumn(help="Without the batch axis."),
        },
    )
