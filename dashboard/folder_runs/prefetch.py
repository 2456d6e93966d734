"""Images decoded ahead of the network, in worker processes, in order and no more of them than a bound."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from dashboard.folder_runs.child import Child, command, cores
from dashboard.folder_runs.planes import Item, Unit, Wish, decode, receive
from models.errors import SightlineError, Unavailable
from models.io import Failure

HANDFUL = 64  # units; starting a process takes as long as decoding so many
AHEAD = 32  # units decoded before they are needed, if nobody says how many
EACH = 2  # images of one unit (a zip) that wait
PATIENCE, SLOWEST = 120.0, 1e6  # seconds that a decoder may take for an image, and bytes of its files in a further one
LOOK = 1.0  # seconds between looks for decoders that take too long
Outbox = queue.Queue[Item | SightlineError | None]
_COMMAND = command("dashboard.folder_runs.planes")


def default_workers(units: int) -> int:
    """Processes to decode with: none for a handful of files, else all cores but one."""
    if units < HANDFUL:
        return 0
    return max(1, cores() - 1)


def decoded(
    units: Iterable[Unit], wish: Wish, workers: int, ahead: int = AHEAD
) -> Generator[tuple[Unit, Item | None], None, None]:
    """The items of each unit in order, each unit closed by None.

    A file that its worker dies of, or does not come to an end with, is a failure like any other.

    Args:
        workers: processes; 0 decodes in this one, for as long as it takes.
        ahead: units held at most, and with zips among them ``EACH`` further images a worker.

    Raises:
        Unavailable: processes cannot be started here.
    """
    if workers == 0:
        for unit in units:
            for item in decode(unit, wish):
                yield unit, item
            yield unit, None
        return
    pool = _Pool(wish, workers)
    waiting: deque[tuple[Unit, Outbox]] = deque()
    try:
        for unit in units:
            waiting.append((unit, pool.ask(unit)))
            if len(waiting) >= ahead:
                yield from _emptied(*waiting.popleft())
        while waiting:
            yield from _emptied(*waiting.popleft())
    finally:
        pool.close()


def _emptied(unit: Unit, outbox: Outbox) -> Iterator[tuple[Unit, Item | None]]:
    while True:
        item = outbox.get()
        if isinstance(item, SightlineError):
            raise item
        yield unit, item
        if item is None:
            return


class _Worker(Child):
    """One process. Raises EOFError when it is gone.

    Attributes:
        late: it was stopped because it took too long.
    """

    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        self._due = math.inf
        self.late = False
        super().__init__(_COMMAND, {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""})  # the network has the rest

    def start(self) -> None:
        """Wait until it is ready."""
        self.say(asdict(self._wish))
        self._hear(PATIENCE)

    def ask(self, unit: Unit) -> Iterator[Item]:
        seconds = patience(unit)
        self.say(asdict(unit))
        while (item := self._hear(seconds)) is not None:
            yield item

    def look(self) -> None:
        """Kill the process if its answer is overdue; from any thread."""
        if time.monotonic() > self._due:
            self.late = True
            self.kill()

    def _hear(self, seconds: float) -> Item | None:
        self._due = time.monotonic() + seconds
        try:
            return receive(self.output)
        finally:
            self._due = math.inf


class _Pool:
    """Threads that each keep one process busy, and one that ends the processes that hang."""

    def __init__(self, wish: Wish, workers: int) -> None:
        self._wish = wish
        self._jobs: queue.Queue[tuple[Unit, Outbox] | None] = queue.Queue()
        self._closed = threading.Event()
        self._workers: set[_Worker] = set()
        tasks = [self._watch, *[self._serve] * workers]
        self._threads = [
            threading.Thread(target=task, name=f"sightline-decoding-{number}", daemon=True)
            for number, task in enumerate(tasks)
        ]
        for thread in self._threads:
            thread.start()

    def ask(self, unit: Unit) -> Outbox:
        outbox: Outbox = queue.Queue(EACH)
        self._jobs.put((unit, outbox))
        return outbox

    def close(self) -> None:
        self._closed.set()
        for worker in tuple(self._workers):
            worker.kill()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _watch(self) -> None:
        while not self._closed.wait(LOOK):
            for worker in tuple(self._workers):
                worker.look()

    def _serve(self) -> None:
        worker: _Worker | None = None
        try:
            while (job := self._jobs.get()) is not None and not self._closed.is_set():
                unit, outbox = job
                try:
                    worker = worker or self._started()
                except Exception:  # a thread that ends without a word leaves the run waiting
                    reason = "The processes that decode images cannot be started here; decode with --workers 0."
                    self._put(outbox, Unavailable(reason))
                    continue
                try:
                    for item in worker.ask(unit):
                        self._put(outbox, item)
                except Exception as error:  # whatever it is, it costs this unit and its process alone
                    self._ended(worker)
                    self._put(outbox, Failure(unit.name, _reason(error, worker.late)))
                    worker = None
                self._put(outbox, None)
        finally:
            if worker is not None:
                self._ended(worker)

    def _started(self) -> _Worker:
        worker = _Worker(self._wish)
        self._workers.add(worker)
        try:
            if self._closed.is_set():  # after it was added, or closing could miss it
                raise EOFError
            worker.start()
        except Exception:
            self._ended(worker)
            raise
        return worker

    def _ended(self, worker: _Worker) -> None:
        self._workers.discard(worker)
        worker.stop()

    def _put(self, outbox: Outbox, item: Item | SightlineError | None) -> None:
        """Wait for room; once the run is over nobody makes any."""
        while not self._closed.is_set():
            try:
                outbox.put(item, timeout=0.1)
                return
            except queue.Full:
                continue


def patience(unit: Unit) -> float:
    """Seconds to wait for each image of the unit."""
    return PATIENCE + sum(map(_bytes, unit.files)) / SLOWEST


def _bytes(file: str) -> int:
    try:
        return Path(file).stat().st_size
    except OSError:  # not there; reading it will say so
        return 0


def _reason(error: Exception, late: bool) -> str:
    """Why a unit has no further images."""
    if late:
        return "The file kept its decoder busy for minutes; export it again, or leave it out."
    if isinstance(error, EOFError):
        return "The file made its decoder stop; export it again, or leave it out."
    return (
        f"What the decoder made of the file cannot be used ({type(error).__name__}); export it again, or leave it out."
    )
