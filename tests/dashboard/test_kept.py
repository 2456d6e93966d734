"""Results kept for a while: the last few, and not beyond the time after which nobody comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from dashboard.jobs.kept import KEPT, KeptJobs


@pytest.fixture
def jobs() -> Iterator[KeptJobs[str]]:
    made: KeptJobs[str] = KeptJobs(0.4)
    yield made
    made.close()


def test_the_last_few_results_are_kept(jobs: KeptJobs[str]) -> None:
    for number in range(KEPT + 1):
        assert jobs.start(str(number), lambda ctx: "done", "me").finished.wait(5)
    assert [jobs.look(str(number)) is None for number in range(KEPT + 1)] == [True] + KEPT * [False]


def test_a_result_is_let_go_once_nobody_has_looked_for_long(jobs: KeptJobs[str]) -> None:
    for name in ("seen", "left"):
        assert jobs.start(name, lambda ctx: "done", "me").finished.wait(5)
    for _ in range(8):
        time.sleep(0.1)
        seen = jobs.look("seen")
        assert seen is not None
    assert seen.result == "done"
    assert jobs.look("left") is None
