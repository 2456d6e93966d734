"""What a DICOM header may say about a case: a short allow-list, everything else is dropped.

DICOM PS3.15 annex E, basic profile with the option to retain patient characteristics. Names, numbers, dates, UIDs,
descriptions, comments and private elements are never read into a case. A text on the list (a manufacturer's name) is
dropped when it repeats a word of the patient's or a physician's name, or of an identifier.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from pydicom import Dataset
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag

_SEX = {"M": "M", "F": "F", "O": "other"}
_AGE_UNITS = {"D": "days", "W": "weeks", "M": "months", "Y": "years"}
_PER_YEAR = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}
_AGE_CAP = 90
_CODE = re.compile(r"[A-Z0-9 _]{1,16}")
_TEXT = re.compile(r"[A-Za-z0-9 .,&()/_+-]{1,64}")
_IDENTIFYING = {"PatientID", "OtherPatientIDs", "AccessionNumber", "StudyID"}


def readable_attributes(ds: Dataset) -> tuple[dict[str, str], tuple[str, ...]]:
    """Allow-listed attributes.

    Returns:
        Name for people to text, and the DICOM keywords that these came from.
    """
    secret = identifying_words(ds)
    attributes: dict[str, str] = {}
    kept: list[str] = []
    for keyword, (name, read) in _ALLOWED.items():
        text = read(_value(ds, keyword))
        if text and name not in attributes and (text[0].isdigit() or not words_of(text) & secret):
            attributes[name] = text
            kept.append(keyword)
    return attributes, tuple(kept)


def safe_label(ds: Dataset, text: object) -> str:
    """A short label (a window's explanation) if it is plain and repeats nothing identifying, else ""."""
    label = str(text or "").strip()
    plain = len(label) <= 24 and _TEXT.fullmatch(label) and not re.search(r"\d{5}", label)
    return label if plain and not words_of(label) & identifying_words(ds) else ""


def identifying_words(ds: Dataset) -> frozenset[str]:
    """Lower-case words of the names and identifiers at the top level, from their undecoded bytes."""
    words: set[str] = set()
    for tag in ds.keys():  # noqa: SIM118 (iterating a data set decodes its elements)
        element = ds.get_item(tag)
        vr = element.VR or (dictionary_VR(tag) if dictionary_has_tag(tag) else "UN")
        if vr == "PN" or keyword_for_tag(tag) in _IDENTIFYING:
            value = element.value
            words |= words_of(value.decode("latin-1") if isinstance(value, bytes) else str(value))
    return frozenset(words)


def words_of(text: str) -> set[str]:
    """Lower-case words and numbers of three characters or more."""
    return {word for word in re.split(r"[^0-9a-z\u00c0-\U0010ffff]+", text.lower()) if len(word) >= 3}


def _value(ds: Dataset, keyword: str) -> object:
    """The element's value; None where it is missing or not of its type, as no picture hangs on it."""
    try:
        return ds.get(keyword)
    except (ValueError, TypeError, KeyError, NotImplementedError, OverflowError):
        return None


def _code(value: object) -> str:
    text = str(value or "").strip()
    return text if _CODE.fullmatch(text) else ""


def _text(value: object) -> str:
    text = str(value or "").strip()
    return text if _TEXT.fullmatch(text) and not re.search(r"\d{6}", text) else ""


def _sex(value: object) -> str:
    return _SEX.get(str(value or "").strip(), "")


def _age(value: object) -> str:
    """ "061Y" to "61"; younger than two keeps its unit; from 90 on only "90+", as few people are that old."""
    match = re.fullmatch(r"(\d{3})([DWMY])", str(value or "").strip())
    if not match:
        return ""
    number, unit = int(match[1]), match[2]
    years = number / _PER_YEAR[unit]
    if years >= _AGE_CAP:
        return f"{_AGE_CAP}+"
    if unit == "Y" or years >= 2:
        return str(int(years))
    return f"{number} {_AGE_UNITS[unit]}"


def _number(unit: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        try:
            number = float(str(value))
        except ValueError:
            return ""
        return f"{number:g} {unit}" if 0 < number < 1e6 else ""

    return read


# Keyword: name for people, and how its value becomes text ("" drops it).
_ALLOWED: dict[str, tuple[str, Callable[[object], str]]] = {
    "Modality": ("modality", _code),
    "PatientAge": ("age", _age),
    "PatientSex": ("sex", _sex),
    "ViewPosition": ("view", _code),
    "ImageLaterality": ("laterality", _code),
    "Laterality": ("laterality", _code),
    "BodyPartExamined": ("body part", _code),
    "SliceThickness": ("slice thickness", _number("mm")),
    "KVP": ("tube voltage", _number("kV")),
    "MagneticFieldStrength": ("field strength", _number("T")),
    "RepetitionTime": ("repetition time", _number("ms")),
    "EchoTime": ("echo time", _number("ms")),
    "Manufacturer": ("manufacturer", _text),
    "ManufacturerModelName": ("model", _text),
}
