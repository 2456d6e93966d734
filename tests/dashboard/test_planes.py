"""Files to plane images, through the pipe of a worker and back: what the network sees stays the same."""

from __future__ import annotations

import io
from dataclasses import asdict, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image as Picture

from dashboard.folder_runs.listing import units_of
from dashboard.folder_runs.planes import Plane, Wish, decode, receive, send, send_end
from models.io import Failure, ReadResult, iterate_cases
from models.preprocess import InputSpec, prepare
from models.types import Case, Geometry, Image, Modality, Window

RNG = np.random.default_rng(0)


def picture(path: Path) -> Path:
    Picture.fromarray(RNG.integers(0, 255, (40, 50), dtype=np.uint8)).save(path)
    return path


def same(one: Image, other: Image) -> bool:
    affine = [None if image.geometry is None else image.geometry.affine.tolist() for image in (one, other)]
    facts = [(image.unit, image.modality, image.windows, image.inverted) for image in (one, other)]
    return one.values.tobytes() == other.values.tobytes() and affine[0] == affine[1] and facts[0] == facts[1]


IMAGES = {
    "bytes": (RNG.integers(0, 256, (1, 7, 9)), "stored value"),
    "signed": (RNG.integers(-1024, 3000, (1, 7, 9)), "HU"),
    "unsigned": (RNG.integers(0, 65536, (1, 7, 9)), "stored value"),
    "large": (RNG.integers(0, 10**6, (1, 7, 9)), "stored value"),
    "fractions": (RNG.normal(size=(1, 7, 9)), "stored value"),
    "colour": (RNG.integers(0, 256, (3, 7, 9)).astype(np.float32) / np.float32(255), "unit interval"),
    "odd colour": (RNG.random((3, 7, 9)), "unit interval"),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_an_image_comes_out_of_the_pipe_as_it_went_in(kind: str) -> None:
    values, unit = IMAGES[kind]
    geometry = Geometry(RNG.normal(size=(4, 4)) * [[1], [1], [1], [0]] + np.diag([0, 0, 0, 1.0]))
    windows = (Window("own", 3.5, 7.25, "table", (0.0, 0.25, 1.0)), Window("soft", 0, 2, "sigmoid"))
    image = Image(values.astype(np.float32), unit, Modality.CT, geometry, windows, inverted=True)
    pipe = io.BytesIO()
    for item in (Plane("ä.dcm", "f" * 64, 3, image), Failure("b.png", "It is damaged.")):
        send(item, pipe)
    send_end(pipe)
    pipe.seek(0)
    plane, failure, end = receive(pipe), receive(pipe), receive(pipe)
    assert isinstance(plane, Plane)
    assert same(plane.image, image)
    assert (plane.name, plane.sha256, plane.slice) == ("ä.dcm", "f" * 64, 3)
    assert failure == Failure("b.png", "It is damaged.")
    assert end is None
    with pytest.raises(EOFError):
        receive(pipe)


@pytest.mark.parametrize("index", [0, 1, 3, 6])
@pytest.mark.parametrize("slices", [1, 3])
def test_of_a_volume_goes_what_the_network_sees(ct_volume: Image, tmp_path: Path, slices: int, index: int) -> None:
    spec = InputSpec(48, 48, fit="spacing", spacing_mm=1.0, slices=slices, window=Window("lung", -600, 1500))
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ ct_volume.geometry.affine
    nib.save(nib.Nifti1Image(ct_volume.values[0].T.astype(np.int16), affine), tmp_path / "ct.nii")
    (unit,) = units_of([tmp_path / "ct.nii"])
    (plane,) = decode(unit, Wish(asdict(spec), index))
    pipe = io.BytesIO()
    send(plane, pipe)
    assert len(pipe.getvalue()) < 5 * 40 * 50 * 2 + 2000
    pipe.seek(0)
    there = prepare(receive(pipe).image, spec).tensor
    np.testing.assert_allclose(there, prepare(ct_volume.slice(index), spec).tensor, atol=1e-6)


SPECS = [
    InputSpec(40, 48, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25)),
    InputSpec(40, 48, channels=1, fit="stretch"),
    InputSpec(48, 40, fit="center-crop"),
    InputSpec(32, 32, fit="spacing", spacing_mm=3.0, window=Window("lung", -600, 1500)),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.fit)
@pytest.mark.parametrize("colour", [False, True])
def test_a_large_image_made_small_before_it_is_sent_is_the_same_to_the_network(
    spec: InputSpec, colour: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = RNG.random((3, 300, 260)) if colour else RNG.normal(-500, 400, (1, 300, 260))
    unit = "unit interval" if colour else "HU"
    image = Image(
        values.astype(np.float32), unit, Modality.CT, Geometry(np.diag([0.7, 0.9, 1, 1])), inverted=not colour
    )
    case = replace(
        next(one for found in iterate_cases(picture(tmp_path / "a.png")) for one in found.cases), image=image
    )
    monkeypatch.setattr("dashboard.folder_runs.planes.iterate_cases", lambda path: iter([_result(case)]))
    (unit_,) = units_of([tmp_path / "a.png"])
    (plane,) = decode(unit_, Wish(asdict(spec), shrink=True))
    assert plane.image.plane_shape == (spec.height, spec.width)
    given = prepare(plane.image, spec)
    np.testing.assert_allclose(given.tensor, prepare(image, spec).tensor, atol=1e-6)


def _result(case: Case) -> ReadResult:
    return ReadResult((case,), names=("a.png",))
