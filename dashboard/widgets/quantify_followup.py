"""What changed since an earlier scan: both side by side, lesion by lesion, and in all."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import pandas as pd
import streamlit as st

from dashboard.figures.quantify import difference_chart
from dashboard.quantify.followup import Delta, FollowUp
from dashboard.quantify.matching import LIMIT, Change, Verdict
from dashboard.quantify.visits import Quantities
from dashboard.registration import Registration
from dashboard.state import QuantifyView
from dashboard.widgets import model_figure
from dashboard.widgets.quantify_results import go_to, index_of, overlays_of
from dashboard.widgets.volume_viewer import Overlay, volume_viewer
from models.types import Case

_ICONS: dict[Verdict, str] = {
    "new": "✚",
    "grown": "▲",
    "stable": "●",
    "shrunk": "▼",
    "resolved": "○",
    "not comparable": "?",
}
_RELATIONS = {"merged": "several became one", "split": "one became several", "regrouped": "several became several"}
_WHERE = {"right": "right lung", "left": "left lung", "both": "both lungs"}
_outlines: WeakKeyDictionary[FollowUp, tuple[Overlay, ...]] = WeakKeyDictionary()


def verdict(follow: FollowUp) -> bool:
    """How well the scans correspond; False, with the reason, where they cannot be compared."""
    if follow.reason:
        st.error(f"Not compared. {follow.reason}", icon=":material/error:")
    else:
        counts = ", ".join(f"{count} {name}" for name, count in follow.counts.items() if count) or "no lesion in either"
        st.markdown(f"**Since the earlier scan**: {counts}.")
    if follow.registration is not None:
        st.caption(_said_of(follow.registration))
    if follow.reason:
        return False
    for warning in follow.warnings:
        st.warning(warning, icon=":material/warning:")
    return True


def _said_of(found: Registration) -> str:
    """What was tried and how well it fits, in words."""
    quality = found.quality
    moved = f"by {found.shift_mm:.0f} mm and turned by {found.rotation_degrees:.1f}°"
    way = f"was moved {moved} to lie on" if found.accepted else f"was tried, moved {moved}, on"
    return (
        f"The earlier scan {way} this one. Agreement of densities: correlation {quality.correlation_before:.2f} before, "
        f"{quality.correlation_after:.2f} after; shared information {quality.information_before:.2f} before, "
        f"{quality.information_after:.2f} after; {quality.overlap:.0%} of the body lies in both."
    )


def side_by_side(case: Case, found: Quantities, mine: QuantifyView) -> None:
    """The scan and the earlier one on its grid, under one crosshair, zoom and window."""
    current, follow = found.current, found.follow
    if current is None or current.scan is None or follow is None or follow.prior_scan is None:
        return
    left, right = st.columns(2, gap="small")
    group, at = f"quantify-{case.id}", mine.place.get(case.id)
    with left:
        before = volume_viewer(
            follow.prior_scan, _earlier(follow), key=f"quantify-earlier-{case.id}", at=at, group=group, title="Earlier"
        )
    with right:
        now = volume_viewer(
            current.scan, overlays_of(current), key=f"quantify-now-{case.id}", at=at, group=group, title="Now"
        )
    place = now.at or before.at
    if place is not None:
        mine.place[case.id] = place


def _earlier(follow: FollowUp) -> tuple[Overlay, ...]:
    """The earlier lesions on the grid of this scan; the same objects each time."""
    if follow not in _outlines and follow.prior_labels is not None:
        mask = follow.prior_labels > 0
        mask.setflags(write=False)
        _outlines[follow] = (Overlay("lesions", "Lesions", mask=mask),)
    return _outlines.get(follow, ())


def change_table(case: Case, found: Quantities, mine: QuantifyView) -> None:
    """One row a lesion or group; choosing one moves the crosshair to it."""
    follow, current = found.follow, found.current
    if follow is None or current is None:
        return
    if not follow.changes:
        st.info("Neither scan shows a lesion.", icon=":material/check_circle:")
        return
    event = st.dataframe(
        pd.DataFrame([_row(change) for change in follow.changes]),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"quantify-changes-{case.id}",
    )
    chosen = event.selection.rows[0] if event.selection.rows else None
    seen = f"quantify-change-{case.id}"
    if chosen != st.session_state.get(seen):
        st.session_state[seen] = chosen
        if chosen is not None:
            go_to(case, mine, index_of(follow.changes[chosen].centre_mm, current.study))
    st.caption(
        f"Grown or shrunk: by more than {LIMIT:.0%} of the volume, and by more than an outline drawn a quarter of a voxel "
        "too wide or too narrow makes. Choose a row to go to the place."
    )


def _row(change: Change) -> dict[str, object]:
    percent = change.change_percent
    return {
        "What became": f"{_ICONS[change.verdict]} {change.verdict}"
        + (f", {_RELATIONS[change.relation]}" if change.relation in _RELATIONS else "")
        + (f": {change.reason}" if change.reason else ""),
        "Lung": change.side,
        "Earlier": _numbers(change.prior),
        "Now": _numbers(change.current),
        "Earlier (ml)": f"{change.prior_ml:.2f}",
        "Now (ml)": f"{change.current_ml:.2f}",
        "Change (ml)": f"{change.change_ml:+.2f}",
        "Change (%)": "" if percent is None or not change.current_ml else f"{percent:+.0f}",
        "Density, earlier (HU)": "" if change.prior_hu is None else f"{change.prior_hu:.0f}",
        "Density, now (HU)": "" if change.current_hu is None else f"{change.current_hu:.0f}",
    }


def _numbers(lesions: tuple[int, ...]) -> str:
    return ", ".join(str(number) for number in lesions) or "–"


def delta_table(follow: FollowUp) -> None:
    """Every quantity of both scans, and by how much it differs."""
    st.dataframe(pd.DataFrame([_delta_row(delta) for delta in follow.deltas]), hide_index=True)


def _delta_row(delta: Delta) -> dict[str, str]:
    digits = {"ml": 1, "%": 1, "HU": 0}.get(delta.unit, 0)
    unit = f" {delta.unit}" if delta.unit else ""
    change = f"{delta.difference:+.{digits}f}{' points' if delta.unit == '%' else unit}"
    if float(f"{delta.difference:.{digits}f}") == 0:
        change = "none"
    elif delta.percent is not None and delta.unit == "ml":
        change += f" ({delta.percent:+.0f} %)"
    return {
        "Quantity": f"{delta.name[:1].upper()}{delta.name[1:]}",
        "Where": _WHERE[delta.where],
        "Earlier": f"{delta.prior:.{digits}f}{unit}",
        "Now": f"{delta.current:.{digits}f}{unit}",
        "Change": change,
    }


def density_difference(case: Case, follow: FollowUp) -> None:
    """By how many points the share of each density differs."""
    points = follow.histogram_percent
    if points is not None:
        model_figure.show(
            lambda dark: difference_chart(points, dark),
            f"density-difference-{case.id}",
            "Change of the share of the right and the left lung by density in Hounsfield units",
        )
