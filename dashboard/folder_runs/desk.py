"""The batch run of this server: started, watched and stopped from a page, and offered again after a restart."""

from __future__ import annotations

import json
import logging
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from dashboard.folder_runs.output import write_whole
from dashboard.folder_runs.pace import Pace
from dashboard.folder_runs.told import Done, Told
from dashboard.folder_runs.where import Engine, Where
from models.errors import Busy, Cancelled, DataError, SightlineError

SCORES = "scores.parquet"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """A run as a reader asks for it.

    Attributes:
        source: folder, zip, image or listing.
        model: id.
        out: folder for what is made.
        methods, target: of maps; "" explains the flagged classes.
        engine, workers, address: as of :class:`~dashboard.folder_runs.where.Where`.
    """

    source: str
    model: str
    doing: Literal["scores", "maps"]
    out: str
    methods: tuple[str, ...] = ()
    target: str = ""
    engine: Engine = "processes"
    workers: int | None = None
    address: str = ""


@dataclass(eq=False)
class Run:
    """How far a run is; read from any thread.

    Attributes:
        done, total: units of files, most often one image each; ``total`` is None while they are looked through.
        words: how fast it goes, and when it will end.
        failures: what could not be read or worked on, so far.
        result: once it is done.
        message: the sentence to show when it failed.
    """

    choice: Choice
    state: Literal["running", "done", "stopped", "failed"] = "running"
    done: int = 0
    total: int | None = None
    words: str = ""
    failures: Told = field(default_factory=Told)
    result: Done | None = None
    message: str = ""


class BatchDesk:
    """One run at a time, in a thread of its own, whoever looks.

    Args:
        note: file that remembers a run which has not come to its end.
        within: the folder that images and output must lie in; None for any.
    """

    def __init__(self, note: Path, within: Path | None = None) -> None:
        self._note, self._within = note, within
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.run: Run | None = None

    def start(self, choice: Choice) -> Run:
        """Go on with what an earlier run left in the folder, or begin.

        Raises:
            Busy: another run is under way.
            DataError: there is nothing at the source, or no folder for the output.
        """
        with self._lock:
            if self.run is not None and self.run.state == "running":
                raise Busy("A batch run is under way on this server; wait for its end, or stop it.")
            for named in filter(None, (choice.source, choice.out)):
                if self._within is not None and not Path(named).resolve().is_relative_to(self._within.resolve()):
                    raise DataError(
                        f"Batch runs of this server read and write in {self._within} alone; choose a folder there."
                    )
            if not choice.source or not Path(choice.source).exists():
                raise DataError(f"There is no folder or file {choice.source!r} on the server; check the path.")
            if not choice.out:
                raise DataError("Give a folder on the server for what is made.")
            try:
                self._note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_whole(self._note, json.dumps(asdict(choice)).encode())
            except OSError as error:
                raise DataError(
                    f"The cache folder cannot be written ({error.strerror}); check SIGHTLINE_CACHE."
                ) from None
            self._stopping.clear()
            self.run = Run(choice)
            self._thread = threading.Thread(target=self._serve, args=(self.run,), name="sightline-batch", daemon=True)
            self._thread.start()
            return self.run

    @property
    def left(self) -> Choice | None:
        """The last run asked for, if it did not come to its end."""
        try:
            facts: dict[str, Any] = json.loads(self._note.read_bytes())
            return Choice(**(facts | {"methods": tuple(facts["methods"])}))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def forget(self) -> None:
        """Do not offer the last run again."""
        self._note.unlink(missing_ok=True)

    def stop(self) -> None:
        """End the run within a second or two; what is done is kept."""
        self._stopping.set()

    def close(self) -> None:
        """Stop, and wait until it has: the processes that work must not outlive the server."""
        self.stop()
        if self._thread is not None:
            self._thread.join(30)

    def _serve(self, run: Run) -> None:
        try:
            run.result = self._work(run)
        except Cancelled:
            run.state = "stopped"
        except SightlineError as error:
            run.message, run.state = str(error), "failed"
        except OSError as error:
            run.message = (
                f"The output cannot be written ({error.strerror or type(error).__name__}); choose another folder."
            )
            run.state = "failed"
        except Exception as error:  # a fault of a library must be told on the page, not lost with the thread
            log.exception("A batch run failed.")
            run.message = (
                f"The run failed unexpectedly ({type(error).__name__}); go on with it, and report it with the log."
            )
            run.state = "failed"
        else:
            run.state = "done"
            with suppress(OSError):
                self.forget()

    def _work(self, run: Run) -> Done:
        from dashboard.folder_runs.runs import explain_paths, predict_path  # torch, which a page opens without

        choice, pace = run.choice, Pace()
        where = Where(choice.engine, choice.workers, choice.address)

        def show(done: int, total: int | None) -> None:
            if self._stopping.is_set():
                raise Cancelled("Stopped by the user.")
            run.done, run.total, run.words = done, total, pace.words(done, total)

        source, out, target = Path(choice.source), Path(choice.out), choice.target or None
        if choice.doing == "scores":
            return predict_path(source, choice.model, out / SCORES, None, show, where=where, tell=run.failures.add)
        return explain_paths(
            [source], choice.model, choice.methods, target, out, None, 0, show, where=where, tell=run.failures.add
        )
