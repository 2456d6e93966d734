"""Cuts the committed volumes out of the originals, and checks files against the manifest.

``python -m sample_data.build FOLDER`` writes ``sample_data/committed`` anew from a folder with the originals
(PyRadiomics 3.0.1 example data as NIfTI, see README.md). Only whole slices, rows and columns are cut: no voxel is
changed or resampled, and the affine is moved so that every voxel keeps its place in mm.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

from models.errors import DataError

COMMITTED = Path(__file__).parent / "committed"


@dataclass(frozen=True)
class Crop:
    """Index ranges (start, stop) along the file's own axes i, j, k; ``stop`` is not included."""

    name: str
    i: tuple[int, int]
    j: tuple[int, int]
    k: tuple[int, int]

    def cut(self, voxels: NDArray[np.int32]) -> NDArray[np.int32]:
        return voxels[slice(*self.i), slice(*self.j), slice(*self.k)]

    def move(self, affine: NDArray[np.float64]) -> NDArray[np.float64]:
        """The affine of the crop: index 0 becomes the first kept voxel."""
        moved = np.array(affine, dtype=np.float64)
        moved[:3, 3] += moved[:3, :3] @ (self.i[0], self.j[0], self.k[0])
        return moved


CROPS = (
    Crop("lung1", (0, 512), (144, 512), (26, 41)),
    Crop("brain1", (16, 256), (0, 256), (7, 22)),
    Crop("brain2", (16, 256), (0, 256), (3, 16)),
)


def cut_volume(crop: Crop, originals: Path) -> dict[str, bytes]:
    """The two files of one crop, image as int16 and mask as uint8, by file name.

    Raises:
        DataError: an original is missing, or its mask lies partly outside the crop.
    """
    files = {}
    for what, dtype in (("image", np.int16), ("label", np.uint8)):
        path = originals / f"{crop.name}_{what}.nii.gz"
        if not path.is_file():
            raise DataError(
                f"The original {path.name} is not in the folder given; unpack the PyRadiomics example volumes there."
            )
        source = nibabel.Nifti1Image.from_filename(path)
        voxels: NDArray[np.int32] = np.asarray(source.dataobj).astype(np.int32)
        kept = crop.cut(voxels).astype(dtype)
        if what == "label" and np.count_nonzero(kept) != np.count_nonzero(voxels):
            raise DataError(f"The crop of {crop.name} cuts through its mask; widen its ranges in sample_data/build.py.")
        image = nibabel.Nifti1Image(kept, crop.move(source.affine))
        image.set_sform(image.affine, code=1)
        image.set_qform(image.affine, code=1)
        image.header.set_xyzt_units("mm")
        packed = io.BytesIO()
        # No file name and no time, so that equal content gives equal bytes.
        with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=packed, mtime=0) as stream:
            stream.write(image.to_bytes())
        files[f"{crop.name}_{'image' if what == 'image' else 'mask'}.nii.gz"] = packed.getvalue()
    return files


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main(originals: Path) -> None:
    """Write all crops and report their digests on stdout, ready for the manifest."""
    COMMITTED.mkdir(exist_ok=True)
    for crop in CROPS:
        for name, content in cut_volume(crop, originals).items():
            (COMMITTED / name).write_bytes(content)
            sys.stdout.write(f"{name} {len(content)} bytes sha256 {hashlib.sha256(content).hexdigest()}\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Give one folder: where the original volumes are.")
    try:
        main(Path(sys.argv[1]))
    except DataError as error:
        sys.exit(str(error))
