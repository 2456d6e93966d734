"""Turns at a device: alone, fair, in order, bounded. The clock is the test's own, moved by whoever has the device."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

import pytest

import dashboard.serving.turns as module
from dashboard.serving.turns import QUANTUM_S, Turns
from models.context import RunContext
from models.errors import Busy, Cancelled

STEP_S = 0.1


class Bench:
    """Work in threads that begins together, once everybody has come; notes who had the device when."""

    def __init__(self, turns: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.log: list[str] = []
        self.errors: list[BaseException] = []
        self._turns, self._inside = turns, 0
        self._threads: list[threading.Thread] = []
        self._gate = threading.Event()
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)
        self.start("gate", RunContext(session="gate"), 0, at_first=self._gate.wait)

    def start(
        self,
        name: str,
        ctx: RunContext,
        steps: int,
        at_first: Callable[[], object] = lambda: None,
        each: Callable[[int], object] = lambda step: None,
        quick: bool = False,
    ) -> threading.Thread:
        def work() -> None:
            try:
                with self._turns.turn(ctx, "other", quick):
                    at_first()
                    for step in range(steps):
                        ctx.between()
                        self._inside += 1
                        if self._inside > 1:
                            self.errors.append(AssertionError("two at once"))
                        self.log.append(name)
                        self.now += STEP_S
                        each(step)
                        self._inside -= 1
            except BaseException as error:
                self.errors.append(error)

        before = self._turns.waiting + (self._turns.working is not None)
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        self._threads.append(thread)
        while self._turns.waiting + (self._turns.working is not None) == before and thread.is_alive():
            pass
        return thread

    def run(self) -> list[str]:
        self._gate.set()
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()
        return self.log


@pytest.fixture
def turns() -> Turns:
    return Turns("cpu")


@pytest.fixture
def bench(turns: Turns, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(turns, monkeypatch)


def test_sessions_get_equal_shares_whatever_the_length_of_their_work(bench: Bench) -> None:
    for name in ("a", "b", "c"):
        bench.start(name, RunContext(session=name), 60)
    log = bench.run()
    assert not bench.errors
    first_end = min(len(log) - 1 - log[::-1].index(name) for name in ("a", "b", "c"))
    had = [log[: first_end + 1].count(name) for name in ("a", "b", "c")]
    assert max(had) - min(had) <= 2 * QUANTUM_S / STEP_S + 1
    changes = sum(one != other for one, other in itertools.pairwise(log))
    assert changes < 60  # no change at every step: each costs a pass


def test_a_short_work_does_not_wait_for_a_long_one(bench: Bench) -> None:
    bench.start(
        "long",
        RunContext(session="a"),
        200,
        each=lambda step: step == 50 and bench.start("short", RunContext(session="b"), 3),
    )
    log = bench.run()
    assert not bench.errors
    assert max(index for index, name in enumerate(log) if name == "short") < 50 + 10


def test_two_works_of_one_session_do_not_double_its_share(bench: Bench) -> None:
    bench.start("a1", RunContext(session="a"), 40)
    bench.start("a2", RunContext(session="a"), 40)
    bench.start("b", RunContext(session="b"), 40)
    log = bench.run()
    until_b = log[: len(log) - log[::-1].index("b")]
    assert abs(until_b.count("b") - (len(until_b) - until_b.count("b"))) <= 2 * QUANTUM_S / STEP_S + 1


def test_a_second_work_of_a_session_does_not_hide_who_is_due(bench: Bench) -> None:
    """Integrated gradients run and occlusion of the same reader waits: another reader comes between all the same."""
    bench.start(
        "a1",
        RunContext(session="a", priority=20),
        100,
        each=lambda step: step == 20 and bench.start("b", RunContext(session="b"), 3),
    )
    bench.start("a2", RunContext(session="a", priority=30), 100)
    log = bench.run()
    assert not bench.errors
    assert max(index for index, name in enumerate(log) if name == "b") < 20 + 12


def test_a_rest_earns_no_credit(bench: Bench) -> None:
    """Who comes after a long while has no claim to all that others used meanwhile."""
    bench.start(
        "a",
        RunContext(session="a"),
        200,
        each=lambda step: step == 100 and bench.start("b", RunContext(session="b"), 60),
    )
    log = bench.run()
    after = log[101 : 101 + 40]
    assert abs(after.count("a") - after.count("b")) <= 2 * QUANTUM_S / STEP_S + 2


def test_cheap_methods_of_a_session_go_first(bench: Bench) -> None:
    for name, priority in (("occlusion", 30), ("gradients", 20), ("cam", 10)):
        bench.start(name, RunContext(session="a", priority=priority), 2)
    assert bench.run() == ["cam"] * 2 + ["gradients"] * 2 + ["occlusion"] * 2


def test_background_work_runs_only_when_nobody_waits(bench: Bench) -> None:
    bench.start("hunt", RunContext(session="h", background=True), 20)
    bench.start("scores", RunContext(session="b"), 1, quick=True)
    bench.start("map", RunContext(session="a"), 5)
    assert bench.run() == ["scores"] + ["map"] * 5 + ["hunt"] * 20


def test_background_work_gives_way_between_its_batches(bench: Bench) -> None:
    def come(step: int) -> None:
        if step == 4:
            bench.start("map", RunContext(session="a"), 3)

    bench.start("hunt", RunContext(session="h", background=True), 20, each=come)
    assert bench.run() == ["hunt"] * 5 + ["map"] * 3 + ["hunt"] * 15


def test_places_in_the_queue_are_told_and_come_down(bench: Bench) -> None:
    told: list[int] = []
    bench.start("first", RunContext(session="a"), 1)
    bench.start("second", RunContext(session="a", priority=1), 1)
    bench.start("third", RunContext(session="a", priority=2, on_wait=told.append), 1)
    while 3 not in told:
        pass
    bench.run()
    places = [one for index, one in enumerate(told) if index == 0 or told[index - 1] != one]
    assert places == sorted(places, reverse=True)
    assert places[-1] == 0


def test_work_that_is_stopped_leaves_the_queue(bench: Bench, turns: Turns) -> None:
    stopped = RunContext(session="b")
    bench.start("stopped", stopped, 5)
    bench.start("other", RunContext(session="c"), 2)
    stopped.cancel()
    assert bench.run() == ["other"] * 2
    assert [type(error) for error in bench.errors] == [Cancelled]
    assert turns.waiting == 0
    assert turns.working is None


def test_work_stopped_while_it_is_set_aside_frees_its_place(bench: Bench, turns: Turns) -> None:
    hunt = RunContext(session="h", background=True)

    def come(step: int) -> None:
        if step == 2:
            bench.start("map", RunContext(session="a"), 5, each=lambda step: hunt.cancel())

    bench.start("hunt", hunt, 20, each=come)
    log = bench.run()
    assert log == ["hunt"] * 3 + ["map"] * 5
    assert [type(error) for error in bench.errors] == [Cancelled]
    assert turns.working is None


def test_beyond_its_bound_the_queue_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns("cpu", most_waiting=2)
    bench = Bench(turns, monkeypatch)
    bench.start("one", RunContext(session="a"), 1)
    bench.start("hunt", RunContext(session="h", background=True), 1)  # does not count
    bench.start("two", RunContext(session="b"), 1)
    bench.start("three", RunContext(session="c"), 1)
    assert sorted(bench.run()) == ["hunt", "one", "two"]
    (error,) = bench.errors
    assert isinstance(error, Busy)
    assert str(error).endswith("try again in a minute.")


def test_needless_work_ends_without_the_device(turns: Turns) -> None:
    with turns.turn(RunContext(session="a"), "other"):
        begun = threading.Event()

        def work() -> None:
            with turns.turn(RunContext(session="b"), "scores", needless=lambda: True) as turn:
                assert not turn.has_device
                begun.set()

        thread = threading.Thread(target=work)
        thread.start()
        assert begun.wait(5)
        thread.join(5)
    assert turns.working is None
    assert turns.waiting == 0
