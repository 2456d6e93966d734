"""Explanations against the libraries as their users call them: ``python -m benchmarks.explain [--quick] [--write]``.

CPU seconds of one thread (wall time of several), interleaved in one run, medians. "default" is the call as the library's
documentation shows it, "best" the fastest setting found (batches of 8). Five classes are five calls of a library. Networks of
timm run at 224 px with random weights in which every branch matters; the shipped models have their own weights and sizes.
``--write`` puts the tables into docs/performance.md.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import geometric_mean, median

import numpy as np
import torch
import typer
from captum.attr import IntegratedGradients, LayerGradCam, Occlusion
from numpy.typing import NDArray
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

import explainers
from benchmarks.networks import prepared, shipped_cards
from explainers.runtime.model import PreparedModel
from models.context import RunContext
from models.preprocess import Prepared
from models.types import Target

NETWORKS = ("densenet121", "resnet50", "tf_efficientnet_lite0", "convnext_tiny")
WINDOW, STRIDE, STEPS, BATCH, CLASSES = 32, 16, 50, 8, 5
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
MARKS = ("<!-- explanations: made by benchmarks.explain -->", "<!-- explanations: end -->")
Maps = NDArray[np.float32]
Work = Callable[[], Maps]


@dataclass
class Measured:
    """Medians of one network: seconds by method and variant, difference from the library's map."""

    seconds: dict[tuple[str, str], float] = field(default_factory=dict)
    difference: dict[str, float] = field(default_factory=dict)

    def ratio(self, method: str, variant: str, ours: str = "ours") -> float:
        return self.seconds[method, variant] / self.seconds[method, ours]


class Subject:
    """One network with everything that is called on it."""

    def __init__(self, name: str) -> None:
        self.model: PreparedModel = prepared(name)
        self.image = torch.randn(self.model.probe.shape, generator=torch.Generator().manual_seed(1))
        self.layer = self.model.default_layer
        self.targets = [Target(str(k), k) for k in range(min(CLASSES, len(self.model.card.classes)))]
        self.module: nn.Module = self.model.exact.copied().eval().requires_grad_(False)

    def ours(self, method: str, targets: Sequence[Target], **params: object) -> Work:
        explainer = explainers.get(method)
        resolved = explainer.spec.resolve(params)
        if "layer" in resolved:
            resolved["layer"] = self.layer

        def work() -> Maps:
            self.model.forget()
            with self.model.passes(RunContext()) as passes:
                found = explainer.explain(passes, self.given, targets, resolved, 0)
            return np.stack([one.native if one.native is not None else one.values for one in found])

        return work

    @property
    def given(self) -> Prepared:
        nothing = torch.zeros(self.image.shape[1])
        return Prepared(self.image, np.eye(3), (self.image.shape[2], self.image.shape[3]), nothing, nothing)

    def scores(self, module: nn.Module) -> Work:
        def work() -> Maps:
            with torch.no_grad():
                return np.asarray(module(self.image))

        return work

    def cam(self) -> Work:
        def work() -> Maps:
            with GradCAM(self.module, [self.module.get_submodule(self.layer)]) as cam:
                return np.asarray(cam(self.image.clone().requires_grad_(), [ClassifierOutputTarget(0)]))

        return work

    def captum_cam(self) -> Work:
        made = LayerGradCam(self.module, self.module.get_submodule(self.layer))
        return lambda: _array(made.attribute(self.image.clone().requires_grad_(), 0)[0])

    def gradients(self, batch: int | None, steps: int = STEPS) -> Work:
        made = IntegratedGradients(self.module)
        settings = {} if batch is None else {"internal_batch_size": batch}
        return lambda: _array(made.attribute(self.image.clone(), n_steps=steps, target=0, **settings))

    def occlusion(self, batch: int) -> Work:
        made, channels = Occlusion(self.module), self.image.shape[1]
        shape, steps = (channels, WINDOW, WINDOW), (channels, STRIDE, STRIDE)
        return lambda: _array(made.attribute(self.image, shape, steps, 0, 0, perturbations_per_eval=batch)[:, :1])


def _array(values: Tensor) -> Maps:
    return values.detach().numpy()


