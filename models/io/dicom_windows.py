"""DICOM display presets (PS3.3 C.11.2) as Sightline windows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.multival import MultiValue

from models.io.deidentify import safe_label
from models.io.dicom_geometry import numbers
from models.types import CT_WINDOWS, Unit, Window

# A DICOM LINEAR window of width 1 is a step just above centre - 0.5.
_STEP = 1e-3


def windows_of(ds: Dataset, holders: Sequence[Dataset], unit: Unit) -> tuple[Window, ...]:
    """Every preset of the image: lookup tables first, then centre and width pairs, then the usual ones for CT.

    Args:
        ds: the whole data set, to keep identifying words out of names.
        holders: data sets that may hold the VOI LUT elements, the most specific first.
        unit: of the image's values.
    """
    found: list[Window] = []
    for holder in holders:
        found += _tables(ds, holder)
        found += _presets(ds, holder)
        if found:
            break
    if unit == "HU":
        found += CT_WINDOWS
    seen: dict[tuple[float, float, str, tuple[float, ...]], Window] = {}
    for window in found:
        seen.setdefault((window.center, window.width, window.shape, window.table), window)
    return tuple(seen.values())


def convert(name: str, center: float, width: float, function: str) -> Window | None:
    """One centre and width pair in the exact form of ``Window``; None where DICOM forbids the width."""
    if not (np.isfinite(center) and np.isfinite(width)) or width <= 0:
        return None
    if function == "SIGMOID":
        return Window(name, center, width, "sigmoid")
    if function == "LINEAR_EXACT":
        return Window(name, center, width)
    if width < 1:
        return None
    if width == 1:
        return Window(name, center - 0.5 + _STEP, _STEP)
    return Window(name, center - 0.5, width - 1)


def _presets(ds: Dataset, holder: Dataset) -> list[Window]:
    centers, widths = _floats(holder.get("WindowCenter")), _floats(holder.get("WindowWidth"))
    names = holder.get("WindowCenterWidthExplanation")
    labels = [safe_label(ds, name) for name in _as_list(names)]
    function = str(holder.get("VOILUTFunction") or "LINEAR")
    found = []
    for index, (center, width) in enumerate(zip(centers, widths, strict=False)):
        label = labels[index] if index < len(labels) and labels[index] else ""
        window = convert(label or ("as stored" if index == 0 else f"as stored {index + 1}"), center, width, function)
        if window is not None:
            found.append(window)
    return found


def _tables(ds: Dataset, holder: Dataset) -> list[Window]:
    found = []
    for index, item in enumerate(holder.get("VOILUTSequence") or ()):
        lut = read_lut(item)
        if lut is None or len(lut[1]) < 2:
            continue
        first, outputs, bits = lut
        name = safe_label(ds, item.get("LUTExplanation")) or ("table" if index == 0 else f"table {index + 1}")
        last = first + len(outputs) - 1
        grey = np.clip(outputs / (2.0**bits - 1), 0.0, 1.0)
        found.append(Window(name, (first + last) / 2, last - first, "table", tuple(grey.tolist())))
    return found


def read_lut(
    holder: Dataset, descriptor_name: str = "LUTDescriptor", data_name: str = "LUTData"
) -> tuple[float, NDArray[np.float64], int] | None:
    """A lookup table (PS3.3 C.11.1.1): an item of a LUT sequence, or one colour of a palette.

    Returns:
        The first input value mapped, the (n,) outputs, and the outputs' number of bits; None where malformed.
    """
    descriptor, data = numbers(holder.get(descriptor_name), 3), holder.get(data_name)
    if descriptor is None or data is None:
        return None
    count, first, bits = int(descriptor[0]) % 65536 or 65536, float(descriptor[1]), int(descriptor[2])
    if isinstance(data, bytes):
        order = ">" if holder.original_encoding[1] is False else "<"
        width = 1 if len(data) in (count, count + 1) else 2
        bits = min(bits, 8 * width)
        outputs = np.frombuffer(data[: len(data) // width * width], dtype=f"{order}u{width}").astype(np.float64)
    else:
        outputs = np.atleast_1d(np.asarray(data, dtype=np.float64))
    if not (1 <= bits <= 16 and len(outputs) >= count):
        return None
    return first, outputs[:count], bits


def _as_list(value: object) -> list[object]:
    if value is None:
        return []
    return list(value) if isinstance(value, MultiValue | list | tuple) else [value]


def _floats(value: object) -> list[float]:
    """Numbers of a one- or many-valued element; NaN keeps the place of one that is not a number."""
    floats = []
    for item in _as_list(value):
        number = numbers(item, 1)
        floats.append(float("nan") if number is None else float(number[0]))
    return floats
