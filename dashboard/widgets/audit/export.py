"""The audit as files: the same that ``python -m dashboard audit`` writes."""

from __future__ import annotations

import streamlit as st

from dashboard.audit.table import AuditTable
from dashboard.cases import readable
from dashboard.reports.audit import audit_files, audit_zip
from models.card import ModelCard

MOST_GROUPS = 5
_MANY = 60  # different values beyond which a text is no group


def export(table: AuditTable, card: ModelCard | None) -> None:
    """A button that opens what to put in, and the download."""
    with st.popover("Export", icon=":material/download:", width="stretch"):
        st.caption("A zip with a report that needs no network, metrics.json and CSV tables. Takes some seconds.")
        groups = st.multiselect(
            "Subgroups in the report",
            _groups(table),
            format_func=readable,
            max_selections=MOST_GROUPS,
            key="export-groups",
        )
        st.download_button(
            "Make the report",
            lambda: audit_zip(audit_files(table, card, groups)[1]),
            "audit.zip",
            "application/zip",
            icon=":material/description:",
            on_click="ignore",
            key="export-make",
        )


def _groups(table: AuditTable) -> list[str]:
    """Attributes that make groups: numbers, which are cut into ranges, and texts of few values."""
    cases = table.cases
    return [name for name in table.attributes if cases[name].dtype.kind in "fiu" or cases[name].nunique() <= _MANY]
