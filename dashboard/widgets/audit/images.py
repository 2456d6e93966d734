"""The images folder of a table."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard.audit.table import AuditTable
from dashboard.images import ImageFolder
from models.errors import SightlineError
from sample_data.folders import image_folder


def images_of(table: AuditTable, key: str) -> ImageFolder | None:
    """The images of a table; asked for where they are not known, None while there are none."""
    named = image_folder(table.model_id) if table.model_id else None
    if named is None:
        typed = st.text_input(
            "Images folder",
            key=f"{key}-images",
            placeholder="/path/to/images",
            help="A folder on this machine whose files are named like the cases. Nothing leaves this machine.",
        ).strip()
        if not typed:
            return None
        named = Path(typed).expanduser()
    try:
        return indexed(str(named))
    except SightlineError as error:
        st.error(str(error), icon=":material/error:")
        return None


@st.cache_resource(max_entries=4, ttl=600, show_spinner="Looking through the images folder ...")
def indexed(folder: str) -> ImageFolder:
    """A folder of images, looked through once."""
    return ImageFolder(Path(folder))
