"""Who may open the app, where it is set up to ask (OpenID Connect, by Streamlit)."""

from __future__ import annotations

import streamlit as st

from dashboard.settings import settings

SETUP = "add [auth] to .streamlit/secrets.toml and install Authlib (docs/deployment.md)"


def required() -> None:
    """Goes on only for who is logged in, where ``SIGHTLINE_LOGIN`` is set."""
    if not settings().login or st.user.get("is_logged_in", False):
        return
    st.title("Sightline", anchor=False)
    if not _set_up():
        st.error(f"A login is asked for, but none is set up: {SETUP}.", icon=":material/lock:")
    else:
        st.button("Log in", type="primary", icon=":material/login:", on_click=st.login)
    st.stop()


def _set_up() -> bool:
    try:
        return "auth" in st.secrets
    except FileNotFoundError:
        return False
