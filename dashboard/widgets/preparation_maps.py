"""What the model looks at before and after the preparation, both on the scan as it came."""

from __future__ import annotations

from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np
import streamlit as st

from dashboard.cases import RESEARCH_NOTE, facts_line, readable
from dashboard.jobs.desk import Desk
from dashboard.preparation.outcome import Outcome
from dashboard.preparation.trace import Trace
from dashboard.serving.types import ExplainRequest, Explanation
from dashboard.state import PreparationView, owner
from dashboard.widgets import maps
from dashboard.widgets.viewer.packing import MapLayer
from dashboard.widgets.viewer.viewer import Pane, viewer
from explainers import EXPLAINERS
from explainers.reduce import reduce_channels
from models.card import ModelCard
from models.project import input_to_image
from models.types import Case, FloatArray, Image

NATIVE, PREPARED = "scan", "prepared"
_WHOLE = 0.995  # of a slice: less is said
_laid: WeakKeyDictionary[Explanation, dict[tuple[int, int], MapLayer | None]] = WeakKeyDictionary()
_slices: WeakKeyDictionary[Trace, dict[int, Image]] = WeakKeyDictionary()


def maps_panel(case: Case, outcome: Outcome, card: ModelCard, desk: Desk, view: PreparationView) -> None:
    """One explanation of the scan and one of the prepared slice, laid back onto the scan."""
    st.markdown("#### What the model looks at, before and after")
    unsupported = desk.engine.unsupported(card.id)
    specs = sorted((one.spec for one in EXPLAINERS if one.spec.id not in unsupported), key=lambda spec: spec.order)
    titles = {"": "None"} | {spec.id: spec.title for spec in specs}
    chosen = st.selectbox(
        "Explanation",
        list(titles),
        index=list(titles).index(view.method) if view.method in titles else 0,
        format_func=titles.__getitem__,
        key="preparation-method",
        width=320,
    )
    view.method = chosen
    if not chosen or outcome.effects is None:
        return
    requests = _requests(case, outcome, card, chosen)
    known = maps.answers(desk, requests, owner(), view.held, view.stopped)
    active = any(answer.active for answer in known.values())
    st.fragment(_viewer, run_every=0.5 if active else None)(case, outcome, requests, desk, view, active)


def _requests(case: Case, outcome: Outcome, card: ModelCard, method: str) -> dict[str, ExplainRequest]:
    effects = outcome.effects
    target = card.target(card.classes[0 if effects is None else effects.leading])
    index = outcome.trace.slice_for(outcome.native_slice)
    images = {
        NATIVE: _slice(outcome.trace, -1, case.image.slice(outcome.native_slice)),
        PREPARED: _slice(outcome.trace, index, outcome.trace.image.slice(index)),
    }
    return {name: ExplainRequest(card.id, image, method, target) for name, image in images.items()}


def _slice(trace: Trace, index: int, image: Image) -> Image:
    """The same object each time, so that it is hashed once."""
    return _slices.setdefault(trace, {}).setdefault(index, image)


def _viewer(
    case: Case,
    outcome: Outcome,
    requests: dict[str, ExplainRequest],
    desk: Desk,
    view: PreparationView,
    was_active: bool,
) -> None:
    """A fragment: while work is under way it alone runs again."""
    known = maps.answers(desk, requests, owner(), view.held, view.stopped)
    method = requests[NATIVE].method
    panes = [Pane("image", "Scan", facts_line(case))]
    titles = {NATIVE: "Without preparation", PREPARED: "Prepared, laid back onto the scan"}
    for name, answer in known.items():
        shown = maps.pane(name, method, answer, titles[name])
        if name == PREPARED and answer.explanation is not None:
            shown = replace(shown, map=_back(outcome, answer.explanation))
        elif name == PREPARED and shown.map is not None:
            shown = replace(shown, map=None)  # on another grid until it is complete
        panes.append(shown)
    target = requests[NATIVE].target
    events = viewer(
        case.image,
        panes,
        key="preparation-viewer",
        slice_index=outcome.native_slice,
        regions=case.regions,
        caption=[f"{case.title}: {readable(target.label)}", RESEARCH_NOTE],
        file_name=f"{case.id}-prepared.png",
    )
    said = f"Explained: {readable(target.label)}. The maps belong to slice {outcome.native_slice + 1} alone."
    share = outcome.trace.share_known(outcome.native_slice)
    if share < _WHOLE:
        said += f" The prepared slice covers {100 * share:.0f} % of it; of the rest nothing is known."
    st.caption(said)
    if maps.react(events, known, view.stopped, desk):
        st.rerun()
    if was_active and not any(answer.active for answer in known.values()):
        st.rerun()


def _back(outcome: Outcome, explanation: Explanation) -> MapLayer | None:
    """A map of the prepared slice on the native slice; the same object each time, so that it is packed once."""
    trace, place = outcome.trace, outcome.native_slice
    index = trace.slice_for(place)
    known = _laid.setdefault(explanation, {})
    key = (id(trace), place)
    if key not in known:
        attribution = explanation.attribution
        values = input_to_image(reduce_channels(attribution.values), explanation.grid_to_image, explanation.image_shape)
        laid = trace.plane_to_native(values, index, place)
        known[key] = _layer(laid, attribution.signed, attribution.unit)
    return known[key]


def _layer(laid: FloatArray, signed: bool, unit: str) -> MapLayer | None:
    """The rectangle that holds what is known of a slice; None where nothing is."""
    known = np.isfinite(laid)
    if not known.any():
        return None
    rows, columns = np.flatnonzero(known.any(axis=1)), np.flatnonzero(known.any(axis=0))
    to_image = np.eye(3)
    to_image[:2, 2] = columns[0], rows[0]
    part = laid[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return MapLayer(np.nan_to_num(part), to_image, signed, unit)
