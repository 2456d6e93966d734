"""The cases to look at first, ranked in several ways; the number that ranked each stands beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from dashboard.audit import failures
from dashboard.audit.failures import Ranking
from dashboard.audit.table import CASE, PATIENT, AuditTable
from dashboard.cases import readable
from dashboard.state import audit_view
from dashboard.widgets.audit.cells import choice
from dashboard.widgets.audit.chart import Audit, open_cases
from dashboard.widgets.audit.drift import drift_section
from dashboard.widgets.audit.explanations import explanations_section
from dashboard.widgets.audit.robustness import robustness_section
from dashboard.widgets.audit.shortcuts import shortcuts_section

_LISTED = 200


@dataclass(frozen=True)
class _Kind:
    """One way to rank: its name, the name of its number, and what it means for findings and for exclusive classes."""

    title: str
    number: str
    find: Callable[[AuditTable, int | None], Ranking]
    means: str
    exclusive: str


_KINDS = {
    "errors": _Kind(
        "Most confident errors",
        "Confidence",
        failures.confident_errors,
        "Wrong decisions; confidence is how far the score is past the operating point, as a share of the way to 0 or 1.",
        "Wrong decisions, by the probability of the class that was decided for.",
    ),
    "loss": _Kind(
        "Largest loss",
        "Loss",
        failures.largest_loss,
        "Loss is -ln of the probability given to the label: 0.7 is a coin flip, 4.6 is 1 %.",
        "Loss is -ln of the probability of the true class: 4.6 is 1 %.",
    ),
    "cases": _Kind(
        "Largest loss of a case",
        "Mean loss",
        lambda table, _: failures.largest_case_loss(table),
        "Mean of the losses of a case over all findings with a known label; the finding named has the largest.",
        "Loss of the true class, one entry a case.",
    ),
    "near": _Kind(
        "Near the threshold",
        "Log odds",
        failures.near_threshold,
        "Decisions that a small change turns over: distance in log odds from the score to the operating point.",
        "Decisions that a small change turns over: distance in log odds between the first two classes.",
    ),
    "labels": _Kind(
        "Label may be wrong",
        "Excess",
        failures.suspected_labels,
        "The score speaks against the label more than it does on average for cases of the other label (confident "
        "learning, Northcutt et al. 2021); excess is how far past that average, as a share of the way to certainty. "
        "A hint for a second reading, not a verdict: a model can be sure and wrong.",
        "Another class is at least as probable as for its own cases on average (confident learning, Northcutt et al. "
        "2021); excess is how far past that average. The class named is the suggested one. A hint for a second "
        "reading, not a verdict.",
    ),
}


@st.cache_data(max_entries=32, show_spinner=False)
def _ranking(digest: str, kind: str, column: int | None, _table: AuditTable) -> Ranking:
    return _KINDS[kind].find(_table, column)


def failures_tab(audit: Audit) -> None:
    """One way to look for failures at a time."""
    titles = {name: title for name, (title, _) in SECTIONS.items()}
    section = choice("Look for", titles, "failures-section")
    SECTIONS[section][1](audit)


def _listed_cases(audit: Audit) -> None:
    """One list at a time; choosing lines opens their cases."""
    table = audit.table
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    with left:
        kind = choice("Rank by", {name: one.title for name, one in _KINDS.items()}, "failures-kind")
    scope = "all"
    if kind != "cases" and len(table.classes) > 1:
        with right:
            focus = {"focus": f"{readable(audit.finding)} only", "all": "All classes"}
            scope = choice("Classes", focus, "failures-scope")
    way = _KINDS[kind]
    column = audit.focus if scope == "focus" else None
    found = _ranking(table.digest, kind, column, table)
    st.caption(way.exclusive if table.exclusive else way.means)
    if not len(found):
        st.info(_nothing(kind), icon=":material/check_circle:")
        return
    shown = min(_LISTED, len(found))
    frame = listing(table, found, way.number)
    key = f"failures-{kind}-{audit.finding if scope == 'focus' else 'all'}"
    event = st.dataframe(
        frame.head(shown),
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        key=f"{key}-{table.digest[:12]}",
        height=min(460, 37 + 35 * shown),
        column_config={
            name: st.column_config.NumberColumn(format="%.3f") for name in ("Score", "Threshold", way.number)
        },
    )
    said = f"{way.title}: {readable(audit.finding) if scope == 'focus' else 'all classes'}"
    everything, data, words = st.columns([1, 1, 3], vertical_alignment="center")
    if everything.button(f"Show these {len(np.unique(found.rows[:shown])):,} cases", key=f"{key}-show"):
        open_cases(audit, _distinct(found, np.arange(shown)), said, int(found.columns[0]))
    data.download_button(
        "Data (CSV)",
        lambda: frame.to_csv(index=False).encode(),
        f"{key}.csv",
        "text/csv",
        key=f"{key}-csv",
        icon=":material/download:",
        type="tertiary",
        on_click="ignore",
    )
    words.caption(_counted(shown, found))
    chosen = tuple(sorted(int(line) for line in event.selection.rows if line < shown))
    answered = audit_view().answered
    if chosen != (answered.get(key) or ()):
        answered[key] = chosen
        if chosen:
            open_cases(audit, _distinct(found, np.asarray(chosen)), f"{said}, chosen", int(found.columns[chosen[0]]))


def listing(table: AuditTable, found: Ranking, number: str) -> pd.DataFrame:
    """The list for people and as CSV; ``number`` names the column that ranked it."""
    place = (found.rows, found.columns)
    label = table.labels[place]
    cases = table.cases.iloc[found.rows]
    frame = pd.DataFrame({"Case": cases[CASE].to_numpy()})
    if table.has_patients:
        frame["Patient"] = cases[PATIENT].to_numpy()
    frame["Class"] = [readable(table.classes[column]) for column in found.columns]
    if table.exclusive:
        frame["True class"] = [readable(table.classes[k]) for k in table.positive[found.rows].argmax(1)]
        frame["Decided"] = [readable(table.classes[k]) for k in table.decided[found.rows].argmax(1)]
    else:
        frame["Label"] = np.where(np.isnan(label), "unknown", np.where(label == 1, "present", "absent"))
        frame["Called"] = np.where(table.decided[place], "yes", "no")
    frame["Score"] = table.scores[place]
    if not table.exclusive:
        frame["Threshold"] = np.asarray(table.thresholds)[found.columns]
    frame[number] = found.numbers
    return frame


def _distinct(found: Ranking, lines: np.ndarray) -> np.ndarray:
    """Cases of these lines, each once, in their order."""
    return Ranking(found.rows[lines], found.columns[lines], found.numbers[lines], len(lines)).cases


def _counted(shown: int, found: Ranking) -> str:
    more = f" of {found.total:,}" if found.total > shown else ""
    held = f"; the CSV holds the first {len(found):,}" if len(found) > shown else ""
    return f"First {shown:,}{more}{held}. Choose lines for their cases."


def _nothing(kind: str) -> str:
    if kind == "errors":
        return "No decision is wrong here."
    if kind == "labels":
        return "No label is suspected here; classes with fewer than ten cases of a label are not judged."
    return "No label is known here, so nothing can be ranked."


SECTIONS: dict[str, tuple[str, Callable[[Audit], None]]] = {
    "cases": ("Cases to look at first", _listed_cases),
    "explanations": ("Methods compared", explanations_section),
    "shortcuts": ("Shortcuts", shortcuts_section),
    "robustness": ("Robustness", robustness_section),
    "drift": ("Maps by group", drift_section),
}
