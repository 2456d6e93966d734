"""A process that decodes JPEG frames with GDCM, started by ``gdcm_process`` as a file of its own.

On damaged frames GDCM may end the process it runs in. It must not be the process that serves the users.

Protocol on the standard streams: a line of JSON (the fields of ``FrameLayout`` and ``size``), then ``size`` bytes of
frame; the answer is 8 bytes of length, little endian, and the pixels; length 0 where GDCM found none.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import gdcm  # type: ignore[import-untyped]


def decode(layout: dict[str, Any], frame: bytes) -> bytes:
    """The frame's samples as GDCM lays them out in memory."""
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((layout["columns"], layout["rows"], 1))
    image.SetDataElement(element)
    photometric = gdcm.PhotometricInterpretation.GetPIType(layout["photometric"])
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(photometric))
    if layout["samples"] > 1:
        image.SetPlanarConfiguration(layout["planar"])
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(layout["syntax"])))
    stored = layout["bits_stored"]
    image.SetPixelFormat(
        gdcm.PixelFormat(layout["samples"], layout["bits_allocated"], stored, stored - 1, layout["signed"])
    )
    text: str | None = image.GetBuffer()
    # SWIG hands the bytes over as text with surrogates.
    return text.encode("utf-8", "surrogateescape") if text is not None else b""


def main() -> None:
    while line := sys.stdin.buffer.readline():
        layout = json.loads(line)
        pixels = decode(layout, sys.stdin.buffer.read(layout["size"]))
        sys.stdout.buffer.write(len(pixels).to_bytes(8, "little") + pixels)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
