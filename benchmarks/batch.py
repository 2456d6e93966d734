"""A batch run killed three times, its memory, and its overhead over the plain loop: ``python -m benchmarks.batch``.

Writes small grey PNG files and a small network with random weights (MobileNetV3-small x0.5 at 128 x 128: about as long as
decoding such a file), then

1. runs ``predict --engine processes`` on them, looking at the resident memory of driver and workers every fifth of a second, and
   prints the medians of the middle and the last third of the run;
2. runs it anew, killing its process group with signal 9 at three random moments, lets it end, and compares with the first table:
   as many rows, none double, equal scores;
3. measures, in as many processes that are warm, (a) the run, from looking through the folder to the written table, (b) a loop that
   decodes and scores and keeps nothing, (c) a loop that scores images decoded before; printed are medians over the rounds and ratios.

Linux only.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import pandas as pd
import tomli_w
import typer
from PIL import Image as Picture
from safetensors.torch import save_file

from benchmarks.networks import CLASSES, random_network
from dashboard.folder_runs import runs
from dashboard.folder_runs.child import Child, cores
from dashboard.folder_runs.listing import units_of
from dashboard.folder_runs.planes import Plane, Wish, decode
from dashboard.folder_runs.pool import ProcessPool
from dashboard.folder_runs.where import Where
from dashboard.folder_runs.work import BATCH, open_model
from dashboard.settings import ROOT
from models.context import RunContext
from models.io.base import QUIET
from models.types import Image
from models.weights import sha256_of

SIDE, INPUT = 64, 128  # pixels of the pictures, and of the network
LOOK_S = 0.2
SCORES_APART = 1e-5


def write_pictures(folder: Path, count: int) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        Picture.fromarray(rng.integers(0, 255, (SIDE, SIDE), dtype=np.uint8)).save(folder / f"{number:06d}.png")


def write_model(folder: Path) -> None:
    folder.mkdir()
    module = random_network("mobilenetv3_small_050")
    weights = folder / "weights.safetensors"
    save_file({name: value.contiguous() for name, value in module.state_dict().items()}, weights)
    card = {
        "id": "small",
        "title": "Small",
        "architecture": "timm:mobilenetv3_small_050",
        "task": "multilabel",
        "classes": list(CLASSES),
        "target_layers": ["blocks.4"],
        "licence": "none",
        "intended_use": "Measurements.",
        "weights": {"file": weights.name, "sha256": sha256_of(weights)},
        "input": {"height": INPUT, "width": INPUT, "modality": ["x-ray"], "mean": [0.5] * 3, "std": [0.25] * 3},
        "training": {"data": "none", "licence": "none"},
    }
    (folder / "card.toml").write_text(tomli_w.dumps(card))


class Looked(threading.Thread):
    """Resident megabytes of a process, and of those that it started, while there are any."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self._over = pid, threading.Event()
        self.driver: list[float] = []
        self.workers: list[float] = []
        self.start()

    def run(self) -> None:
        while not self._over.wait(LOOK_S):
            workers = sum(map(resident, children(self._pid)))
            if workers:  # which come later and go earlier than the driver
                self.driver.append(resident(self._pid))
                self.workers.append(workers)

    def end(self) -> None:
        self._over.set()
        self.join()


