"""What is chosen on the Preparation page: the list of steps, their settings, and what to register to."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from dashboard.cases import entry_title
from dashboard.library import Library
from dashboard.preparation.presets import PRESETS, preset_for
from dashboard.preparation.trace import StepChoice
from dashboard.state import PreparationView, Uploads
from dashboard.widgets.params import edit_params
from models.errors import SightlineError
from models.types import Case, Image

REGISTER = "register"
NO_REFERENCE = ""


def choose_preset(case: Case, view: PreparationView) -> str:
    """Id of the list of steps; at first the one that suits the image."""
    known = view.presets.setdefault(case.id, preset_for(case.image).id)
    chosen = st.selectbox(
        "Steps for",
        list(PRESETS),
        index=list(PRESETS).index(known),
        format_func=lambda name: PRESETS[name].title,
        key=f"preparation-preset-{case.id}",
    )
    view.presets[case.id] = chosen
    return chosen


def choose_steps(case: Case, preset_id: str, view: PreparationView) -> tuple[StepChoice, ...]:
    """One switch a step, in the order they are run, with its settings under it; those that are off come back too."""
    choices = []
    for choice in PRESETS[preset_id].choices:
        spec = choice.step.spec
        reason = choice.step.applies(case.image)
        place = (preset_id, spec.id)
        with st.container(border=True, gap="xsmall"):
            on = st.toggle(
                spec.title,
                value=view.on.get(place, choice.on) and reason is None,
                key=f"preparation-on-{case.id}-{preset_id}-{spec.id}",
                disabled=reason is not None,
            )
            st.caption(spec.purpose if reason is None else f":material/block: {reason}")
            if reason is None:
                view.on[place] = on
            if on and spec.params:
                with st.expander("Settings", key=f"preparation-settings-{spec.id}"):
                    if spec.paper:
                        st.caption(spec.paper)
                    key = f"preparation-{preset_id}-{spec.id}"
                    view.params[spec.id] = edit_params(spec, (), "", view.params.get(spec.id, {}), key)
        choices.append(replace(choice, on=on, params=view.params.get(spec.id, {}) if on else {}))
    return tuple(choices)


def choose_reference(
    case: Case, choices: tuple[StepChoice, ...], view: PreparationView, library: Library, uploads: Uploads
) -> Image | None:
    """The volume that the registration moves to, asked for while that step is on."""
    if not any(choice.on and choice.step_id == REGISTER for choice in choices):
        return None
    offered = {own.id: own.title for own in uploads.cases.values() if own.image.is_volume}
    offered |= {
        name: entry_title(entry)
        for name, entry in library.entries.items()
        if entry.modality is case.image.modality and _likely_volume(name)
    }
    offered.pop(case.id, None)
    options = [NO_REFERENCE, *offered]
    view.reference = st.selectbox(
        "Register to",
        options,
        index=options.index(view.reference) if view.reference in options else 0,
        format_func=lambda name: offered.get(name, "Choose a volume ..."),
        key=f"preparation-reference-{case.id}",
        help="An earlier scan of the same patient, or a template of the same contrast; scans of different people are mostly refused.",
    )
    if not view.reference:
        return None
    try:
        return (uploads.cases.get(view.reference) or library.case(view.reference)).image
    except SightlineError as error:
        st.error(str(error), icon=":material/error:")
        return None


def _likely_volume(name: str) -> bool:
    """By the names of the samples, as opening all of them would take long; a plane image is refused by the step."""
    return any(word in name for word in ("volume", "tumour", "nodule-", "baseline", "follow-up"))
