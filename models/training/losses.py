"""Losses for imbalanced classes, exclusive or not; one factory each, by name.

A factory takes the training labels, (n, K) in {0, 1}, and returns ``loss(logits, labels)`` of (N, K) logits and
labels (exclusive classes: one 1 a row). For masks both have two more axes, (N, K, H, W).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Factory = Callable[[torch.Tensor, bool], Loss]
GAMMA = 2.0
BETA = 0.999


def cross_entropy(labels: torch.Tensor, exclusive: bool) -> Loss:
    """Softmax cross-entropy, or binary cross-entropy for classes that may hold together."""
    return _weighted(torch.ones(labels.shape[1]), exclusive)


def weighted(labels: torch.Tensor, exclusive: bool) -> Loss:
    """Each class weighted by its inverse frequency."""
    return _weighted(_rarity(labels, exclusive), exclusive)


def root_weighted(labels: torch.Tensor, exclusive: bool) -> Loss:
    """Each class weighted by the square root of its inverse frequency."""
    return _weighted(_rarity(labels, exclusive).sqrt(), exclusive)


def effective_number(labels: torch.Tensor, exclusive: bool) -> Loss:
    """Weights (1 - beta) / (1 - beta^n) with beta = 0.999 (Cui et al. 2019, arXiv:1901.05555, eq. 2).

    Differs: for classes that may hold together the weight is the ratio between that of the positive and that of
    the negative cases, and multiplies the positive term.
    """
    positive = (1 - BETA) / (1 - BETA ** labels.sum(0).clamp(min=1))
    if exclusive:
        return _weighted(positive, True)
    return _weighted(positive * (1 - BETA ** (1 - labels).sum(0).clamp(min=1)) / (1 - BETA), False)


def focal(labels: torch.Tensor, exclusive: bool) -> Loss:
    """Focal loss with gamma = 2, sigmoid or softmax (Lin et al. 2017, arXiv:1708.02002, eq. 4).

    Differs: no class weight alpha; imbalance is left to the focusing term.
    """

    def loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        if exclusive:
            log_p = torch.log_softmax(logits, 1)
            return -(truth * (1 - log_p.exp()).pow(GAMMA) * log_p).sum(1).mean()
        entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        probability = torch.sigmoid(logits)
        miss = truth * (1 - probability) + (1 - truth) * probability
        return (miss.pow(GAMMA) * entropy).mean()

    return loss


def logit_adjusted(labels: torch.Tensor, exclusive: bool) -> Loss:
    """Cross-entropy of logits moved by the log prior (Menon et al. 2021, arXiv:2007.07314, eq. 10, tau = 1).

    Differs: for classes that may hold together the prior is that of each class against its absence.
    """
    prior = labels.mean(0).clamp(1e-4, 1 - 1e-4)
    offset = prior.log() if exclusive else torch.logit(prior)
    plain = _weighted(torch.ones(len(offset)), exclusive)

    def loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        return plain(logits + offset.to(logits.device), truth)

    return loss


def dice_cross_entropy(labels: torch.Tensor, exclusive: bool) -> Loss:
    """For masks: binary cross-entropy plus one minus soft Dice of each image (Milletari et al. 2016, arXiv:1606.04797).

    Differs: Dice over sums rather than sums of squares, with 1 added to both sides for images without a finding.
    """

    def loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        probability = torch.sigmoid(logits)
        both = (probability * truth).sum((2, 3))
        total = probability.sum((2, 3)) + truth.sum((2, 3))
        entropy = functional.binary_cross_entropy_with_logits(logits, truth)
        return entropy + (1 - (2 * both + 1) / (total + 1)).mean()

    return loss


LOSSES: dict[str, Factory] = {
    "cross-entropy": cross_entropy,
    "weighted": weighted,
    "root-weighted": root_weighted,
    "effective-number": effective_number,
    "focal": focal,
    "logit-adjusted": logit_adjusted,
    "dice": dice_cross_entropy,
}


def _rarity(labels: torch.Tensor, exclusive: bool) -> torch.Tensor:
    positive = labels.sum(0).clamp(min=1)
    return len(labels) / positive if exclusive else (len(labels) - positive) / positive


def _weighted(weight: torch.Tensor, exclusive: bool) -> Loss:
    """Cross-entropy with class weights of mean 1 (exclusive), or weights on the positive term."""
    if exclusive:
        weight = weight / weight.mean()

    def loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        own = weight.to(logits.device)
        if exclusive:
            return functional.cross_entropy(logits, truth, weight=own, label_smoothing=0.05)
        own = own.view(-1, *[1] * (logits.ndim - 2))
        return functional.binary_cross_entropy_with_logits(logits, truth, pos_weight=own)

    return loss
