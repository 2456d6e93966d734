"""Explanations against the libraries as their users call them: ``python -m benchmarks.explain [--quick]``.

CPU seconds of one thread, interleaved in one run, medians; "best" is the library's fastest setting found (batches of 8).
Networks of timm at 224 px have random weights in which every branch matters (timm starts residual branches at zero);
the shipped models have their own weights and sizes. The largest difference from captum's map is relative to its range.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import timm
import torch
import typer
from captum.attr import IntegratedGradients, Occlusion
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

import explainers
from explainers.layers import candidate_layers
from explainers.runtime.folding import fold
from models.card import find_cards
from models.context import RunContext
from models.handle import ModelHandle
from models.preprocess import Prepared
from models.types import FloatArray, Target

NETWORKS = ("densenet121", "resnet50", "tf_efficientnet_lite0", "convnext_tiny")
ZOO = Path(__file__).parents[1] / "models" / "zoo"
WINDOW, STRIDE, STEPS, BATCH = 32, 16, 50, 8
Work = Callable[[], FloatArray]


def random_network(architecture: str) -> nn.Module:
    """Weights of seed 0 with normalisation and layer scale away from zero."""
    torch.manual_seed(0)
    module = timm.create_model(architecture, pretrained=False, num_classes=5).eval()
    draw = torch.Generator().manual_seed(0)
    for name, weight in module.named_parameters():
        if weight.ndim == 1:
            low, high = (-0.2, 0.2) if name.endswith("bias") else (0.6, 1.4)
            weight.data = torch.rand(weight.shape, generator=draw) * (high - low) + low
    return module


def plain(image: torch.Tensor) -> Prepared:
    """An input without an image behind it."""
    nothing = torch.zeros(image.shape[1])
    return Prepared(image, np.eye(3), (int(image.shape[2]), int(image.shape[3])), nothing, nothing)


def seconds(work: Work) -> tuple[float, FloatArray]:
    began = time.process_time()
    values = work()
    return time.process_time() - began, values


def ours(method: str, module: nn.Module, prepared: Prepared, **params: object) -> Work:
    explainer = explainers.get(method)
    resolved = explainer.spec.resolve(params)
    target = Target("first", 0)

    def work() -> FloatArray:
        return explainer.explain(module, prepared, [target], resolved, 0, RunContext())[0].values

    return work


def table(name: str, module: nn.Module, prepared: Prepared, layer: str, rounds: int) -> None:
    image = prepared.tensor
    for weight in module.parameters():
        weight.requires_grad_(False)
    fast = fold(module, image)
    shape = (image.shape[1], WINDOW, WINDOW)
    steps = (image.shape[1], STRIDE, STRIDE)

    def occlusion(batch: int) -> Work:
        return lambda: (
            Occlusion(module)
            .attribute(image, shape, steps, baselines=0, target=0, perturbations_per_eval=batch)[0, :1]
            .numpy()
        )

    def gradients(batch: int | None) -> Work:
        return lambda: (
            IntegratedGradients(module)
            .attribute(image.clone(), n_steps=STEPS, target=0, internal_batch_size=batch, method="gausslegendre")[0]
            .detach()
            .numpy()
        )

    def cam() -> FloatArray:
        found: FloatArray = GradCAM(module, [module.get_submodule(layer)])(
            image.clone().requires_grad_(), [ClassifierOutputTarget(0)]
        )
        return found

    def forward(network: nn.Module) -> Work:
        def work() -> FloatArray:
            with torch.inference_mode():
                found: FloatArray = network(image).numpy()
            return found

        return work

    zero = {"window": WINDOW, "stride": STRIDE, "fill": "mean"}
    works: dict[str, dict[str, Work]] = {
        "scores": {"ours": forward(fast.module), "as loaded": forward(module)},
        "Grad-CAM": {"ours": ours("grad-cam", fast.module, prepared, layer=layer), "default": cam},
        "occlusion": {
            "ours": ours("occlusion", fast.module, prepared, **zero),
            "default": occlusion(1),
            "best": occlusion(BATCH),
        },
        "integrated gradients": {
            "ours": ours("integrated-gradients", module, prepared, steps=STEPS),
            "default": gradients(None),
            "best": gradients(BATCH),
        },
    }
    for method, variants in works.items():
        times: dict[str, list[float]] = {variant: [] for variant in variants}
        maps: dict[str, FloatArray] = {}
        for _ in range(rounds if method in ("occlusion", "integrated gradients") else 5 * rounds):
            for variant, work in variants.items():
                taken, maps[variant] = seconds(work)
                times[variant].append(taken)
        own = median(times["ours"])
        rest = "".join(
            f"  {variant} {median(taken):7.3f} s = {median(taken) / own:4.2f} x"
            for variant, taken in times.items()
            if variant != "ours"
        )
        gap = ""
        if method == "occlusion":
            span = float(np.ptp(maps["best"]))
            gap = f"  difference {float(np.abs(maps['ours'] - maps['best']).max()) / span:.1e}"
        print(f"{name:22}{method:22}ours {own:7.3f} s{rest}{gap}", flush=True)


def main(
    quick: bool = typer.Option(False, "--quick", help="One network and one shipped model, under 3 minutes."),
) -> None:
    torch.set_num_threads(1)
    rounds = 1 if quick else 3
    for name in ("resnet50",) if quick else NETWORKS:
        module = random_network(name)
        image = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
        layer = candidate_layers(module, image)[0].name
        table(name, module, plain(image), layer, rounds)
    cards = find_cards([ZOO])[0]
    for name in ("chest-xray-14",) if quick else sorted(cards):
        handle = ModelHandle.load(cards[name])
        spec = handle.card.input
        image = torch.randn(1, spec.channels, spec.height, spec.width, generator=torch.Generator().manual_seed(1))
        with handle.exclusive(RunContext()) as module:
            table(name, module, plain(image), handle.card.target_layers[0], rounds)


if __name__ == "__main__":
    typer.run(main)
