"""The System page: devices, queue, loaded models, and how the engine fared in the last hour."""

from __future__ import annotations

import streamlit as st

from dashboard.state import services
from dashboard.widgets import engine_state

EVERY_S = 2.0


def page() -> None:
    """Draws itself anew while it is open."""
    st.subheader("System", anchor=False)
    engine_state.how_to_change()
    _live()


@st.fragment(run_every=EVERY_S)
def _live() -> None:
    engine = services().desk.engine
    health = engine.health()
    if health.message:
        st.error(health.message, icon=":material/cloud_off:")
    engine_state.headline(health)
    st.markdown("#### Devices")
    engine_state.devices(health)
    st.markdown("#### Loaded models")
    engine_state.models(health, {card.id: card.title for card in engine.cards().values()})
    st.markdown("#### The last hour")
    engine_state.last_hour(health.traffic)
