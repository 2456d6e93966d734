"""How long a stored map takes to put and to find again: ``python -m benchmarks.store``.

Milliseconds, median and 95th percentile, for maps of noise (which no file format makes smaller), in a folder that holds
nothing else and in one of thousands of results, and for a store at its limit, where each put pushes others out.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from dashboard.jobs.store import ResultStore
from dashboard.serving.types import Explanation
from explainers.types import Attribution
from models.types import Target

SHAPES = ((3, 224, 224), (3, 512, 512))
SMALL = (1, 16, 16)
ROUNDS = 100


def made(shape: tuple[int, ...], seed: int = 0) -> Explanation:
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    attribution = Attribution(
        "occlusion", "Occlusion", Target("Mass", 4), values, True, "logit", {"window": 32}, 0, 1.5
    )
    return Explanation(attribution, np.eye(3), (1024, 1024), {"model": "chest-xray-14", "device": "cpu"})


def key_of(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def timed(work: Callable[[int], object]) -> str:
    times = []
    for number in range(ROUNDS):
        began = time.perf_counter()
        work(number)
        times.append(1000 * (time.perf_counter() - began))
    return f"{np.median(times):10.2f}{np.percentile(times, 95):10.2f}"


def main(entries: Annotated[int, typer.Option(help="Results in the full folder.")] = 5000) -> None:
    print(f"{'map':>16}{'in folder':>12}{'put p50':>10}{'put p95':>10}{'get p50':>10}{'get p95':>10}   (ms)")
    with tempfile.TemporaryDirectory() as name:
        for others in (0, entries):
            store = ResultStore(Path(name) / str(others), 100_000)
            for number in range(others):
                store.put(key_of(-1 - number), made(SMALL))
            for shape in SHAPES:
                explanation = made(shape)
                put = timed(lambda number, store=store, one=explanation: store.put(key_of(number), one))
                get = timed(lambda number, store=store: store.get(key_of(number)))
                print(f"{' x '.join(map(str, shape)):>16}{others:12,}{put}{get}")
        store = ResultStore(Path(name) / "full", 16)
        large = made(SHAPES[1])
        put = timed(lambda number: store.put(key_of(number), large))
        print(f"{'at the limit':>16}{'':12}{put}")


if __name__ == "__main__":
    typer.run(main)
