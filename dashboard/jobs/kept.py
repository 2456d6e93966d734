"""Work in the background whose last few results are kept: for results that are large and quickly had again."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

from dashboard.jobs.runner import Job, JobRunner
from models.context import RunContext

T = TypeVar("T")
KEPT = 3


class KeptJobs(Generic[T]):
    """Work by key, one at a time; safe to call from any thread."""

    def __init__(self) -> None:
        self._runner: JobRunner[T] = JobRunner()
        self._used: OrderedDict[str, None] = OrderedDict()
        self._lock = Lock()

    def start(self, key: str, work: Callable[[RunContext], T], owner: str) -> Job[T]:
        """The work of that key: under way, done, or started now. The oldest results beyond ``KEPT`` are let go."""
        with self._lock:
            job = self._runner.submit(key, work, owner)
            self._used[key] = None
            self._used.move_to_end(key)
            for old in list(self._used)[:-KEPT]:
                known = self._runner.get(old)
                if known is None or not known.active:
                    self._runner.forget(old)
                    del self._used[old]
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
        self._runner.close()
