"""How fast a run goes and when it will end, in words."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

SOON = 600.0  # seconds left below which nobody needs the time of day


class Pace:
    """From the first sight of a run: what an earlier call had done does not count."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._first: int | None = None

    def words(self, done: int, total: int | None) -> str:
        """Files a second, the time left, and of a long run the time of day at its end."""
        if total is None:
            return "looking through the files"
        if self._first is None:
            self._first, self._began = done, time.monotonic()
        pace = (done - self._first) / max(time.monotonic() - self._began, 1e-6)
        if not pace:
            return "starting"
        left = (total - done) / pace
        ends = "" if left < SOON else f", ends about {datetime.now() + timedelta(seconds=left):%a %H:%M}"
        return f"{pace:.1f} a second, {timedelta(seconds=round(left))} left{ends}"