def measure(name: str, rounds: int) -> tuple[Measured, str]:
    """All of one network; also what the prepared model says of how windows are hidden."""
    subject = Subject(name)
    one, five = subject.targets[:1], subject.targets
    windows = {"window": WINDOW, "stride": STRIDE, "fill": "mean"}
    fixed = {"steps": STEPS, "rule": "Gauss-Legendre"}
    works: dict[str, dict[str, Work]] = {
        "scores": {"default": subject.scores(subject.module)},
        "scores and CAMs": {"ours": subject.ours("grad-cam", five)},
        "Grad-CAM": {
            "ours": subject.ours("grad-cam", one),
            "default": subject.cam(),
            "best": subject.captum_cam(),
        },
        "integrated gradients": {
            "ours": subject.ours("integrated-gradients", one, **fixed),
            "ours, five": subject.ours("integrated-gradients", five, **fixed),
            "default": subject.gradients(None),
            "best": subject.gradients(BATCH),
        },
        "occlusion": {
            "ours": subject.ours("occlusion", one, **windows),
            "ours, five": subject.ours("occlusion", five, **windows),
            "default": subject.occlusion(1),
            "best": subject.occlusion(BATCH),
        },
    }
    works["occlusion"]["ours"]()  # makes ready and chooses
    found = Measured()
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    for method, variants in works.items():
        quick = method in ("scores", "scores and CAMs", "Grad-CAM")
        times: dict[str, list[float]] = {variant: [] for variant in variants}
        maps: dict[str, Maps] = {}
        for _ in range(5 * rounds if quick else rounds):
            for variant, work in variants.items():
                began = clock()
                maps[variant] = work()
                times[variant].append(clock() - began)
        for variant, taken in times.items():
            found.seconds[method, variant] = median(taken)
        if "best" in maps:
            own, library = maps["ours"][0].squeeze(), maps["best"][0].squeeze()
            found.difference[method] = (
                float(np.linalg.norm(own - library) / np.linalg.norm(library))
                if method == "integrated gradients"
                else float(np.abs(own - library).max() / np.ptp(library))
            )
    choice = subject.model.choice
    subject.model.close()
    return found, "" if choice is None else choice.words


def tables(results: dict[str, tuple[Measured, str]]) -> str:
    """Markdown."""
    lines = ["| | " + " | ".join(results) + " |", "|---|" + "---|" * len(results)]

    def row(title: str, cell: Callable[[Measured], str]) -> None:
        lines.append(f"| {title} | " + " | ".join(cell(found) for found, _ in results.values()) + " |")

    row("scores, as loaded, s (F)", lambda m: f"{m.seconds['scores', 'default']:.3f}")
    row("scores and Grad-CAMs of all classes, in F", lambda m: f"{_in_f(m, 'scores and CAMs'):.2f}")
    for method in ("Grad-CAM", "integrated gradients", "occlusion"):
        row(f"{method}, ours, s", lambda m, method=method: f"{m.seconds[method, 'ours']:.3f}")
        for variant in ("default", "best"):
            row(f"library's {variant} against it", lambda m, v=variant, k=method: f"{m.ratio(k, v):.2f} x")
        if method != "Grad-CAM":
            for variant in ("default", "best"):
                row(
                    f"five classes, library's {variant} against ours",
                    lambda m, v=variant, k=method: f"{5 * m.ratio(k, v, 'ours, five'):.1f} x",
                )
        row("difference from captum's map", lambda m, k=method: f"{m.difference[k]:.0e}")
    for variant in ("default", "best"):
        row(f"the three together, {variant}", lambda m, v=variant: f"{_trio(m, v):.2f} x")
        row(f"the three together, five classes, {variant}", lambda m, v=variant: f"{_trio(m, v, 5):.2f} x")
    lines += ["", "How windows are hidden: " + "; ".join(f"{name}: {words}" for name, (_, words) in results.items())]
    for title, classes in (("one class", 1), ("five classes", 5)):
        means = [geometric_mean(_trio(m, v, classes) for m, _ in results.values()) for v in ("default", "best")]
        lines += [
            "",
            f"The three together, {title}, geometric mean: {means[0]:.2f} x less CPU time than the libraries'",
        ]
        lines[-1] += f" defaults, {means[1]:.2f} x less than their best settings."
    return "\n".join(lines) + "\n"


def _in_f(found: Measured, method: str) -> float:
    return found.seconds[method, "ours"] / found.seconds["scores", "default"]


def _trio(found: Measured, variant: str, classes: int = 1) -> float:
    """The library's time for the three methods over ours."""
    methods = ("integrated gradients", "occlusion")
    theirs = classes * sum(found.seconds[method, variant] for method in ("Grad-CAM", *methods))
    own = "ours" if classes == 1 else "ours, five"
    return theirs / (found.seconds["scores and CAMs", "ours"] + sum(found.seconds[method, own] for method in methods))


def main(
    quick: bool = typer.Option(False, "--quick", help="One network and one shipped model, under 3 minutes."),
    write: bool = typer.Option(False, "--write", help="Put the tables into docs/performance.md."),
    rounds: int = typer.Option(3, help="Runs of the slow methods."),
    threads: int = typer.Option(1, help="Threads of torch and OpenVINO."),
) -> None:
    torch.set_num_threads(threads)
    chosen = (("resnet50",), ("chest-xray-14",)) if quick else (NETWORKS, tuple(sorted(shipped_cards())))
    rounds = 1 if quick else rounds
    parts = []
    for title, names in zip(("Random weights, 224 px", "Shipped models"), chosen, strict=True):
        results = {}
        for name in names:
            results[name] = measure(name, rounds)
            typer.echo(f"{name} done", err=True)
        parts.append(f"### {title}\n\n{tables(results)}")
    stamp = f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, torch {torch.__version__}, threads: {threads}, rounds: {rounds}"
    text = f"{stamp}.\n\n" + "\n".join(parts)
    typer.echo(text)
    if write:
        page = PAGE.read_text()
        before, rest = page.split(MARKS[0])
        PAGE.write_text(f"{before}{MARKS[0]}\n{text}{MARKS[1]}{rest.split(MARKS[1])[1]}")


if __name__ == "__main__":
    typer.run(main)
