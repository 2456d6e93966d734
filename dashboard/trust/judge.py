"""Asking for the trust checks of the maps of one picture: known verdicts are found again, others worked on once."""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock

import numpy as np

from dashboard.jobs.desk import Desk
from dashboard.jobs.runner import State
from dashboard.quantify.dermoscopy import OUTLINE_MODEL, outline_of
from dashboard.serving.types import ExplainRequest, Explanation, JudgeRequest, Verdicts
from dashboard.trust.places import Mask, body_of, lesion_of, mask_on, places_of, reads_skin
from dashboard.trust.store import VerdictStore
from explainers.quality.strip import checks
from explainers.quality.types import Verdict
from models.card import ModelCard
from models.context import RunContext
from models.errors import DataError, ExplainError, ModelError
from models.types import Case

log = logging.getLogger(__name__)
VERSION = "3"  # raise when a check's numbers change: stored verdicts of older code are then not found
PRIORITY = 10**5  # after every map that a reader waits for, before the many of a volume
KEPT = 32  # sets of maps whose verdicts are at hand


@dataclass(frozen=True, eq=False)
class Judged:
    """How far the checks of several maps are.

    Attributes:
        verdicts: by name of the map, in the order of the checks; while work is under way those so far.
        expected_s: how long all of it takes, in seconds; 0 where that is not known.
        message: the sentence to show when it failed.
    """

    key: str
    state: State
    progress: float = 0.0
    message: str = ""
    verdicts: Mapping[str, tuple[Verdict, ...]] = field(default_factory=dict)
    expected_s: float = 0.0

    @property
    def active(self) -> bool:
        return self.state in ("queued", "running")


@dataclass(frozen=True, eq=False)
class Maps:
    """Maps of one slice of a case, by name: how each was asked for, and what came of it."""

    case: Case
    index: int
    card: ModelCard
    explained: Mapping[str, tuple[ExplainRequest, Explanation]]


class Judge:
    """Safe to call from any thread."""

    def __init__(self, desk: Desk, store: VerdictStore) -> None:
        self._desk, self._store = desk, store
        self._recent: OrderedDict[str, Verdicts] = OrderedDict()
        self._lock = Lock()

    def key(self, maps: Maps) -> str:
        """Names the checks of exactly these maps and what is known of the case."""
        digest = hashlib.sha256(VERSION.encode())
        for name, (request, _) in maps.explained.items():
            digest.update(f"{name} {self._desk.engine.key(request)} ".encode())
        for region in maps.case.regions:
            mask = mask_on(region, maps.case.image, maps.index)
            digest.update(f"{region.name} {mask.shape}".encode() + np.packbits(mask).tobytes())
        return f"judge-{digest.hexdigest()}"

    def expected_s(self, maps: Maps) -> float:
        return self._desk.engine.judging_s([request for request, _ in maps.explained.values()])

    def look(self, maps: Maps) -> Judged | None:
        """What is known or under way; None where nobody has asked for these checks yet."""
        key = self.key(maps)
        with self._lock:
            known = self._recent.get(key)
        if known is not None:
            return Judged(key, "done", 1.0, verdicts=dict(zip(maps.explained, known, strict=True)))
        job = self._desk.job(key)
        if job is None:
            return None
        found: Verdicts = job.result or job.partial or ()
        verdicts = dict(zip(maps.explained, found, strict=bool(found)))
        return Judged(key, job.state, job.progress, job.message, verdicts, self.expected_s(maps))

    def ask(self, maps: Maps, owner: str) -> Judged:
        """The verdicts if they are known, else how far the work is; the first ask starts it."""
        found = self.look(maps)
        if found is None or found.state == "cancelled":
            self._desk.submit(self.key(maps), lambda ctx: self.work(maps, ctx), owner, PRIORITY)
            return self.look(maps) or Judged(self.key(maps), "queued")
        if found.active:
            self._desk.submit(found.key, lambda ctx: self.work(maps, ctx), owner, PRIORITY)  # somebody still wants it
        return found

    def work(self, maps: Maps, ctx: RunContext) -> Verdicts:
        """All checks, here and now.

        Raises:
            SightlineError: the network cannot be run, or ``ctx`` was cancelled.
        """
        explained = tuple(maps.explained.values())
        keys = [self._verdict_key(request) for request, _ in explained]
        target = explained[0][0].target
        request = JudgeRequest(
            explained,
            places_of(maps.case, maps.index, maps.card, target),
            body_of(maps.case, maps.index, maps.card, self._lesion(maps, ctx)),
            tuple(self._store.get(key) or () for key in keys),
        )
        found = self._desk.engine.judge(request, ctx)
        for key, known, verdicts in zip(keys, request.known, found, strict=True):
            self._keep(key, known, verdicts)
        with self._lock:
            self._recent[self.key(maps)] = found
            while len(self._recent) > KEPT:
                self._recent.popitem(last=False)
        return found

    def _verdict_key(self, request: ExplainRequest) -> str:
        return hashlib.sha256(f"trust {VERSION} {self._desk.engine.key(request)}".encode()).hexdigest()

    def _lesion(self, maps: Maps, ctx: RunContext) -> Mask | None:
        """A skin lesion's outline: the case's own, else the outline model's; None where neither is there."""
        if not reads_skin(maps.case, maps.card):
            return None
        own = lesion_of(maps.case, maps.index)
        if own is not None:
            return own
        if OUTLINE_MODEL not in self._desk.engine.cards():
            return None
        try:
            (found,) = self._desk.engine.predict(OUTLINE_MODEL, [maps.case.image.slice(maps.index)], ctx.quietly())
            return outline_of(found)
        except (ModelError, DataError, ExplainError):  # the shares of lesion and skin are then not told apart
            return None

    def _keep(self, key: str, known: Sequence[Verdict], verdicts: Sequence[Verdict]) -> None:
        """Store what took passes of the network and rests on this map alone."""
        dear = tuple(one for one in verdicts if one.check in DEAR and not one.broken)
        if len(dear) <= len(known):
            return
        try:
            self._store.put(key, dear)
        except OSError as error:
            log.warning("Verdicts could not be stored (%s); free some disk space.", type(error).__name__)


DEAR = tuple(check.spec.id for check in checks() if check.spec.passes)
