"""The worklist: cases to choose from, searched and sorted in the browser.

The component is mounted twice with the same script: once for the pictures and once for the list. The pictures are
most of the bytes and do not depend on what is selected, so the browser is sent them once.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import streamlit as st

from models.errors import DataError

HTML = """
<div class="worklist" hidden>
  <input class="search" type="search" placeholder="Search cases" aria-label="Search cases" autocomplete="off"
    spellcheck="false">
  <div class="bar">
    <span class="count" role="status"></span>
    <span class="sort" role="group" aria-label="Sort cases">
      <button type="button" data-sort="listed">Listed</button><button type="button" data-sort="risk">By risk</button>
    </span>
  </div>
  <div class="list" role="listbox" tabindex="0" aria-label="Cases"></div>
  <p class="empty" hidden></p>
</div>
"""

_HERE = Path(__file__)
_component = st.components.v2.component(
    "sightline_worklist",
    html=HTML,
    css=_HERE.with_suffix(".css").read_text(encoding="utf-8"),
    js=_HERE.with_suffix(".js").read_text(encoding="utf-8"),
)


@dataclass(frozen=True)
class WorklistRow:
    """One case of the list.

    Attributes:
        id: what :func:`worklist` returns when the row is chosen.
        subtitle: what kind of image it is ("x-ray · PA · F 61").
        group: heading under which the row stands; rows of one group follow each other.
        score: probability of ``finding`` in [0, 1], or None where no model has seen the case.
        finding: name of the top finding, or "".
        flagged: the score lies at or above the operating point.
        thumbnail: PNG or JPEG bytes, or b"" for a neutral placeholder.
    """

    id: str
    title: str
    subtitle: str
    group: str
    score: float | None
    finding: str
    flagged: bool
    thumbnail: bytes

    def __post_init__(self) -> None:
        if not self.id:
            raise DataError("A row of the worklist needs an id.")
        if self.score is not None and not (isfinite(self.score) and 0 <= self.score <= 1):
            raise DataError(f"Worklist row {self.id!r}: the score must lie between 0 and 1, got {self.score}.")


def worklist(rows: Sequence[WorklistRow], *, selected: str, key: str, height: int) -> str | None:
    """Shows the list; search text, order and scroll position stay in the browser.

    Args:
        selected: id of the row shown as selected; an id that is not in the list selects none.
        key: unique on the page.
        height: of the whole list in CSS pixels; longer lists scroll inside it.

    Returns:
        The id the reader has just chosen, in exactly one run of the script; otherwise None.

    Raises:
        DataError: two rows share an id.
    """
    if len({row.id for row in rows}) != len(rows):
        raise DataError("Two rows of the worklist share an id; every case must be listed once.")
    with st.container(gap=None):
        _component(key=f"{key}-pictures", data=_pictures(rows, key))
        result = _component(key=key, data=_list(rows, selected, key, height), on_chosen_change=_no_callback)
    chosen = result.get("chosen")
    return chosen if any(row.id == chosen for row in rows) and chosen != selected else None


def _pictures(rows: Sequence[WorklistRow], key: str) -> dict[str, Any]:
    return {"list": key, "pictures": {row.id: _data_uri(row.thumbnail) for row in rows if row.thumbnail}}


def _list(rows: Sequence[WorklistRow], selected: str, key: str, height: int) -> dict[str, Any]:
    return {
        "list": key,
        "height": height,
        "selected": selected,
        "rows": [
            {
                "id": row.id,
                "title": row.title,
                "subtitle": row.subtitle,
                "group": row.group,
                "score": None if row.score is None else float(row.score),
                "finding": row.finding,
                "flagged": bool(row.flagged),
            }
            for row in rows
        ],
    }


def _data_uri(picture: bytes) -> str:
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{b64encode(picture).decode('ascii')}"


def _no_callback() -> None:
    """Streamlit returns a trigger only where a callback is named; the page reads the return value instead."""
