"""How fast a volume opens, beside the bare libraries: ``python -m benchmarks.volume_open``.

A made CT of 512 x 512 x 300 as DICOM series (with the header of pydicom's CT_small, about 250 elements) and as NIfTI.
"library" is what a script would do: pydicom's ``dcmread`` and ``pixel_array`` file by file, nibabel's ``get_fdata``; it
neither sorts, checks nor de-identifies. Each figure is the median of fresh processes that take turns, CPU seconds of one
thread; "headers" is the first look that sorts the files, "assemble" rescaling, checks and the case, "decode" the rest
(reading, hashing, decoding, filling the volume). MB is the peak beyond what the process held before.
"""

from __future__ import annotations

import gzip
import multiprocessing
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import nibabel
import numpy as np
import pydicom
import typer
from numpy.typing import NDArray
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, RLELossless, generate_uid
from scipy import ndimage

import models.io.dicom
import models.io.nifti
from models.io import read_case

SIDE = 512
HEADERS = ((models.io.dicom, "look"),)
ASSEMBLE = (
    (models.io.dicom, "to_values"), (models.io.dicom, "_case"),
    (models.io.nifti, "freeze"), (models.io.nifti, "Image"), (models.io.nifti, "_meaning"),
)  # fmt: skip
COMPRESSED = {"JPEG-LS": JPEGLSLossless, "RLE": RLELossless}


def made_slices(count: int) -> list[NDArray[np.int16]]:
    """Slices like a CT's: soft shapes with noise of 20 HU."""
    rng = np.random.default_rng(0)
    shapes = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), 8) * 8000
    return [(shapes + rng.normal(0, 20, (SIDE, SIDE))).astype(np.int16) for _ in range(count)]


def write_series(folder: Path, slices: list[NDArray[np.int16]], syntax: str | None = None) -> Path:
    folder.mkdir()
    for index, pixels in enumerate(slices):
        ds = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.Rows, ds.Columns, ds.PixelSpacing = SIDE, SIDE, [0.7, 0.7]
        ds.ImagePositionPatient, ds.InstanceNumber = [-179, -179, float(index)], index + 1
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        ds.PixelData = pixels.tobytes()
        if syntax is not None:
            ds.compress(syntax)
        ds.save_as(folder / f"{index:04}.dcm")
    return folder


def write_nifti(path: Path, slices: list[NDArray[np.int16]]) -> Path:
    data = nibabel.Nifti1Image(np.stack(slices).T, np.diag([-0.7, -0.7, 1, 1])).to_bytes()
    path.write_bytes(gzip.compress(data, 6) if path.suffix == ".gz" else data)
    return path


def by_library(path: Path) -> None:
    if path.is_dir():
        np.stack([pydicom.dcmread(file).pixel_array for file in sorted(path.iterdir())])
    else:
        nibabel.load(path).get_fdata(dtype=np.float32)


def timed(holder: Any, name: str, spent: list[float]) -> None:
    """Add up the CPU seconds spent in a function of a module."""
    inner: Callable[..., Any] = getattr(holder, name)

    def outer(*args: Any, **options: Any) -> Any:
        start = time.process_time()
        try:
            return inner(*args, **options)
        finally:
            spent.append(time.process_time() - start)

    setattr(holder, name, outer)


def measure(path: Path, library: bool, split: bool = False) -> dict[str, float]:
    """CPU and wall seconds and MB of one opening, in a process of its own."""
    headers: list[float] = []
    assemble: list[float] = []
    for parts, spent in ((HEADERS, headers), (ASSEMBLE, assemble)) if split else ():
        for holder, name in parts:
            timed(holder, name, spent)
    before = _held("VmRSS")
    wall, cpu = time.perf_counter(), time.process_time()
    by_library(path) if library else read_case(path)
    found = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    found["MB"] = _held("VmHWM") - before
    found |= {"headers": sum(headers), "assemble": sum(assemble)}
    return found


def _held(name: str) -> float:
    """MB of this process."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1000 if found else float("nan")


def main(
    slices: Annotated[int, typer.Option(help="Slices of the uncompressed series and the NIfTI files.")] = 300,
    compressed: Annotated[int, typer.Option(help="Slices of the compressed series.")] = 60,
    rounds: Annotated[int, typer.Option(help="Processes a figure.")] = 3,
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, made = Path(name), made_slices(max(slices, compressed))
        paths = {f"DICOM, {slices} slices": write_series(folder / "plain", made[:slices])}
        for title, syntax in COMPRESSED.items():
            paths[f"{title}, {compressed} slices"] = write_series(folder / title, made[:compressed], syntax)
        for suffix in (".nii", ".nii.gz"):
            paths[f"{suffix}, {slices} slices"] = write_nifti(folder / f"made{suffix}", made[:slices])
        print(
            f"{'':24}{'wall':>7}{'CPU':>7}{'of it headers/decode/assemble':>32}{'MB':>6}{'library CPU':>13}{'MB':>6}{'ratio':>7}"
        )
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            for title, path in paths.items():
                ours, theirs = [], []
                for _ in range(rounds):
                    ours.append(pool.apply(measure, (path, False)))
                    theirs.append(pool.apply(measure, (path, True)))
                parts = pool.apply(measure, (path, False, True))
                own, other = (
                    {key: statistics.median(one[key] for one in group) for key in parts} for group in (ours, theirs)
                )
                rest = parts["cpu"] - parts["headers"] - parts["assemble"]
                shares = f"{parts['headers']:.2f} / {rest:.2f} / {parts['assemble']:.2f}"
                print(
                    f"{title:24}{own['wall']:7.2f}{own['cpu']:7.2f}{shares:>32}{own['MB']:6.0f}"
                    f"{other['cpu']:13.2f}{other['MB']:6.0f}{own['cpu'] / other['cpu']:7.2f}"
                )


if __name__ == "__main__":
    typer.run(main)