def resident(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except (OSError, IndexError):
        return 0.0


def children(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, ancestor = int(path.parent.name), int(path.read_text().rsplit(") ", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
        if ancestor == pid:
            found.append(name)
    return found


def started(folder: Path, model: str, out: Path, workers: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "dashboard", "predict", str(folder), "--model", model, "--out", str(out)]
    command += ["--engine", "processes", "--workers", str(workers)]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=ROOT, stdout=quiet, stderr=quiet, start_new_session=True)


def at_work(run: subprocess.Popen[bytes], out: Path) -> bool:
    """Wait until the first shard is finished; False where the run ended before that was seen."""
    began = time.time()
    while run.poll() is None:
        files = out.with_name(f"{out.stem}.shards").glob("*.shard")
        if any(file.exists() and file.stat().st_mtime > began for file in files):  # what an earlier one left is older
            return True
        time.sleep(0.005)
    return False


def whole_run(folder: Path, model: str, out: Path, workers: int) -> float:
    """Seconds from the first finished shard to the end; prints the memory."""
    run = started(folder, model, out, workers)
    at_work(run, out)
    began, looked = time.perf_counter(), Looked(run.pid)
    assert run.wait() == 0
    seconds = time.perf_counter() - began
    looked.end()
    for name, line in (("driver", looked.driver), ("workers, together", looked.workers)):
        third = max(1, len(line) // 3)
        middle, last = (median(part or [float("nan")]) for part in (line[third : 2 * third], line[2 * third :]))
        print(
            f"resident memory, {name}: middle third {middle:.0f} MB, last third {last:.0f} MB, growth {last - middle:.0f} MB"
        )
    return seconds


def killed_runs(folder: Path, model: str, out: Path, workers: int, seconds: float, kills: int, seed: int) -> None:
    draw = random.Random(seed)
    for number in range(kills):
        run = started(folder, model, out, workers)
        working = at_work(run, out)
        time.sleep(draw.uniform(0, seconds / (kills + 1)))
        helpers = children(run.pid)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        began = time.monotonic()
        while any(Path(f"/proc/{pid}").exists() for pid in helpers):
            assert time.monotonic() - began < 30, "workers outlive the run"
            time.sleep(0.01)
        with closing(sqlite3.connect(out.with_suffix(".journal"))) as journal:
            (done,) = journal.execute("SELECT COUNT(*) FROM ended").fetchone()
        left = len(list(out.with_name(f"{out.stem}.shards").glob("*.shard")))
        state = "at work" if working else "at its end"
        print(f"killed ({number + 1}) {state}: {done:,} images in the journal, {left} finished shards beside it")
    assert started(folder, model, out, workers).wait() == 0


def same(one: Path, other: Path, count: int) -> None:
    first, second = pd.read_parquet(one), pd.read_parquet(other)
    assert len(first) == len(second) == second.image.nunique() == count, (len(first), len(second))
    assert first.image.tolist() == second.image.tolist()
    apart = np.abs(first.iloc[:, 1:].to_numpy() - second.iloc[:, 1:].to_numpy()).max()
    assert apart <= SCORES_APART, apart
    print(f"{len(second):,} rows, none double; scores differ by at most {apart:.1e}")


def loop(kind: str, folder: str, model: str, number: str, of: str) -> None:
    """A child's part of the plain loop: ready, then the seconds of each round asked for."""
    engine, card = open_model(model)
    engine.expect_many(card.id)
    wish = Wish(asdict(card.input.spec), shrink=True)
    units = sorted(units_of([Path(folder)]), key=lambda unit: unit.place)[int(number) :: int(of)]

    def decoded(part: slice) -> list[Image]:
        return [item.image for unit in units[part] for item in decode(unit, wish) if isinstance(item, Plane)]

    parts = [slice(start, start + BATCH) for start in range(0, len(units), BATCH)]
    known = [decoded(part) for part in parts] if kind == "forward" else None
    engine.predict(card.id, decoded(parts[0]), RunContext())
    print("true", flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        with QUIET:
            for place, part in enumerate(parts):
                engine.predict(card.id, decoded(part) if known is None else known[place], RunContext())
        print(json.dumps(time.perf_counter() - began), flush=True)


class Loops:
    """Processes that go through the pictures together."""

    def __init__(self, kind: str, folder: Path, model: str, workers: int) -> None:
        code = "import sys; from benchmarks.batch import loop; loop(*sys.argv[1:])"
        words = [[sys.executable, "-c", code, kind, str(folder), model, str(k), str(workers)] for k in range(workers)]
        threads = {"OMP_NUM_THREADS": str(max(1, cores() // workers))}
        self._children = [Child(one, threads) for one in words]
        self._answers()

    def seconds(self) -> float:
        """Until the last of them is done."""
        for child in self._children:
            child.say("go")
        return max(self._answers())

    def stop(self) -> None:
        for child in self._children:
            child.stop()

    def _answers(self) -> list[float]:
        return [json.loads(child.output.readline()) for child in self._children]


class Warm(ProcessPool):
    """Stays when a run has ended."""

    def close(self) -> None:
        return


def overhead(root: Path, folder: Path, model: str, count: int, workers: int, rounds: int) -> None:
    pool = Warm(workers)
    runs.make_pool = lambda where: pool
    loops = {kind: Loops(kind, folder, model, workers) for kind in ("loop", "forward")}

    def run() -> float:
        began = time.perf_counter()
        done = runs.predict_path(
            folder, model, root / "warm.parquet", None, restart=True, where=Where("processes", workers)
        )
        assert done.written == count
        return time.perf_counter() - began

    run()  # the first loads the model
    taken: dict[str, list[float]] = {"run": [], "loop": [], "forward": []}
    for _ in range(rounds):
        taken["run"].append(run())
        for kind, other in loops.items():
            taken[kind].append(other.seconds())
    for other in loops.values():
        other.stop()
    ProcessPool.close(pool)
    for kind, words in (("run", "batch run"), ("loop", "decode and score alone"), ("forward", "score alone")):
        print(f"{words}: {median(taken[kind]):.2f} s, {count / median(taken[kind]):,.0f} images a second")
    for kind in ("loop", "forward"):
        ratio = median(one / other for one, other in zip(taken["run"], taken[kind], strict=True))
        print(f"batch run over {'decode and score' if kind == 'loop' else 'score alone'}: {ratio:.3f} times as long")


def main(
    count: Annotated[int, typer.Option(help="Pictures.")] = 10_000,
    workers: Annotated[int, typer.Option(help="Processes; 0: as many as cores.")] = 0,
    kills: int = 3,
    rounds: int = 3,
    network: Annotated[str, typer.Option(help="A model's id or folder; the small network if not given.")] = "",
    seed: Annotated[int, typer.Option(help="Of the moments of the kills.")] = 0,
) -> None:
    workers = workers or cores()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        folder, model = root / "in", network or str(root / "model")
        write_pictures(folder, count)
        if not network:
            write_model(root / "model")
        print(f"{count:,} PNG of {SIDE} x {SIDE}, {workers} processes on {cores()} cores")
        seconds = whole_run(folder, model, root / "whole.parquet", workers)
        killed_runs(folder, model, root / "killed.parquet", workers, seconds, kills, seed)
        same(root / "whole.parquet", root / "killed.parquet", count)
        overhead(root, folder, model, count, workers, rounds)


if __name__ == "__main__":
    typer.run(main)
