"""Sightline: see what the model saw, and whether to believe it."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import streamlit as st

from dashboard.widgets import style

PAGES = {  # by file in dashboard/pages, each with its icon; the first opens
    "case": "radiology",
    "compare": "compare",
    "volume": "view_in_ar",
    "quantify": "straighten",
    "preparation": "tune",
    "audit": "fact_check",
    "models": "deployed_code",
    "system": "dns",
}


def drawn_by(name: str) -> Callable[[], None]:
    """A page whose code, and the libraries behind it, are read when it is first opened."""
    return lambda: importlib.import_module(f"dashboard.pages.{name}").page()


st.set_page_config(page_title="Sightline", page_icon=style.ICON, layout="wide")
style.inject()
with st.spinner("Starting ..."):  # torch and the readers take seconds to load the first time
    from dashboard.state import CASE_PAGE, services

    running = services()
pages = [
    st.Page(drawn_by(name), title=name.title(), icon=f":material/{icon}:", url_path=name, default=name == "case")
    for name, icon in PAGES.items()
]
st.session_state[CASE_PAGE] = pages[0]
st.navigation(pages, position="top").run()
style.footer(running.desk.engine.health())
running.library.start_scan()  # only now: it would compete with the first page for the interpreter
