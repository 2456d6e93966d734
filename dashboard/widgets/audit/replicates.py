"""The bootstrap draws that several tabs of the Audit page share."""

from __future__ import annotations

import streamlit as st

from dashboard.audit.bootstrap import Draws, draws
from dashboard.audit.table import AuditTable

REPLICATES = 500


@st.cache_resource(max_entries=6, show_spinner=False)
def drawn(digest: str, _table: AuditTable) -> Draws:
    """(P, 500) draws of the table's patients, kept by its digest; not to be written to."""
    return draws(_table.groups, REPLICATES, 0)
