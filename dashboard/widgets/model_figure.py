"""A plotly figure in the colours of the reader's theme."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from dashboard.figures.style import Figure


def show(draw: Callable[[bool], Figure], key: str, alt: str) -> None:
    """Draw for the theme at hand (True: dark), without a tool bar; ``alt`` is what a screen reader says."""
    figure = draw(st.context.theme.type == "dark")
    st.plotly_chart(figure, key=f"figure-{key}", theme=None, config={"displayModeBar": False}, alt=alt)
