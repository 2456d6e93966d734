"""The few rules that the theme cannot express, and the line that stands under every page."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard.cases import RESEARCH_NOTE

# A file of ours: Streamlit fetches icons that are named (":material/...:") from the internet for the browser tab.
ICON = str(Path(__file__).with_name("icon.png"))

_STYLE = """<style>
/* A page left while it was still being drawn leaves its sidebar behind, empty. */
section[data-testid="stSidebar"]:not(:has([data-testid="stElementContainer"])) { display: none; }
[data-testid="stApp"] { font-variant-numeric: tabular-nums; }
[data-testid="stMainBlockContainer"] { max-width: none; padding-left: 1.5rem; padding-right: 1.5rem; }
[data-testid="stSidebarHeader"] { height: 2.75rem; margin-bottom: 0; }
[data-testid="stSidebarUserContent"] { padding-top: 0; }
[data-testid="stMultiSelectTagsContainer"] [data-tag] {
  background: color-mix(in srgb, currentColor 14%, transparent); color: inherit; }
[data-testid="stMultiSelectTagsContainer"] [data-tag] * { color: inherit; }
[data-testid="stCaptionContainer"] { color: inherit; opacity: 0.8; }
[class*="st-key-audit-strip"] { display: grid; grid-template-columns: repeat(auto-fit, minmax(7.8rem, 1fr)); gap: 0.6rem; }
[class*="st-key-audit-strip"] > div, [class*="st-key-audit-strip"] [data-testid="stVerticalBlock"] { width: auto; height: 100%; }
[class*="st-key-audit-strip"] [data-testid="stVerticalBlock"] { gap: 0.2rem; padding: 0.7rem; }
.sightline-footer { display: flex; justify-content: space-between; gap: 1rem; margin: 0; opacity: 0.8; font-size: 0.8125rem; }
</style>"""


def inject() -> None:
    """Adds the global rules; call it once a run, before the page."""
    st.html(_STYLE)


def footer(engine: str) -> None:
    """Says where the networks run and what the app is for, once, under the page."""
    st.html(f'<p class="sightline-footer"><span>{engine}</span><span>{RESEARCH_NOTE}</span></p>')
