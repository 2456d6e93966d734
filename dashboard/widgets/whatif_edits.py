"""The controls of the edits: what is done with the region drawn, and the list of those kept."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from dashboard.state import WhatIf
from dashboard.whatif.edits import EDITS, carry
from dashboard.whatif.types import Edit, EditKind, Mask, Through
from dashboard.widgets.params import edit_params
from explainers.types import ParamValue
from models.errors import SightlineError
from models.types import Image


def region_edit(view: WhatIf) -> tuple[Edit, ...]:
    """What is done with the region on the drawing; nothing while there is none."""
    return () if view.drawn is None else (replace(chosen_edit(view), mask=view.drawn),)


def chosen_edit(view: WhatIf) -> Edit:
    """What is done with a region, without one."""
    return Edit(view.region, view.params.get(view.region, {}))


def region_choice(view: WhatIf, case_id: str) -> None:
    """What is done with the region drawn, and the button that keeps it."""
    titles = {kind.spec.id: f":material/{kind.spec.icon}: {kind.spec.title}" for kind in EDITS if kind.spec.region}
    picked = st.segmented_control(
        "The region drawn is",
        list(titles),
        default=view.region,
        format_func=titles.__getitem__,
        key=f"whatif-region-{case_id}",
        required=True,
    )
    view.region = str(picked)
    spec = EDITS.get(view.region).spec
    settings, keep = st.columns([3, 2], vertical_alignment="bottom", gap="small")
    with settings:
        if spec.params:
            current = view.params.get(view.region, {})
            view.params[view.region] = edit_params(spec, (), "", current, f"whatif-region-{case_id}-{view.region}")
    keep.button(
        "Keep",
        icon=":material/add:",
        key=f"whatif-keep-{case_id}",
        disabled=view.drawn is None,
        help="Keeps this region in the list, so that another can be drawn.",
        width="stretch",
        on_click=_keep,
        args=(view,),
    )


def _keep(view: WhatIf) -> None:
    for edit in region_edit(view):
        view.add(edit)
    view.draw(None)


def edit_list(view: WhatIf, image: Image, through: Through, case_id: str) -> None:
    """Buttons that add an edit of the whole picture, and the edits kept, in order, each with its settings."""
    with st.container(horizontal=True, gap="small"):
        for kind in EDITS:
            spec = kind.spec
            if spec.region:
                continue
            st.button(
                spec.title,
                icon=f":material/{spec.icon}:",
                key=f"whatif-add-{spec.id}-{case_id}",
                help=spec.summary,
                type="tertiary",
                on_click=_add,
                args=(kind, view, image, through),
            )
    for edit in view.edits:
        _row(view, edit, case_id)
    if view.edits or view.past:
        with st.container(horizontal=True, gap="small"):
            st.button(
                "Undo",
                icon=":material/undo:",
                key=f"whatif-undo-{case_id}",
                disabled=not view.past,
                type="tertiary",
                on_click=view.undo,
            )
            st.button(
                "Remove all",
                icon=":material/delete_sweep:",
                key=f"whatif-reset-{case_id}",
                disabled=not view.edits,
                type="tertiary",
                on_click=view.change,
                args=((),),
            )


def _add(kind: EditKind, view: WhatIf, image: Image, through: Through) -> None:
    view.add(Edit(kind.spec.id, kind.start(image, through, _drawn_now(view, image))))


def _drawn_now(view: WhatIf, image: Image) -> Mask | None:
    """The region drawn as it lies after the edits kept, for an edit that begins from it."""
    if view.drawn is None:
        return None
    try:
        return carry(view.drawn, image, view.edits)
    except SightlineError:  # an edit kept cannot be made; the panel says so
        return None


def _row(view: WhatIf, edit: Edit, case_id: str) -> None:
    spec = EDITS.get(edit.kind).spec
    key = f"whatif-edit-{case_id}-{edit.number}-{view.round}"
    switch, settings, remove = st.columns([3, 9, 1], vertical_alignment="center", gap="small")
    on = switch.toggle(f":material/{spec.icon}: {spec.title}", value=edit.on, key=f"{key}-on")
    changed = replace(edit, on=on)
    with settings:
        if spec.params:
            columns = st.columns(len(spec.params), gap="small")
            values: dict[str, ParamValue] = {}
            for column, param in zip(columns, spec.params, strict=True):
                with column:
                    one = replace(spec, params=(param,))
                    values |= edit_params(one, (), "", {param.name: edit.params.get(param.name, param.default)}, key)
            changed = replace(changed, params=values)
    remove.button(
        "",
        icon=":material/close:",
        key=f"{key}-remove",
        help=f"Remove {spec.title.lower()}",
        type="tertiary",
        on_click=view.remove,
        args=(edit.number,),
    )
    if (changed.on, dict(changed.params)) != (edit.on, spec.resolve(edit.params)):
        view.change(tuple(changed if one.number == edit.number else one for one in view.edits))
