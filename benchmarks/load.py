"""Twenty readers at once: ``python -m benchmarks.load [--readers N] [--seconds S] [--engine URL]``.

Each reader opens a case, waits for the scores, asks for the three usual maps as the Case page does, looks at them for some
seconds and opens the next. A case is a real film or photograph of the samples under a little noise of its own, so that no
result is had twice. Afterwards every scores and map is computed once more, alone and one after another, and compared.

With ``--engine`` the readers' desk asks a server (its processes' ids as ``--pids`` for their memory), else this process.
"""

from __future__ import annotations

import random
import re
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from dashboard.cases import middle_slice
from dashboard.jobs.desk import Desk
from dashboard.jobs.runner import IDLE_S
from dashboard.jobs.store import ResultStore
from dashboard.serving.factory import make_engine
from dashboard.serving.local import LocalEngine
from dashboard.serving.types import ExplainRequest, Explanation
from dashboard.settings import ZOO, Settings
from models.context import RunContext
from models.types import FloatArray, Image, Target
from sample_data.samples import list_samples, load_sample

MODELS = ("chest-xray-14", "brain-tumor-mri", "skin-lesion-7", "lung-cancer-ct")
METHODS = ("grad-cam", "integrated-gradients", "occlusion")
LOOKS_S = (2.0, 6.0)
NOISE = 0.01  # of the range of values
POLL_S = 0.05
EXACT = {"grad-cam": 1e-5, "occlusion": 1e-5, "integrated-gradients": 1e-3}  # of the map's range; relative L2


@dataclass
class Opened:
    """A case that a reader opened, and what came of it."""

    model: str
    image: Image
    logits: FloatArray | None = None
    target: Target | None = None
    maps: dict[str, Explanation] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)


class Reader:
    """One person at a screen."""

    def __init__(self, number: int, desk: Desk, pictures: dict[str, list[Image]], until: float) -> None:
        self._name, self._desk, self._pictures, self._until = f"reader-{number}", desk, pictures, until
        self._random, self._noise = random.Random(number), np.random.default_rng(number)
        self.opened: list[Opened] = []

    def read(self) -> None:
        time.sleep(self._random.uniform(0, LOOKS_S[1]))  # not all in the same moment
        while time.monotonic() < self._until:
            model = self._random.choice(MODELS)
            one = Opened(model, self._case(model))
            self.opened.append(one)
            self._work(one)
            time.sleep(self._random.uniform(*LOOKS_S))

    def _case(self, model: str) -> Image:
        image = self._random.choice(self._pictures[model])
        spread = NOISE * float(image.values.max() - image.values.min())
        noise = self._noise.normal(0, spread, image.values.shape).astype(np.float32)
        values = np.clip(image.values + noise, image.values.min(), image.values.max())
        return Image(values, image.unit, image.modality, windows=image.windows, inverted=image.inverted)

    def _work(self, one: Opened) -> None:
        began = time.perf_counter()
        try:
            prediction = self._desk.predict(one.model, one.image)
        except Exception as error:
            one.lost.append(f"scores: {error}")
            return
        one.seconds["scores"] = time.perf_counter() - began
        card = self._desk.engine.cards()[one.model]
        one.logits, one.target = prediction.logits, card.target(card.classes[prediction.leading])
        requests = {method: ExplainRequest(one.model, one.image, method, one.target) for method in METHODS}
        open_ = set(METHODS)
        while open_:
            for method in sorted(open_):
                answer = self._desk.ask(requests[method], self._name)
                if answer.active:
                    continue
                open_.discard(method)
                one.seconds[method] = time.perf_counter() - began
                if answer.explanation is None:
                    one.lost.append(f"{method}: {answer.state} {answer.message}")
                else:
                    one.maps[method] = answer.explanation
            time.sleep(POLL_S)


