"""What is known of a volume, for the three-plane viewer and in words; and as files."""

from __future__ import annotations

from typing import Literal
from weakref import WeakKeyDictionary

import numpy as np
import streamlit as st

from dashboard.cases import readable
from dashboard.volumes.desk import VolumeAnswer
from dashboard.volumes.export import (
    FACTS_FILE,
    MAP_FILE,
    TABLE_FILE,
    facts_bytes,
    map_nifti,
    positions_mm,
    slices_csv,
)
from dashboard.volumes.types import BoolArray, Kind, SliceScores, VolumeRequest, VolumeResult
from dashboard.widgets.maps import duration
from dashboard.widgets.volume_viewer import Overlay, Strip, volume_viewer
from models.card import ModelCard
from models.types import Case, FloatArray, favoured

_UNITS: dict[Kind, str] = {
    "slices": "slices explained",
    "around": "slices explained",
    "blocks": "passes of a slice with a block hidden",
}
_PROMISES: dict[Kind, str] = {
    "slices": "Scores every slice and explains it; the slice shown comes first, then those with the highest scores.",
    "around": "Scores every slice, and explains the one under the crosshair over those that the model sees of it.",
    "blocks": "Scores every slice, then hides blocks of the volume, large ones first, and halves those that matter most.",
}
_masks: WeakKeyDictionary[SliceScores, dict[int, BoolArray]] = WeakKeyDictionary()


def planes(
    case: Case,
    request: VolumeRequest | None,
    result: VolumeResult | None,
    threshold: float | None,
    at: tuple[int, int, int],
) -> tuple[int, int, int]:
    """The three planes with all that is known; returns where the reader is, (column, row, slice)."""
    events = volume_viewer(
        case.image,
        _overlays(case, request, result),
        key=f"volume-{case.id}",
        at=at,
        strips=_strips(request, result, threshold),
    )
    return events.at or at


def _overlays(case: Case, request: VolumeRequest | None, result: VolumeResult | None) -> list[Overlay]:
    """The case's regions, what a segmentation model marks, and the map."""
    found = [
        Overlay(f"region-{number}", region.name, mask=region.mask)
        for number, region in enumerate(case.regions)
        if region.mask is not None and region.mask.ndim == 3
    ]
    if request is None or result is None:
        return found
    mask = _model_mask(result.scores, request)
    if mask is not None and mask.any():
        found.append(Overlay("model", f"{readable(request.target.name)} (model)", mask=mask))
    drawn = result.map
    if drawn is not None:
        found.append(
            Overlay(
                "map",
                drawn.title,
                values=drawn.values,
                grid_to_image=drawn.grid_to_image,
                signed=drawn.signed,
                unit=drawn.unit,
            )
        )
    return found


def _model_mask(scores: SliceScores, request: VolumeRequest) -> BoolArray | None:
    """The same array each time, so that it is packed once; None until all slices have been seen."""
    if scores.bits is None or scores.known < request.image.depth:
        return None
    known, index = _masks.setdefault(scores, {}), request.target.index
    if index not in known:
        mask = scores.mask(index, request.image.plane_shape[1])
        if mask is None:
            return None
        mask.setflags(write=False)
        known[index] = mask
    return known[index]


def _strips(request: VolumeRequest | None, result: VolumeResult | None, threshold: float | None) -> list[Strip]:
    """Score and share of the map beside the slices, as far as they are known."""
    if request is None or result is None:
        return []
    scores = result.scores.probabilities[:, request.target.index]
    return [
        Strip("score", f"{readable(request.target.name)}: score", scores, threshold=threshold),
        Strip("mass", "Share of the map", 100 * result.mass, unit="%"),
    ]


def _progress_words(answer: VolumeAnswer, request: VolumeRequest) -> str:
    """ "12 of 40 slices explained, about 8 s left"."""
    result = answer.result
    if answer.state == "queued":
        return "Waiting for other work on a volume"
    if result is None:
        return "Loading the model"
    words = f"{result.done:,} of {result.of:,} {_UNITS[request.kind]}"
    if result.scores.known < request.image.depth:
        words = f"{result.scores.known} of {request.image.depth} slices scored"
    return words if answer.left_s is None else f"{words}, about {duration(answer.left_s)} left"


