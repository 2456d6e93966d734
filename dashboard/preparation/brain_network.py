"""The brain of a head scan by the networks that the package deepbet ships (Fisch et al., Comput Biol Med 2024; MIT licence).

Two 3-D LinkNets: one finds the box around the brain on a coarse copy of the scan, the other marks the brain in that box.
The package itself is not imported: its weights are files of TorchScript, taken only where their digests are the known
ones, read when first needed, from this machine alone.
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, files
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from dashboard.preparation.tissue import largest
from dashboard.preparation.types import BoolArray
from models.context import RunContext
from models.errors import DataError, Unavailable
from models.types import FloatArray

if TYPE_CHECKING:
    import torch

PACKAGE = "deepbet"
SHA256 = {
    "bbox_model.pt": "39a7b2b5f799faa1391ea97bfcdc0b9299f20d84f2316a4ff8918dc4685e40aa",
    "model.pt": "de8ee7c69654d0dd3935dc4a5d84571d8ecf4637a6bfc01df399c4c2bc86e0fd",
}
_COARSE, _FINE = (128, 128, 128), (256, 256, 256)  # voxels that the networks were trained on
_CLIP = (0.005, 0.995)  # quantiles of the coarse copy
_SCALE, _SHIFT = 0.226, 0.449  # deviation and mean of what the networks are shown
_MARGIN = 0.1  # of the box, on each side
_LEAST_SHARE = 0.02  # of a plane across the head, for it to count to the brain
_THRESHOLD = 0.5
HOW_TO_GET = "install it with `pip install deepbet==1.0.2`, or choose the classical method"


@dataclass(frozen=True)
class _Networks:
    box: torch.jit.ScriptModule
    brain: torch.jit.ScriptModule


def network_brain(values: FloatArray, ctx: RunContext) -> BoolArray:
    """Mask of the brain.

    Args:
        values: (D, H, W), slices to the head, rows to the back, columns to the left (LPS).

    Raises:
        Unavailable: the package is not installed, or its weights are not the known ones.
        DataError: the networks find no brain.
        Cancelled: between the two networks.
    """
    networks = _networks()
    ras = values.transpose(2, 1, 0)[::-1, ::-1]
    coarse = _sampled(ras, _COARSE)
    low, high = (float(bound) for bound in np.quantile(coarse, _CLIP))
    if high <= low:
        raise DataError("The scan has the same value nearly everywhere; no brain can be found in it.")
    rough = largest(_probability(networks.box, coarse, low, high) > _THRESHOLD)
    box = _box(rough, ras.shape)
    ctx.check()
    fine = _probability(networks.brain, _sampled(ras[box], _FINE), low, high)
    inside = _sampled(fine, ras[box].shape) > _THRESHOLD
    found = np.zeros(ras.shape, dtype=bool)
    found[box] = ndimage.binary_fill_holes(largest(inside))
    return np.ascontiguousarray(found[::-1, ::-1].transpose(2, 1, 0))


def _probability(network: Any, values: FloatArray, low: float, high: float) -> FloatArray:
    """What the network takes for brain, in [0, 1], on the grid it is shown."""
    import torch

    clipped = np.clip((values - low) / (high - low), 0.0, 1.0)
    shown = _SCALE * (clipped - clipped.mean()) / max(float(clipped.std(ddof=1)), 1e-6) + _SHIFT
    with torch.inference_mode():
        answer = network(torch.from_numpy(np.ascontiguousarray(shown, dtype=np.float32))[None, None])
    return np.asarray(answer[0, 1].numpy(), dtype=np.float32)


def _sampled(values: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """The nearest voxel to each of ``shape`` even parts, as the networks were trained."""
    for axis, count in enumerate(shape):
        nearest = np.floor((np.arange(count) + 0.5) * (values.shape[axis] / count)).astype(int)
        values = values.take(nearest, axis)
    return values


def _box(rough: BoolArray, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The part of an array of ``shape`` that holds the brain and a margin around it."""
    parts = []
    for axis, size in enumerate(shape):
        share = rough.mean(axis=tuple(other for other in range(3) if other != axis))
        inside = np.flatnonzero(share > _LEAST_SHARE)
        if not len(inside):
            raise DataError(
                "The network finds no brain in the scan; give a scan of the whole head, or choose the classical method."
            )
        scale = size / rough.shape[axis]
        first, last = inside[0] * scale, (inside[-1] + 1) * scale
        margin = _MARGIN * (last - first)
        parts.append(slice(max(0, round(first - margin)), min(size, round(last + margin))))
    return tuple(parts)


def _paths() -> dict[str, Path]:
    try:
        shipped = files(PACKAGE) or []
    except PackageNotFoundError:
        raise Unavailable(f"The networks for skull stripping are not installed; {HOW_TO_GET}.") from None
    found = {file.name: Path(str(file.locate())) for file in shipped if file.name in SHA256}
    missing = [name for name in SHA256 if name not in found or not found[name].is_file()]
    if missing:
        raise Unavailable(f"The package {PACKAGE} lacks {' and '.join(missing)}; {HOW_TO_GET}.")
    return found


@lru_cache(maxsize=1)
def _networks() -> _Networks:
    import torch

    loaded = {}
    for name, path in _paths().items():
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != SHA256[name]:
            raise Unavailable(
                f"{name} of {PACKAGE} is not the file this program knows (its SHA-256 differs); {HOW_TO_GET}."
            )
        with warnings.catch_warnings():
            # Torch would rather have another format, which the package does not ship.
            warnings.filterwarnings("ignore", category=FutureWarning)
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            loaded[name] = torch.jit.load(BytesIO(data), map_location="cpu").eval()
    return _Networks(loaded["bbox_model.pt"], loaded["model.pt"])
