"""Workers for the shards of a run: processes on this machine, or whatever else answers to :class:`Pool`."""

from __future__ import annotations

import json
import queue
import threading
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from dashboard.folder_runs.child import Child, command, cores
from dashboard.folder_runs.where import Where
from dashboard.settings import settings
from explainers.runtime.memory import free_bytes
from models.errors import SightlineError, Unavailable

ON_A_GPU = 4  # processes that share one if nobody says how many; each holds a copy of the network
WORKER_BYTES = 2**30  # of main memory: torch, a network and its passes
_COMMAND = command("dashboard.folder_runs.shards")


@dataclass(frozen=True)
class Ending:
    """How the work on a shard ended.

    Attributes:
        key: as it was submitted.
        error: what ends the run.
        died: why the worker did not finish it, "" where it did; ``killed`` where it could not even say so.
        seconds: that the work took.
    """

    key: int
    error: Exception | None = None
    died: str = ""
    killed: bool = False
    seconds: float = 0.0

    @classmethod
    def of(cls, key: int, answer: dict[str, Any]) -> Ending:
        """From what :func:`dashboard.folder_runs.shards.answered` says."""
        if "error" in answer:
            return cls(key, SightlineError(answer["error"]))
        if "unwritable" in answer:
            return cls(key, OSError(0, answer["unwritable"]))
        return cls(key, died=answer.get("died", ""), seconds=answer.get("seconds", 0.0))


class Pool(Protocol):
    """Workers.

    Attributes:
        slots: shards that are worked on at a time.
    """

    slots: int

    def submit(self, key: int, text: str) -> None: ...

    def ended(self, seconds: float) -> list[Ending]:
        """Of shards in any order; waits for one, but no longer than that."""
        ...

    def close(self) -> None:
        """Stop what is under way."""
        ...


def make_pool(where: Where) -> Pool:
    """Raises Unavailable."""
    if where.engine == "ray":
        from dashboard.folder_runs.ray_pool import RayPool  # an optional library

        return RayPool(where.workers, where.address, where.gpus)
    return ProcessPool(where.workers)


class ProcessPool:
    """Processes on this machine, each with a share of its cores and one of its devices."""

    def __init__(self, workers: int | None = None) -> None:
        devices = [name.strip() for name in settings().resolved_device.split(",")]
        self.slots = workers or _room(devices)
        self._threads_each = max(1, cores() // self.slots)
        self._jobs: queue.Queue[tuple[int, str] | None] = queue.Queue()
        self._endings: queue.Queue[Ending] = queue.Queue()
        self._closed = threading.Event()
        self._children: set[Child] = set()
        self._threads = [
            threading.Thread(
                target=self._serve,
                args=(devices[number % len(devices)],),
                name=f"sightline-shards-{number}",
                daemon=True,
            )
            for number in range(self.slots)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, key: int, text: str) -> None:
        self._jobs.put((key, text))

    def ended(self, seconds: float) -> list[Ending]:
        found: list[Ending] = []
        try:
            found.append(self._endings.get(timeout=seconds))
            while True:
                found.append(self._endings.get_nowait())
        except queue.Empty:
            return found

    def close(self) -> None:
        self._closed.set()
        for child in tuple(self._children):
            child.kill()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self, device: str) -> None:
        child: Child | None = None
        try:
            while (job := self._jobs.get()) is not None and not self._closed.is_set():
                key, text = job
                try:
                    child = child or self._started(device)
                except (EOFError, OSError):
                    reason = "The processes that do the work cannot be started here; use --engine local."
                    self._endings.put(Ending(key, Unavailable(reason)))
                    continue
                try:
                    child.say(text)
                    ending = Ending.of(key, _heard(child))
                except EOFError:
                    ending = Ending(key, died="it was ended from outside, perhaps for want of memory", killed=True)
                if ending.died:
                    self._ended(child)
                    child = None
                self._endings.put(ending)
        finally:
            if child is not None:
                self._ended(child)

    def _started(self, device: str) -> Child:
        few = {name: str(self._threads_each) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        child = Child(_COMMAND, few | {"SIGHTLINE_DEVICE": device})
        self._children.add(child)
        try:
            if self._closed.is_set():  # after it was added, or closing could miss it
                raise EOFError
            _heard(child)
        except EOFError:
            self._ended(child)
            raise
        return child

    def _ended(self, child: Child) -> None:
        self._children.discard(child)
        child.stop()


def _room(devices: list[str]) -> int:
    """Processes that the cores, devices and memory of this machine suffice for."""
    most = cores() if devices == ["cpu"] else min(cores(), ON_A_GPU * len(devices))
    free = free_bytes(torch.device("cpu"))
    return most if free is None else max(1, min(most, free // WORKER_BYTES))


def _heard(child: Child) -> dict[str, Any]:
    """The next answer. Raises EOFError when the process is gone."""
    line = child.output.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    answer: dict[str, Any] = json.loads(line)
    return answer
