"""Every DICOM file that pydicom and pydicom-data install: right values, or one sentence.

The values are compared with an independent chain: GDCM's own file reader (or, for what Sightline itself decodes with
GDCM, the slow decoder of ``jpeg_reference``), then rescale, palette and colour formulas written out here.
``SIGHTLINE_WRITE_DOCS=1`` rewrites ``docs/dicom-support.md`` from what was seen.
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_frames
from pydicom.uid import UID, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1

from models.errors import SightlineError
from models.io import read_case
from models.types import Case
from tests.models.io.jpeg_reference import decode

gdcm = pytest.importorskip("gdcm", reason="python-gdcm is not installed")

DOCS = Path(__file__).parents[3] / "docs" / "dicom-support.md"
ROOTS = [
    Path(pydicom.__file__).parent / "data",
    Path(importlib.util.find_spec("data_store").origin).parent / "data",
]
NOT_DICOM = {".py", ".json", ".md", ".txt", ".dump", ".icc", ".gz", ""}
SLOW_PATH = {JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1}
# GDCM's file reader cannot decode these, or decodes them wrongly; how the values are known instead.
OTHER_REFERENCE = {
    "SC_rgb_rle_32bit.dcm": "SC_rgb_32bit.dcm",
    "SC_rgb_rle_32bit_2frame.dcm": "SC_rgb_32bit_2frame.dcm",
}


@dataclass(frozen=True)
class Row:
    name: str
    syntax: str
    photometric: str
    outcome: str


def shipped() -> list[Path]:
    files = [path for root in ROOTS for path in sorted(root.rglob("*")) if path.is_file()]
    return [path for path in files if path.suffix.lower() not in NOT_DICOM or path.parent.parent.parent.name.isdigit()]


def header(path: Path) -> pydicom.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(path, force=True)


def has_pixels(ds: pydicom.Dataset) -> bool:
    return any(keyword in ds for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"))


def syntax_of(ds: pydicom.Dataset) -> UID:
    syntax = getattr(getattr(ds, "file_meta", None), "TransferSyntaxUID", None)
    return UID(syntax) if syntax else UID("1.2.840.10008.1.2" if ds.original_encoding[0] else "1.2.840.10008.1.2.1")