def start_or_stop(answer: VolumeAnswer, request: VolumeRequest, one: bool) -> Literal["start", "stop", ""]:
    """The button over the planes with how far the work is; what was pressed.

    Args:
        one: it is about the score of one slice.
    """
    button, bar = st.columns([3, 7], vertical_alignment="center")
    if answer.active:
        bar.progress(answer.progress, _progress_words(answer, request))
        stopped = button.button("Stop", icon=":material/stop:", key="volume-stop", width="stretch")
        return "stop" if stopped else ""
    done = answer.state == "done"
    label = "Explain this slice" if one else "Go on" if answer.result and not done else "Explain the volume"
    started = button.button(
        label,
        icon=":material/play_arrow:",
        type="secondary" if done else "primary",
        disabled=done and not one,
        key="volume-start",
        width="stretch",
    )
    if answer.state == "failed":
        bar.error(answer.message, icon=":material/error:")
    elif done and answer.result is not None:
        made = f"{answer.result.of:,} {_UNITS[request.kind]}"
        bar.caption(f"Slice {request.at + 1} explained." if one else f"{made[:1].upper()}{made[1:]}.")
    elif answer.result is not None:
        bar.caption(f"Stopped: {_progress_words(answer, request)}.")
    else:
        bar.caption(
            "Scores every slice and explains it; the slice shown comes first, then those with the highest scores."
        )
    return "start" if started else ""


def summary(request: VolumeRequest, result: VolumeResult, thresholds: FloatArray, source: str, one: bool) -> None:
    """Highest slice, slices at or above the operating point, and where the map is strongest.

    Args:
        one: the map is about the score of one slice.
    """
    scores, index, depth = result.scores, request.target.index, request.image.depth
    name = readable(request.target.name)
    highest = scores.highest(index)
    if highest is not None:
        score, where = float(scores.probabilities[highest, index]), _where(request, highest)
        known = scores.probabilities[np.isfinite(scores.probabilities[:, 0])]
        if scores.exclusive:
            count = int((favoured(known, thresholds) == index).sum())
            told = f"It is the finding decided for on {count} of {len(known)} slices."
        else:
            count = int((known[:, index] >= thresholds[index]).sum())
            told = f"{count} of {len(known)} slices reach the operating point of {thresholds[index]:.2f} ({source})."
        st.markdown(f"**{name}**: the highest score is {score:.2f}, {where}. {told} Each slice is scored by itself.")
    if result.map is not None and np.isfinite(result.mass).any():
        top = int(np.nanargmax(result.mass))
        of = f" of the score of slice {request.at + 1}" if one else ""
        facts = ", ".join(f"{key} {value}" for key, value in result.map.facts.items())
        st.markdown(
            f"**{result.map.title}**{of} ({result.map.unit}): {100 * float(result.mass[top]):.0f} % of the map's positive "
            f"values lie {_where(request, top)}. {facts[:1].upper()}{facts[1:]}."
        )
    for warning, count in scores.warnings.items():
        st.warning(f"{warning} ({count} of {depth} slices).", icon=":material/warning:")


def _where(request: VolumeRequest, index: int) -> str:
    place = float(positions_mm(request.image)[index])
    mm = f" ({place:.1f} mm)".replace("-", "−") if np.isfinite(place) else ""
    return f"on slice {index + 1} of {request.image.depth}{mm}"


def downloads(case: Case, card: ModelCard, request: VolumeRequest, result: VolumeResult | None) -> None:
    """Map, table and facts, made when asked for."""
    ready = result is not None
    laid = ready and result is not None and result.map is not None and request.image.geometry is not None
    columns = st.columns(3)
    columns[0].download_button(
        "Map on the scan (NIfTI)",
        data=lambda: map_nifti(result.map, request.image) if result is not None and result.map is not None else b"",
        file_name=f"{case.id}-{MAP_FILE}",
        mime="application/gzip",
        icon=":material/download:",
        disabled=not laid,
        on_click="ignore",
        width="stretch",
        help="Raw values on the grid of the scan, aligned with it in any viewer. Needs a scan with spacing in mm.",
    )
    columns[1].download_button(
        "Scores by slice (CSV)",
        data=lambda: slices_csv(request, result) if result is not None else b"",
        file_name=f"{case.id}-{TABLE_FILE}",
        mime="text/csv",
        icon=":material/download:",
        disabled=not ready,
        on_click="ignore",
        width="stretch",
    )
    columns[2].download_button(
        "How it was made (JSON)",
        data=lambda: facts_bytes(request, result, card, case) if result is not None else b"",
        file_name=f"{case.id}-{FACTS_FILE}",
        mime="application/json",
        icon=":material/download:",
        disabled=not ready,
        on_click="ignore",
        width="stretch",
    )
