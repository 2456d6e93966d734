"""A run divided into shards that a pool of workers works on.

What comes of a shard is taken into the journal in one commit, then its files are moved to their place, then it is
removed. Done twice, this changes nothing; so a run that is killed between any two steps loses nothing and has nothing double.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from bisect import insort
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from dashboard.folder_runs.journal import Journal
from dashboard.folder_runs.planes import Unit
from dashboard.folder_runs.pool import Ending, Pool
from dashboard.folder_runs.shards import ENDING, Finished, Shard, asked, digest, within
from dashboard.folder_runs.told import Done, ShowProgress
from dashboard.folder_runs.work import Order
from models.errors import DataError, Unavailable

AIM_S = 15.0  # seconds of work in a shard: what a kill may cost a worker
EACH = 4  # shards for each worker out of what is left, so that all have work up to the end
AHEAD = 2  # shards for each worker at a time, so that none waits for the next
GROWTH = 4  # times that a shard may be larger than the one before
TRIES = 3  # workers that a single unit may cost
DEATHS = 20  # workers one after the other without a shard done
LOOK_S = 1.0  # seconds between signs of life
_TOKEN = re.compile(r"[0-9a-f]{16}")


def run_shards(
    journal: Journal, order: Order, group: int, pool: Pool, shards: Path, out: Path, show: ShowProgress
) -> Done:
    """Work on what the journal has pending.

    Args:
        group: images that are worked on together, hence the fewest that a shard should have.
        shards: folder for what workers hand over; removed at the end.
        out: folder of the results' files.
        show: called about every second; what it raises ends the run.

    Raises:
        SightlineError: the model cannot be used, or no worker survives. OSError: the output cannot be written.
    """
    return _Run(journal, order, group, pool, shards, out, show).run()


def take_left(journal: Journal, order: Order, shards: Path, out: Path) -> None:
    """Take in what an earlier call had finished and not taken in; remove the rest that it left."""
    if not shards.is_dir():
        return
    files = [(_read(file), file) for file in sorted(shards.glob(f"*{ENDING}"))]
    for found, file in files:
        if found is not None and found.digest == digest(order):
            _take(journal, found, file, out)
    shutil.rmtree(shards)


class _Run:
    """Shards are taken in by the order of their files, so that names given to files do not depend on the workers."""

    def __init__(
        self, journal: Journal, order: Order, group: int, pool: Pool, shards: Path, out: Path, show: ShowProgress
    ) -> None:
        self._journal, self._order, self._pool = journal, order, pool
        self._shards, self._out, self._show = shards, out, show
        self._finished, self._deaths = journal.ended, 0
        self._done = Done(read=journal.planes)
        self._pending = journal.pending()
        self._again: deque[Shard] = deque()
        self._flying: dict[int, Shard] = {}
        self._turns: list[int] = []  # places of shards not taken in yet
        self._ready: dict[int, Path] = {}
        self._size = self._group = group
        self._uncut = order.units - self._finished
        self._room = (
            AHEAD * pool.slots if order.doing == "scores" else 1
        )  # the first map shows all workers the way to go

    def run(self) -> Done:
        self._shards.mkdir(parents=True, exist_ok=True)
        began = time.perf_counter()
        self._show(self._finished, self._order.units)
        while self._fill():
            for ending in self._pool.ended(LOOK_S):
                self._settle(self._flying.pop(ending.key), ending)
            while self._turns and self._turns[0] in self._ready:
                self._take(self._ready.pop(self._turns.pop(0)))
            self._show(self._finished, self._order.units)
        shutil.rmtree(self._shards)
        self._done.seconds = time.perf_counter() - began
        return self._done

    def _fill(self) -> bool:
        """Give the workers work; whether any is under way."""
        while len(self._flying) < self._room:
            shard = self._again.popleft() if self._again else self._cut()
            if shard is None:
                break
            self._flying[shard.place] = shard
            self._pool.submit(shard.place, asked(self._order, shard, self._shards, self._out))
        return bool(self._flying)

    def _cut(self) -> Shard | None:
        fair = max(self._group, self._uncut // (EACH * self._pool.slots))
        units = tuple(islice(self._pending, min(self._size, fair)))
        if not units:
            return None
        self._uncut -= len(units)
        insort(self._turns, units[0].place)
        return Shard(units, tuple((unit.place, *part) for unit in units for part in self._journal.parts(unit)))

    def _settle(self, shard: Shard, ending: Ending) -> None:
        if ending.error is not None:
            raise ending.error
        if not ending.died:
            self._deaths = 0
            self._finished += len(shard.units)
            fits = AIM_S * len(shard.units) / max(ending.seconds, 1e-3)
            self._size = int(max(1, min(fits, GROWTH * len(shard.units))))
            self._room = AHEAD * self._pool.slots
            self._ready[shard.place] = self._shards / f"{shard.name(self._order)}{ENDING}"
            return
        self._deaths += 1
        if self._deaths == DEATHS:
            raise Unavailable(
                f"{DEATHS} workers ended one after the other without having done anything, the last because {ending.died}; "
                "use fewer --workers, or --engine local."
            )
        self._turns.remove(shard.place)
        if len(shard.units) == 1 and shard.tries + 1 >= TRIES:
            self._finished += 1
            self._journal.skip(
                shard.units[0].name,
                f"Working on it ended {shard.tries + 1} workers, the last because {ending.died}; try it alone with "
                "--engine local, or leave it out.",
            )
            return
        for half in shard.halves(ending.killed):
            self._again.append(half)
            insort(self._turns, half.place)

    def _take(self, file: Path) -> None:
        found = _read(file)
        if found is None:
            raise DataError(
                f"What a worker wrote to {self._shards.name} is not there; the output and the images must lie on a disk that "
                "all machines of the cluster share under the same path."
            )
        for name, reason in _take(self._journal, found, file, self._out):
            self._journal.skip(name, reason)
        self._done.read += found.read
        self._done.fresh += found.fresh


def _read(file: Path) -> Finished | None:
    """What came of a shard; None where that is not there or not whole."""
    try:
        found = Finished(**json.loads(file.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    return found if _TOKEN.fullmatch(found.folder) else None


def _take(journal: Journal, found: Finished, file: Path, out: Path) -> Iterator[tuple[str, str]]:
    """Journal first, files then, the shard last; what has no result is returned."""
    units = [Unit(0, name, (), (), stamp) for name, stamp in found.units]
    stems = {stands: journal.stem(wanted, units[at], plane) for stands, wanted, at, plane in found.stems}
    standing = re.compile(rf"{found.folder}[0-9]{{8}}")

    def named(text: str) -> str:
        return standing.sub(lambda match: stems[match[0]], text)

    places: dict[str, str] = {}
    for at, plane, part, facts in found.results:
        known = json.loads(named(json.dumps(facts))) if stems else facts
        places |= dict(zip(facts["files"], known["files"], strict=True))
        journal.add(units[at], plane, known, part)
    for at in found.ended:
        journal.end(units[at])
    journal.commit()
    if places:
        out.mkdir(exist_ok=True)
    folder = file.parent / found.folder / within(out)
    for name, place in places.items():
        if Path(name).name == name and (folder / name).exists():  # it may be in place already
            (folder / name).replace(out / place)
    file.unlink()
    shutil.rmtree(file.parent / found.folder, ignore_errors=True)
    return ((named(name), reason) for name, reason in found.skips)
