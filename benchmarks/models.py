"""What the shipped models cost: ``python -m benchmarks.models``.

For each model, in a process of its own: seconds to load, one forward pass of one image at the model's input size on
one and on two threads (median of 30), memory above the libraries. Then all models loaded in one process, and the first
page of the app with all of them known, from the start of the process.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

import torch
import typer

from models.card import find_cards
from models.context import RunContext
from models.handle import ModelHandle

ROOT = Path(__file__).parents[1]
ROUNDS = 30
APP = "from streamlit.testing.v1 import AppTest as A\ntest = A.from_file('app.py', default_timeout=300).run()\nassert not test.exception"


def megabytes() -> float:
    """Largest resident size of the process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def loaded(name: str) -> tuple[ModelHandle, float]:
    card = find_cards([ROOT / "models" / "zoo"])[0][name]
    began = time.perf_counter()
    handle = ModelHandle.load(card)
    return handle, time.perf_counter() - began


def forward(handle: ModelHandle) -> float:
    """Milliseconds of one image, median."""
    spec = handle.card.input.spec
    image = torch.rand(1, spec.channels, spec.height, spec.width)
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        handle.forward(image, RunContext())
        times.append(1000 * (time.perf_counter() - began))
    return sorted(times)[ROUNDS // 2]


def one(name: str) -> None:
    """A line of the table; run as a process of its own."""
    before = megabytes()
    handle, seconds = loaded(name)
    passes = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        passes.append(forward(handle))
    size = (handle.card.folder / handle.card.weights.file).stat().st_size / 1e6
    print(
        f"{name:20}{size:8.1f}{seconds:8.2f}{passes[0]:10.1f}{passes[1]:10.1f}{megabytes() - before:8.0f}", flush=True
    )


def everything() -> None:
    handles = [loaded(name)[0] for name in sorted(find_cards([ROOT / "models" / "zoo"])[0])]
    for handle in handles:
        forward(handle)
    print(
        f"all {len(handles)} models loaded and used: {megabytes():.0f} MB in the process, libraries included",
        flush=True,
    )


def main(model: str = typer.Argument("", help="One model, or 'all' in one process; nothing: the whole table.")) -> None:
    if model == "all":
        everything()
        return
    if model:
        one(model)
        return
    print(
        f"{'model':20}{'MB':>8}{'load s':>8}{'1 thread':>10}{'2 threads':>10}{'+MB':>8}   (ms for one image)",
        flush=True,
    )
    for name in [*sorted(find_cards([ROOT / "models" / "zoo"])[0]), "all"]:
        subprocess.run([sys.executable, "-m", "benchmarks.models", name], cwd=ROOT, check=True)
    for words in ("first", "second"):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", APP], cwd=ROOT, check=True, capture_output=True)
        print(
            f"first page of the app, {words} start: {time.perf_counter() - began:.1f} s from the start of the process"
        )


if __name__ == "__main__":
    typer.run(main)
