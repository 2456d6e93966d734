"""What a server says of itself, asked for in the background and kept."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

from dashboard.serving.protocol import Files, Report
from dashboard.serving.remote_line import Line
from dashboard.serving.remote_mirror import Mirror
from dashboard.serving.types import DeviceHealth, Health, ModelFault, ModelStatus
from dashboard.serving.wire import decode
from models.card import ModelCard
from models.errors import SightlineError, Unavailable

STALE_S = 2.0  # before it is asked again
LOST_S = 30.0  # a process of the server that was not heard of for so long is gone
FIRST_S = 10.0  # that the first question for cards waits
MOST_AT_ONCE = 4  # reports asked for together, each of which any process may answer
UNKNOWN_MB = 256


class Watch:
    """Answers at once, from the last reports. Safe to call from any thread.

    Args:
        folder: for mirrored model folders.
    """

    def __init__(self, line: Line, folder: Path) -> None:
        self._line, self._mirror = line, Mirror(folder, line.address)
        self._cards = self._mirror.known()
        self._offered: dict[str, str] = {}
        self._reports: dict[str, tuple[float, Report]] = {}  # by process, with the time it came
        self._message = ""
        self._asked = 0.0
        self._asking = self._closed = False
        self._lock = threading.Lock()
        self._first = threading.Event()
        self.refresh()

    def cards(self) -> dict[str, ModelCard]:
        self._soon()
        if not self._cards:
            self._first.wait(FIRST_S)
        return self._cards

    def faults(self) -> tuple[ModelFault, ...]:
        self._soon()
        found = [fault for report in self._live() for fault in report.faults]
        return tuple(dict.fromkeys(found))

    def status(self, model_id: str) -> ModelStatus:
        """Where it is loaded, if anywhere."""
        self._soon()
        found = [one.status for report in self._live() for one in report.models if one.model_id == model_id]
        order = ("loaded", "failed", "on disk")
        return min(found, key=lambda status: order.index(status.state), default=ModelStatus("on disk"))

    def health(self) -> Health:
        self._soon()
        parts = [report.health for report in self._live()]
        devices = tuple(device for part in parts for device in part.devices)
        return Health(
            devices or (DeviceHealth("none", None, None, 0, 0, 0, ""),),
            tuple(model for part in parts for model in part.models),
            tuple(sorted((one for part in parts for one in part.traffic), key=lambda one: one.start)),
            self._line.address,
            ", ".join(sorted(part.replica for part in parts if part.replica)),
            self._message,
        )

    @property
    def request_mb(self) -> int:
        """Megabytes of the largest request."""
        return min((report.request_mb for report in self._live()), default=UNKNOWN_MB)

    def idle_with(self, model_id: str) -> bool:
        """Whether a process that holds this model has nothing to do, or none holds it: else any may load it too."""
        holding = [report for report in self._live() if any(one.model_id == model_id for one in report.health.models)]
        return not holding or any(not report.health.waiting for report in holding)

    def rescan(self) -> None:
        """The server looks through its folders, and what it found is taken up. Raises SightlineError."""
        self._take(decode(self._line.get("rescan", "POST"), Report))

    def insist(self) -> None:
        """Ask now. Raises SightlineError where the server cannot be reached."""
        self._take(decode(self._line.get("report"), Report))

    def refresh(self) -> None:
        """Ask in the background, unless that is under way."""
        with self._lock:
            if self._asking or self._closed:
                return
            self._asking, self._asked = True, time.monotonic()
        self._line.soon(self._ask())

    def close(self) -> None:
        with self._lock:
            self._closed = True

    def _soon(self) -> None:
        if time.monotonic() - self._asked > STALE_S:
            self.refresh()

    def _live(self) -> list[Report]:
        with self._lock:
            known = list(self._reports.values())
        newest = max((at for at, _ in known), default=0.0)
        return [report for at, report in known if newest - at < LOST_S]

    async def _ask(self) -> None:
        try:
            count = min(MOST_AT_ONCE, max(1, len(self._live())))
            found = await asyncio.gather(*(self._line.fetch("report") for _ in range(count)), return_exceptions=True)
            told = [one for one in found if isinstance(one, bytes)]
            if told:
                for data in told:
                    await asyncio.to_thread(self._take, decode(data, Report))
            else:
                raise found[0] if isinstance(found[0], Exception) else Unavailable("The server does not answer.")
        except SightlineError as error:
            self._message = str(error)
        except OSError as error:
            self._message = f"The server's models cannot be kept here ({error.strerror}); free some disk space."
        finally:
            with self._lock:
                self._asking = False
            self._first.set()

    def _take(self, report: Report) -> None:
        """Keep a report, and the models that it offers. Raises SightlineError or OSError."""
        offered = {one.model_id: one.digest for one in report.models}
        if offered != self._offered or not self._cards:
            self._cards = self._mirror.take(offered, self._files)
            self._offered = offered
        now = time.monotonic()
        with self._lock:
            self._reports[report.health.replica] = now, report
            self._reports = {name: one for name, one in self._reports.items() if now - one[0] < LOST_S}
        self._message = ""

    def _files(self, model_id: str) -> Files:
        files: Files = decode(self._line.get(f"model/{model_id}"), Files)
        return files
