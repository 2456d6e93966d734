"""Nothing that identifies a patient comes out of a reader: not in a case, a message, a log or a warning."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping

import numpy as np
import pytest
from pydicom.datadict import DicomDictionary, keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from models.io import read_cases, read_uploads
from models.io.deidentify import readable_attributes

SECRETS = {
    "PN": "Zyxwert^Quillon",
    "LO": "QUILLON4711",
    "SH": "QUILLON4711",
    "CS": "QUILLON",
    "LT": "Quillon was here",
    "ST": "Quillon was here",
    "UT": "Quillon was here",
    "UC": "Quillon was here",
    "DA": "19470203",
    "TM": "041907",
    "DT": "19470203041907",
    "UI": "1.2.826.0.1.4711.42",
    "IS": "4711",
    "AS": "097Y",
}
STRINGS = ("quillon", "zyxwert", "4711", "19470203", "041907", "097y", " 97")
# Part of the picture's own layout, or kept on purpose after being made harmless.
NOT_PLANTED = {
    "SOPClassUID",
    "Modality",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "SpecificCharacterSet",
    "PatientName",
    "PatientID",
    "PixelPaddingValue",
    "VOILUTFunction",
}


def texts(value: object) -> Iterator[str]:
    """Every string in a case, fields of fields included."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from texts(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from texts(key)
            yield from texts(item)
    elif isinstance(value, tuple | list | set | frozenset):
        for item in value:
            yield from texts(item)
    elif not isinstance(value, np.ndarray):
        yield str(value)


def planted(make_dicom, ramp, **elements: object) -> bytes:
    """A file with an identifier in every element of the dictionary that takes text, and in a private one."""
    planted_elements: dict[str, object] = {"PatientName": SECRETS["PN"], "PatientID": SECRETS["LO"]}
    for tag, (vr, multiplicity, _, retired, keyword) in DicomDictionary.items():
        group = tag >> 16
        usable = keyword and not retired and vr in SECRETS and group >= 8 and group not in (0x0028, 0x5400, 0x7FE0)
        if usable and keyword not in NOT_PLANTED and multiplicity.startswith("1"):
            planted_elements[keyword] = SECRETS[vr]
    planted_elements |= {"WindowCenter": "40", "WindowWidth": "400", "WindowCenterWidthExplanation": "QUILLON"}
    item = Dataset()
    item.PatientName = SECRETS["PN"]
    planted_elements["OtherPatientIDsSequence"] = Sequence([item])
    return make_dicom(ramp, **(planted_elements | elements))


def test_nothing_planted_comes_out(make_dicom, ramp, caplog, recwarn, tmp_path):
    caplog.set_level(logging.DEBUG)
    good = planted(make_dicom, ramp)
    files = {
        "Quillon_Zyxwert_19470203.dcm": good,
        "Quillon4711-cut.dcm": good[:-50],
        "Quillon4711-rows.dcm": planted(make_dicom, ramp, Rows=0),
        "Quillon4711-colour.dcm": planted(make_dicom, ramp, PhotometricInterpretation="QUILLON"),
        "Quillon4711-frames.dcm": planted(make_dicom, ramp).replace(b"MONOCHROME2 ", b"QUILLON4711 "),
        "Quillon4711.png": b"\x89PNG\r\n\x1a\nQuillon",
        "Quillon4711.nii": b"Quillon",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    for result in (read_uploads(list(files.items())), read_cases(tmp_path)):
        (case,) = result.cases
        assert len(result.failures) == len(files) - 1
        said = [*texts(case), *(failure.message for failure in result.failures), caplog.text]
        said += [str(warning.message) for warning in recwarn.list]
        # The content's own hash may hold any digits.
        said = [text.lower() for text in said if text not in (case.id, case.title, case.provenance.sha256)]
        for secret in STRINGS:
            assert not [text for text in said if secret in text], secret
        assert case.title == f"CT {case.provenance.sha256[:6]}"
        assert case.id == f"upload-{case.provenance.sha256[:12]}"
        assert case.image.windows[0].name == "as stored"
        assert case.attributes["age"] == "90+"


def test_what_is_kept_is_named(make_dicom, ramp):
    data = make_dicom(
        ramp,
        PatientName="Doe^Jane",
        PatientAge="061Y",
        PatientSex="F",
        ViewPosition="PA",
        BodyPartExamined="CHEST",
        SliceThickness="1.25",
        KVP="120",
        Manufacturer="ACME",
        StudyDescription="CHEST PA",
        InstitutionName="General",
    )
    (case,) = read_uploads([("x", data)]).cases
    assert dict(case.attributes) == {
        "modality": "CT",
        "age": "61",
        "sex": "F",
        "view": "PA",
        "body part": "CHEST",
        "slice thickness": "1.25 mm",
        "tube voltage": "120 kV",
        "manufacturer": "ACME",
    }
    assert set(case.provenance.kept) == {
        "Modality",
        "PatientAge",
        "PatientSex",
        "ViewPosition",
        "BodyPartExamined",
        "SliceThickness",
        "KVP",
        "Manufacturer",
    }


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("061Y", "61"),
        ("089Y", "89"),
        ("090Y", "90+"),
        ("103Y", "90+"),
        ("018M", "18 months"),
        ("030M", "2"),
        ("005D", "5 days"),
        ("012W", "12 weeks"),
        ("61", None),
        ("", None),
    ],
)
def test_age(stored, shown):
    ds = Dataset()
    ds.add_new(0x00101010, "LO", stored)
    assert readable_attributes(ds)[0].get("age") == shown


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientSex", "Jane"),
        ("BodyPartExamined", "see letter to dr smith"),
        ("Manufacturer", "Jane Doe"),
        ("Manufacturer", "tel 0123456789"),
        ("ManufacturerModelName", "Unit of St. Mary\nWard 3"),
        ("ViewPosition", "doe"),
        ("KVP", "-5"),
    ],
)
def test_a_kept_element_with_something_else_in_it_is_dropped(keyword, value):
    ds = Dataset()
    ds.PatientName = "Doe^Jane"
    ds.add_new(keyword, "LO", value)
    assert readable_attributes(ds) == ({}, ())


def test_the_list_is_short_and_known_to_dicom():
    from models.io.deidentify import _ALLOWED

    assert len(_ALLOWED) < 16
    known = {keyword_for_tag(tag) for tag in DicomDictionary}
    assert set(_ALLOWED) <= known
