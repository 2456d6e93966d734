"""The loop goes on where it stopped, gives equal weights for one seed, and leaves frozen layers alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from models.errors import DataError
from models.training.augment import augmentation
from models.training.loop import Schedule, Trainer
from models.training.losses import cross_entropy

SCHEDULE = Schedule(epochs=3, batch_size=8, learning_rate=1e-2, average_decay=0.5)
AUGMENT = augmentation(degrees=10, shift=0.1, scale=(0.9, 1.1), brightness=0.2, contrast=0.2, blur=0.5, noise=0.05)


class Stop(Exception):
    """Stands for a killed process."""


def _network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 2),
    )


def _trainer(folder: Path | None, schedule: Schedule = SCHEDULE, stop_after: int | None = None) -> Trainer:
    draw = torch.Generator().manual_seed(2)
    pictures = torch.randint(0, 128, (24, 3, 16, 16), generator=draw, dtype=torch.uint8)
    labels = torch.eye(2)[torch.arange(24) % 2]
    pictures[::2] += 100  # the first class is brighter
    done = 0

    def validate(module: nn.Module) -> float:
        nonlocal done
        done += 1
        if stop_after is not None and done > stop_after:
            raise Stop
        with torch.no_grad():
            logits = module(pictures.float() / 255)
        return float((logits.argmax(1) == labels.argmax(1)).float().mean()) + done * 1e-6

    return Trainer(
        _network(),
        pictures,
        labels,
        AUGMENT,
        cross_entropy(labels, True),
        lambda m, x: m(x),
        validate,
        schedule,
        folder=folder,
    )


def _weights(module: nn.Module) -> torch.Tensor:
    return torch.cat([value.flatten().float() for value in module.state_dict().values()])


def test_one_seed_gives_equal_weights_and_another_does_not(tmp_path: Path) -> None:
    first, history = _trainer(tmp_path / "a").run()
    second, _ = _trainer(tmp_path / "b").run()
    other, _ = _trainer(None, replace(SCHEDULE, seed=1)).run()
    assert torch.equal(_weights(first), _weights(second))
    assert not torch.equal(_weights(first), _weights(other))
    assert list(history.columns) == ["epoch", "loss", "validation", "seconds"]
    assert not (tmp_path / "a" / "state.pt").exists()


def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole, history = _trainer(None).run()
    with pytest.raises(Stop):
        _trainer(tmp_path, stop_after=1).run()
    assert (tmp_path / "state.pt").is_file()
    resumed, later = _trainer(tmp_path).run()
    assert torch.equal(_weights(whole), _weights(resumed))
    assert later.loss.tolist() == history.loss.tolist()


def test_a_stopped_training_of_another_seed_is_not_gone_on_with(tmp_path: Path) -> None:
    with pytest.raises(Stop):
        _trainer(tmp_path, stop_after=1).run()
    with pytest.raises(DataError, match="another loss, seed or schedule"):
        _trainer(tmp_path, replace(SCHEDULE, seed=1)).run()


def test_frozen_layers_keep_their_weights() -> None:
    start = _network().state_dict()
    module, _ = _trainer(None, replace(SCHEDULE, frozen=("0", "1"))).run()
    end = module.state_dict()
    frozen = [name for name in start if name[0] in "01"]
    assert all(torch.equal(start[name], end[name]) for name in frozen)
    assert not torch.equal(start["5.weight"], end["5.weight"])


def test_masks_follow_the_picture() -> None:
    pictures = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    pictures[:, :, 8:16, 4:12] = 255
    masks = (pictures[:, :1] > 0).to(torch.uint8)
    torch.manual_seed(0)
    change = augmentation(degrees=30, shift=0.2, scale=(0.8, 1.2), brightness=0.0, contrast=0.0, vertical=True)
    inputs, moved = change(pictures, masks)
    bright = inputs.mean(1, keepdim=True) > 0.3
    assert moved.shape == masks.shape
    assert not torch.equal(moved, masks)
    agreement = (bright == (moved > 0)).float().mean()
    assert agreement > 0.97