def wrong(one: Opened, alone: LocalEngine) -> list[str]:
    """What differs from the same work done alone."""
    found = []
    (prediction,) = alone.predict(one.model, [one.image], RunContext())
    if one.logits is not None and np.abs(prediction.logits - one.logits).max() > 1e-4:
        found.append(f"scores by {np.abs(prediction.logits - one.logits).max():.1e}")
    for method, explanation in one.maps.items():
        assert one.target is not None
        expected = alone.explain(ExplainRequest(one.model, one.image, method, one.target), RunContext())
        values, wanted = explanation.attribution.values, expected.attribution.values
        if method == "integrated-gradients":
            gap = float(np.linalg.norm(values - wanted) / max(np.linalg.norm(wanted), 1e-12))
        else:
            gap = float(np.abs(values - wanted).max() / max(float(np.ptp(wanted)), 1e-12))
        if gap > EXACT[method]:
            found.append(f"{method} by {gap:.1e}")
    return found


def resident_mb(pids: list[int]) -> list[float]:
    """Memory of each of those processes."""
    lines = (re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid or 'self'}/status").read_text()) for pid in pids)
    return [int(line[1]) / 1024 if line else 0.0 for line in lines]


def main(
    readers: int = 20,
    seconds: float = 120.0,
    engine: Annotated[str, typer.Option(help="Address of a server; this process if not given.")] = "",
    check: Annotated[bool, typer.Option(help="Compute everything once more, alone, and compare.")] = True,
    pids: Annotated[str, typer.Option(help="Ids of the server's processes, separated by commas.")] = "",
) -> None:
    pictures: dict[str, list[Image]] = {}
    for model in MODELS:
        entries = [entry for entry in list_samples() if entry.model == model][:4]
        images = [load_sample(entry.id).image for entry in entries]
        pictures[model] = [image.slice(middle_slice(image)) for image in images]
    alone = LocalEngine([ZOO])
    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(make_engine(Settings(engine=engine, cache=Path(folder))), ResultStore(Path(folder) / "results"))
        for model, images in pictures.items():  # what is loaded and measured once
            Reader(readers, desk, {}, 0.0)._work(Opened(model, images[0]))
        watched = [0, *(int(pid) for pid in pids.split(",") if pid)]
        before = resident_mb(watched)
        until = time.monotonic() + seconds
        people = [Reader(number, desk, pictures, until) for number in range(readers)]
        working = [threading.Thread(target=one.read) for one in people]
        began = time.monotonic()
        for thread in working:
            thread.start()
        for thread in working:
            thread.join()
        took, after = time.monotonic() - began, resident_mb(watched)
        time.sleep(IDLE_S + 5)
        memory = list(zip(before, after, resident_mb(watched), strict=True))
        desk.close()
    opened = [one for person in people for one in person.opened]
    lost = [sentence for one in opened for sentence in one.lost]
    typer.echo(f"{readers} readers, {len(opened)} cases in {took:.0f} s, {'server' if engine else 'in process'}")
    typer.echo("| seconds from opening to | n | p50 | p95 | p99 |\n|---|---|---|---|---|")
    for name in ("scores", *METHODS):
        times = np.array([one.seconds[name] for one in opened if name in one.seconds])
        p50, p95, p99 = np.quantile(times, (0.5, 0.95, 0.99))
        typer.echo(f"| {name} | {len(times)} | {p50:.2f} | {p95:.2f} | {p99:.2f} |")
    held = sum(one.image.values.nbytes + sum(x.attribution.values.nbytes for x in one.maps.values()) for one in opened)
    typer.echo(f"of it {held / 2**20:.0f} MB are images and maps that this benchmark keeps to compare")
    for pid, figures in zip(watched, memory, strict=True):
        start, end, rested = (f"{figure:.0f} MB" for figure in figures)
        who = f"the server's process {pid}" if pid else "this process"
        typer.echo(
            f"memory of {who}: {start} at the start, {end} at the end, {rested} after {IDLE_S + 5:.0f} s of rest"
        )
    differing = [sentence for one in opened for sentence in wrong(one, alone)] if check else []
    alone.close()
    typer.echo(f"lost {len(lost)}, wrong {len(differing) if check else 'not checked'}")
    for sentence in [*lost, *differing][:20]:
        typer.echo(f"  {sentence}")
    raise typer.Exit(bool(lost or differing))


if __name__ == "__main__":
    typer.run(main)
