"""The sample cases, opened when wanted, and looked through in the background for the worklist."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

from dashboard.cases import listed, middle_slice
from dashboard.jobs.desk import Desk
from dashboard.thumbnail import thumbnail
from explainers import warm_up
from models.card import ModelCard
from models.errors import Busy, SightlineError, Unavailable
from models.types import Case, Modality
from sample_data.samples import SampleEntry, list_samples, load_sample

log = logging.getLogger(__name__)
KEPT_CASES = 24
UPLOAD_S = 1800.0
PAUSES_S = (
    0,
    5,
    10,
    20,
    40,
    80,
    160,
)  # before the samples are looked at, and those again whose scores could not be had


@dataclass(frozen=True)
class Summary:
    """What the worklist shows of a case: a thumbnail, and the leading finding where a model reads such images.

    Attributes:
        later: the engine was busy or silent; asking again may give the finding.
    """

    thumbnail: bytes
    score: float | None = None
    finding: str = ""
    flagged: bool = False
    later: bool = False


class Library:
    """All sample cases of this process; safe to use from any thread."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.entries: dict[str, SampleEntry] = {entry.id: entry for entry in listed(list_samples())}
        self._cases: OrderedDict[str, Case] = OrderedDict()
        self._uploads: dict[str, tuple[Case, float]] = {}
        self._summaries: dict[str, Summary] = {}
        self._lock = threading.Lock()
        self._scan: threading.Thread | None = None
        self._stop = threading.Event()

    def keep(self, case: Case) -> None:
        """Hold an upload for a while, so that a reload of the page finds it again; in memory only."""
        with self._lock:
            self._uploads[case.id] = (case, time.monotonic())

    def upload(self, case_id: str) -> Case | None:
        """An upload of the last half hour."""
        with self._lock:
            now = time.monotonic()
            for old in [key for key, (_, used) in self._uploads.items() if now - used > UPLOAD_S]:
                del self._uploads[old]
            if case_id not in self._uploads:
                return None
            case, _ = self._uploads[case_id]
            self._uploads[case_id] = (case, now)
            return case

    def case(self, case_id: str) -> Case:
        """Raises DataError for an unknown id or an image that is not there."""
        with self._lock:
            if case_id in self._cases:
                self._cases.move_to_end(case_id)
                return self._cases[case_id]
        case = load_sample(case_id)
        with self._lock:
            self._cases[case_id] = case
            while len(self._cases) > KEPT_CASES:
                self._cases.popitem(last=False)
        return case

    def summary(self, case_id: str) -> Summary | None:
        """None until the background look-through has come to the case."""
        return self._summaries.get(case_id)

    def made_for(self, case_id: str) -> str:
        """Id of the model that a sample is meant for, whether it is installed or not; "" for an upload."""
        entry = self.entries.get(case_id)
        return entry.model if entry else ""

    @property
    def scanning(self) -> bool:
        return self._scan is not None and self._scan.is_alive()

    def start_scan(self) -> None:
        """Look through the samples once, in the background."""
        with self._lock:
            if self._scan is None:
                self._scan = threading.Thread(target=self._look_through, name="sightline-worklist", daemon=True)
                self._scan.start()

    def close(self) -> None:
        """End the look-through after the case it is at."""
        self._stop.set()
        if self._scan is not None:
            self._scan.join(timeout=30)

    def summarise(self, case: Case, background: bool = False) -> Summary:
        """Thumbnail, and the top finding of the first model that reads this kind of image.

        Args:
            background: other work goes first.
        """
        card = reading_model(case, dict(self._desk.engine.cards()), self.made_for(case.id))
        picture = thumbnail(case.image)
        if card is None:
            return Summary(picture)
        try:
            prediction = self._desk.predict(card.id, case.image.slice(middle_slice(case.image)), background=background)
        except SightlineError as error:  # the Case page says what is wrong with the model
            return Summary(picture, later=isinstance(error, Busy | Unavailable))
        top = prediction.leading
        flagged = not prediction.exclusive and top in prediction.flagged
        return Summary(
            picture, float(prediction.probabilities[top]), prediction.classes[top].replace("_", " "), flagged
        )

    def _look_through(self) -> None:
        warm_up()
        waiting = list(self.entries)
        for pause in PAUSES_S:
            if self._stop.wait(pause):
                return
            waiting = [case_id for case_id in waiting if self._look_at(case_id).later]
            if not waiting:
                return

    def _look_at(self, case_id: str) -> Summary:
        while self._desk.waiting and not self._stop.wait(0.1):
            pass  # a reader's explanation matters more than a thumbnail
        if self._stop.is_set():
            return Summary(b"")
        try:
            # Not through self.case(): a look-through must not push out the cases that readers have open.
            found = self.summarise(load_sample(case_id), background=True)
        except SightlineError as error:
            log.warning("Sample %s cannot be shown in the worklist: %s", case_id, error)
            found = Summary(b"")
        self._summaries[case_id] = found
        return found


def reading_model(case: Case, cards: dict[str, ModelCard], preferred: str = "") -> ModelCard | None:
    """The preferred model if it reads this kind of image, else the first that does; None where there is none.

    For a file that does not say what made it, only a preferred model is taken, on trust.
    """
    if case.image.modality is Modality.UNKNOWN:
        return cards.get(preferred)
    reading = {card.id: card for card in cards.values() if case.image.modality in card.input.modality}
    return reading.get(preferred) or next(iter(reading.values()), None)
