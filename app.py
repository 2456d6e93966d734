"""Sightline: see what the model saw, and whether to believe it."""

from __future__ import annotations

import streamlit as st

from dashboard.widgets import style

st.set_page_config(page_title="Sightline", page_icon=style.ICON, layout="wide")
style.inject()
with st.spinner("Starting ..."):  # torch and the readers take seconds to load the first time
    from dashboard.pages import audit, case, compare, models
    from dashboard.state import CASE_PAGE, services

    desk = services().desk
st.session_state[CASE_PAGE] = st.Page(
    case.page, title="Case", icon=":material/radiology:", url_path="case", default=True
)
page = st.navigation(
    [
        st.session_state[CASE_PAGE],
        st.Page(compare.page, title="Compare", icon=":material/compare:", url_path="compare"),
        st.Page(audit.page, title="Audit", icon=":material/fact_check:", url_path="audit"),
        st.Page(models.page, title="Models", icon=":material/deployed_code:", url_path="models"),
    ],
    position="top",
)
page.run()
style.footer(f"Engine: {desk.engine.health().device} · {desk.waiting} in the queue")
