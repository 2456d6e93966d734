"""What every tab of the Audit page is made with: a figure whose marks lead to cases, with its data to take along."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.audit.table import AuditTable, Rows
from dashboard.figures.style import Figure
from dashboard.state import audit_view

_CONFIG = {
    "displaylogo": False,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
    "toImageButtonOptions": {"format": "png", "scale": 2},
}


@dataclass(frozen=True, eq=False)
class Audit:
    """What a tab is given.

    Attributes:
        table: the cases under audit (one split, where the table has several).
        whole: the table with all its splits.
        focus: index of the class in focus, chosen over the tabs.
    """

    table: AuditTable
    whole: AuditTable
    focus: int

    @property
    def finding(self) -> str:
        return self.table.classes[self.focus]


def chart(draw: Callable[[bool], Figure], key: str, alt: str, data: pd.DataFrame | None = None) -> Hashable | None:
    """Draw for the theme at hand (True: dark); zoom survives a redraw.

    Args:
        draw: the marks that lead to cases carry one hashable value each as ``customdata[0]``.
        key: unique on the page.
        alt: what a screen reader says.
        data: what the figure shows, offered as CSV.

    Returns:
        The ``customdata[0]`` of a mark that the reader has just clicked, once; else None.
    """
    figure = draw(st.context.theme.type == "dark")
    figure.update_layout(uirevision=key)
    config = _CONFIG | {"toImageButtonOptions": {"format": "png", "scale": 2, "filename": key}}
    event = st.plotly_chart(
        figure, key=f"chart-{key}", theme=None, config=config, on_select="rerun", selection_mode="points", alt=alt
    )
    if data is not None:
        st.download_button(
            "Data (CSV)",
            lambda: data.to_csv(index=False).encode(),
            f"{key}.csv",
            "text/csv",
            key=f"csv-{key}",
            icon=":material/download:",
            type="tertiary",
            on_click="ignore",
        )
    return _fresh(key, event)


def open_cases(audit: Audit, rows: Rows, title: str, finding: int | None = None) -> None:
    """Show these cases under the tabs, in the order given.

    Args:
        rows: numbers of rows of ``audit.table``.
        title: what they have in common, e.g. "Missed Edema".
        finding: class to set when one opens on the Case page; the one in focus if not given.
    """
    view = audit_view()
    view.rows = tuple(int(row) for row in rows)
    view.title, view.finding, view.page = title, audit.focus if finding is None else finding, 0


def _fresh(key: str, event: Any) -> Hashable | None:
    """The clicked mark, unless it was answered in an earlier run: a selection stays in the figure."""
    points = event.selection.points if event is not None else []
    custom = [point["customdata"] for point in points if point.get("customdata") is not None]
    chosen = custom[0][0] if custom and isinstance(custom[0], list | tuple) else (custom[0] if custom else None)
    if isinstance(chosen, dict):  # Streamlit turns arrays of typed data into {"0": ...}
        chosen = next(iter(chosen.values()))
    answered = audit_view().answered
    if chosen == answered.get(key):
        return None
    answered[key] = chosen
    return chosen
