"""Long work in the background. What runs beside what on a device is the engine's business.

Jobs are named by the content address of their result, so that two sessions asking for the same thing share one job.
Each session that wants a job owns it; when the last owner lets go, the job is cancelled.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from models.context import RunContext
from models.errors import Cancelled, SightlineError

T = TypeVar("T")
State = Literal["queued", "running", "done", "failed", "cancelled"]
log = logging.getLogger(__name__)
KEPT_JOBS = 256
CLOSE_S = 30.0
QUEUED = 256  # jobs that wait for a worker, beyond which none is taken
IDLE_S = 20.0  # without work, after which a worker ends: torch keeps threads and memory for each that has run a network
LEASE_S = 60.0  # a page asks several times a second while it waits


@dataclass(eq=False)
class Job(Generic[T]):
    """A piece of work; read from any thread, written by the worker alone.

    Attributes:
        progress: fraction done, [0, 1].
        partial: a result that is not complete yet, while running.
        ahead: pieces of work that go first while it waits for a device; 0 once it runs, or where that is not known.
        message: the sentence to show when it failed.
    """

    key: str
    work: Callable[[RunContext], T] | None
    priority: int = 0
    background: bool = False
    state: State = "queued"
    progress: float = 0.0
    ahead: int = 0
    partial: T | None = None
    result: T | None = None
    message: str = ""
    owners: set[str] = field(default_factory=set)
    cancelled: threading.Event = field(default_factory=threading.Event)
    finished: threading.Event = field(default_factory=threading.Event)
    asked: float = field(default_factory=time.monotonic)
    ctx: RunContext | None = None

    def hasten(self, priority: int, background: bool) -> None:
        """Somebody else wants it, who may be in more of a hurry."""
        for one in (self, self.ctx):
            if one is not None:
                one.priority, one.background = min(one.priority, priority), one.background and background

    @property
    def abandoned(self) -> bool:
        """Nobody has asked for a long while: the browser tab was closed."""
        return time.monotonic() - self.asked > LEASE_S

    @property
    def active(self) -> bool:
        return self.state in ("queued", "running")


class JobRunner(Generic[T]):
    """A queue with worker threads. Cheap methods go first (``priority``), then first come, first served.

    Args:
        workers: pieces of work under way at once; a thread starts when it is needed, and ends when idle.
    """

    def __init__(self, workers: int = 1) -> None:
        self._queue: queue.PriorityQueue[tuple[int, int, Job[T] | None]] = queue.PriorityQueue()
        self._jobs: dict[str, Job[T]] = {}
        self._lock = threading.Lock()
        self._count = itertools.count()
        self._most = workers
        self._workers: list[threading.Thread] = []
        self._free = 0  # workers that wait for work, less the work that waits for them

    def submit(
        self, key: str, work: Callable[[RunContext], T], owner: str, priority: int = 0, background: bool = False
    ) -> Job[T]:
        """The job of that key: the one under way or done, else a new one.

        Args:
            background: nobody waits for it; an engine runs it while no other work is there.
        """
        with self._lock:
            job = self._jobs.get(key)
            if job is None or job.state in ("failed", "cancelled") or (job.active and job.cancelled.is_set()):
                job = Job(key, work, priority, background)
                self._jobs[key] = job
                if -self._free >= QUEUED:
                    job.message = f"{QUEUED} other explanations wait to be worked on; try again in a minute."
                    self._end(job, "failed")
                    return job
                self._queue.put((priority, next(self._count), job))
                self._free -= 1
                if self._free < 0 and len(self._workers) < self._most:
                    self._add_worker()
                if self._free < 0:
                    job.ahead = self._most - self._free - 1  # at most: those under way, and who came before
                self._drop_oldest()
            elif job.active:
                job.hasten(priority, background)
            job.owners.add(owner)
            job.asked = time.monotonic()
            return job

    def get(self, key: str) -> Job[T] | None:
        with self._lock:
            return self._jobs.get(key)

    def release(self, key: str, owner: str) -> None:
        """``owner`` no longer wants the job; without owners an unfinished job stops at its next forward."""
        with self._lock:
            job = self._jobs.get(key)
            if job is None:
                return
            job.owners.discard(owner)
            if not job.owners and job.active:
                job.cancelled.set()
                if job.state == "queued":
                    self._end(job, "cancelled")

    def forget(self, key: str) -> None:
        """Drop a finished job."""
        with self._lock:
            job = self._jobs.get(key)
            if job is not None and not job.active:
                del self._jobs[key]

    @property
    def waiting(self) -> int:
        """Jobs queued or running."""
        with self._lock:
            return sum(job.active for job in self._jobs.values())

    def close(self) -> None:
        """Stop after cancelling what is under way."""
        with self._lock:
            for job in self._jobs.values():
                job.cancelled.set()
                if job.state == "queued":
                    self._end(job, "cancelled")
            workers, self._most = list(self._workers), 0  # idle ones may leave meanwhile
        for _ in workers:
            self._queue.put((-(10**9), next(self._count), None))
        deadline = time.monotonic() + CLOSE_S
        for worker in workers:
            worker.join(timeout=max(0.0, deadline - time.monotonic()))

    def _add_worker(self) -> None:
        worker = threading.Thread(target=self._serve, name=f"sightline-jobs-{len(self._workers)}", daemon=True)
        self._workers.append(worker)
        self._free += 1
        worker.start()

    def _serve(self) -> None:
        while True:
            try:
                _, _, job = self._queue.get(timeout=IDLE_S)
            except queue.Empty:
                with self._lock:  # under which work is put into the queue
                    if self._free > 0:
                        self._free -= 1
                        self._workers.remove(threading.current_thread())
                        return
                continue
            if job is None:
                return
            self._run(job)
            with self._lock:
                self._free += 1

    def _run(self, job: Job[T]) -> None:
        with self._lock:
            if not job.active or job.work is None or job.cancelled.is_set() or job.abandoned:
                self._end(job, "cancelled")
                return
            job.state, job.ahead = "running", 0
            session = next(iter(job.owners), "")

        def show(fraction: float) -> None:
            job.progress = fraction
            if job.abandoned:
                job.cancelled.set()

        def wait(ahead: int) -> None:
            job.ahead = ahead
            if job.abandoned:
                job.cancelled.set()

        def keep(partial: T) -> None:
            job.partial = partial

        work, job.work = job.work, None  # it holds an image, which must not outlive the work
        try:
            ctx = RunContext(1, show, job.cancelled, keep, wait, session, job.priority, job.background)
            with self._lock:  # somebody may have been in more of a hurry meanwhile
                job.ctx, ctx.priority, ctx.background = ctx, job.priority, job.background
            job.result = work(ctx)
        except Cancelled:
            self._end(job, "cancelled")
        except SightlineError as error:
            job.message = str(error)
            self._end(job, "failed")
        except Exception as error:  # the worker must outlive any fault of a library
            log.exception("Work in the background failed.")
            job.message = f"The work failed unexpectedly ({type(error).__name__}); try other settings, and report it with the log."
            self._end(job, "failed")
        else:
            job.progress = 1.0
            self._end(job, "done")

    @staticmethod
    def _end(job: Job[T], state: State) -> None:
        job.work = job.partial = job.ctx = None
        job.ahead = 0
        job.state = state
        job.finished.set()

    def _drop_oldest(self) -> None:
        """Drop the oldest finished jobs; their results are in the store."""
        finished = [key for key, job in self._jobs.items() if not job.active]
        for key in finished[: max(0, len(self._jobs) - KEPT_JOBS)]:
            del self._jobs[key]
