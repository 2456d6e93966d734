"""How near a folder run comes to the network alone, and what it keeps in memory: ``python -m benchmarks.folder``.

Writes pictures of chest phantoms, then in turns (1) scores them decoded and at the network's size, from memory, in the
best of three batch sizes, and (2) runs ``predict`` on the folder. Printed are medians over the rounds: images a second
by the clock and by CPU time of the process with the network once the run is under way, their ratios, the network's
share of that CPU time, and the CPU time of the decoding processes for an image, their start included. With one thread
for the network the decoding has a core of its own on two cores; with two it has not.

Then the largest resident size of ``python -m dashboard predict`` on 1,000 and on 10,000 files (hard links of a few).
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image as Picture
from threadpoolctl import threadpool_limits

from dashboard.folder_runs import runs
from dashboard.folder_runs.listing import units_of
from dashboard.folder_runs.planes import Plane, Wish, decode
from dashboard.folder_runs.runs import predict_path
from dashboard.serving.local import LocalEngine
from dashboard.settings import ROOT, ZOO
from models.context import RunContext
from models.types import Image
from sample_data.samples import list_samples, load_sample

MODEL = "chest-xray-14"
BATCHES = (8, 16, 32)
PEAK = """import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, capture_output=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"""


def write_pictures(folder: Path, count: int, size: int) -> None:
    """8-bit PNG of the phantoms, each with noise of its own."""
    folder.mkdir(parents=True)
    names = [entry.id for entry in list_samples() if entry.system == MODEL and entry.kind == "phantom"]
    grey = [load_sample(name).image.display()[0] for name in names]
    films = [np.asarray(Picture.fromarray((film * 255).astype(np.uint8)).resize((size, size))) for film in grey]
    rng = np.random.default_rng(0)
    for number in range(count):
        noisy = films[number % len(films)] + rng.normal(0, 3, (size, size))
        Picture.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number:05d}.png")


def clocks() -> tuple[float, float, float]:
    """Wall time, CPU time of this process, CPU time of ended child processes."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter(), time.process_time(), children.ru_utime + children.ru_stime


def alone(engine: LocalEngine, images: list[Image], size: int) -> tuple[float, float]:
    """Images a second by the clock and by CPU time, in batches of ``size``."""
    began = clocks()
    for start in range(0, len(images), size):
        engine.predict(MODEL, images[start : start + size], RunContext())
    ended = clocks()
    return len(images) / (ended[0] - began[0]), len(images) / (ended[1] - began[1])


class Timed:
    """The engine's ``predict`` with the CPU time that it took."""

    def __init__(self, engine: LocalEngine) -> None:
        self._predict, self.seconds = engine.predict, 0.0
        engine.predict = self  # type: ignore[method-assign]

    def __call__(self, *given: Any) -> Any:
        began = time.thread_time()
        try:
            return self._predict(*given)
        finally:
            self.seconds += time.thread_time() - began


def as_folder(folder: Path, out: Path, count: int, workers: int, network: Timed) -> tuple[float, float, float, float]:
    """Images a second by the clock and by CPU time of this process, the network's share of that time, and milliseconds
    of the other processes for an image.

    The first three from a quarter of the run to its end, so that the start of the workers does not count.
    """
    marks: list[tuple[float, ...]] = []
    began = clocks()
    show = lambda one, _: marks.append((one, *clocks()[:2], network.seconds))  # noqa: E731
    done = predict_path(folder, MODEL, out, None, show, workers, True)
    assert done.written == count
    first = next(mark for mark in marks if mark[0] >= count // 4)
    images, wall, own, forward = (after - before for after, before in zip(marks[-1], first, strict=True))
    return images / wall, images / own, forward / own, 1000 * (clocks()[2] - began[2]) / count


def speed(root: Path, count: int, size: int, threads: int, rounds: int) -> None:
    torch.set_num_threads(threads)
    threadpool_limits(threads)  # the libraries under numpy, whose idle threads would count
    folder = root / f"{size}-{threads}"
    write_pictures(folder, count, size)
    engine = LocalEngine((ZOO,))
    card = engine.cards()[MODEL]
    wish = Wish(asdict(card.input.spec), shrink=True)
    items = [item for unit in units_of([folder]) for item in decode(unit, wish)]
    images = [item.image for item in items if isinstance(item, Plane)]
    runs.open_model = lambda model: (engine, card)  # loaded once: the rate is that of a run under way
    alone(engine, images[:64], 8)
    network = Timed(engine)
    marks: dict[int, list[tuple[float, float]]] = {one: [] for one in BATCHES}
    lines: dict[int, list[tuple[float, ...]]] = {workers: [] for workers in (0, 1)}
    for _ in range(rounds):
        for one, mark in marks.items():
            mark.append(alone(engine, images, one))
        for workers, line in lines.items():
            line.append(as_folder(folder, root / "scores.parquet", count, workers, network))
    best = max(marks.values(), key=lambda mark: median(own for _, own in mark))
    for workers, line in lines.items():
        wall, own, share, others = (median(column) for column in zip(*line, strict=True))
        ratios = [median(run[k] / mark[k] for run, mark in zip(line, best, strict=True)) for k in (0, 1)]
        print(
            f"{size:6}{threads:9}{workers:9}{median(b[0] for b in best):10.1f}{wall:10.1f}{ratios[0]:8.2f}"
            f"{median(b[1] for b in best):12.1f}{own:10.1f}{ratios[1]:8.2f}{share:9.2f}{others:12.2f}",
            flush=True,
        )


def peak(root: Path, count: int) -> float:
    """Megabytes."""
    source = root / "few"
    if not source.exists():
        write_pictures(source, 16, 128)
    folder = root / f"many-{count}"
    folder.mkdir()
    for number in range(count):
        os.link(source / f"{number % 16:05d}.png", folder / f"{number:06d}.png")
    run = [sys.executable, "-m", "dashboard", "predict", str(folder), "--model", MODEL]
    command = [sys.executable, "-c", PEAK, *run, "--out", str(root / f"{count}.parquet"), "--restart"]
    return int(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout) / 1e3


def main(
    count: Annotated[int, typer.Option(help="Pictures for the speed.")] = 320,
    rounds: int = 5,
    sizes: str = "128,256,640",
    threads: Annotated[str, typer.Option(help="Of the network.")] = "1",
    memory: Annotated[bool, typer.Option(help="Measure the memory too (minutes).")] = True,
) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        print(f"{MODEL}, {count} PNG; images a second, by the clock and by CPU time of the process with the network")
        print(
            f"{'pixels':>6}{'threads':>9}{'workers':>9}{'alone':>10}{'folder':>10}{'ratio':>8}"
            f"{'alone CPU':>12}{'folder':>10}{'ratio':>8}{'network':>9}{'others ms':>12}"
        )
        for size in sizes.split(","):
            for number in threads.split(","):
                speed(root, count, int(size), int(number), rounds)
        if memory:
            few, many = peak(root, 1000), peak(root, 10000)
            print(
                f"largest resident size: {few:.0f} MB at 1,000 files, {many:.0f} MB at 10,000, growth {many - few:.0f} MB"
            )


if __name__ == "__main__":
    typer.run(main)
