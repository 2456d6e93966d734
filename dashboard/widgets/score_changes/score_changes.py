"""A table of all classes: probability before and after, the change as a bar, and decisions that are other ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from dashboard.cases import readable
from models.errors import DataError
from models.types import Prediction

HTML = """
<table class="changes">
  <caption class="unseen">Probability of every class before and after the changes</caption>
  <thead><tr>
    <th scope="col" class="name">Finding</th>
    <th scope="col" class="number">Before</th>
    <th scope="col" class="number">After</th>
    <th scope="col" class="bar">Change</th>
    <th scope="col" class="decision">Decision</th>
  </tr></thead>
  <tbody></tbody>
</table>
"""

_HERE = Path(__file__)
_component = st.components.v2.component(
    "sightline_score_changes",
    html=HTML,
    css=_HERE.with_suffix(".css").read_text(encoding="utf-8"),
    js=_HERE.with_suffix(".js").read_text(encoding="utf-8"),
)


def score_changes(before: Prediction, after: Prediction, *, chosen: int, key: str) -> None:
    """Shows the table, the class most probable before first, so that rows stay where they are.

    Args:
        before, after: of one model, with the operating points that count.
        chosen: class index that is marked as the one explained.
        key: unique on the page.

    Raises:
        DataError: the predictions are of different models.
    """
    if before.classes != after.classes:
        raise DataError("Only scores of one model can be compared; these two have different classes.")
    _component(key=key, data={"rows": [_row(before, after, index, chosen) for index in before.order]})


def changed(before: Prediction, after: Prediction) -> tuple[int, ...]:
    """Classes whose decision is another one."""
    return tuple(sorted(set(before.flagged) ^ set(after.flagged)))


def decision(prediction: Prediction, index: int) -> str:
    """In words, as the table of findings has it."""
    flagged = index in prediction.flagged
    if prediction.exclusive:
        return "decided for" if flagged else ""
    return "flagged" if flagged else "below"


def _row(before: Prediction, after: Prediction, index: int, chosen: int) -> dict[str, Any]:
    was, now = decision(before, index), decision(after, index)
    return {
        "name": readable(before.classes[index]),
        "before": float(before.probabilities[index]),
        "after": float(after.probabilities[index]),
        "decision": now,
        "turned": "" if was == now else f"now {now}" if now else "no longer",
        "alarming": now == "flagged",
        "chosen": index == chosen,
    }
