"""The few rules that the theme cannot express, and the line that stands under every page."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.cases import RESEARCH_NOTE

if TYPE_CHECKING:  # which reads torch, and the page is styled before
    from dashboard.serving.types import Health

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


# The engine stands in the header where that has room, and under the page elsewhere.
_IN_HEADER = """<style>
@media (min-width: 1430px) {{
  [data-testid="stHeader"]::after {{ content: "{engine}"; position: absolute; right: 2.5rem; top: 1.2rem;
    max-width: calc(100vw - 1110px); overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
    font-size: 0.8125rem; opacity: 0.8; pointer-events: none; }}
  .sightline-engine {{ display: none; }} }}
</style>"""


def inject() -> None:
    """Adds the global rules; call it once a run, before the page."""
    st.html(_STYLE)


def footer(health: Health) -> None:
    """Says where the models run and what the app is for, once, under the page."""
    engine = in_a_line(health)
    said = "".join(letter if letter.isalnum() or letter in " .,:/-·[]" else f"\\{ord(letter):x} " for letter in engine)
    st.html(_IN_HEADER.format(engine=said))
    footing = f'<span class="sightline-engine">{escape(engine)}</span><span>{RESEARCH_NOTE}</span>'
    st.html(f'<p class="sightline-footer">{footing}</p>')


def in_a_line(health: Health) -> str:
    """ "cpu · 12.3 GB free · 2 models · idle · this computer"; what may be cut off comes last."""
    server = health.address.split("://")[-1]
    parts = [health.device]
    free = [device.free_bytes for device in health.devices if device.free_bytes is not None]
    if free:
        parts.append(f"{min(free) / 1e9:.1f} GB free")
    parts.append(f"{len(health.models)} model{'' if len(health.models) == 1 else 's'}")
    parts.append(f"{health.waiting} waiting" if health.waiting else "idle")
    parts.append(f"server {server}" if server else "this computer")
    return f"No answer from server {server}" if health.message else " · ".join(parts)
