"""Work in the background whose last few results are kept: for results that are large and quickly had again."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock, Timer
from typing import Generic, TypeVar

from dashboard.jobs.runner import Job, JobRunner
from models.context import RunContext

T = TypeVar("T")
KEPT = 3
KEPT_S = 30 * 60.0  # after somebody last looked


class KeptJobs(Generic[T]):
    """Work by key; safe to call from any thread.

    Args:
        background: on a device, other work goes first.
        at_once: pieces of work side by side; more than one where an engine divides its devices between them.
        kept: results that are held.
    """

    def __init__(self, kept_s: float = KEPT_S, background: bool = False, at_once: int = 1, kept: int = KEPT) -> None:
        self._kept_s, self._background, self._kept = kept_s, background, kept
        self._runner: JobRunner[T] = JobRunner(at_once)
        self._used: OrderedDict[str, None] = OrderedDict()
        self._lock = Lock()
        self._timer: Timer | None = None
        self._closed = False

    def start(self, key: str, work: Callable[[RunContext], T], owner: str) -> Job[T]:
        """The work of that key: under way, done, or started now. The oldest results beyond ``kept`` are let go."""
        with self._lock:
            job = self._runner.submit(key, work, owner, background=self._background)
            self._used[key] = None
            self._used.move_to_end(key)
            self._let_go(list(self._used)[: -self._kept])
            self._wait()
            return job

    def look(self, key: str) -> Job[T] | None:
        """The work of that key, which goes on as long as somebody looks; None where its result was let go."""
        job = self._runner.get(key)
        if job is not None:
            job.asked = time.monotonic()
        return job

    def stop(self, key: str, owner: str) -> None:
        """The owner no longer wants it."""
        self._runner.release(key, owner)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
        self._runner.close()

    def _let_go(self, keys: list[str]) -> None:
        """Drop what has ended; under the lock."""
        for key in keys:
            known = self._runner.get(key)
            if known is None or not known.active:
                self._runner.forget(key)
                del self._used[key]

    def _wait(self) -> None:
        """Look again once the first result may be too old; under the lock."""
        if self._timer is None and self._used and not self._closed:
            jobs = [job for key in self._used if (job := self._runner.get(key)) is not None]
            oldest = min((job.asked for job in jobs), default=time.monotonic())
            left = oldest + self._kept_s - time.monotonic()
            self._timer = Timer(max(left, self._kept_s / 10), self._sweep)
            self._timer.daemon = True
            self._timer.start()

    def _sweep(self) -> None:
        """Let go of what nobody has looked at for too long."""
        with self._lock:
            self._timer = None
            before = time.monotonic() - self._kept_s
            jobs = [(key, self._runner.get(key)) for key in self._used]
            self._let_go([key for key, job in jobs if job is None or job.asked <= before])
            self._wait()
