"""Work in the background: who shares it, when it goes, and what ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from dashboard.jobs import runner as runner_module
from dashboard.jobs.runner import Job, JobRunner
from models.context import RunContext
from models.errors import ExplainError


def finish(job: Job[int]) -> Job[int]:
    assert job.finished.wait(20)
    return job


@pytest.fixture
def runner() -> Iterator[JobRunner[int]]:
    made: JobRunner[int] = JobRunner()
    yield made
    made.close()


def test_two_owners_share_one_job(runner: JobRunner[int]) -> None:
    calls = []
    gate = threading.Event()

    def work(ctx: RunContext) -> int:
        gate.wait(20)
        calls.append(1)
        return 7

    first, second = runner.submit("a", work, "one"), runner.submit("a", work, "two")
    gate.set()
    assert first is second
    assert finish(first).result == 7
    assert calls == [1]


def test_a_job_goes_on_until_its_last_owner_lets_go(runner: JobRunner[int]) -> None:
    def work(ctx: RunContext) -> int:
        ctx.total = 2000
        for _ in range(2000):
            ctx.tick()
            time.sleep(0.005)
        return 1

    job = runner.submit("a", work, "one")
    runner.submit("a", work, "two")
    runner.release("a", "one")
    time.sleep(0.05)
    assert job.active
    runner.release("a", "two")
    assert finish(job).state == "cancelled"
    assert job.progress < 1


def test_a_stopped_job_can_be_asked_for_again(runner: JobRunner[int]) -> None:
    gate = threading.Event()
    blocker = runner.submit("block", lambda ctx: int(gate.wait(20)), "one")
    job = runner.submit("a", lambda ctx: 3, "one")
    runner.release("a", "one")
    assert job.state == "cancelled"
    again = runner.submit("a", lambda ctx: 4, "one")
    gate.set()
    assert finish(again).result == 4
    finish(blocker)


def test_cheap_work_goes_first(runner: JobRunner[int]) -> None:
    order: list[str] = []
    gate = threading.Event()
    runner.submit("block", lambda ctx: int(gate.wait(20)), "one")
    time.sleep(0.05)
    slow = runner.submit("slow", lambda ctx: order.append("slow") or 1, "one", priority=30)
    runner.submit("quick", lambda ctx: order.append("quick") or 1, "one", priority=10)
    gate.set()
    finish(slow)
    assert order == ["quick", "slow"]


def test_who_joins_work_in_the_background_brings_it_forward(runner: JobRunner[int]) -> None:
    begun, gate = threading.Event(), threading.Event()
    seen: list[tuple[bool, int]] = []

    def work(ctx: RunContext) -> int:
        seen.append((ctx.background, ctx.priority))
        begun.set()
        gate.wait(20)
        seen.append((ctx.background, ctx.priority))
        return 1

    job = runner.submit("a", work, "hunt", priority=1000, background=True)
    assert begun.wait(20)
    runner.submit("a", work, "reader", priority=20)
    gate.set()
    finish(job)
    assert seen == [(True, 1000), (False, 20)]


def test_closing_ends_what_has_not_begun() -> None:
    runner: JobRunner[int] = JobRunner()
    gate = threading.Event()
    runner.submit("block", lambda ctx: int(gate.wait(1)), "one")
    waiting = runner.submit("a", lambda ctx: 1, "one")
    runner.close()
    assert waiting.finished.is_set()
    assert waiting.state == "cancelled"


def test_a_failure_is_one_sentence_and_the_worker_lives_on(
    runner: JobRunner[int], caplog: pytest.LogCaptureFixture
) -> None:
    def planned(ctx: RunContext) -> int:
        raise ExplainError("Choose a smaller window.")

    def unplanned(ctx: RunContext) -> int:
        raise ZeroDivisionError

    assert finish(runner.submit("a", planned, "one")).message == "Choose a smaller window."
    assert "ZeroDivisionError" in finish(runner.submit("b", unplanned, "one")).message
    assert finish(runner.submit("c", lambda ctx: 5, "one")).result == 5


def test_work_nobody_asks_for_is_given_up(runner: JobRunner[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "LEASE_S", 0.2)

    def work(ctx: RunContext) -> int:
        for _ in range(2000):
            ctx.tick()
            time.sleep(0.005)
        return 1

    assert finish(runner.submit("a", work, "a tab that was closed")).state == "cancelled"


def test_a_worker_without_work_ends_and_another_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "IDLE_S", 0.05)
    runner: JobRunner[int] = JobRunner(4)
    meeting = threading.Barrier(4, timeout=20)
    for _ in range(2):
        workers: list[threading.Thread] = []

        def work(ctx: RunContext) -> int:
            workers.append(threading.current_thread())  # noqa: B023 (all ends before the next round)
            return meeting.wait()

        jobs = [runner.submit(f"{number}", work, "one") for number in range(4)]
        assert sorted(finish(job).result for job in jobs) == [0, 1, 2, 3]
        for worker in workers:
            worker.join(20)
            assert not worker.is_alive()
        for number in range(4):
            runner.forget(f"{number}")
    runner.close()


def test_too_much_work_is_turned_away_and_places_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "QUEUED", 2)
    runner: JobRunner[int] = JobRunner(1)
    begun, gate = threading.Event(), threading.Event()
    runner.submit("block", lambda ctx: begun.set() or int(gate.wait(20)), "one")
    assert begun.wait(20)
    queued = [runner.submit(key, lambda ctx: 1, "one") for key in "ab"]
    assert [job.ahead for job in queued] == [1, 2]
    refused = runner.submit("c", lambda ctx: 1, "one")
    assert (refused.state, "try again" in refused.message) == ("failed", True)
    gate.set()
    assert [finish(job).result for job in queued] == [1, 1]
    assert finish(runner.submit("c", lambda ctx: 1, "one")).result == 1
    runner.close()
