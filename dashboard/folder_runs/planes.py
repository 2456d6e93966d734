"""Files to the plane images that a network is shown, here or in a process of its own; free of torch until it is needed.

A worker process (``python -m dashboard.folder_runs.planes``) reads one line of JSON for each unit of files from its standard input
and writes each image as a line of JSON with the bytes of its pixels behind it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from dashboard.cases import middle_slice
from models.errors import DataError
from models.io import READERS, Failure, iterate_cases
from models.io.archive import from_path
from models.io.base import QUIET, Member, Options, ReadResult
from models.io.limits import LOCAL_LIMITS
from models.types import Case, FloatArray, Geometry, Image, Modality, Window

SMALL = 4  # an image of up to so many times the network's pixels is sent as it is


@dataclass(frozen=True)
class Unit:
    """Files that are read together: one image file, one zip, or the slices of one DICOM series.

    Attributes:
        place: order in the run.
        name: of the first file, as in the results.
        files: paths.
        names: of the files below the folder of the run.
        stamp: changes when a file of the unit does.
    """

    place: int
    name: str
    files: tuple[str, ...]
    names: tuple[str, ...]
    stamp: str


@dataclass(frozen=True)
class Wish:
    """What a run needs of each image.

    Attributes:
        spec: the fields of :class:`models.preprocess.InputSpec`.
        slice_index: of a volume; None for the middle one.
        shrink: only what the network sees is needed, so that a large image may be brought to its input size.
    """

    spec: dict[str, Any]
    slice_index: int | None = None
    shrink: bool = False


@dataclass(frozen=True, eq=False)
class Plane:
    """One plane image to score.

    Attributes:
        name: of its file.
        sha256: of the bytes read.
        slice: index in the volume it is of; None where the file holds a plane image.
    """

    name: str
    sha256: str
    slice: int | None
    image: Image


Item = Plane | Failure


def decode(unit: Unit, wish: Wish) -> Iterator[Item]:
    """Every image of a unit, one in memory at a time, and what could not be read."""
    try:
        for found in _read(unit):
            yield from found.failures
            for case, name in zip(found.cases, found.names, strict=True):
                try:
                    yield _plane(case, name, wish)
                except DataError as error:
                    yield Failure.of(name, error)
    except DataError as error:
        yield Failure.of(unit.name, error)


def _read(unit: Unit) -> Iterator[ReadResult]:
    if len(unit.files) > 1:
        found = [from_path(Path(file), LOCAL_LIMITS)[0][0] for file in unit.files]
        members = [Member(name, member.open) for name, member in zip(unit.names, found, strict=True)]
        yield from READERS.get("dicom").read(members, Options(limits=LOCAL_LIMITS))
        return
    path = Path(unit.files[0])
    for result in iterate_cases(path):
        names = tuple(unit.name if name == path.name else name for name in result.names)
        failures = tuple(replace(one, name=unit.name) if one.name == path.name else one for one in result.failures)
        yield replace(result, names=names, failures=failures)


def _plane(case: Case, name: str, wish: Wish) -> Plane:
    volume = case.image.is_volume
    index = wish.slice_index if volume and wish.slice_index is not None else middle_slice(case.image)
    image = _neighbours(case.image.slice(index), wish.spec)
    if wish.shrink and _pixels(image) > SMALL * wish.spec["height"] * wish.spec["width"]:
        image = _shrunk(image, wish.spec)
    return Plane(name, case.provenance.sha256, index if volume else None, image)


def _pixels(image: Image) -> int:
    return image.plane_shape[0] * image.plane_shape[1]


def _neighbours(image: Image, spec: dict[str, Any]) -> Image:
    """The slice with no more of its volume than a network of several slices looks at."""
    if image.within is None or spec["slices"] == 1:
        return replace(image, within=None)
    volume, index = image.within
    step = spec["slice_step_mm"] / (volume.geometry.spacing[2] if volume.geometry else spec["slice_step_mm"])
    reach = int(np.ceil(spec["slices"] // 2 * step))
    first, last = max(0, index - reach), min(volume.depth, index + reach + 1)
    geometry = volume.geometry.at_slice(first) if volume.geometry else None
    near = replace(volume, values=volume.values[:, first:last], geometry=geometry)
    return replace(image, within=(near, index - first))


def _shrunk(image: Image, spec: dict[str, Any]) -> Image:
    """The network's input, before normalisation, as a picture that preparing it again leaves as it is."""
    from models.preprocess import InputSpec, prepare  # torch: seconds that a folder of small images can do without

    window = None if spec["window"] is None else Window(**spec["window"])
    plain = InputSpec(**(spec | {"window": window, "mean": (0.0,) * 3, "std": (1.0,) * 3}))
    values = prepare(image, plain).tensor[0].numpy()
    side = spec["spacing_mm"] or 1.0
    return Image(values, "unit interval", image.modality, Geometry.from_spacing(side, side))


