"""How long a chest CT of 512 x 512 x 40 voxels takes to quantify: ``python -m benchmarks.quantify``.

A drawn chest with lesions, as a NIfTI file, through ``dashboard quantify``: from the scan alone (lungs segmented, lesions
marked by the model), with all masks supplied, and against a prior; and the measures alone, in memory. Seconds of the
clock and of the processor, all threads; the median of the runs asked for.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import nibabel as nib
import numpy as np
import typer
from scipy import ndimage

from dashboard.quantify.assess import Marked, assess
from dashboard.quantify.command import Files, quantify_paths
from dashboard.quantify.grid import check_fits
from dashboard.quantify.study import study_of
from models.types import Geometry, Image, Modality
from sample_data.phantoms._thorax import Grid, Thorax, draw_thorax, finish

GRID = Grid(512, 512, 40, 0.75, 6.5, -132.0)
BALLS = ((-85.0, 42.0, -30.0, 26.0), (84.0, 40.0, -34.0, 22.0), (-66.0, 12.0, 62.0, 16.0), (62.0, 0.0, 62.0, 12.0))


def drawn(seed: int = 0) -> tuple[Image, np.ndarray, Thorax]:
    """The scan, its lesions, and the chest before the scanner's noise."""
    rng = np.random.default_rng(seed)
    thorax = draw_thorax(rng, GRID)
    x, y, z = GRID.mm()
    lesions = np.zeros(GRID.shape, dtype=bool)
    for a, b, c, radius in BALLS:
        lesions |= (x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2 < radius**2
    lesions &= ndimage.binary_erosion(thorax.right | thorax.left)
    thorax.hu[lesions] = -450.0
    return finish(rng, thorax, 24.0, plane=False), lesions, thorax


def save(path: Path, values: np.ndarray, geometry: Geometry) -> Path:
    nib.save(
        nib.Nifti1Image(np.ascontiguousarray(values.T.astype(np.int16)), np.diag([-1.0, -1, 1, 1]) @ geometry.affine),
        path,
    )
    return path


def timed(work: Callable[[], object], runs: int) -> tuple[float, float]:
    """Seconds of the clock and of the processor."""
    wall, cpu = [], []
    for _ in range(runs):
        began, spent = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - spent)
    return statistics.median(wall), statistics.median(cpu)


def main(runs: Annotated[int, typer.Option(min=1, help="Runs of each; the median counts.")] = 3) -> None:
    """Print the table."""
    scan, lesions, thorax = drawn()
    geometry = GRID.geometry
    lungs = thorax.right + 2 * thorax.left
    mask = Image(lesions[None].astype(np.float32), "stored value", Modality.OTHER, geometry)
    lung_image = Image(lungs[None].astype(np.float32), "stored value", Modality.OTHER, geometry)
    check_fits(mask, scan, "The lesion mask")
    found = assess(scan, mask, lung_image).lungs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ct = save(folder / "ct.nii.gz", scan.values[0], geometry)
        marked = save(folder / "lesions.nii.gz", lesions, geometry)
        sides = save(folder / "lungs.nii.gz", lungs, geometry)
        moved = Geometry(np.array([[1.0, 0, 0, 12], [0, 1, 0, -8], [0, 0, 1, 5], [0, 0, 0, 1]]) @ geometry.affine)
        prior = Files(save(folder / "prior.nii.gz", scan.values[0], moved), save(folder / "p.nii.gz", lesions, moved))
        rows: list[tuple[str, Callable[[], object]]] = [
            ("measures alone, in memory", lambda: study_of(lesions, geometry, "mask", scan, found)),
            (
                "segmentation of the lungs, in memory",
                lambda: assess(scan, None, None, lambda *_: Marked(lesions, "mask")),
            ),
            ("files, lesions and lungs supplied", lambda: quantify_paths(Files(ct, marked, sides), folder / "a")),
            ("files, lesions supplied", lambda: quantify_paths(Files(ct, marked), folder / "b")),
            ("files, lesions by the model", lambda: quantify_paths(Files(ct), folder / "c")),
            (
                "files, lesions supplied, with a prior",
                lambda: quantify_paths(Files(ct, marked), folder / "d", prior=prior),
            ),
        ]
        print(f"{' x '.join(map(str, reversed(GRID.shape)))} voxels\n")
        print(f"{'':40s} {'clock':>8s} {'processor':>10s}")
        for title, work in rows:
            wall, cpu = timed(work, runs)
            print(f"{title:40s} {wall:7.2f}s {cpu:9.2f}s", flush=True)


if __name__ == "__main__":
    typer.run(main)
