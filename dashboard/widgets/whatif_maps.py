"""The edited picture explained in the ways of the page, beside the picture as it came."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from dashboard.jobs.desk import Desk
from dashboard.serving.types import ExplainRequest
from dashboard.state import WhatIf, owner
from dashboard.widgets import maps
from dashboard.widgets.viewer.viewer import Pane, viewer
from models.types import Image

_SIDES = {"as-it-came": "As it came", "changed": "Changed"}


def edited_maps(
    desk: Desk, image: Image, edited: Image, requests: dict[str, ExplainRequest], view: WhatIf, case_id: str
) -> None:
    """The switch and, when it is on, two viewers with the same methods for the same finding."""
    view.explain = st.toggle("Explain the changed picture", value=view.explain, key=f"whatif-explain-{case_id}")
    if not view.explain:
        desk.keep_only((), view.held, _owner())
        view.held.clear()
        return
    asked = {
        f"{side}-{method}": replace(request, image=picture)
        for side, picture in zip(_SIDES, (image, edited), strict=True)
        for method, request in requests.items()
    }
    known = maps.answers(desk, asked, _owner(), view.held, view.stopped)
    active = any(answer.active for answer in known.values())
    st.fragment(_viewers, run_every=0.5 if active else None)(desk, image, edited, asked, view, case_id, active)


def _viewers(
    desk: Desk,
    image: Image,
    edited: Image,
    asked: dict[str, ExplainRequest],
    view: WhatIf,
    case_id: str,
    was_active: bool,
) -> None:
    """A fragment of its own, while maps are under way."""
    known = maps.answers(desk, asked, _owner(), view.held, view.stopped)
    again = False
    same = image.plane_shape == edited.plane_shape
    for side, picture in zip(_SIDES, (image, edited), strict=True):
        panes = [Pane("image", _SIDES[side])]
        panes += [maps.pane(one, asked[one].method, known[one]) for one in asked if one.startswith(f"{side}-")]
        events = viewer(
            picture,
            panes,
            key=f"whatif-{side}-{case_id}",
            group=f"whatif-{case_id}" if same else "",
            file_name=f"{case_id}-{side}.png",
        )
        again |= maps.react(events, known, view.stopped, desk)
    if again or (was_active and not any(answer.active for answer in known.values())):
        st.rerun()


def _owner() -> str:
    """Not the page's own: what the panel lets go of, the page may still want."""
    return f"{owner()}-whatif"
