"""What one core does, and what follows for many devices: ``python -m benchmarks.scaling [--films N]``.

Measured here, for the chest model and its sample films, one thread: decoding, scores in batches, each of the three usual
maps of one finding, writing them, bytes of a question and its answers, bytes kept; and how much of twice the work two
processes do. From these a model of a folder run over ``films`` films (112,120 are ChestX-ray14) is printed: seconds of a
device a film, divided by devices, against the cores that decoding needs. What a GPU would do is no measurement: its seconds
a film are an argument (``--gpu-ms``, by default the target of 40 ms for the three maps), and the rest follows.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer

from dashboard.jobs.store import ResultStore
from dashboard.reports.files import npz_bytes, overlay_png
from dashboard.serving.local import LocalEngine
from dashboard.serving.protocol import AskExplanations
from dashboard.serving.types import ExplainRequest, Explanation
from dashboard.serving.wire import encode
from dashboard.settings import ZOO
from models.context import RunContext
from models.io import read_case
from models.types import Image
from sample_data.samples import list_samples, load_sample

MODEL = "chest-xray-14"
METHODS = ("grad-cam", "integrated-gradients", "occlusion")
FILMS = 112_120
DEVICES = (1, 8, 64)
BATCH = 64
LOOP_S = 15.0


def films(count: int) -> list[Image]:
    entries = [entry for entry in list_samples() if entry.model == MODEL]
    return [load_sample(entry.id).image.slice(0) for entry in entries[:count]]


def each(work: Callable[[Image], object], images: Sequence[Image]) -> float:
    """Median seconds of an image; the first is not counted."""
    work(images[0])
    taken = []
    for image in images[1:]:
        began = time.process_time()
        work(image)
        taken.append(time.process_time() - began)
    return sorted(taken)[len(taken) // 2]


def asked(engine: LocalEngine, image: Image, method: str) -> ExplainRequest:
    card = engine.cards()[MODEL]
    return ExplainRequest(MODEL, image, method, card.target(card.classes[0]))


def loop(done: multiprocessing.Queue[int], gate: multiprocessing.synchronize.Barrier) -> None:
    """Maps by occlusion, one after another, for some seconds."""
    torch.set_num_threads(1)
    engine, images, count = LocalEngine([ZOO]), films(8), 0
    engine.explain(asked(engine, images[0], "occlusion"), RunContext())
    gate.wait()
    until = time.monotonic() + LOOP_S
    while time.monotonic() < until:
        image = images[count % len(images)]
        engine.explain(asked(engine, image, "occlusion"), RunContext())
        count += 1
    done.put(count)
    engine.close()


def together(processes: int) -> int:
    """Maps in all by so many processes at once."""
    context = multiprocessing.get_context("spawn")
    done, gate = context.Queue(), context.Barrier(processes)
    working = [context.Process(target=loop, args=(done, gate)) for _ in range(processes)]
    for process in working:
        process.start()
    counts = [done.get() for _ in working]
    for process in working:
        process.join()
    return sum(counts)


def decoding(count: int = 12) -> float:
    """Seconds to read a film of a megapixel from a PNG."""
    from PIL import Image as Picture

    with tempfile.TemporaryDirectory() as folder:
        film = films(1)[0].values[0]
        grey = (255 * (film - film.min()) / max(float(film.max() - film.min()), 1e-9)).astype("uint8")
        path = Path(folder) / "film.png"
        Picture.fromarray(grey).resize((1024, 1024)).save(path)
        began = time.process_time()
        for _ in range(count):
            read_case(path)
        return (time.process_time() - began) / count


def written(explanation: Explanation, image: Image) -> int:
    return len(npz_bytes(explanation)) + len(overlay_png(image, explanation))


def main(
    count: Annotated[int, typer.Option(help="Films measured.")] = 12,
    gpu_ms: Annotated[float, typer.Option(help="Milliseconds that a GPU takes for the three maps of a film.")] = 40.0,
) -> None:
    torch.set_num_threads(1)
    images, engine = films(count), LocalEngine([ZOO])
    engine.expect_many(MODEL)
    many = (images * (BATCH // len(images) + 1))[:BATCH]
    engine.predict(MODEL, many, RunContext())
    began = time.process_time()
    engine.predict(MODEL, many, RunContext())
    seconds = {"decoding 1024 x 1024": decoding(), "scores, batches of 64": (time.process_time() - began) / BATCH}
    sizes: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        store = ResultStore(Path(folder))
        for method in METHODS:
            seconds[method] = each(lambda image, one=method: engine.explain(asked(engine, image, one), RunContext()), images)  # type: ignore[misc] # fmt: skip
            request = asked(engine, images[0], method)
            found = engine.explain(request, RunContext())
            sizes[f"question, {method}"] = len(encode(AskExplanations(request, (request.target,))))
            sizes[f"answer, {method}"] = len(encode((found,)))
            store.put(method, found)
            sizes[f"kept by the store, {method}"] = (Path(folder) / f"{method}.npz").stat().st_size
            sizes[f"folder run, {method}"] = written(found, images[0])
            seconds[f"writing, {method}"] = each(lambda _, one=found: written(one, images[0]), images)  # type: ignore[misc]
    engine.close()
    one, two = together(1), together(2)
    typer.echo("| measured, one thread | ms a film | films/s |\n|---|---|---|")
    for name, took in seconds.items():
        typer.echo(f"| {name} | {1000 * took:.1f} | {1 / took:.1f} |")
    typer.echo("\n| measured | kB |\n|---|---|")
    for name, size in sizes.items():
        typer.echo(f"| {name} | {size / 1e3:.0f} |")
    share = two / (2 * one)
    typer.echo(f"\ntwo processes on two cores do {two / one:.2f} times the work of one ({share:.0%} of twice)\n")
    maps = sum(seconds[method] for method in METHODS)
    writing = sum(seconds[f"writing, {method}"] for method in METHODS)
    host = seconds["decoding 1024 x 1024"] + writing
    kept = sum(sizes[f"folder run, {method}"] for method in METHODS)
    wire = sum(size for name, size in sizes.items() if name.startswith(("question", "answer")))
    typer.echo(f"{FILMS} films, scores and three maps of one finding each: {FILMS * kept / 1e9:.0f} GB written")
    typer.echo("| devices | hours, CPU cores | hours, GPUs | cores that decode and write for them | MB/s if sent |")
    typer.echo("|---|---|---|---|---|")
    gpu = gpu_ms / 1000
    for devices in DEVICES:
        core_hours = FILMS * (maps + host + seconds["scores, batches of 64"]) / devices / share / 3600
        gpu_hours = FILMS * gpu / devices / 3600
        cores, traffic = devices * host / gpu, devices * wire / gpu / 1e6
        typer.echo(f"| {devices} | {core_hours:.1f} | {gpu_hours:.2f} | {cores:.1f} | {traffic:.0f} |")


if __name__ == "__main__":
    typer.run(main)
