"""What a device did in the last hour, in stretches of ten seconds."""

from __future__ import annotations

import bisect
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dashboard.serving.types import EDGES_S, TRAFFIC_S, Traffic, Work

KEPT_S = 3600.0


@dataclass
class _Stretch:
    start: float
    kind: Work
    done: int = 0
    failed: int = 0
    stopped: int = 0
    inputs: int = 0
    waited_s: float = 0.0
    worked_s: float = 0.0
    took: list[int] = field(default_factory=lambda: [0] * (len(EDGES_S) + 1))


class Books:
    """Safe to use from any thread."""

    def __init__(self) -> None:
        self._stretches: deque[_Stretch] = deque()
        self._lock = threading.Lock()

    def add(self, kind: Work, outcome: str, inputs: int, waited_s: float, worked_s: float) -> None:
        """A piece of work that ended now; ``outcome`` is "done", "failed" or "stopped"."""
        now = time.time()
        start = now - now % TRAFFIC_S
        with self._lock:
            known = next((one for one in reversed(self._stretches) if (one.start, one.kind) == (start, kind)), None)
            if known is None:
                known = _Stretch(start, kind)
                self._stretches.append(known)
            while self._stretches[0].start < start - KEPT_S:
                self._stretches.popleft()
            known.done += outcome == "done"
            known.failed += outcome == "failed"
            known.stopped += outcome == "stopped"
            known.inputs += inputs
            known.waited_s += waited_s
            known.worked_s += worked_s
            if outcome == "done":
                known.took[bisect.bisect_left(EDGES_S, waited_s + worked_s)] += 1

    def recent(self) -> tuple[Traffic, ...]:
        with self._lock:
            return tuple(
                Traffic(**{name: getattr(one, name) for name in _PLAIN}, took=tuple(one.took))
                for one in self._stretches
            )


_PLAIN = ("start", "kind", "done", "failed", "stopped", "inputs", "waited_s", "worked_s")


@dataclass(frozen=True)
class Span:
    """Work of one kind that ended within a span of time; ``took`` as of :class:`dashboard.serving.types.Traffic`."""

    done: int
    failed: int
    stopped: int
    inputs: int
    took: tuple[int, ...]


def between(traffic: Iterable[Traffic], kind: Work, start: float, end: float) -> Span:
    """What ended from ``start`` on and before ``end``, in seconds since 1970, by stretches that began there."""
    parts = [one for one in traffic if one.kind == kind and start <= one.start < end]
    took = tuple(sum(one.took[place] for one in parts) for place in range(len(EDGES_S) + 1))
    counts = {name: sum(getattr(one, name) for one in parts) for name in ("done", "failed", "stopped", "inputs")}
    return Span(took=took, **counts)


def quantile(took: Sequence[int], share: float) -> float | None:
    """Seconds within which that share of the work was done, even within each step; None where none was done."""
    total = sum(took)
    if not total:
        return None
    wanted, below = share * total, 0.0
    lows, highs = (0.0, *EDGES_S), (*EDGES_S, EDGES_S[-1])
    for count, low, high in zip(took, lows, highs, strict=True):
        if count and below + count >= wanted:
            return low + (high - low) * (wanted - below) / count
        below += count
    return EDGES_S[-1]
