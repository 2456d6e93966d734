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
    """

    def __init__(
        self,
        total: int = 1,
        on_progress: Callable[[float], None] | None = None,
        cancelled: threading.Event | None = None,
        on_partial: Callable[[Any], None] | None = None,
    ) -> None:
        self.total = max(1, total)
        self.ticks = 0
        self._on_progress = on_progress
        self._on_partial = on_partial
        self._cancelled = cancelled if cancelled is not None else threading.Event()

    def cancel(self) -> None:
        self._cancelled.set()

    def show(self, partial: Any) -> None:
        """Let somebody see a result that is not complete yet."""
        if self._on_partial is not None:
            self._on_partial(partial)

    def quietly(self) -> RunContext:
        """For work that does not count: it stops when this is cancelled, and reports nothing."""
        return RunContext(cancelled=self._cancelled)

    def part(self, steps: int, total: int) -> RunContext:
        """For a piece of the work that counts by itself: its ``total`` ticks are worth ``steps`` of this."""
        told = 0

        def tell(fraction: float) -> None:
            nonlocal told
            reached = round(fraction * steps)
            self.ticks, told = self.ticks + reached - told, reached
            self._report()

        return RunContext(total, tell, self._cancelled)

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
