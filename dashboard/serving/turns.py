"""Who uses a device next: work of several sessions takes turns, and is set aside between batches where turns are due.

Start-time fair queueing (Goyal, Vin & Cheng 1996, "Start-time fair queueing"): each session is charged the seconds that
it held the device; the one charged least goes first, and one that comes back after a pause starts level with whoever is
served then, neither ahead for having been away nor behind.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dashboard.serving.types import Work
from models.context import RunContext
from models.errors import Busy

QUANTUM_S = 0.25  # a session keeps the device so much longer than its share, since every change costs a pass or so
MOST_WAITING = 256
_LOOK_S = 0.2  # between two looks at whether the work was cancelled meanwhile
_Rank = tuple[bool, bool, float, int, int]


class Turn:
    """One piece of work on the device.

    Attributes:
        waited_s, worked_s: seconds before its first pass and while it was set aside, and on the device.
    """

    def __init__(self, ctx: RunContext, kind: Work, quick: bool, number: int, session: str) -> None:
        self.ctx, self.kind, self.quick, self.number, self.session = ctx, kind, quick, number, session
        self.has_device = False
        self.since = time.monotonic()
        self.waited_s = self.worked_s = 0.0

    def change(self, has_device: bool) -> float:
        """From waiting to working or back; the seconds that the stretch behind it took."""
        now = time.monotonic()
        taken, self.since = now - self.since, now
        if self.has_device:
            self.worked_s += taken
        else:
            self.waited_s += taken
        self.has_device = has_device
        return taken


class Turns:
    """One device. Safe to use from any thread; a thread that has the device must not ask for it again.

    Args:
        most_waiting: pieces of work that somebody waits for, beyond which no more are taken.
    """

    def __init__(self, name: str, most_waiting: int = MOST_WAITING) -> None:
        self.name = name
        self._most = most_waiting
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._waiting: dict[int, Turn] = {}
        self._working: Turn | None = None
        self._charged: dict[str, float] = {}
        self._clock = 0.0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def working(self) -> Work | None:
        turn = self._working
        return None if turn is None else turn.kind

    @contextmanager
    def turn(
        self, ctx: RunContext, kind: Work, quick: bool = False, needless: Callable[[], bool] = lambda: False
    ) -> Iterator[Turn]:
        """The device, alone. ``ctx.between`` gives it to others whose turn is due, and has it back when it returns.

        Args:
            quick: a pass or so, which goes before everything but other such.
            needless: true once others have done the work; the turn then begins without the device.

        Raises:
            Busy: too much waits already.
            Cancelled: ``ctx`` was, while it waited.
        """
        turn = self._come(ctx, kind, quick)
        try:
            self._wait(turn, needless)
            ctx.interrupted_by(lambda: self._between(turn))
            yield turn
        finally:
            ctx.interrupted_by(lambda: None)
            self._leave(turn)

    def look_again(self) -> None:
        """Work has become needless."""
        with self._changed:
            self._changed.notify_all()

    def _come(self, ctx: RunContext, kind: Work, quick: bool) -> Turn:
        with self._changed:
            number = next(self._numbers)
            if not ctx.background and sum(not turn.ctx.background for turn in self._waiting.values()) >= self._most:
                raise Busy(f"{self._most} pieces of work wait for {self.name} already; try again in a minute.")
            session = ctx.session or f"nobody's {number}"
            if not any(turn.session == session for turn in self._live()):
                self._charged[session] = max(self._charged.get(session, 0.0), self._level())
            turn = Turn(ctx, kind, quick, number, session)
            self._waiting[number] = turn
            self._grant()
            return turn

    def _wait(self, turn: Turn, needless: Callable[[], bool] = lambda: False) -> None:
        told = -1
        while True:
            with self._changed:
                if turn.has_device or needless():
                    ahead = 0
                else:
                    mine = self._rank(turn)
                    ahead = 1 + sum(self._rank(other) < mine for other in self._waiting.values())
                    if ahead == told:
                        self._changed.wait(_LOOK_S)
            if ahead != told or ahead:
                turn.ctx.wait(ahead)
                told = ahead
            if not ahead:
                return
            turn.ctx.check()

    def _between(self, turn: Turn) -> None:
        with self._changed:
            if not self._is_due(turn):
                return
            self._stop_working(turn)
            self._waiting[turn.number] = turn
            self._grant()
        self._wait(turn)

    def _is_due(self, turn: Turn) -> bool:
        """Another's turn; under the lock."""
        return any(self._goes_before(other, turn) for other in self._waiting.values())

    def _goes_before(self, other: Turn, turn: Turn) -> bool:
        """Whether what waits is due before what works; under the lock."""
        if other.ctx.background != turn.ctx.background or other.quick != turn.quick:
            return self._rank(other) < self._rank(turn)
        if other.session == turn.session:
            return other.ctx.priority < turn.ctx.priority
        return self._used(other.session) + QUANTUM_S <= self._used(turn.session)

    def _used(self, session: str) -> float:
        """Seconds charged to a session, those of the work at hand included; under the lock."""
        working = self._working
        held = time.monotonic() - working.since if working is not None and working.session == session else 0.0
        return self._charged[session] + held

    def _leave(self, turn: Turn) -> None:
        with self._changed:
            if self._waiting.pop(turn.number, None) is None and self._working is turn:
                self._stop_working(turn)
            else:
                turn.change(False)
            self._grant()
            live = {other.session for other in self._live()}
            for session in [name for name in self._charged if name not in live]:
                if not live or self._charged[session] <= self._clock:  # it would start level all the same
                    del self._charged[session]

    def _stop_working(self, turn: Turn) -> None:
        self._charged[turn.session] += turn.change(False)
        self._working = None

    def _grant(self) -> None:
        """Give a free device to whoever is next; under the lock."""
        if self._working is None and self._waiting:
            turn = min(self._waiting.values(), key=self._rank)
            del self._waiting[turn.number]
            turn.change(True)
            self._working = turn
            self._clock = max(self._clock, self._charged[turn.session])
        self._changed.notify_all()

    def _level(self) -> float:
        """Where somebody new begins: level with whoever is served, who has had its quantum as a rule; under the lock."""
        working = self._working
        if working is not None:
            self._clock = max(self._clock, self._used(working.session) - QUANTUM_S)
        return self._clock

    def _rank(self, turn: Turn) -> _Rank:
        ctx = turn.ctx
        return ctx.background, not turn.quick, self._used(turn.session), ctx.priority, turn.number

    def _live(self) -> Iterator[Turn]:
        yield from self._waiting.values()
        if self._working is not None:
            yield self._working
