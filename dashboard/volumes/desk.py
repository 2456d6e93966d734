"""Asking for whole volumes: a few at a time, shared by those who ask for the same, what is known of it at any moment."""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal
from weakref import WeakKeyDictionary

from dashboard.jobs.desk import Desk
from dashboard.jobs.runner import JobRunner, State
from dashboard.volumes.depth import explain_around, hide_blocks
from dashboard.volumes.scan import Focus, explain_slices
from dashboard.volumes.scores import card_of
from dashboard.volumes.types import SliceScores, VolumeRequest, VolumeResult
from models.context import RunContext
from models.errors import SightlineError
from models.types import Image

AT_ONCE = 4  # volumes that are worked on side by side, in the turns of their readers
KEPT_RESULTS = 8  # of up to 60 MB each
KEPT_SCORES = 4
_EARLY = 0.02  # progress below which nothing is said of the time left


@dataclass(frozen=True, eq=False)
class VolumeAnswer:
    """How far the work on a volume is.

    Attributes:
        state: "none" where nobody has asked for it.
        progress: fraction done, [0, 1].
        left_s: seconds left, by the pace so far; None where that cannot be told.
        message: the sentence to show when it failed.
        result: what is known, also of work that was stopped.
    """

    key: str
    state: State | Literal["none"]
    progress: float = 0.0
    left_s: float | None = None
    message: str = ""
    result: VolumeResult | None = None

    @property
    def active(self) -> bool:
        return self.state in ("queued", "running")


class VolumeDesk:
    """Work on volumes, in threads that each ask the desk for one short piece after the other. Safe from any thread."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._runner: JobRunner[None] = JobRunner(AT_ONCE)
        self._results: OrderedDict[str, VolumeResult] = OrderedDict()
        self._scores: OrderedDict[tuple[str, ...], SliceScores] = OrderedDict()
        self._focus: dict[str, Focus] = {}
        self._began: dict[str, tuple[float, float]] = {}  # when progress was first seen, and how much
        self._tokens: WeakKeyDictionary[Image, str] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def ask(self, request: VolumeRequest, owner: str) -> VolumeAnswer:
        """How far it is; the first ask starts it. Asked for in vain for a minute, it stops."""
        try:
            key = self._key(request)
        except SightlineError as error:
            return VolumeAnswer("", "failed", message=str(error))
        answer = self._look(key)
        if answer.state in ("done", "failed"):
            return answer
        with self._lock:
            self._focus.setdefault(key, Focus()).at = request.at
        self._runner.submit(key, lambda ctx: self._work(key, request, ctx), owner)
        return self._look(key)

    def look(self, request: VolumeRequest) -> VolumeAnswer:
        """How far it is, without starting it."""
        try:
            return self._look(self._key(request))
        except SightlineError as error:
            return VolumeAnswer("", "failed", message=str(error))

    def stop(self, key: str, owner: str) -> None:
        """The owner no longer wants it; what is known stays."""
        self._runner.release(key, owner)

    def retry(self, key: str) -> None:
        """Forget that it failed."""
        self._runner.forget(key)

    def close(self) -> None:
        self._runner.close()

    def _look(self, key: str) -> VolumeAnswer:
        job = self._runner.get(key)
        with self._lock:
            result = self._results.get(key)
            if result is not None:
                self._results.move_to_end(key)
            began = self._began.get(key)
            if began is None and job is not None and job.state == "running" and job.progress > 0:
                began = self._began[key] = (time.monotonic(), job.progress)
        if result is not None and result.complete and (job is None or not job.active):
            return VolumeAnswer(key, "done", 1.0, result=result)
        if job is None or job.state == "done":  # done, and let go of since
            if job is not None:
                self._runner.forget(key)
            return VolumeAnswer(key, "none", result=result)
        left = None
        if job.state == "running" and began is not None and job.progress > began[1] + _EARLY:
            left = (time.monotonic() - began[0]) * (1 - job.progress) / (job.progress - began[1])
        return VolumeAnswer(key, job.state, job.progress, left, job.message, result)

    def _work(self, key: str, request: VolumeRequest, ctx: RunContext) -> None:
        def keep(result: VolumeResult) -> None:
            with self._lock:
                self._results[key] = result
                self._results.move_to_end(key)
                while len(self._results) > KEPT_RESULTS:
                    self._results.popitem(last=False)

        owner, place = secrets.token_hex(8), self._place(request)
        with self._lock:
            known, focus = self._scores.get(place), self._focus.setdefault(key, Focus(request.at))
        try:
            if request.kind == "slices":
                result = explain_slices(self._desk, request, owner, ctx, keep, focus, known)
            elif request.kind == "around":
                result = explain_around(self._desk, request, owner, ctx, keep, known)
            else:
                result = hide_blocks(self._desk, request, owner, ctx, keep, known)
        finally:
            with self._lock:
                self._focus.pop(key, None)
                self._began.pop(key, None)
        keep(result)
        with self._lock:
            self._scores[place] = result.scores
            while len(self._scores) > KEPT_SCORES:
                self._scores.popitem(last=False)

    def _place(self, request: VolumeRequest) -> tuple[str, ...]:
        """What scores depend on. Raises ModelError."""
        card = card_of(self._desk, request.model_id)
        with self._lock:
            token = self._tokens.setdefault(request.image, secrets.token_hex(8))
        return (token, card.id, card.weights.sha256, card.input_digest)

    def _of_one_slice(self, request: VolumeRequest) -> bool:
        """Whether it explains the score of slice ``at`` alone."""
        return request.kind != "slices" and card_of(self._desk, request.model_id).input.slices > 1

    def _key(self, request: VolumeRequest) -> str:
        target, slices = request.target, request.slices
        facts = [
            *self._place(request),
            request.kind,
            request.method,
            sorted(request.params.items()),
            [target.index, target.output, target.against_index],
            [slices.start, slices.stop, slices.step],
            request.at if self._of_one_slice(request) else None,
            request.seed,
        ]
        return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()
