"""The left panel: worklist and uploads."""

from __future__ import annotations

import streamlit as st

from dashboard.cases import SYSTEMS, entry_line, entry_title, facts_line
from dashboard.library import Library, Summary
from dashboard.state import Uploads
from dashboard.widgets.worklist import WorklistRow, worklist
from models.errors import DataError
from models.io import read_uploads
from models.types import Case

HEIGHT = 560
_TYPES_NOTE = "DICOM (files or a zipped series), NIfTI, PNG, JPEG, TIFF, BMP, WebP"


def rows(library: Library, uploads: Uploads) -> list[WorklistRow]:
    """Uploads first, then the samples in the order of the manifest."""
    listed = [
        _row(case.id, case.title, facts_line(case), "Uploads", _summary_of_upload(library, uploads, case.id))
        for case in uploads.cases.values()
    ]
    listed += [
        _row(entry.id, entry_title(entry), entry_line(entry), SYSTEMS[entry.system], library.summary(entry.id))
        for entry in library.entries.values()
    ]
    return listed


def find_case(library: Library, uploads: Uploads, case_id: str) -> Case:
    """An upload of this session or, after a reload, of the last half hour; else a sample. Raises DataError."""
    kept = library.upload(case_id)
    if case_id not in uploads.cases and kept is not None:
        uploads.cases[case_id] = kept
    if case_id in uploads.cases:
        return uploads.cases[case_id]
    if case_id.startswith("upload-"):
        raise DataError("This upload is no longer in memory: uploads are kept for half an hour. Drop the file again.")
    with st.spinner("Opening the case ..."):
        return library.case(case_id)


def case_picker(library: Library, uploads: Uploads, selected: str, key: str) -> str | None:
    """Shows the panel; returns a case the reader has just chosen or dropped, else None."""
    arrived = _upload_box(library, uploads, key)
    scanning = library.scanning  # thumbnails and scores come in while samples are looked through
    st.fragment(_listed, run_every=2.0 if scanning else None)(library, uploads, selected, key, scanning)
    return st.session_state.pop(f"{key}-chosen", None) or arrived


def _listed(library: Library, uploads: Uploads, selected: str, key: str, was_scanning: bool) -> None:
    chosen = worklist(rows(library, uploads), selected=selected, key=f"{key}-list", height=HEIGHT)
    if chosen is not None:
        st.session_state[f"{key}-chosen"] = chosen
        st.rerun()
    if was_scanning and not library.scanning:
        st.rerun()  # the whole page, so that asking ends


def _upload_box(library: Library, uploads: Uploads, key: str) -> str | None:
    files = st.file_uploader(
        "Open images",
        accept_multiple_files=True,
        key=f"{key}-files",
        help=f"{_TYPES_NOTE}. Up to 500 MB. Nothing leaves this machine.",
    )
    fresh = [file for file in files if file.file_id not in uploads.seen]
    arrived = None
    if fresh:
        uploads.failures.clear()
        uploads.seen.update(file.file_id for file in fresh)
        with st.spinner("Reading ..."):
            try:
                result = read_uploads([(file.name, file.getvalue()) for file in fresh])
            except DataError as error:
                uploads.failures["Upload"] = str(error)
            else:
                uploads.failures.update({failure.name: failure.message for failure in result.failures})
                for case in result.cases:
                    uploads.cases[case.id] = case
                    library.keep(case)
                    arrived = arrived or case.id
    for name, message in uploads.failures.items():
        st.error(f"**{name}**: {message}", icon=":material/error:")
    return arrived


def _summary_of_upload(library: Library, uploads: Uploads, case_id: str) -> Summary:
    if case_id not in uploads.summaries:
        uploads.summaries[case_id] = library.summarise(uploads.cases[case_id])
    return uploads.summaries[case_id]


def _row(case_id: str, title: str, subtitle: str, group: str, summary: Summary | None) -> WorklistRow:
    known = summary or Summary(b"")
    return WorklistRow(case_id, title, subtitle, group, known.score, known.finding, known.flagged, known.thumbnail)
