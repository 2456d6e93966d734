"""The Audit page: where a model fails and for whom, every mark leading to the cases behind it."""

from __future__ import annotations

import streamlit as st

from dashboard.audit.table import AuditTable
from dashboard.cases import readable
from dashboard.state import AuditView, audit_view, services
from dashboard.widgets.audit.calibration import calibration_tab
from dashboard.widgets.audit.cases import case_list
from dashboard.widgets.audit.chart import Audit
from dashboard.widgets.audit.compare import compare_tab
from dashboard.widgets.audit.confusion import confusion_tab
from dashboard.widgets.audit.export import export
from dashboard.widgets.audit.failures import failures_tab
from dashboard.widgets.audit.imbalance import imbalance_tab
from dashboard.widgets.audit.overview import headline, overview_tab
from dashboard.widgets.audit.source import choose_table, other_table
from dashboard.widgets.audit.subgroups import subgroups_tab
from dashboard.widgets.audit.thresholds import thresholds_tab
from models.card import ModelCard
from models.errors import SightlineError

ALL = "all"
TABS = ("Overview", "Calibration", "Confusion", "Imbalance", "Thresholds", "Subgroups", "Failures", "Compare")
_DRAWN = {
    "Calibration": calibration_tab,
    "Confusion": confusion_tab,
    "Imbalance": imbalance_tab,
    "Thresholds": thresholds_tab,
    "Subgroups": subgroups_tab,
    "Failures": failures_tab,
}


def page() -> None:
    """Everything of the page, top to bottom."""
    desk = services().desk
    view = audit_view()
    whole = choose_table(desk)
    if whole is None:
        return
    for note in whole.notes:
        st.caption(f":material/info: {note}")
    if not len(whole):
        st.info("The table has no case; choose another.", icon=":material/info:")
        return
    card = desk.engine.cards().get(whole.model_id)
    audit = _chosen(whole, view, card)
    found = headline(audit)
    tabs = dict(zip(TABS, st.tabs(TABS, key="audit-tabs", on_change="rerun"), strict=True))
    for name, tab in tabs.items():
        if tab.open:
            with tab:
                try:
                    if name == "Overview":
                        overview_tab(audit, found)
                    elif name == "Compare":
                        compare_tab(audit, other_table(desk))
                    else:
                        _DRAWN[name](audit)
                except SightlineError as error:
                    st.error(str(error), icon=":material/error:")
    case_list(audit.table, card)


def _chosen(whole: AuditTable, view: AuditView, card: ModelCard | None) -> Audit:
    """Split and class in focus; another table or split closes the list of cases."""
    split_place, class_place, export_place = st.columns([3, 4, 1.2], vertical_alignment="bottom")
    splits = [*whole.splits, ALL] if len(whole.splits) > 1 else []
    if splits:
        default = next((name for name in ("test", view.split) if name in splits), splits[0])
        split = split_place.segmented_control(
            "Part", splits, default=view.split if view.split in splits else default, key=f"audit-split-{whole.title}"
        )
        split = split or default
    else:
        split = ALL
    table = whole if split == ALL else _part(whole.digest, split, whole)
    if (whole.title, split) != (view.source_seen, view.split):
        view.source_seen, view.split, view.rows, view.title = whole.title, split, (), ""
        view.answered.clear()
    focus = view.focus if view.focus in whole.classes else whole.classes[0]
    if len(whole.classes) > 1:
        focus = class_place.selectbox(
            "Class in focus",
            whole.classes,
            index=whole.classes.index(focus),
            format_func=readable,
            key=f"audit-focus-{whole.title}",
        )
    view.focus = focus
    with export_place:
        export(table, card)
    return Audit(table, whole, whole.classes.index(focus))


@st.cache_resource(max_entries=8, show_spinner=False)
def _part(digest: str, split: str, _whole: AuditTable) -> AuditTable:
    return _whole.in_split(split)
