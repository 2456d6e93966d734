"""Losses for imbalanced, multi-label targets."""

from __future__ import annotations

import torch
from torch.nn import functional


def focal_loss(logits: torch.Tensor, labels: torch.Tensor, gamma: float = 2.0) -> torch.Tensor:
    """Multi-label focal loss, mean over samples and classes (Lin et al. 2017, arXiv:1708.02002, eq. 4).

    Args:
        logits: (N, K) float.
        labels: (N, K) float in [0, 1].
        gamma: focusing parameter; 0 is binary cross-entropy.

    Differs: no class weight alpha; imbalance is left to the focusing term.
    """
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    probability = torch.sigmoid(logits)
    miss = labels * (1 - probability) + (1 - labels) * probability
    return (miss.pow(gamma) * cross_entropy).mean()
