"""Preparing in the background: one image at a time, the last few results kept."""

from __future__ import annotations

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock

from dashboard.jobs.runner import Job, JobRunner
from dashboard.preparation.outcome import Outcome
from dashboard.preparation.trace import StepChoice
from models.context import RunContext
from models.types import Case

KEPT = 3  # results, which hold volumes between all their steps
Work = Callable[[RunContext], Outcome]


class Preparations:
    """Work by key, as :class:`dashboard.jobs.runner.JobRunner` does it; safe to call from any thread."""

    def __init__(self) -> None:
        self._runner: JobRunner[Outcome] = JobRunner()
        self._used: OrderedDict[str, None] = OrderedDict()
        self._lock = Lock()

    def start(self, key: str, work: Work, owner: str) -> Job[Outcome]:
        """The work of that key: under way, done, or started now. The oldest results beyond ``KEPT`` are let go."""
        with self._lock:
            job = self._runner.submit(key, work, owner)
            self._used[key] = None
            self._used.move_to_end(key)
            for old in list(self._used)[:-KEPT]:
                known = self._runner.get(old)
                if known is None or not known.active:
                    self._runner.forget(old)
                    del self._used[old]
            return job

    def look(self, key: str) -> Job[Outcome] | None:
        """The work of that key, which goes on as long as somebody looks; None where its result was let go."""
        job = self._runner.get(key)
        if job is not None:
            job.asked = time.monotonic()
        return job

    def stop(self, key: str, owner: str) -> None:
        self._runner.release(key, owner)

    def close(self) -> None:
        self._runner.close()


def key_of(
    case: Case, choices: Sequence[StepChoice], model: str, weights: str, native_slice: int, reference: str
) -> str:
    """Equal exactly when the outcome must be equal."""
    steps = [[choice.step_id, choice.step.spec.resolve(choice.params)] for choice in choices if choice.on]
    facts = [case.id, case.provenance.sha256, steps, model, weights, native_slice, reference]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
