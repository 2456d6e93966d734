"""Which library decodes which DICOM transfer syntax, and what a compressed frame declares about itself.

One library per syntax, not each in turn: on damaged data a second decoder may succeed with wrong pixels.
"""

from __future__ import annotations

import struct
import threading

from pydicom import uid
from pydicom.pixels.decoders.base import Decoder, DecodeRunner

from models.errors import DataError, Unavailable
from models.io.gdcm_process import GDCM, FrameLayout
from models.io.limits import Limits

_OPENJPEG = ("pylibjpeg", "pylibjpeg-openjpeg")
_GDCM = ("gdcm-process", "python-gdcm")
# Transfer syntax to pydicom's plugin name and the package that brings it.
_PLUGINS = {
    uid.RLELossless: ("pydicom", "pydicom"),
    uid.JPEGBaseline8Bit: ("pillow", "pillow"),
    uid.JPEGExtended12Bit: _GDCM,
    uid.JPEGLossless: _GDCM,
    uid.JPEGLosslessSV1: _GDCM,
    uid.JPEGLSLossless: ("pyjpegls", "pyjpegls"),
    uid.JPEGLSNearLossless: ("pyjpegls", "pyjpegls"),
    uid.JPEG2000Lossless: _OPENJPEG,
    uid.JPEG2000: _OPENJPEG,
    uid.HTJ2KLossless: _OPENJPEG,
    uid.HTJ2KLosslessRPCL: _OPENJPEG,
    uid.HTJ2K: _OPENJPEG,
}
_REGISTERING = threading.Lock()
# pydicom asks a plugin module for this, is_available and the decoding function.
DECODER_DEPENDENCIES = dict.fromkeys(
    (uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1), ("python-gdcm>=3.0.24",)
)


def is_available(_syntax: str) -> bool:
    """Whether GDCM is installed (pydicom's plugin protocol)."""
    return GDCM.is_installed()


def plugin_for(decoder: Decoder) -> str:
    """The plugin to ask pydicom for; "" for uncompressed pixels.

    Raises:
        DataError: no decoder is known for the syntax (video, for one).
        Unavailable: its library is not installed.
    """
    syntax = uid.UID(str(decoder.UID))
    if not syntax.is_encapsulated:
        return ""
    if syntax not in _PLUGINS:
        raise DataError(f"The DICOM file's compression ({syntax.name}) is not supported; export it uncompressed.")
    plugin, package = _PLUGINS[syntax]
    if plugin == _GDCM[0] and plugin not in decoder.available_plugins and GDCM.is_installed():
        with _REGISTERING:
            if plugin not in decoder.available_plugins:
                decoder.add_plugin(plugin, (__name__, "_decode_frame"))
    if plugin not in decoder.available_plugins:
        raise Unavailable(
            f"Reading this DICOM file's compression ({syntax.name}) needs the package {package}; install it."
        )
    return plugin


def _decode_frame(src: bytes, runner: DecodeRunner) -> bytes:
    """One frame by GDCM (pydicom's plugin protocol); unlike pydicom's own plugin, 12-bit JPEG Extended too."""
    layout = FrameLayout(
        rows=runner.rows,
        columns=runner.columns,
        samples=runner.samples_per_pixel,
        planar=runner.planar_configuration if runner.samples_per_pixel > 1 else 0,
        bits_allocated=runner.bits_allocated,
        bits_stored=runner.bits_stored,
        signed=runner.pixel_representation,
        photometric=str(runner.photometric_interpretation),
        syntax=str(runner.transfer_syntax),
    )
    return GDCM.decode(layout, src)


def check_frame(frame: bytes, rows: int, columns: int, samples: int, limits: Limits) -> None:
    """Raises DataError unless a JPEG-family frame declares the size that the DICOM header does.

    The codecs allocate by the frame's own header, whatever DICOM says.
    """
    declared = _declared_size(frame)
    if declared is None:
        raise DataError("The DICOM file's compressed picture is damaged (it has no size); export it again.")
    limits.check_shape(declared[0], declared[1], 1, declared[2])
    if declared != (rows, columns, samples):
        raise DataError(
            f"The DICOM header declares {columns} x {rows} pixels of {samples} sample(s), its compressed picture "
            f"{declared[1]} x {declared[0]} of {declared[2]}; export it again."
        )


def _declared_size(frame: bytes) -> tuple[int, int, int] | None:
    """(rows, columns, components) of a JPEG, JPEG-LS or JPEG 2000 code stream."""
    try:
        start = frame.find(b"\xff\x4f\xff\x51", 0, 4096)  # JPEG 2000: SOC, SIZ; may lie in a JP2 box
        if start >= 0:
            x1, y1, x0, y0 = struct.unpack(">4I", frame[start + 8 : start + 24])
            return y1 - y0, x1 - x0, int.from_bytes(frame[start + 40 : start + 42], "big")
        position = frame.index(b"\xff\xd8") + 2
        while True:
            marker = frame[position + 1]
            if frame[position] != 0xFF:
                return None
            if marker == 0xFF:  # fill byte
                position += 1
            elif marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
                rows, columns, components = struct.unpack(">HHB", frame[position + 5 : position + 10])
                return rows, columns, components
            else:
                position += 2 + int.from_bytes(frame[position + 2 : position + 4], "big")
    except (IndexError, ValueError, struct.error):
        return None
