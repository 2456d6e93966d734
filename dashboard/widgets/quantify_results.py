"""A measured scan: its planes with lungs and lesions outlined, the figures, the tables, the files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
import streamlit as st

from dashboard.figures.quantify import density_chart
from dashboard.quantify.followup import Visit
from dashboard.quantify.followup_report import follow_up_files
from dashboard.quantify.lesions import Lesion
from dashboard.quantify.measures import AERATION_SOURCE, SEVERITY_SOURCE, LungMeasures
from dashboard.quantify.report import report_files
from dashboard.quantify.study import Study
from dashboard.quantify.visits import Quantities
from dashboard.state import QuantifyView
from dashboard.widgets import model_figure
from dashboard.widgets.volume_viewer import Overlay, volume_viewer
from models.types import Case

_WHERE = {"right": "Right lung", "left": "Left lung", "both": "Both lungs"}
_overlays: WeakKeyDictionary[Visit, tuple[Overlay, ...]] = WeakKeyDictionary()


def headline(visit: Visit) -> None:
    """The figures that a report begins with."""
    study = visit.study
    lesions, volume, share, severity = st.columns(4)
    lesions.metric("Lesions", f"{len(study.lesions.items)}")
    volume.metric("Lesion volume", f"{study.lesions.total_ml:.1f} ml")
    both = study.both
    share.metric("Of the lungs", "not known" if both is None else f"{both.involvement_percent:.1f} %")
    severity.metric(
        "CT severity",
        "not known" if both is None else f"{both.severity} of 5",
        help=f"{SEVERITY_SOURCE[0].upper()}{SEVERITY_SOURCE[1:]}.",
    )
    said = [f"Lesions: {study.lesions_by}."]
    if both is not None and study.lungs is not None:
        said.append(
            f"Lungs: {both.volume_ml:.0f} ml, {study.lungs.method}. Lobes are not segmented, so severity is of whole lungs."
        )
    st.caption(" ".join(said))
    for warning in study.warnings:
        st.warning(warning, icon=":material/warning:")


def planes(case: Case, visit: Visit, mine: QuantifyView) -> None:
    """Three planes with the outlines of lungs and lesions."""
    if visit.scan is None:
        return
    events = volume_viewer(
        visit.scan,
        overlays_of(visit),
        key=f"quantify-now-{case.id}",
        at=mine.place.get(case.id),
        group=f"quantify-{case.id}",
    )
    if events.at is not None:
        mine.place[case.id] = events.at


def overlays_of(visit: Visit) -> tuple[Overlay, ...]:
    """Lesions and lungs; the same objects each time, so that they are sent once."""
    if visit not in _overlays:
        study = visit.study
        masks = {"lesions": ("Lesions", study.lesions.mask)}
        if study.lungs is not None:
            masks |= {"right": ("Right lung", study.lungs.right), "left": ("Left lung", study.lungs.left)}
        for _, mask in masks.values():
            mask.setflags(write=False)
        _overlays[visit] = tuple(Overlay(name, title, mask=mask) for name, (title, mask) in masks.items())
    return _overlays[visit]


def lesion_table(case: Case, visit: Visit, mine: QuantifyView) -> None:
    """One row a lesion; choosing one moves the crosshair to it."""
    items = visit.study.lesions.items
    if not items:
        st.info("No lesion reaches the smallest size that counts.", icon=":material/check_circle:")
        return
    st.caption("Choose a row to go to the lesion. Right and left are the patient's.")
    event = st.dataframe(
        pd.DataFrame([_lesion_row(lesion, visit.study) for lesion in items]),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"quantify-lesions-table-{case.id}",
        column_config={
            "Slice": st.column_config.NumberColumn(
                format="%d", help="Of the middle of the lesion, from 1 at the feet."
            ),
            "Volume (ml)": st.column_config.NumberColumn(format="%.2f"),
            "Diameter (mm)": st.column_config.NumberColumn(format="%.1f", help="The largest one within a slice."),
            "Mean density (HU)": st.column_config.NumberColumn(format="%.0f"),
        },
    )
    chosen = event.selection.rows[0] if event.selection.rows else None
    seen = f"quantify-lesion-{case.id}"
    if chosen != st.session_state.get(seen):
        st.session_state[seen] = chosen
        if chosen is not None:
            go_to(case, mine, index_of(items[chosen].centroid_mm, visit.study))
    left_out = visit.study.lesions
    if left_out.left_out:
        st.caption(
            f"{left_out.left_out} parts below {left_out.minimum_mm3:g} mm³ ({left_out.left_out_ml:.2f} ml together) are "
            "left out of all numbers."
        )


def index_of(place_mm: tuple[float, float, float], study: Study) -> tuple[int, int, int] | None:
    """(column, row, slice) nearest to a place in the patient; None where it lies outside the scan."""
    index = np.rint(np.linalg.solve(study.geometry.affine, np.array([*place_mm, 1.0]))[:3]).astype(int)
    if (index < 0).any() or (index >= study.lesions.labels.shape[::-1]).any():
        return None
    return int(index[0]), int(index[1]), int(index[2])


def go_to(case: Case, mine: QuantifyView, place: tuple[int, int, int] | None) -> None:
    """Move the crosshair, or say that there is nowhere to move it to."""
    if place is None:
        st.toast("This place lies outside this scan.", icon=":material/location_off:")
        return
    mine.place[case.id] = place
    st.rerun()


def _lesion_row(lesion: Lesion, study: Study) -> dict[str, object]:
    place = index_of(lesion.centroid_mm, study)
    return {
        "Lesion": lesion.number,
        "Lung": lesion.side,
        "Slice": None if place is None else place[2] + 1,
        "Volume (ml)": lesion.volume_ml,
        "Diameter (mm)": lesion.diameter_mm,
        "Mean density (HU)": lesion.mean_hu,
    }


def lung_table(visit: Visit) -> None:
    """Volume, involvement, severity and aeration of each lung and of both."""
    measures = visit.study.measures
    if not measures:
        st.info("The lungs are not known, so nothing is said of them.", icon=":material/info:")
        return
    st.dataframe(pd.DataFrame({_WHERE[lung.where]: _lung_column(lung) for lung in measures}))
    st.caption(f"Severity: {SEVERITY_SOURCE}. Aeration: {AERATION_SOURCE}.")


def _lung_column(lung: LungMeasures) -> dict[str, str]:
    column = {
        "Volume": f"{lung.volume_ml:.0f} ml",
        "Lesions": f"{lung.lesion_count}",
        "Lesion volume": f"{lung.lesion_ml:.1f} ml",
        "Involvement": f"{lung.involvement_percent:.1f} %",
        "CT severity": f"{lung.severity} ({lung.severity_words})",
        "Mean density": "not known" if lung.mean_hu is None else f"{lung.mean_hu:.0f} HU",
    }
    return column | {
        f"{band.name[:1].upper()}{band.name[1:]} ({_limits(band.low_hu, band.high_hu)})": (
            f"{band.percent:.1f} % ({band.volume_ml:.0f} ml)"
        )
        for band in lung.aeration
    }


def _limits(low: float, high: float) -> str:
    if not np.isfinite(low):
        return f"below {high:.0f} HU"
    return f"above {low:.0f} HU" if not np.isfinite(high) else f"{low:.0f} to {high:.0f} HU"


def density(case: Case, found: Quantities) -> None:
    """Histograms of both lungs, those of the earlier scan beside them."""
    now = found.current.study.measures[:2] if found.current is not None else ()
    if not now or not now[0].histogram_ml.size:
        st.info("Densities need a scan and its lungs.", icon=":material/info:")
        return
    compared = found.prior is not None and found.follow is not None and not found.follow.reason
    earlier = found.prior.study.measures[:2] if compared and found.prior is not None else ()
    model_figure.show(
        lambda dark: density_chart(now, dark, earlier),
        f"density-{case.id}-{bool(earlier)}",
        "Share of the right and the left lung by density in Hounsfield units",
    )


def download(case: Case, found: Quantities) -> None:
    """Everything as files, made when asked for."""
    st.download_button(
        "Numbers, tables and masks (zip)",
        data=lambda: _zip(found, case.provenance.sha256),
        file_name=f"{case.id}-quantities.zip",
        mime="application/zip",
        icon=":material/download:",
        on_click="ignore",
        key=f"quantify-download-{case.id}",
        help="quantities.json, CSV tables and masks as NIfTI; with an earlier scan also what changed, and that scan on "
        "the grid of this one.",
    )


def _zip(found: Quantities, digest: str) -> bytes:
    files: dict[str, bytes] = {}
    if found.current is not None:
        files |= report_files(found.current.study, sha256={"scan": digest})
        if found.follow is not None:
            files |= follow_up_files(found.follow, found.current.study)
    if found.prior is not None:
        files |= {f"prior/{name}": content for name, content in report_files(found.prior.study).items()}
    return zipped(files)


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip of files by name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()
