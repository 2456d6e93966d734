"""Reliability diagrams that open their cases, and calibration figures in words."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from dashboard.audit.calibration import Bins, outcomes, summary
from dashboard.audit.intervals import Estimate
from dashboard.audit.table import AuditTable, Rows
from dashboard.figures.reliability import reliability
from dashboard.widgets.audit.chart import Audit, chart, open_cases
from dashboard.widgets.audit.replicates import drawn

AS_GIVEN, DECIDED = "as given", "the decided class"
_TITLES = {
    "ece": "Calibration error (ECE): mean gap between score and outcome",
    "ace": "The same over bins of equally many cases",
    "mce": "Largest gap of a bin (MCE)",
    "slope": "Slope: 1 is calibrated, below 1 too extreme",
    "intercept": "Intercept: 0 is calibrated",
    "offset": "Intercept with slope 1: below 0 scores are too high",
    "nll": "Negative log-likelihood (nats)",
    "brier": "Brier score: mean squared error",
    "reliability": "· reliability: squared gap, smaller is better",
    "resolution": "· resolution: what scores tell apart, larger is better",
    "uncertainty": "· uncertainty: spread of the labels",
    "within": "· spread of scores inside the bins",
}


def diagram(
    audit: Audit, series: Mapping[str, Bins], subject: str, log: bool, key: str, rows: Rows | None = None
) -> None:
    """Reliability bins whose marks open their cases.

    Args:
        rows: (m,) rows of ``audit.table`` by those that the bins know; the same if not given.
    """
    event = "right" if subject == DECIDED else f"{subject} present"
    clicked = chart(
        lambda dark: reliability(series, event, log, dark),
        key + ("-log" if log else ""),
        f"Reliability diagram of {subject}",
        pd.concat([_data(name, found) for name, found in series.items()]),
    )
    if clicked is None:
        return
    name, _, number = str(clicked).rpartition(":")
    found = series[name]
    chosen = found.rows_of(int(number))
    low, high = found.edges[int(number)], found.edges[int(number) + 1]
    listed = chosen if rows is None else rows[chosen]
    open_cases(audit, listed, f"{subject[:1].upper() + subject[1:]}: scores {low:.3g} to {high:.3g}, {name}")


@st.cache_data(max_entries=64, show_spinner="Resampling ...")
def figures(digest: str, index: int | None, count: int, _table: AuditTable) -> dict[str, Estimate]:
    """The calibration figures of a class, or of the top label, kept by the table's digest."""
    return summary(outcomes(_table, index), drawn(digest, _table), count)


def frame_of(columns: Mapping[str, Mapping[str, Estimate]]) -> pd.DataFrame:
    """Calibration figures in words, one column for each set of them."""
    rows = [
        {"Figure": title} | {name: decimals(estimates[key]) for name, estimates in columns.items()}
        for key, title in _TITLES.items()
    ]
    return pd.DataFrame(rows)


def decimals(estimate: Estimate) -> str:
    """With the four decimals that errors of rare classes need."""
    return estimate.rounded(4)


def _data(name: str, found: Bins) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "series": name,
            "from": found.edges[:-1],
            "to": found.edges[1:],
            "n": found.n,
            "mean_score": found.confidence,
            "observed": found.observed,
            "low": found.low,
            "high": found.high,
        }
    )
