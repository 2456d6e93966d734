"""Sightline: see what the model saw, and whether to believe it."""

from __future__ import annotations

import streamlit as st

from dashboard.pages import PAGES, drawn_by
from dashboard.widgets import login, style

st.set_page_config(page_title="Sightline", page_icon=style.ICON, layout="wide")
style.inject()
login.required()
with st.spinner("Starting ..."):  # torch and the readers take seconds to load the first time
    from dashboard.state import CASE_PAGE, services

    running = services()
pages = [
    st.Page(drawn_by(name), title=name.title(), icon=f":material/{icon}:", url_path=name, default=not number)
    for number, (name, icon) in enumerate(PAGES.items())
]
st.session_state[CASE_PAGE] = pages[0]
st.navigation(pages, position="top").run()
style.footer(running.desk.engine.health())
running.library.start_scan()  # only now: it would compete with the first page for the interpreter
