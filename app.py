"""Sightline: see what the model saw, and whether to believe it."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import streamlit as st

from dashboard.widgets import style


def drawn_by(name: str) -> Callable[[], None]:
    """A page whose code, and the libraries behind it, are read when it is first opened."""

    def page() -> None:
        importlib.import_module(f"dashboard.pages.{name}").page()

    return page


st.set_page_config(page_title="Sightline", page_icon=style.ICON, layout="wide")
style.inject()
with st.spinner("Starting ..."):  # torch and the readers take seconds to load the first time
    from dashboard.state import CASE_PAGE, services

    running = services()
st.session_state[CASE_PAGE] = st.Page(
    drawn_by("case"), title="Case", icon=":material/radiology:", url_path="case", default=True
)
page = st.navigation(
    [
        st.session_state[CASE_PAGE],
        st.Page(drawn_by("compare"), title="Compare", icon=":material/compare:", url_path="compare"),
        st.Page(drawn_by("audit"), title="Audit", icon=":material/fact_check:", url_path="audit"),
        st.Page(drawn_by("models"), title="Models", icon=":material/deployed_code:", url_path="models"),
    ],
    position="top",
)
page.run()
style.footer(f"Engine: {running.desk.engine.health().device} · {running.desk.waiting} in the queue")
running.library.start_scan()  # only now: it would compete with the first page for the interpreter
