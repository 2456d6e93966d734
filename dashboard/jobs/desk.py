"""Asking for explanations and scores: what is known is found again, what is not is worked on once."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

from dashboard.jobs.runner import JobRunner, State
from dashboard.jobs.store import ResultStore
from dashboard.serving.types import Engine, ExplainRequest, Explanation, image_digest
from explainers import EXPLAINERS
from models.context import RunContext
from models.errors import SightlineError
from models.types import Image, Prediction

log = logging.getLogger(__name__)
KEPT_PREDICTIONS = 4096
KEPT_EXPLANATIONS = 64


@dataclass(frozen=True, eq=False)
class Answer:
    """How far an explanation is.

    Attributes:
        progress: fraction done, [0, 1].
        message: the sentence to show when it failed.
        stored: True where it was found again, not computed now.
    """

    key: str
    state: State
    progress: float = 0.0
    message: str = ""
    explanation: Explanation | None = None
    stored: bool = False

    @property
    def active(self) -> bool:
        return self.state in ("queued", "running")


class Desk:
    """Engine, worker and store behind one counter. Safe to call from any thread."""

    def __init__(self, engine: Engine, store: ResultStore) -> None:
        self.engine = engine
        self._store = store
        self._runner: JobRunner[Explanation] = JobRunner()
        self._predictions: OrderedDict[tuple[str, str, str], Prediction] = OrderedDict()
        self._recent: OrderedDict[str, Explanation] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        return self._runner.waiting

    def predict(self, model_id: str, image: Image) -> Prediction:
        """Scores of a plane image, computed once. Raises ModelError or DataError."""
        card = self.engine.cards().get(model_id)
        key = (model_id, card.weights.sha256 if card else "", image_digest(image))
        with self._lock:
            if key in self._predictions:
                self._predictions.move_to_end(key)
                return self._predictions[key]
        (prediction,) = self.engine.predict(model_id, [image], RunContext())
        with self._lock:
            self._predictions[key] = prediction
            while len(self._predictions) > KEPT_PREDICTIONS:
                self._predictions.popitem(last=False)
        return prediction

    def ask(self, request: ExplainRequest, owner: str) -> Answer:
        """The explanation if it is known, else its place in the work; the first ask starts it."""
        try:
            key = self.engine.key(request)
        except SightlineError as error:
            return Answer("", "failed", message=str(error))
        job = self._runner.get(key)
        if job is None or not job.active:
            known = self._known(key)
            if known is not None:
                return Answer(key, "done", 1.0, explanation=known, stored=job is None)
            if job is not None and job.state == "failed":
                return Answer(key, "failed", message=job.message)
        priority = EXPLAINERS.get(request.method).spec.order
        job = self._runner.submit(key, lambda ctx: self._work(key, request, ctx), owner, priority)
        return Answer(key, job.state, job.progress, job.message, job.result)

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
        self._remember(key, explanation)
        try:
            self._store.put(key, explanation)
        except OSError as error:  # a full disk costs the next reload its results, not this reader the map
            log.warning("A result could not be stored (%s); free some disk space.", type(error).__name__)
        return explanation

    def _known(self, key: str) -> Explanation | None:
        with self._lock:
            if key in self._recent:
                self._recent.move_to_end(key)
                return self._recent[key]
        stored = self._store.get(key)
        if stored is not None:
            self._remember(key, stored)
        return stored

    def _remember(self, key: str, explanation: Explanation) -> None:
        with self._lock:
            self._recent[key] = explanation
            while len(self._recent) > KEPT_EXPLANATIONS:
                self._recent.popitem(last=False)
