"""Asking for explanations and scores: what is known is found again, what is not is worked on once."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from dashboard.jobs.runner import Job, JobRunner, State
from dashboard.jobs.store import ResultStore
from dashboard.serving.types import Engine, ExplainRequest, Explanation, image_digest
from explainers import EXPLAINERS
from models.context import RunContext
from models.errors import Cancelled, ExplainError, SightlineError
from models.types import Image, Prediction

log = logging.getLogger(__name__)
KEPT_PREDICTIONS = 4096
KEPT_MASKS = 16  # predictions with the masks of a segmentation network, a megabyte or so each
KEPT_EXPLANATIONS = 64
LARGE = 8 * 2**20  # bytes of a map, as of a volume, which is read again from the disk
BACKGROUND = 10**6  # priority of work that no reader waits for
AT_ONCE = 128  # pieces of work that the engine is asked for together; it divides its devices between them
T = TypeVar("T")
_Key = tuple[str, str, str]


@dataclass(frozen=True, eq=False)
class Answer:
    """How far an explanation is.

    Attributes:
        progress: fraction done, [0, 1].
        ahead: pieces of work that go first while it waits for its turn.
        expected_s: how long the work will take once it runs, in seconds; 0 where that is not known.
        message: the sentence to show when it failed.
        partial: what can be shown of it already.
        stored: True where it was found again, not computed now.
    """

    key: str
    state: State
    progress: float = 0.0
    message: str = ""
    explanation: Explanation | None = None
    stored: bool = False
    partial: Explanation | None = None
    expected_s: float = 0.0
    ahead: int = 0

    @property
    def active(self) -> bool:
        return self.state in ("queued", "running")


class Desk:
    """Engine, worker and store behind one counter. Safe to call from any thread."""

    def __init__(self, engine: Engine, store: ResultStore) -> None:
        self.engine = engine
        self._store = store
        self._runner: JobRunner[Any] = JobRunner(AT_ONCE)
        self._predictions: OrderedDict[_Key, Prediction] = OrderedDict()
        self._masked: OrderedDict[_Key, Prediction] = OrderedDict()
        self._recent: OrderedDict[str, Explanation] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        return self._runner.waiting

    def rescan(self) -> None:
        """Take up models added, changed or removed since the start."""
        self.engine.rescan()
        with self._lock:  # a card that was changed may score the same weights otherwise
            self._predictions.clear()
            self._masked.clear()

    def predict(self, model_id: str, image: Image, masks: bool = False, background: bool = False) -> Prediction:
        """Scores of a plane image, computed once; masks only as asked for. Raises ModelError or DataError.

        Args:
            background: other work goes first.
        """
        ctx = RunContext(background=background)
        card = self.engine.cards().get(model_id)
        if card is None:
            (prediction,) = self.engine.predict(model_id, [image], ctx)  # which says what is wrong
            return prediction
        masks = masks and card.task == "segmentation"
        key = (model_id, card.weights.sha256, image_digest(image, card.input.spec))
        with self._lock:
            for kept in (self._masked, self._predictions)[: 1 if masks else 2]:
                if key in kept:
                    kept.move_to_end(key)
                    return kept[key]
        (prediction,) = self.engine.predict(model_id, [image], ctx)
        with self._lock:
            if masks:
                _keep(self._masked, key, prediction, KEPT_MASKS)
            scores = replace(prediction, masks=None)
            _keep(self._predictions, key, scores, KEPT_PREDICTIONS)
        return prediction if masks else scores

    def ask(self, request: ExplainRequest, owner: str) -> Answer:
        """The explanation if it is known, else its place in the work; the first ask starts it."""
        try:
            key = self.engine.key(request)
            expected = self.engine.forecast(request.model_id, request.method, request.params)
        except SightlineError as error:
            return Answer("", "failed", message=str(error))
        job = self._runner.get(key)
        if job is None or not job.active:
            known = self.find(key)
            if known is not None:
                return Answer(key, "done", 1.0, explanation=known, stored=job is None)
            if job is not None and job.state == "failed":
                return Answer(key, "failed", message=job.message)
        priority = EXPLAINERS.get(request.method).spec.order
        if job is None:
            self.engine.expect(request)
        job = self._runner.submit(key, lambda ctx: self._work(key, request, ctx), owner, priority)
        waits = job.ahead > 0 and not job.progress
        state: State = "queued" if waits and job.state == "running" else job.state
        return Answer(key, state, job.progress, job.message, job.result, False, job.partial, expected, job.ahead)

    def job(self, key: str) -> Job[Any] | None:
        """Other work with a network that was given to :meth:`submit`."""
        return self._runner.get(key)

    def submit(self, key: str, work: Callable[[RunContext], Any], owner: str, priority: int) -> Job[Any]:
        """Other work with a network, in its turn; that of the same key once. ``keep_only`` lets go of it."""
        return self._runner.submit(key, work, owner, priority)

    def in_turn(self, request: ExplainRequest, owner: str, ctx: RunContext) -> Explanation:
        """The explanation, waited for; for the many of a volume. What else its session asks for goes first, and where ``ctx`` is
        in the background, what anybody does.

        Raises:
            SightlineError: it failed, or ``ctx`` was cancelled.
        """
        key = self.engine.key(request)
        known = self.find(key)
        return known or self.do_in_turn(key, lambda own: self._work(key, request, own), owner, ctx)

    def do_in_turn(self, key: str, work: Callable[[RunContext], T], owner: str, ctx: RunContext) -> T:
        """As :meth:`in_turn`, for other short work with a network."""
        job = self._runner.submit(key, work, owner, BACKGROUND, ctx.background)
        try:
            while not job.finished.wait(0.1):
                job.asked = time.monotonic()
                ctx.wait(job.ahead)
                ctx.check()
        finally:
            self._runner.release(key, owner)
            self._runner.forget(key)
        if job.state != "done":
            raise ExplainError(job.message) if job.state == "failed" else Cancelled("Stopped by the user.")
        result: Any = job.result
        return result

    def retry(self, key: str) -> None:
        """Forget that a job failed, so that the next ask starts it again."""
        self._runner.forget(key)

    def keep_only(self, wanted: Collection[str], held: Collection[str], owner: str) -> None:
        """Let go of the jobs in ``held`` that the owner no longer wants."""
        for key in set(held) - set(wanted):
            self._runner.release(key, owner)

    def close(self) -> None:
        self._runner.close()
        self.engine.close()

    def _work(self, key: str, request: ExplainRequest, ctx: RunContext) -> Explanation:
        explanation = self.engine.explain(request, ctx)
        self.keep(key, explanation)
        return explanation

    def keep(self, key: str, explanation: Explanation) -> None:
        """Remember a result, and store it."""
        self._remember(key, explanation)
        try:
            self._store.put(key, explanation)
        except OSError as error:  # a full disk costs the next reload its results, not this reader the map
            log.warning("A result could not be stored (%s); free some disk space.", type(error).__name__)

    def find(self, key: str) -> Explanation | None:
        """A result of this process, or a stored one."""
        with self._lock:
            if key in self._recent:
                self._recent.move_to_end(key)
                return self._recent[key]
        stored = self._store.get(key)
        if stored is not None:
            self._remember(key, stored)
        return stored

    def _remember(self, key: str, explanation: Explanation) -> None:
        if explanation.attribution.values.nbytes > LARGE:
            return
        with self._lock:
            self._recent[key] = explanation
            while len(self._recent) > KEPT_EXPLANATIONS:
                self._recent.popitem(last=False)


def _keep(kept: OrderedDict[_Key, Prediction], key: _Key, prediction: Prediction, limit: int) -> None:
    """Add the newest; the least recently used go."""
    kept[key] = prediction
    while len(kept) > limit:
        kept.popitem(last=False)
