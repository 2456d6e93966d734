"""Progress and cancelling for long work, without knowing what the work is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from models.errors import Cancelled


class RunContext:
    """What a long computation reports to, and what can stop it.

    Args:
        total: expected number of ticks (model forwards, as a rule); progress is ticks / total, capped at 1.
        on_progress: called with the fraction done, in [0, 1], from the working thread.
        cancelled: an event that, once set, makes the next tick raise ``Cancelled``.
        on_partial: called with results that are not complete yet.
        on_wait: called with the number of pieces of work that go first while this one waits for a device; 0 once it runs.
        session: whose work it is. Sessions share a device in fair turns.
        priority: among the work of one session, lower goes first.
        background: nobody waits for it: it runs only while no other work does.
    """

    def __init__(
        self,
        total: int = 1,
        on_progress: Callable[[float], None] | None = None,
        cancelled: threading.Event | None = None,
        on_partial: Callable[[Any], None] | None = None,
        on_wait: Callable[[int], None] | None = None,
        session: str = "",
        priority: int = 0,
        background: bool = False,
    ) -> None:
        self.total = max(1, total)
        self.ticks = 0
        self.session, self.priority, self.background = session, priority, background
        self._on_progress = on_progress
        self._on_partial = on_partial
        self._on_wait = on_wait
        self._cancelled = cancelled if cancelled is not None else threading.Event()
        self._between: Callable[[], None] = _nothing

    def cancel(self) -> None:
        self._cancelled.set()

    def show(self, partial: Any) -> None:
        """Let somebody see a result that is not complete yet."""
        if self._on_partial is not None:
            self._on_partial(partial)

    def wait(self, ahead: int) -> None:
        """Tell how many pieces of work go first."""
        if self._on_wait is not None:
            self._on_wait(ahead)

    def quietly(self) -> RunContext:
        """For work that does not count: it stops when this is cancelled, and reports nothing."""
        return self._like(RunContext(cancelled=self._cancelled))

    def part(self, steps: int, total: int) -> RunContext:
        """For a piece of the work that counts by itself: its ``total`` ticks are worth ``steps`` of this."""
        told = 0

        def tell(fraction: float) -> None:
            nonlocal told
            reached = round(fraction * steps)
            self.ticks, told = self.ticks + reached - told, reached
            self._report()

        return self._like(RunContext(total, tell, self._cancelled))

    def interrupted_by(self, between: Callable[[], None]) -> None:
        """``between`` is called wherever the work can be set aside for other work on the same network and device."""
        self._between = between

    def between(self) -> None:
        """Nothing of the work lies on a network now: other work may go first. Raises Cancelled."""
        self.check()
        self._between()

    @property
    def stopped(self) -> bool:
        return self._cancelled.is_set()

    def check(self) -> None:
        """Raises Cancelled if the user stopped the work."""
        if self._cancelled.is_set():
            raise Cancelled("Stopped by the user.")

    def tick(self, steps: int = 1) -> None:
        """Count work done; raises Cancelled if the user stopped it."""
        self.check()
        self.ticks += steps
        self._report()

    def _report(self) -> None:
        if self._on_progress is not None:
            self._on_progress(min(1.0, self.ticks / self.total))

    def _like(self, other: RunContext) -> RunContext:
        other.session, other.priority, other.background = self.session, self.priority, self.background
        other._on_wait = self._on_wait
        other._between = lambda: self._between()  # as it is then: an engine sets it later
        return other


def _nothing() -> None:
    """Where no engine divides a device."""
