"""What a model is for, what it sees, and what it must not be used for."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from dashboard import cards as words
from dashboard.cases import readable
from models.card import ModelCard
from models.preprocessing_words import preprocessing


def card_tab(card: ModelCard) -> None:
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.markdown(f"**Intended use**: {card.intended_use}")
        _list("Not for", card.not_for)
        st.markdown(f"**Classes**: {', '.join(readable(name) for name in card.classes)}")
        _list("Known limits", card.limits)
        _list("Known failures", card.failures)
        notes = f" {card.training.notes}." if card.training.notes else ""
        st.markdown(f"**Trained on**: {card.training.data.rstrip('.')}.{notes}")
        st.markdown(f"**Licence of the data**: {words.licence(card.training.licence)}")
        st.markdown(f"**Licence of the weights**: {words.licence(card.licence)}")
    with right:
        st.markdown(f"**What the network is shown**: {words.modalities(card)} images")
        st.markdown("\n".join(f"1. {step}" for step in preprocessing(card.input)))
        st.markdown(f"**Calibration**: {words.calibration(card)}")
        st.markdown("**Operating points** on the calibrated probability")
        points = {readable(name): float(point) for name, point in zip(card.classes, card.threshold_array, strict=True)}
        table = pd.DataFrame({"Class": list(points), "Threshold": [f"{point:.3f}" for point in points.values()]})
        st.table(table, border="horizontal", hide_index=True)
        st.caption(f"Chosen by: {card.thresholds.source}.")
    if card.published:
        st.markdown("**Published figures, and whether they can be compared**")
        st.table(
            pd.DataFrame(
                [
                    {
                        "Network": entry.name,
                        "Measure": entry.metric,
                        "Value": f"{entry.value:.3f}",
                        "Source": entry.source,
                        "Like for like": entry.comparable,
                    }
                    for entry in card.published
                ]
            ),
            border="horizontal",
            hide_index=True,
        )


def _list(title: str, entries: Sequence[str]) -> None:
    if entries:
        st.markdown(f"**{title}**\n" + "\n".join(f"- {entry}" for entry in entries))
