"""Work of a server: each piece runs once in a thread of its own, however many requests ask for it.

A piece is named by the digest of what is asked, so that a request sent again joins the one under way, or finds what it
gave. Once nobody asks any more, it is cancelled; work that has gone on for some time waits a little first, since a
connection that was cut comes back at once.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from models.context import RunContext
from models.errors import Busy, Cancelled, ModelError, SightlineError

log = logging.getLogger(__name__)
MOST = 512  # pieces of work at once, nearly all of them waiting
MOST_BYTES = 2 * 2**30  # of their questions
GRACE_S = 2.0  # that work goes on without anybody, at most
GRACE = 0.2  # of the time it has taken so far
KEPT_S = 60.0  # a result, for those whose connection was cut just before
KEPT_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Task:
    """What is to be done.

    Attributes:
        name: for the log, free of anything of an image.
        do: answers with a message.
        size: of the question, in bytes.
        session, priority, background: as of a :class:`models.context.RunContext`.
    """

    name: str
    do: Callable[[RunContext], bytes]
    size: int
    session: str = ""
    priority: int = 0
    background: bool = False


class Work:
    """One piece; read in the event loop, written by its thread.

    Attributes:
        name, size: of its task.
        ahead: how many pieces go first; None before that is known.
        partial: the latest result that is not complete yet.
        result: the message that answers; ``error`` where there is none.
        ended: nothing more will change.
    """

    def __init__(self, task: Task) -> None:
        self.name, self.size, self.began = task.name, task.size, time.monotonic()
        self.ahead: int | None = None
        self.partial: Any = None
        self.result: bytes | None = None
        self.error: SightlineError | None = None
        self.ended = False
        self.ended_at = 0.0
        self.owners = 0
        self.listeners: set[asyncio.Event] = set()
        self.finished = asyncio.Event()
        self.cancelled = threading.Event()
        self.ctx = RunContext(
            on_progress=lambda _: self.tell(),
            cancelled=self.cancelled,
            on_partial=self._shows,
            on_wait=self._waits,
            session=task.session,
            priority=task.priority,
            background=task.background,
        )
        self._do: Callable[[RunContext], bytes] | None = task.do
        self._loop = asyncio.get_running_loop()
        self._told = False

    @property
    def count(self) -> tuple[int, int]:
        """Ticks and their total."""
        return self.ctx.ticks, self.ctx.total

    def run(self, then: Callable[[Work], None]) -> None:
        """In a thread of its own; ``then`` is called in the event loop."""
        do, self._do = self._do, None  # it holds an image, which must not outlive the work
        try:
            if do is not None:
                self.result = do(self.ctx)
        except SightlineError as error:
            self.error = error
        except Exception as error:  # a library may raise anything; what it says may show values of an image
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error("Work failed unexpectedly: %s, %s\n%s", self.name, type(error).__name__, where)
            self.error = ModelError(
                f"The work failed unexpectedly on the server ({type(error).__name__}); try other settings, and report it with the server's log."
            )
        self.partial, self.ended, self.ended_at = None, True, time.monotonic()
        try:
            self._loop.call_soon_threadsafe(then, self)
        except RuntimeError:  # the loop was closed meanwhile: nobody listens
            return
        self.tell()

    def tell(self) -> None:
        """Something has changed; from any thread, any number of times."""
        if not self._told:
            self._told = True
            try:
                self._loop.call_soon_threadsafe(self._wake)
            except RuntimeError:  # as above
                return

    def _shows(self, partial: Any) -> None:
        self.partial = partial
        self.tell()

    def _waits(self, ahead: int) -> None:
        self.ahead = ahead
        self.tell()

    def _wake(self) -> None:
        self._told = False
        for listener in self.listeners:
            listener.set()


class Works:
    """All work of one process. All calls come from one event loop."""

    def __init__(self) -> None:
        self._works: OrderedDict[str, Work] = OrderedDict()

    def join(self, key: str, task: Task) -> Work:
        """The work of that key, under way, done or started now; to be left again. Raises Busy."""
        known = self._works.get(key)
        if known is None or (known.cancelled.is_set() and not known.ended) or known.error is not None:
            known = self._start(key, task)
        known.owners += 1
        known.ctx.background &= task.background  # who joins may be in more of a hurry
        known.ctx.priority = min(known.ctx.priority, task.priority)
        return known

    def leave(self, work: Work) -> None:
        """Somebody no longer wants it."""
        work.owners -= 1
        if not work.owners and not work.ended:
            grace = min(GRACE_S, GRACE * (time.monotonic() - work.began))
            asyncio.get_running_loop().call_later(grace, self._abandon, work)

    def cancel_all(self) -> None:
        for work in self._works.values():
            work.cancelled.set()

    def _start(self, key: str, task: Task) -> Work:
        self._forget()
        active = [work for work in self._works.values() if not work.ended]
        if len(active) >= MOST or sum(work.size for work in active) >= MOST_BYTES:
            raise Busy(f"The server has {len(active)} pieces of work in hand already; try again in a minute.")
        work = Work(task)
        self._works.pop(key, None)
        self._works[key] = work
        threading.Thread(target=work.run, args=(self._ended,), name=f"sightline-{task.name}", daemon=True).start()
        return work

    @staticmethod
    def _abandon(work: Work) -> None:
        if not work.owners:
            work.cancelled.set()

    def _ended(self, work: Work) -> None:
        work.finished.set()
        outcome = "done" if work.error is None else type(work.error).__name__
        level = logging.INFO if work.error is None or isinstance(work.error, Cancelled) else logging.WARNING
        log.log(level, "%s: %s after %.2f s", work.name, outcome, work.ended_at - work.began)
        self._forget()

    def _forget(self) -> None:
        """Drop what ended too long ago or is too much, and errors, which are not worth keeping."""
        before, size = time.monotonic() - KEPT_S, 0
        for key, work in reversed(list(self._works.items())):
            if not work.ended:
                continue
            size += len(work.result or b"")
            if work.error is not None or work.ended_at < before or size > KEPT_BYTES:
                del self._works[key]
