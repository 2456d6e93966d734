"""How far an image's features lie from those of the training images: a cheap out-of-distribution check.

Mahalanobis distance to one Gaussian in the space of the penultimate features (after Lee et al. 2018,
arXiv:1807.03888), which are first brought to unit length (Mueller & Hein 2025, arXiv:2505.18032): a dull image has
short features, which lie near every mean. Differs: no class-conditional means, since multi-label classes overlap; the
covariance is kept in its leading principal components, and the rest of the space enters as one shared variance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from models.types import FloatArray


@dataclass(frozen=True, eq=False)
class NoveltyModel:
    """Statistics of training features.

    Attributes:
        mean: (F,) float32. axes: (k, F) float32 orthonormal rows. variance: (k,) float32 along them.
        rest_variance: mean variance of a remaining direction.
        reference: (q,) float32, ascending distances of held-out images of the same source.
        unit: features are brought to unit length first; False in files that do not say so.
    """

    mean: FloatArray
    axes: FloatArray
    variance: FloatArray
    rest_variance: float
    reference: FloatArray
    unit: bool = False

    @classmethod
    def fit(cls, training: FloatArray, held_out: FloatArray, components: int = 64, unit: bool = True) -> NoveltyModel:
        """From (n, F) features of training images and (m, F) of held-out ones; at most n / 2 components are kept."""
        components = min(components, len(training) // 2)  # the last ones of a small set have no variance left
        if unit:
            training = _to_unit(training)
        mean = training.mean(0)
        _, singular, axes = np.linalg.svd(training - mean, full_matrices=False)
        variance = (singular**2 / (len(training) - 1)).astype(np.float32)
        rest = float(variance[components:].sum() / max(1, training.shape[1] - components))
        blank = cls(mean, axes[:components], variance[:components], max(rest, 1e-12), np.zeros(1, np.float32), unit)
        reference = np.quantile(blank.distances(held_out), np.linspace(0, 1, 201)).astype(np.float32)
        return replace(blank, reference=reference)

    def distances(self, features: FloatArray) -> FloatArray:
        """(n, F) features to (n,) distances, in standard deviations pooled over directions."""
        centred = (_to_unit(features) if self.unit else features) - self.mean
        # By torch, whose threads the network has just used: a second pool would spin beside them.
        along = (torch.from_numpy(centred) @ torch.from_numpy(self.axes).T).numpy()
        rest = np.maximum((centred**2).sum(1) - (along**2).sum(1), 0.0)
        squared = ((along**2) / self.variance).sum(1)
        if self.mean.size > len(self.axes):
            squared = squared + rest / self.rest_variance
        return np.sqrt(squared / self.mean.size).astype(np.float32)

    def percentiles(self, features: FloatArray) -> FloatArray:
        """(n,) share of held-out images that lie nearer, 0 to 100."""
        rank = np.searchsorted(self.reference, self.distances(features), side="right")
        return (100.0 * rank / len(self.reference)).astype(np.float32)

    def ratio(self, features: FloatArray) -> FloatArray:
        """(n,) distance as a multiple of the median held-out distance."""
        return (self.distances(features) / np.median(self.reference)).astype(np.float32)

    def to_tensors(self) -> dict[str, torch.Tensor]:
        tensors = {
            name: torch.from_numpy(np.ascontiguousarray(getattr(self, name)))
            for name in ("mean", "variance", "reference")
        }
        tensors["axes"] = torch.from_numpy(np.ascontiguousarray(self.axes)).half()
        tensors["rest_variance"] = torch.tensor([self.rest_variance])
        tensors["unit"] = torch.tensor([self.unit])
        return tensors

    @classmethod
    def from_tensors(cls, tensors: dict[str, torch.Tensor]) -> NoveltyModel:
        """Raises KeyError for a missing tensor."""
        arrays = {name: tensors[name].float().numpy() for name in ("mean", "axes", "variance", "reference")}
        unit = "unit" in tensors and bool(tensors["unit"][0])
        return cls(rest_variance=float(tensors["rest_variance"][0]), unit=unit, **arrays)


def _to_unit(features: FloatArray) -> FloatArray:
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
