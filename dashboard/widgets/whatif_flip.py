"""The search for the smallest region that turns the call: started, followed, stopped, told."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard.cases import readable
from dashboard.jobs.desk import Desk
from dashboard.state import WhatIf, flip_jobs, owner
from dashboard.whatif.flip import Call, Flip
from dashboard.whatif.search import flip_key, flip_work
from dashboard.widgets.whatif_edits import chosen_edit
from models.card import ModelCard
from models.types import Case, Image, Prediction, Target, favoured

_WHAT = {"ranked": "first tiles of the occlusion map", "grown": "tiles added", "pruned": "tiles taken out again"}


def flip_section(
    desk: Desk, card: ModelCard, case: Case, image: Image, prediction: Prediction, target: Target, view: WhatIf
) -> None:
    """The button, the progress, and what was found; on the picture as it came."""
    call = Call.of(prediction, target.index)
    name = readable(prediction.classes[call.index])
    said = "is decided for" if call.exclusive else "is flagged" if call.stands else "is below its threshold"
    edit = chosen_edit(view)
    done = {"cover": "covered", "blur": "blurred", "inpaint": "filled in"}[edit.kind]
    words, start = st.columns([3, 2], vertical_alignment="center", gap="small")
    words.markdown("**Smallest region that turns the call**")
    words.caption(
        f"On the picture as it came, {done} as chosen for the region drawn. The call: {name} {said}, "
        f"{prediction.probabilities[call.index]:.2f}."
    )
    key = flip_key(card, image, call, edit)
    asked = view.flip == key
    job = flip_jobs().look(key) if asked else None
    active = job is not None and job.active

    def begin() -> None:
        if view.flip and view.flip != key:
            flip_jobs().stop(view.flip, owner())
        work = flip_work(desk, card, image, prediction, target.index, edit, f"{owner()}-whatif")
        flip_jobs().start(key, work, owner())
        view.flip = key

    start.button(
        "Find it",
        icon=":material/search:",
        key=f"whatif-find-{case.id}",
        disabled=active or (job is not None and job.state == "done"),
        width="stretch",
        on_click=begin,
    )
    if active:
        st.fragment(_watch, run_every=0.5)(key, case.id, prediction)
    elif job is not None and job.state == "failed":
        st.error(job.message, icon=":material/error:")
    elif job is not None and job.state == "cancelled":
        st.caption("Stopped; Find it starts again.")
    elif job is not None and job.result is not None:
        _told(job.result, prediction, view, case.id)


def _watch(key: str, case_id: str, prediction: Prediction) -> None:
    """A fragment of its own, while the search goes on."""
    job = flip_jobs().look(key)
    if job is None or not job.active:
        st.rerun()
    bar, stop = st.columns([3, 2], vertical_alignment="center")
    bar.progress(job.progress, _doing(job.partial, prediction))
    if stop.button("Stop", icon=":material/stop:", key=f"whatif-stop-{case_id}", width="stretch"):
        flip_jobs().stop(key, owner())
        st.rerun()


def _doing(flip: Flip | None, prediction: Prediction) -> str:
    if flip is None:
        return "Waiting for the occlusion map ..."
    step, name = flip.history[-1], readable(prediction.classes[flip.call.index])
    return f"{_percent(step.share)} covered: {name} {step.probability:.2f} ({flip.passes} tried)"


def _told(flip: Flip, prediction: Prediction, view: WhatIf, case_id: str) -> None:
    st.markdown(told(flip, prediction))
    st.button(
        "Put it on the drawing",
        icon=":material/draw:",
        key=f"whatif-use-{case_id}",
        on_click=view.draw,
        args=(flip.mask,),
    )
    with st.expander("How it was found"):
        rows = [
            {
                "Tried": _WHAT[step.what],
                "Tiles": step.tiles,
                "Covered (%)": 100 * step.share,
                "Probability": step.probability,
            }
            for step in flip.history
        ]
        st.dataframe(
            pd.DataFrame(rows),
            hide_index=True,
            height=210,
            column_config={
                "Covered (%)": st.column_config.NumberColumn(format="%.1f"),
                "Probability": st.column_config.NumberColumn(format="%.3f"),
            },
        )


def told(flip: Flip, prediction: Prediction) -> str:
    """The answer in words.

    "Covering 3.4 % of the picture (5 of 144 tiles) turns the call: Cardiomegaly from 0.71 to 0.38, threshold 0.42."
    """
    call, name = flip.call, readable(prediction.classes[flip.call.index])
    from_to = f"{name} from {flip.before[call.index]:.2f} to {flip.after[call.index]:.2f}"
    region = f"{_percent(flip.share)} of the picture ({flip.tiles} of {flip.grid} tiles)"
    tried = f"{flip.passes} pictures were tried."
    if not flip.turned:
        return (
            f":material/block: **The call stands** in all {flip.passes} pictures that were tried, from single tiles to "
            f"the whole picture ({name} {flip.covered[call.index]:.2f} with everything covered). The nearest was covering "
            f"{region}: {from_to}. That does not prove that no region turns it."
        )
    if call.exclusive:
        other = int(favoured(flip.after, call.thresholds))
        # Points of their own can let a class win that is not the most probable one.
        weighed = "" if flip.after[other] == flip.after.max() else ", weighed by the operating points"
        to = f"{from_to}, and it goes to {readable(prediction.classes[other])} ({flip.after[other]:.2f}{weighed})."
    else:
        to = f"{from_to}, threshold {call.thresholds[call.index]:.2f}."
    return (
        f":material/swap_horiz: Covering **{region}** turns the call: {to} No single tile of it can be left out; a smaller region "
        f"of other tiles may exist. {tried}"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
