"""What the viewers share on their way into the browser: joined source files, and one element for each piece of data."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from streamlit import runtime
from streamlit.runtime.scriptrunner_utils.script_run_context import ThreadState

from dashboard.widgets.viewer.packing import Packed

_HERE = Path(__file__).parent


def source(*names: str, folder: Path = _HERE) -> str:
    """The text of files of a folder, in that order."""
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)


_blob = st.components.v2.component("sightline_blob", js=source("blob.js"))


def mount_blob(packed: Packed, *, key: str) -> None:
    """One element for one piece of data; Streamlit resends an unchanged one as a short reference."""
    _blob(key=f"{key}-{packed.blob}", data=packed.data)


def publish(packed: Packed, *, slot: str) -> str:
    """The address on this server from which the browser can fetch the data, until the slot or the page changes.

    Streamlit names large files by samples of their bytes; each piece begins with its own name, so no two are confused.
    """
    files = runtime.get_instance().media_file_mgr
    base = str(st.get_option("server.baseUrlPath") or "").strip("/")
    address = files.add(packed.data, "application/octet-stream", slot)
    return f"/{base}{address}" if base else address


def nothing() -> None:
    """Streamlit keeps only events that have a callback; a viewer's are read from its result."""


def in_fragment() -> bool:
    """Whether the caller runs as part of an ``st.fragment``; Streamlit has no public way to ask."""
    try:
        return ThreadState.get().fragment_id is not None
    except RuntimeError:  # outside any script, as in a notebook
        return False
