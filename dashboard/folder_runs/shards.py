"""A shard of a run: units of files worked on together, whose results come as one file, whole or not at all.

A process of a pool (``python -m dashboard.folder_runs.shards``) reads a line of JSON for each shard from its standard input and
answers with a line when that shard's file is written. It ends with its standard input, in the midst of work too.
"""

from __future__ import annotations

import faulthandler
import hashlib
import json
import math
import os
import queue
import secrets
import sys
import threading
import time
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from dashboard.folder_runs.output import write_whole
from dashboard.folder_runs.planes import Item, Unit, Wish, decode
from dashboard.folder_runs.prefetch import decoded, patience
from dashboard.folder_runs.work import Order, Read, Work, go_through, open_model
from dashboard.serving.local import LocalEngine
from models.card import ModelCard
from models.errors import SightlineError
from models.io.base import QUIET

LATE_S = 1.0  # seconds
MOST_TOLD = 300  # letters of what a library says
ENDING = ".shard"


@dataclass(frozen=True)
class Shard:
    """Units that one worker works on.

    Attributes:
        known: (place, image, part) of results that are there already.
        careful: a worker was killed by it or by what it was part of: files are decoded in a process apart.
        tries: by how many workers, so far.
    """

    units: tuple[Unit, ...]
    known: tuple[tuple[int, int, int], ...] = ()
    careful: bool = False
    tries: int = 0

    @property
    def place(self) -> int:
        """Of its first unit."""
        return self.units[0].place

    def name(self, order: Order) -> str:
        """The same for the same work on the same files."""
        units = [[unit.name, unit.stamp] for unit in self.units]
        return hashlib.sha256(json.dumps([digest(order), units, self.known]).encode()).hexdigest()[:32]

    def halves(self, careful: bool) -> tuple[Shard, ...]:
        """What to try after a worker died; a single unit is tried again as it is."""
        middle = max(1, len(self.units) // 2)
        parts = [part for part in (self.units[:middle], self.units[middle:]) if part]
        return tuple(replace(self, units=part, careful=careful or self.careful, tries=self.tries + 1) for part in parts)


@dataclass
class Finished:
    """What came of a shard.

    Attributes:
        units: name and stamp.
        folder: of its files, beside the shard's own.
        ended: places in ``units``.
        results: (place in ``units``, image, part, facts).
        stems: (the name that stands for it, the one wanted, place in ``units``, image).
        skips: name and reason.
        read, fresh: images.
    """

    digest: str
    folder: str
    units: list[tuple[str, str]]
    ended: list[int] = field(default_factory=list)
    results: list[tuple[int, int, int, dict[str, Any]]] = field(default_factory=list)
    stems: list[tuple[str, str, int, int]] = field(default_factory=list)
    skips: list[tuple[str, str]] = field(default_factory=list)
    read: int = 0
    fresh: int = 0


class _Collected:
    """Results of a shard while it is worked on. Stems stand for those that the run's journal will give."""

    def __init__(self, shard: Shard, found: Finished) -> None:
        self.found = found
        self._at = {unit.place: number for number, unit in enumerate(shard.units)}
        self._known: dict[tuple[int, int], set[int]] = {}
        for place, plane, part in shard.known:
            self._known.setdefault((place, plane), set()).add(part)

    def known(self, unit: Unit, plane: int) -> Collection[int]:
        return self._known.get((unit.place, plane), ())

    def add(self, unit: Unit, plane: int, facts: dict[str, Any], part: int = 0) -> None:
        self.found.results.append((self._at[unit.place], plane, part, facts))

    def skip(self, name: str, message: str) -> None:
        self.found.skips.append((name, message))

    def end(self, unit: Unit) -> None:
        self.found.ended.append(self._at[unit.place])

    def stem(self, wanted: str, unit: Unit, plane: int) -> str:
        stands = f"{self.found.folder}{len(self.found.stems):08}"
        self.found.stems.append((stands, wanted, self._at[unit.place], plane))
        return stands

    def commit(self) -> None:
        """Everything is written at the end, at once."""


def digest(order: Order) -> str:
    """Of everything that results depend on besides the files."""
    return hashlib.sha256(json.dumps(order.settings, sort_keys=True, default=str).encode()).hexdigest()


def within(out: Path) -> str:
    """The folder of a shard's files, named like the one that they are for."""
    return Path(os.path.abspath(out)).name or "out"  # noqa: PTH100 (a link keeps its name)


def asked(order: Order, shard: Shard, shards: Path, out: Path) -> str:
    """A shard as text for a worker.

    Args:
        shards: folder for what comes of it.
        out: the results' own folder, by whose name files are told.
    """
    units = [vars(unit) | {"files": [str(Path(file).absolute()) for file in unit.files]} for unit in shard.units]
    where = {"shards": str(shards.absolute()), "out": within(out), "name": shard.name(order)}
    return json.dumps({"order": vars(order), "shard": vars(shard) | {"units": units}, **where}, default=str)


def answered(text: str) -> dict[str, Any]:
    """Work on a shard; how many ``seconds`` it took.

    What went wrong ends the run (``error``, ``unwritable``), or is of this worker (``died``).
    """
    try:
        return {"seconds": _work_on(**json.loads(text))}
    except SightlineError as error:
        return {"error": str(error)}
    except OSError as error:
        return {"unwritable": error.strerror or type(error).__name__}
    except Exception as error:  # no memory, a fault of a library: another worker may fare better
        return {"died": f"{type(error).__name__}: {error}"[:MOST_TOLD]}


def _work_on(order: dict[str, Any], shard: dict[str, Any], shards: str, out: str, name: str) -> float:
    """Write the shard's file; seconds, without the loading of the model."""
    asked = Order(**order)
    units = tuple(Unit(**unit) for unit in shard["units"])
    engine, card = _opened(json.dumps(order))
    found = Finished(digest(asked), secrets.token_hex(8), [(unit.name, unit.stamp) for unit in units])
    folder = Path(shards, found.folder, out)
    if asked.has_files(card):
        folder.mkdir(parents=True)
    wish = asked.wish(card)
    watch = _Watch()
    work = _Watched(asked, engine, card, _Collected(Shard(**(shard | {"units": units})), found), folder, watch)
    began = time.perf_counter()
    try:
        with QUIET, closing(decoded(units, wish, 1) if shard["careful"] else _in_time(units, wish, watch)) as stream:
            count = go_through(stream, work, asked.group(wish))
    finally:
        watch.rest(alike=False)
    found.read, found.fresh = count.read, count.fresh
    write_whole(Path(shards, f"{name}{ENDING}"), json.dumps(vars(found)).encode())
    return time.perf_counter() - began


@lru_cache(maxsize=1)
def _opened(order: str) -> tuple[LocalEngine, ModelCard]:
    """The model of a run, loaded once a process."""
    asked = Order(**json.loads(order))
    engine, card = open_model(asked.model)
    asked.make_ready(engine, card)
    return engine, card


class _Watch:
    """Ends this process when a file keeps its decoder busy for too long, whatever it hangs in."""

    def __init__(self) -> None:
        self._since, self._seconds = -math.inf, 0.0
        self._resting, self._rested = -math.inf, math.inf

    def begin(self, seconds: float) -> None:
        """A file may be decoded for so long. Setting the alarm takes longer than a small file, so it may be a little late."""
        now = time.monotonic()
        if self._resting > -math.inf:
            self._rested, self._resting = now - self._resting, -math.inf
        if now > self._since + LATE_S or seconds > self._seconds:
            faulthandler.dump_traceback_later(seconds + LATE_S, exit=True, file=2)
            self._since, self._seconds = now, seconds

    def rest(self, alike: bool) -> None:
        """Nothing is decoded now.

        Args:
            alike: this will take about as long as the last time. Where that was short the alarm, minutes away, may stay.
        """
        self._resting = time.monotonic()
        if not (alike and self._rested < LATE_S):
            faulthandler.cancel_dump_traceback_later()
            self._since = -math.inf


@dataclass(frozen=True, eq=False)
class _Watched(Work):
    """Work for which the watch rests: it takes as long as it takes."""

    watch: _Watch

    def __call__(self, part: Sequence[Read]) -> Iterator[Unit]:
        self.watch.rest(alike=self.order.doing == "scores")
        yield from super().__call__(part)


def _in_time(units: Iterable[Unit], wish: Wish, watch: _Watch) -> Generator[tuple[Unit, Item | None], None, None]:
    """The items of each unit, decoded here under watch."""
    for unit in units:
        items, seconds = decode(unit, wish), patience(unit)
        while True:
            watch.begin(seconds)
            item = next(items, None)
            yield unit, item
            if item is None:
                break


def serve() -> None:
    """Serve until the standard input ends, which it does when the process that asks is gone, however that ended."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not be taken for an answer
    lines: queue.Queue[bytes] = queue.Queue()

    def listen() -> None:
        for line in sys.stdin.buffer:
            lines.put(line)
        os._exit(0)  # nobody waits for the shard at hand

    threading.Thread(target=listen, name="sightline-listening", daemon=True).start()
    answer: dict[str, Any] = {}
    while "died" not in answer:
        _say(answers, answer)  # the first: ready
        answer = answered(json.loads(lines.get()))
    _say(answers, answer)


def _say(stream: BinaryIO, answer: dict[str, Any]) -> None:
    stream.write(json.dumps(answer).encode() + b"\n")
    stream.flush()


if __name__ == "__main__":
    serve()
