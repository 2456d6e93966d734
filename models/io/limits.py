"""How much a file may ask for. Declared sizes are checked against these before anything is allocated or decoded."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from models.errors import DataError

MB = 1_000_000


@dataclass(frozen=True)
class Limits:
    """Upper bounds for one read.

    Attributes:
        pixels: rows x columns of one plane.
        samples: values of one image, all slices and channels together; held as float32, 4 bytes each.
        file_bytes: one file after unpacking.
        total_bytes: all members of one archive or folder after unpacking.
        members: files in one archive, folder or upload.
        ratio: unpacked to packed size of an archive; only asked of archives that unpack to more than ``file_bytes``.
    """

    pixels: int = 100 * MB
    samples: int = 300 * MB
    file_bytes: int = 500 * MB
    total_bytes: int = 4000 * MB
    members: int = 10_000
    ratio: int = 250

    def check_shape(self, rows: int, columns: int, planes: int = 1, channels: int = 1) -> None:
        """Raises DataError for an empty or too large image, by its declared size."""
        if min(rows, columns, planes, channels) < 1:
            raise DataError("The image declares an empty size (a side of zero or less); export it again.")
        if rows * columns > self.pixels:
            raise DataError(
                f"The image declares {columns} x {rows} pixels, over the limit of {self.pixels / MB:g} million; "
                "export it smaller."
            )
        if prod((rows, columns, planes, channels)) > self.samples:
            raise DataError(
                f"The image declares {columns} x {rows} x {planes} values in {channels} channel(s), over the limit of "
                f"{self.samples / MB:g} million; crop or downsample it."
            )

    def check_bytes(self, size: int) -> None:
        """Raises DataError for a file that is too long."""
        if size > self.file_bytes:
            raise DataError(f"The file is larger than the limit of {self.file_bytes / MB:g} MB; export it smaller.")


DEFAULT_LIMITS = Limits()
# A folder named on the command line is as large as it is; each file is bounded all the same.
LOCAL_LIMITS = Limits(total_bytes=10**15, members=10**9)
