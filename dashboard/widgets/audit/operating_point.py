"""The threshold at hand: chosen by a rule, by hand or by a click; the cases it calls; kept under a name."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import streamlit as st

from dashboard.audit.operating import Curves
from dashboard.audit.points import Point, list_points, save_point
from dashboard.audit.thresholds import Called, Rule, choose
from dashboard.cases import readable
from dashboard.settings import settings
from dashboard.state import audit_view
from dashboard.widgets.audit.chart import Audit, open_cases
from models.errors import DataError

_PRESENT, _HAND = "present", "hand"
_RULES: dict[str, str] = {
    _PRESENT: "At present",
    _HAND: "By hand",
    "youden": "Largest sensitivity + specificity (Youden)",
    "sensitivity": "Sensitivity of at least ...",
    "specificity": "Specificity of at least ...",
    "cost": "Cost: one missed case is worth ... false alarms",
    "f1": "Largest F1",
}
_KINDS = {"found": "Found", "alarms": "False alarms", "missed": "Missed"}
_RULE, _KIND, _CLICKED = "threshold-rule", "threshold-kind", "threshold-clicked"


@dataclass(frozen=True)
class Choice:
    """The threshold at hand, how it was chosen, and the clinic's prevalence (None: as in the table)."""

    threshold: float
    how: str
    prevalence: float | None


def chosen_point(audit: Audit, found: Curves) -> Choice:
    """The controls, and what they say. A rule that cannot be followed is said, and the present threshold taken."""
    table, finding = audit.table, audit.finding
    present, why = _present(audit, found)
    options = sorted({*found.threshold.tolist(), present})
    hand = f"threshold-hand-{table.title}-{finding}"
    _take_click(hand, finding, options)
    clinic = st.session_state.get(f"clinic-{table.title}-{finding}")
    prevalence = clinic if isinstance(clinic, float) else None
    with st.container(horizontal=True, gap="large", vertical_alignment="bottom"):
        rule = st.selectbox(
            "Threshold", list(_RULES), format_func=_RULES.__getitem__, key=_RULE, persist_state="session", width=360
        )
        value = _value(rule)
        if rule == _HAND:
            if st.session_state.get(hand) not in options:
                st.session_state[hand] = present
            slid = st.select_slider(
                "Score from which a case is called",
                options,
                format_func=lambda score: f"{score:.4g}",
                key=hand,
                persist_state="session",
            )
            return Choice(float(slid), "by hand", prevalence)
    if rule == _PRESENT:
        return Choice(present, why, prevalence)
    rules: dict[str, Rule] = {
        "youden": "youden", "sensitivity": "sensitivity", "specificity": "specificity", "cost": "cost", "f1": "f1"
    }  # fmt: skip
    how = _RULES[rule].replace("...", f"{value:g}")
    try:
        return Choice(choose(found.swept, rules[rule], value, prevalence), how[:1].lower() + how[1:], prevalence)
    except DataError as error:
        st.warning(str(error), icon=":material/warning:")
        return Choice(present, why, prevalence)


def show_called(audit: Audit, choice: Choice, calls: Called) -> None:
    """A switch between the cases found, wrongly called and missed; the list follows the threshold."""
    rows = {"found": calls.true_positive, "alarms": calls.false_positive, "missed": calls.missed}
    kind = st.segmented_control(
        "Cases at this threshold",
        list(_KINDS),
        format_func=lambda each: f"{_KINDS[each]} ({len(rows[each]):,})",
        key=_KIND,
        persist_state="session",
    )
    answered, asked = audit_view().answered, (kind, choice.threshold, audit.focus, audit.table.digest)
    if answered.get(_KIND) == asked:
        return
    answered[_KIND] = asked
    if kind is not None:
        words = f"{readable(audit.finding)}: {_KINDS[kind].lower()} at a threshold of {choice.threshold:.4g}"
        open_cases(audit, rows[kind], words)


def click(audit: Audit, threshold: Hashable | None) -> None:
    """A clicked point becomes the threshold at hand, and its false alarms are listed."""
    if isinstance(threshold, int | float):
        st.session_state[_CLICKED] = (audit.finding, float(threshold))
        st.rerun()


def keep(audit: Audit, choice: Choice, n: int) -> None:
    """Save the point under a name."""
    table = audit.table
    if table.exclusive:
        st.caption(
            "These classes exclude each other: the model decides between them, so a threshold for one alone shows what "
            "it could do, and is not kept."
        )
        return
    folder = settings().operating_points
    with st.form("keep-point", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input("Keep this operating point as", "screening", max_chars=60, width=300)
        pressed = st.form_submit_button("Save", icon=":material/save:")
    if pressed:
        point = Point(threshold=choice.threshold, chosen=choice.how, table=table.title, table_digest=table.digest, n=n)
        saved = save_point(folder, table.model_id, name.strip(), audit.finding, point)
        st.toast(f"Saved: {readable(audit.finding)} in {saved.name!r}.", icon=":material/check:")
    names = list_points(folder, table.model_id)
    if names:
        whose = f"model {table.model_id}" if table.model_id else "scores of no installed model"
        st.caption(f"Kept for {whose}: {', '.join(names)}. A name holds one threshold for each class saved under it.")


def _present(audit: Audit, found: Curves) -> tuple[float, str]:
    if audit.table.exclusive:  # its thresholds weigh classes against each other
        return choose(found.swept, "youden"), "largest sensitivity + specificity of this class against the others"
    return audit.table.thresholds[audit.focus], "the table's own operating point"


def _value(rule: str) -> float:
    if rule in ("sensitivity", "specificity"):
        return float(
            st.number_input(
                "At least", 0.0, 1.0, 0.9, 0.01, key=f"threshold-{rule}", persist_state="session", width=160
            )
        )
    if rule == "cost":
        return float(
            st.number_input(
                "False alarms", 0.1, 1000.0, 10.0, 1.0, key="threshold-cost", persist_state="session", width=160
            )
        )
    return 0.0


def _take_click(hand: str, finding: str, options: list[float]) -> None:
    """Before the controls are drawn: they cannot be set afterwards."""
    clicked = st.session_state.pop(_CLICKED, None)
    if clicked is None or clicked[0] != finding or clicked[1] not in options:
        return
    st.session_state[_RULE], st.session_state[hand] = _HAND, clicked[1]
    if st.session_state.get(_KIND) is None:
        st.session_state[_KIND] = "alarms"
