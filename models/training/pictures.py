"""Reading the pictures of the data sets by the readers of the app, so that a model trains on what it will be shown."""

from __future__ import annotations

from pathlib import Path

from models.io import read_case
from models.types import Image, Modality


def read(path: Path, modality: Modality) -> Image:
    """The image of a file, said to be of the data set's modality (a JPEG does not say)."""
    return read_case(path, modality=modality).image
