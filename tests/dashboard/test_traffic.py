"""What the books of the last hour tell, against numpy on the single times."""

from __future__ import annotations

import time

import numpy as np
import pytest

from dashboard.figures.traffic import latency, throughput
from dashboard.serving import traffic as module
from dashboard.serving.traffic import Books, between, quantile
from dashboard.serving.types import EDGES_S


def test_quantiles_lie_in_the_step_of_the_exact_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    taken = rng.lognormal(0.0, 1.5, 2000)
    books = Books()
    for seconds in taken:
        books.add("explanation", "done", 1, 0.0, float(seconds))
    took = between(books.recent(), "explanation", 0, time.time() + 1).took
    assert sum(took) == len(taken)
    for share in (0.1, 0.5, 0.95, 0.99):
        exact, found = float(np.quantile(taken, share)), quantile(took, share)
        assert found is not None
        edges = (0.0, *EDGES_S)
        step = int(np.searchsorted(edges, exact))
        assert edges[step - 1] <= found <= edges[step]


def test_nothing_done_has_no_quantile() -> None:
    assert quantile([0] * (len(EDGES_S) + 1), 0.5) is None


def test_only_the_last_hour_is_kept_and_minutes_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000_000.0]
    monkeypatch.setattr(module.time, "time", lambda: now[0])
    books = Books()
    for minute in range(90):
        now[0] = 1_000_000.0 + 60 * minute
        for _ in range(minute + 1):
            books.add("scores", "done", 2, 0.1, 0.1)
        books.add("scores", "stopped", 0, 0.1, 0.1)
    recent = books.recent()
    assert min(one.start for one in recent) >= now[0] - 3600 - 10
    last = between(recent, "scores", now[0] - 30, now[0] + 30)
    assert (last.done, last.stopped, last.inputs) == (90, 1, 180)
    (bars,) = throughput(recent, now[0] + 20).data
    assert list(bars.y[-3:]) == [88, 89, 90]
    (line,) = latency(recent, now[0] + 20).data
    assert all(0.1 < seconds <= 0.2 for seconds in line.y)
