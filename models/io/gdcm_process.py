"""JPEG lossless and JPEG Extended frames by GDCM, kept at arm's length in a process of its own."""

from __future__ import annotations

import atexit
import importlib.util
import json
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, cast

from models.errors import DataError

_WORKER = Path(__file__).with_name("_gdcm_worker.py")
_SECONDS = 120.0


@dataclass(frozen=True)
class FrameLayout:
    """What GDCM must know of a frame: DICOM's image pixel module and the transfer syntax UID."""

    rows: int
    columns: int
    samples: int
    planar: int
    bits_allocated: int
    bits_stored: int
    signed: int
    photometric: str
    syntax: str


class GdcmProcess:
    """One worker, started at the first frame and again after each death; it ends with this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self._stop)

    @staticmethod
    def is_installed() -> bool:
        return importlib.util.find_spec("gdcm") is not None

    def decode(self, layout: FrameLayout, frame: bytes) -> bytes:
        """The frame's samples.

        Raises:
            DataError: GDCM cannot decode the frame, died of it or took too long.
        """
        with self._lock:
            process = self._running()
            timer = threading.Timer(_SECONDS, process.kill)
            timer.start()
            try:
                pixels = self._ask(process, layout, frame)
            except OSError:  # the worker is gone
                pixels = b""
            finally:
                timer.cancel()
            if not pixels:
                self._stop()
                raise DataError(
                    "The DICOM file's compressed picture is damaged and cannot be decoded; export it again."
                )
            return pixels

    def _ask(self, process: subprocess.Popen[bytes], layout: FrameLayout, frame: bytes) -> bytes:
        """Send a frame and wait for its pixels; empty where the worker gave none."""
        request, answer = cast(BinaryIO, process.stdin), cast(BinaryIO, process.stdout)
        request.write(json.dumps(asdict(layout) | {"size": len(frame)}).encode() + b"\n" + frame)
        request.flush()
        size = int.from_bytes(answer.read(8), "little")
        pixels = answer.read(size)
        return pixels if len(pixels) == size else b""

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._stop()
            # The worker reads nothing but its standard input; GDCM's chatter about damaged frames is dropped.
            command = [sys.executable, "-I", str(_WORKER)]
            self._process = subprocess.Popen(  # noqa: S603 (a fixed command)
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        return self._process

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            try:
                cast(BinaryIO, stream).close()
            except OSError:  # what was left to send has nowhere to go
                continue
        self._process = None


GDCM = GdcmProcess()
