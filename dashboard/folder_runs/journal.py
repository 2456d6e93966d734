"""What a run over a folder has done, in one file beside its output: killed at any moment, the run goes on from there.

An SQLite database, because a commit there happens whole or not at all, and because neither the list of files nor the
results of a large folder need to be in memory.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from dashboard.folder_runs.planes import Unit
from models.errors import DataError

Tell = Callable[[str, str], None]
_TABLES = """
CREATE TABLE IF NOT EXISTS settings (text TEXT);
CREATE TABLE IF NOT EXISTS units (place INTEGER PRIMARY KEY, unit TEXT, stamp TEXT, facts TEXT);
CREATE TABLE IF NOT EXISTS ended (unit TEXT, stamp TEXT, PRIMARY KEY (unit, stamp)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS results (unit TEXT, stamp TEXT, plane INTEGER, part INTEGER, facts TEXT,
    PRIMARY KEY (unit, stamp, plane, part)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS stems (stem TEXT PRIMARY KEY, unit TEXT, stamp TEXT, plane INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS stale (file TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TEMP TABLE skips (number INTEGER PRIMARY KEY, name TEXT UNIQUE, message TEXT);
"""
_OWN = "NOT EXISTS (SELECT 1 FROM listed WHERE listed.unit = {0}.unit AND listed.stamp = {0}.stamp)"


class Journal:
    """Results of units of files, by the unit's name and stamp; a context manager.

    Args:
        path: of the file; made where it is not there.
        settings: everything the results depend on. Results of other settings are thrown away, their files are
            :attr:`stale`.
        restart: throw away what is there.
        tell: called with the name and reason of everything that has no result.

    Raises:
        DataError: another run writes to it, or the file is no journal.
    """

    def __init__(self, path: Path, settings: dict[str, Any], restart: bool, tell: Tell = lambda *_: None) -> None:
        self._tell = tell
        try:
            try:
                self._db = _opened(path)
            except sqlite3.DatabaseError as error:
                if not restart or isinstance(error, sqlite3.OperationalError):
                    raise
                _remove(path)  # no journal at all
                self._db = _opened(path)
        except sqlite3.OperationalError:
            raise DataError(
                f"Another run is writing to {path.name}, or the disk is full or read-only; wait for it, or choose "
                "another --out."
            ) from None
        except sqlite3.DatabaseError:
            raise DataError(f"{path.name} is damaged or not the journal of a run; start anew with --restart.") from None
        text = json.dumps(settings, sort_keys=True, default=str)
        if restart or self._db.execute("SELECT text FROM settings").fetchone() != (text,):
            self._db.executemany("INSERT OR IGNORE INTO stale VALUES (?)", self._files())
            for table in ("settings", "ended", "results", "stems"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608 (names above)
            self._db.execute("INSERT INTO settings VALUES (?)", (text,))
        self._db.commit()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def plan(self, units: Iterable[Unit]) -> int:
        """Take up the files of this run, and forget results of files that are gone or changed; how many units."""
        self._db.execute("DELETE FROM units")
        rows = ((unit.place, unit.name, unit.stamp, json.dumps(vars(unit))) for unit in units)
        self._db.executemany("INSERT INTO units VALUES (?, ?, ?, ?)", rows)
        self._db.execute("CREATE TEMP TABLE listed (unit TEXT, stamp TEXT, PRIMARY KEY (unit, stamp)) WITHOUT ROWID")
        self._db.execute("INSERT OR IGNORE INTO listed SELECT unit, stamp FROM units")
        for table in ("ended", "results", "stems"):
            self._db.execute(f"DELETE FROM {table} WHERE {_OWN.format(table)}")  # noqa: S608 (names above)
        self._db.execute("DROP TABLE listed")
        self._db.commit()
        return self._count("SELECT COUNT(*) FROM units")

    def check(self, whole: Callable[[dict[str, Any]], bool]) -> None:
        """Forget the results that are not ``whole``, because their files are gone or cut short."""
        rows = self._db.execute("SELECT unit, stamp, plane, part, facts FROM results")
        lost = [(*where, plane, part) for *where, plane, part, facts in rows if not whole(json.loads(facts))]
        self._db.executemany("DELETE FROM results WHERE unit = ? AND stamp = ? AND plane = ? AND part = ?", lost)
        self._db.executemany("DELETE FROM ended WHERE unit = ? AND stamp = ?", (where[:2] for where in lost))
        self._db.commit()

    def pending(self) -> Iterator[Unit]:
        """The units not yet ended, in order."""
        place = -1
        query = """SELECT place, facts FROM units WHERE place > ? AND NOT EXISTS (SELECT 1 FROM ended
            WHERE ended.unit = units.unit AND ended.stamp = units.stamp) ORDER BY place LIMIT 256"""
        while page := self._db.execute(query, (place,)).fetchall():
            place = page[-1][0]
            for _, facts in page:
                yield Unit(**json.loads(facts))

    @property
    def ended(self) -> int:
        """Units of this run that are done."""
        return self._count("SELECT COUNT(*) FROM units JOIN ended USING (unit, stamp)")

    @property
    def planes(self) -> int:
        """Images with a result."""
        return self._count("SELECT COUNT(*) FROM (SELECT DISTINCT unit, stamp, plane FROM results)")

    @property
    def count(self) -> int:
        """Results."""
        return self._count("SELECT COUNT(*) FROM results")

    def known(self, unit: Unit, plane: int) -> dict[int, dict[str, Any]]:
        """What is there of an image, by part."""
        query = "SELECT part, facts FROM results WHERE unit = ? AND stamp = ? AND plane = ?"
        return {part: json.loads(facts) for part, facts in self._db.execute(query, (unit.name, unit.stamp, plane))}

    def parts(self, unit: Unit) -> list[tuple[int, int]]:
        """What is there of a unit, as (image, part)."""
        query = "SELECT plane, part FROM results WHERE unit = ? AND stamp = ?"
        return [(plane, part) for plane, part in self._db.execute(query, (unit.name, unit.stamp))]

    def add(self, unit: Unit, plane: int, facts: dict[str, Any], part: int = 0) -> None:
        """A result of an image; lasts from the next :meth:`commit`."""
        row = (unit.name, unit.stamp, plane, part, json.dumps(facts))
        self._db.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?)", row)

    def skip(self, name: str, message: str) -> None:
        """What has no result, and why; it is tried again in the next run. Several reasons become one text."""
        self._db.execute(
            """INSERT INTO skips (name, message) VALUES (?, ?) ON CONFLICT (name) DO UPDATE
            SET message = message || ' ' || excluded.message WHERE NOT instr(message, excluded.message)""",
            (name, message),
        )
        self._tell(name, message)

    def end(self, unit: Unit) -> None:
        self._db.execute("INSERT OR IGNORE INTO ended VALUES (?, ?)", (unit.name, unit.stamp))

    def stem(self, wanted: str, unit: Unit, plane: int) -> str:
        """The stem of an image's files: the wanted one, numbered where another image has it."""
        given = "SELECT stem FROM stems WHERE unit = ? AND stamp = ? AND plane = ?"
        row = self._db.execute(given, (unit.name, unit.stamp, plane)).fetchone()
        if row is not None:
            return str(row[0])
        candidate, count = wanted, 2
        while self._db.execute("SELECT 1 FROM stems WHERE stem = ?", (candidate,)).fetchone():
            candidate, count = f"{wanted}-{count}", count + 1
        self._db.execute("INSERT INTO stems VALUES (?, ?, ?, ?)", (candidate, unit.name, unit.stamp, plane))
        return candidate

    def commit(self) -> None:
        self._db.commit()

    def results(self) -> Iterator[dict[str, Any]]:
        """All results of this run's files, in the order of the files."""
        query = "SELECT results.facts FROM units JOIN results USING (unit, stamp) ORDER BY place, plane, part"
        return (json.loads(facts) for (facts,) in self._db.execute(query))

    def skips(self) -> Iterator[tuple[str, str]]:
        """Name and reason of everything without a result, each name once."""
        yield from self._db.execute("SELECT name, message FROM skips ORDER BY number")

    @property
    def stale(self) -> list[str]:
        """Files of results that were thrown away, which no result has."""
        if self._count("SELECT COUNT(*) FROM stale"):
            self._db.executemany("DELETE FROM stale WHERE file = ?", self._files())
        return [name for (name,) in self._db.execute("SELECT file FROM stale")]

    def forget_stale(self) -> None:
        self._db.execute("DELETE FROM stale")
        self._db.commit()

    def _files(self) -> Iterator[tuple[str]]:
        for (facts,) in self._db.execute("SELECT facts FROM results"):
            yield from ((name,) for name in json.loads(facts)["files"])

    def _count(self, query: str) -> int:
        return int(self._db.execute(query).fetchone()[0])


def _opened(path: Path) -> sqlite3.Connection:
    """The database with its tables, this process being the only one that uses it."""
    db = sqlite3.connect(path, timeout=1.0)
    try:
        # One writer, so that no shared memory is needed; a kill loses nothing that was committed.
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript(_TABLES)
    except sqlite3.DatabaseError:
        db.close()
        raise
    return db


def _remove(path: Path) -> None:
    for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-journal")):
        file.unlink(missing_ok=True)