def send(item: Item, stream: BinaryIO) -> None:
    """Write an item; grey values and colours of 8 or 16 bits take 1 or 2 bytes each."""
    if isinstance(item, Failure):
        _line(stream, {"failure": [item.name, item.message]})
        return
    image, index = (item.image, None) if item.image.within is None else item.image.within
    values, scale = _narrow(image.values)
    facts = {
        "name": item.name,
        "sha256": item.sha256,
        "slice": item.slice,
        "index": index,
        "unit": image.unit,
        "modality": str(image.modality),
        "inverted": image.inverted,
        "windows": [asdict(window) for window in image.windows],
        "affine": None if image.geometry is None else image.geometry.affine.tolist(),
        "frame": None if image.geometry is None else image.geometry.frame,
        "dtype": values.dtype.str,
        "shape": values.shape,
        "scale": scale,
    }
    _line(stream, facts)
    stream.write(np.ascontiguousarray(values).data)


def send_end(stream: BinaryIO) -> None:
    """Say that the unit has no more items."""
    _line(stream, {})
    stream.flush()


def receive(stream: BinaryIO) -> Item | None:
    """The next item; None at the end of a unit.

    Raises:
        EOFError: the other side is gone.
    """
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    facts = json.loads(line)
    if not facts:
        return None
    if "failure" in facts:
        return Failure(*facts["failure"])
    kind, shape = np.dtype(facts["dtype"]), tuple(facts["shape"])
    data = stream.read(int(np.prod(shape)) * kind.itemsize)
    if len(data) != int(np.prod(shape)) * kind.itemsize:
        raise EOFError
    values = np.frombuffer(data, kind).reshape(shape).astype(np.float32)
    if facts["scale"] != 1:
        values /= np.float32(facts["scale"])
    values.setflags(write=False)
    windows = tuple(Window(**(window | {"table": tuple(window["table"])})) for window in facts["windows"])
    geometry = None if facts["affine"] is None else Geometry(np.array(facts["affine"]), facts["frame"])
    image = Image(values, facts["unit"], Modality(facts["modality"]), geometry, windows, facts["inverted"])
    if facts["index"] is not None:
        image = image.slice(facts["index"])
    return Plane(facts["name"], facts["sha256"], facts["slice"], image)


def _narrow(values: FloatArray) -> tuple[NDArray[Any], int]:
    """The same numbers in the fewest bytes, and what to divide them by."""
    low, high = float(values.min()), float(values.max())
    if 0 <= low <= high <= 1 and values.shape[0] == 3:
        bytes_ = (values * np.float32(255)).round().astype(np.uint8)
        if np.array_equal(bytes_.astype(np.float32) / np.float32(255), values):
            return bytes_, 255
    for kind in (np.uint8, np.int16, np.uint16):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            narrow = values.astype(kind)
            return (narrow, 1) if np.array_equal(narrow, values) else (values, 1)
    return values, 1


def _line(stream: BinaryIO, facts: dict[str, Any]) -> None:
    stream.write(json.dumps(facts).encode() + b"\n")


def work() -> None:
    """Serve until the standard input ends, which it does when the process that asks is gone."""
    answers = os.fdopen(os.dup(1), "wb", buffering=1 << 20)
    os.dup2(2, 1)  # what a library prints must not be taken for an answer
    wish = Wish(**json.loads(sys.stdin.buffer.readline()))
    send_end(answers)  # ready
    with QUIET:
        for line in sys.stdin.buffer:
            facts = json.loads(line)
            for item in decode(Unit(**facts), wish):
                send(item, answers)
            send_end(answers)


if __name__ == "__main__":
    work()
