"""The findings of one case as a table; choosing a row chooses the class that is explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import streamlit as st

from models.errors import DataError

HTML = """
<fieldset class="findings" hidden>
  <legend class="unseen">Finding to explain</legend>
  <table>
    <thead><tr>
      <th scope="col" class="name">Finding</th>
      <th scope="col" class="bar"></th>
      <th scope="col" class="number">p</th>
      <th scope="col" class="number">Threshold</th>
      <th scope="col" class="decision">Decision</th>
      <th scope="col" class="truth">Reference</th>
    </tr></thead>
    <tbody></tbody>
  </table>
  <p class="note"></p>
</fieldset>
"""

_HERE = Path(__file__)
_component = st.components.v2.component(
    "sightline_findings",
    html=HTML,
    css=_HERE.with_suffix(".css").read_text(encoding="utf-8"),
    js=_HERE.with_suffix(".js").read_text(encoding="utf-8"),
)


@dataclass(frozen=True)
class Finding:
    """One row: a class of the model and what the model says of it.

    Attributes:
        index: column of the network's output.
        probability: in [0, 1]; calibrated or not is said once for the whole table.
        threshold: operating point in [0, 1], or None where the decision does not use one.
        flagged: shown with an icon and the alerting colour; leave it False for a harmless class.
        decision: in words ("flagged", "below", "decided for").
        truth: the reference label, or None where unknown.
    """

    index: int
    name: str
    probability: float
    threshold: float | None
    flagged: bool
    decision: str
    truth: bool | None

    def __post_init__(self) -> None:
        for what, value in (("probability", self.probability), ("threshold", self.threshold)):
            if value is not None and not (isfinite(value) and 0 <= value <= 1):
                raise DataError(f"Finding {self.name!r}: the {what} must lie between 0 and 1, got {value}.")


def findings(rows: Sequence[Finding], *, chosen: int, key: str, note: str = "", calibrated: bool) -> int | None:
    """Shows the table, rows in the order given.

    Args:
        rows: up to about twenty.
        chosen: class index that is explained now; an index that is not in the table marks no row.
        key: unique on the page.
        note: a sentence under the table, such as where the thresholds come from.
        calibrated: whether the heading says "calibrated" or "uncalibrated score".

    Returns:
        The class index the reader has just chosen, in exactly one run of the script; otherwise None.

    Raises:
        DataError: two rows share a class index.
    """
    if len({row.index for row in rows}) != len(rows):
        raise DataError("Two rows of the findings share a class index; every class must be listed once.")
    data = {"rows": [_plain(row) for row in rows], "chosen": int(chosen), "note": note, "calibrated": calibrated}
    newly = _component(key=key, data=data, on_chosen_change=_no_callback).get("chosen")
    return newly if any(row.index == newly for row in rows) and newly != chosen else None


def _plain(row: Finding) -> dict[str, Any]:
    # Scores often arrive as NumPy scalars, which JSON does not know.
    return {
        "index": int(row.index),
        "name": row.name,
        "probability": float(row.probability),
        "threshold": None if row.threshold is None else float(row.threshold),
        "flagged": bool(row.flagged),
        "decision": row.decision,
        "truth": None if row.truth is None else bool(row.truth),
    }


def _no_callback() -> None:
    """Streamlit returns a trigger only where a callback is named; the page reads the return value instead."""
