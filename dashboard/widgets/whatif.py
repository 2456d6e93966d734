"""What if: the picture is changed, and the network asked again. A panel of the Case page."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import streamlit as st

from dashboard.cases import readable
from dashboard.jobs.desk import Desk
from dashboard.serving.types import ExplainRequest
from dashboard.state import WhatIf, flip_jobs, whatif_view
from dashboard.whatif.edits import apply_edits, carry
from dashboard.whatif.types import Edit, Through
from dashboard.widgets.drawing import Outline, drawing, sheet_of
from dashboard.widgets.score_changes.score_changes import changed, decision, score_changes
from dashboard.widgets.whatif_edits import edit_list, region_choice, region_edit
from dashboard.widgets.whatif_flip import flip_section
from dashboard.widgets.whatif_maps import edited_maps
from models.card import ModelCard
from models.errors import SightlineError
from models.preprocess import InputSpec
from models.types import Case, Image, Prediction, Target, Window

_KEPT = 4  # edited pictures of one picture: undoing the last change is free
_lock = Lock()
_edited: WeakKeyDictionary[Image, OrderedDict[Any, tuple[tuple[Edit, ...], Image]]] = WeakKeyDictionary()


def whatif_panel(
    desk: Desk,
    card: ModelCard,
    case: Case,
    image: Image,
    prediction: Prediction,
    target: Target,
    requests: Mapping[str, ExplainRequest] | None = None,
) -> None:
    """The switch and, when it is on, the panel; it runs by itself, the page stays as it is.

    Args:
        image: the plane that is shown.
        prediction: of that plane, with the operating points that count.
        target: the finding that is explained.
        requests: the explanations on the page, by pane; the edited picture can be explained in the same ways.
    """
    if st.toggle("What if: change the picture and ask the model again", key=f"whatif-open-{case.id}"):
        st.fragment(_panel)(desk, card, case, image, prediction, target, dict(requests or {}))


def _panel(
    desk: Desk,
    card: ModelCard,
    case: Case,
    image: Image,
    prediction: Prediction,
    target: Target,
    requests: dict[str, ExplainRequest],
) -> None:
    view, spec = whatif_view(case.id), card.input.spec
    through = Through.of(image, spec.window)
    with st.container(border=True, key=f"whatif-{case.id}"):
        # The region and what comes of it side by side also on a narrow screen; what is shown to the model below.
        lists, scores = st.columns(2, gap="medium")
        after, flips = st.columns(2, gap="medium")
        with lists:
            _draw(case, image, through, view, card.id)
            region_choice(view, case.id)
            edit_list(view, image, through, case.id)
        edited, found, problem = _answer(desk, card, image, view, prediction)
        with after:
            _result(case, image, edited, spec, view)
        with scores:
            _scores(prediction, found, target, card, case.id)
            if problem:
                st.error(problem, icon=":material/error:")
        with flips:
            flip_section(desk, card, case, image, prediction, target, view)
        if requests and edited is not image:
            edited_maps(desk, image, edited, requests, view, case.id)


def _draw(case: Case, image: Image, through: Through, view: WhatIf, model_id: str) -> None:
    job = flip_jobs().look(view.flip) if view.flip else None
    found = None if job is None else job.result or job.partial
    outlines = [] if found is None or found.mask.shape != image.plane_shape else [Outline("found region", found.mask)]
    outlines += [Outline("kept", edit.mask) for edit in view.edits if edit.mask is not None and edit.on]
    try:
        drawn = drawing(
            sheet_of(image, _window(through)),
            key=f"whatif-draw-{case.id}-{model_id}",
            title="Draw a region",
            region=view.drawn,
            version=view.version,
            outlines=outlines,
        )
    except SightlineError as error:
        st.error(str(error), icon=":material/error:")
        return
    if drawn is not None:
        view.drawn = drawn.mask


def _answer(
    desk: Desk, card: ModelCard, image: Image, view: WhatIf, prediction: Prediction
) -> tuple[Image, Prediction, str]:
    """The edited picture, its scores, and what is wrong; the picture as it came where an edit cannot be made."""
    try:
        edited = _made(image, (*view.edits, *region_edit(view)), card.input.spec)
        if edited is image:
            return image, prediction, ""
        return edited, replace(desk.predict(card.id, edited), thresholds=prediction.thresholds), ""
    except SightlineError as error:
        return image, prediction, str(error)


def _made(image: Image, edits: tuple[Edit, ...], spec: InputSpec) -> Image:
    """The edited picture; the same object for the same edits, so that it is hashed, scored and sent once."""
    active = tuple(edit for edit in edits if edit.on)
    if not active:
        return image
    # The masks are kept with the result, so that no other can come to have their identity.
    key = (spec, tuple((edit.kind, tuple(sorted(edit.params.items())), id(edit.mask)) for edit in active))
    with _lock:
        known = _edited.setdefault(image, OrderedDict())
        found = known.get(key)
    made = (active, apply_edits(image, active, spec)) if found is None else found
    with _lock:
        made = known.setdefault(key, made)
        known.move_to_end(key)
        while len(known) > _KEPT:
            known.popitem(last=False)
    return made[1]


def _result(case: Case, image: Image, edited: Image, spec: InputSpec, view: WhatIf) -> None:
    outlines = []
    if view.drawn is not None and edited is not image:
        outlines = [Outline("region", carry(view.drawn, image, view.edits))]
    drawing(
        sheet_of(edited, _window(Through.of(edited, spec.window))),
        key=f"whatif-edited-{case.id}",
        title="What the model is asked about"
        if edited is not image
        else "What the model is asked about: nothing changed yet",
        outlines=outlines,
        editable=False,
    )


def _scores(before: Prediction, after: Prediction, target: Target, card: ModelCard, case_id: str) -> None:
    kind = "Probability, calibrated" if card.calibration.method != "none" else "Uncalibrated score"
    st.markdown(f"**{kind}, before and after**")
    score_changes(before, after, chosen=target.index, key=f"whatif-scores-{case_id}-{card.id}")
    turned = changed(before, after)
    if turned and before.exclusive:
        names = [readable(one.classes[one.flagged[0]]) for one in (before, after)]
        st.markdown(f":material/swap_horiz: **The call changes** from {names[0]} to {names[1]}.")
    elif turned:
        said = ", ".join(f"{readable(after.classes[index])} now {decision(after, index)}" for index in turned)
        st.markdown(f":material/swap_horiz: **The call changes**: {said}.")
    elif after is not before:
        st.markdown(":material/check: No decision changes.")
    for warning in after.warnings:
        if warning not in before.warnings:
            st.caption(f":material/warning: The changed picture: {warning[:1].lower()}{warning[1:]}")


def _window(through: Through) -> Window:
    return Window("shown", through.center, through.width)
