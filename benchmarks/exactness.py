"""Our maps against captum's on many architectures: ``python -m benchmarks.exactness [NAMES ...]``.

Random weights in which every branch matters. Occlusion and Grad-CAM: largest difference from the map in double precision,
relative to its range, beside captum's own in single precision. Integrated gradients at equal points: relative L2 difference
from captum, beside captum's own between batches of 8 and of 1.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
import typer
from captum.attr import IntegratedGradients, LayerGradCam, Occlusion
from numpy.typing import NDArray
from torch import Tensor

import explainers
from benchmarks.networks import random_model
from explainers.methods._baselines import baseline
from explainers.runtime.model import PreparedModel
from models.context import RunContext
from models.preprocess import Prepared
from models.types import Target

NAMES = (
    *("densenet121", "resnet50", "tf_efficientnet_lite0", "convnext_tiny", "regnety_004", "mobilenetv3_small_100"),
    *("vgg11_bn", "inception_v3", "densenet169", "resnext50_32x4d", "efficientnet_b0", "seresnet50"),
    *("vit_tiny_patch16_224", "poolformer_s12"),
)
FIXED = ("vit_tiny_patch16_224",)  # of size
# Size, window, stride, fill, class.
SETTINGS = (((224, 224), 96, 64, "mean", 0), ((224, 224), 50, 43, "blurred", 3), ((320, 256), 100, 75, "black", 1))
BLACK = -1.7
Maps = NDArray[np.float64]


def compare(name: str, size: tuple[int, int], window: int, stride: int, fill: str, index: int) -> list[float]:
    """Occlusion, ours and captum's; Grad-CAM, ours and captum's; integrated gradients, ours and captum's."""
    model = PreparedModel(random_model(name, size))
    module = model.exact.copied().eval().requires_grad_(False)
    double = copy.deepcopy(module).double()
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    given = Prepared(image, np.eye(3), size, torch.full((3,), BLACK), torch.zeros(3))
    target, layer = Target("chosen", index), model.default_layer

    def ours(method: str, **params: object) -> Maps:
        explainer = explainers.get(method)
        resolved = explainer.spec.resolve(params)
        if "layer" in resolved:
            resolved["layer"] = layer
        with model.passes(RunContext()) as passes:
            (found,) = explainer.explain(passes, given, [target], resolved, 0)
        return np.asarray(found.values if found.native is None else found.native, np.float64)

    start = baseline(given, fill)

    def occlusion(network: torch.nn.Module, dtype: torch.dtype) -> Maps:
        found = Occlusion(network).attribute(
            image.to(dtype), (3, window, window), (3, stride, stride), start.to(dtype), index, perturbations_per_eval=4
        )
        return _array(found[0, :1])

    def gradients(batch: int) -> Maps:
        made = IntegratedGradients(module)
        return _array(
            made.attribute(image.clone(), baselines=start, n_steps=9, target=index, internal_batch_size=batch)[0]
        )

    def cam(network: torch.nn.Module, dtype: torch.dtype) -> Maps:
        return _array(LayerGradCam(network, network.get_submodule(layer)).attribute(image.to(dtype), index)[0, 0])

    found = []
    truth = occlusion(double, torch.float64)
    own = ours("occlusion", window=window, stride=stride, fill=fill)
    found += [_apart(own, truth), _apart(occlusion(module, torch.float32), truth)]
    if name in FIXED:  # captum reads their layers as no map
        found += [float("nan")] * 2
    else:
        truth = cam(double, torch.float64)
        found += [_apart(ours("grad-cam"), truth), _apart(cam(module, torch.float32), truth)]
    library = gradients(8)
    own = ours("integrated-gradients", steps=9, rule="Gauss-Legendre", baseline=fill)
    found += [_relative(own, library), _relative(gradients(1), library)]
    model.close()
    typer.echo(f"{name:24}{size!s:12}{window:4}/{stride:<4}{fill:8}" + "".join(f"{value:10.0e}" for value in found))
    return found


def _array(values: Tensor) -> Maps:
    return values.detach().double().numpy()


def _apart(found: Maps, truth: Maps) -> float:
    return float(np.abs(found - truth).max() / np.ptp(truth))


def _relative(found: Maps, expected: Maps) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def main(names: Annotated[list[str] | None, typer.Argument(help="Of timm; all of the list if none.")] = None) -> None:
    torch.set_num_threads(2)
    heads = ("occlusion", "captum's", "CAM", "captum's", "IG", "captum's")
    typer.echo(f"{'':24}{'size':12}{'window':9}{'fill':8}" + "".join(f"{head:>10}" for head in heads))
    chosen: Sequence[str] = names or NAMES
    results = [compare(name, *setting) for name in chosen for setting in (SETTINGS[:1] if name in FIXED else SETTINGS)]
    typer.echo(f"{'largest':53}" + "".join(f"{value:10.0e}" for value in np.nanmax(results, axis=0)))


if __name__ == "__main__":
    typer.run(main)
