"""Logits by changed regions equal those of whole passes of images that really are hidden in part."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from explainers.passes import Boxes, with_hidden
from explainers.runtime import rectangles
from explainers.runtime.folding import fold
from explainers.runtime.recording import Untraceable
from explainers.runtime.regions import CleanPass, Regions
from models.errors import Cancelled
from models.segmentation import UNet
from tests.conftest import liven

EXACT = 1e-9  # of the windows' largest effect, in float64


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def around(height: int, width: int, side: int = 32) -> Boxes:
    """Two corners, one inside, one over an edge and one of other sides."""
    return np.array(
        [
            (0, 0, side, side),
            (height // 3, width // 2, side, side),
            (height - side, width - side, side, side),
            (height - side // 2, width // 4, side, side),
            (height // 2, width // 3, side // 4, side * 2),
        ]
    )


def largest_error(
    module: nn.Module, image: Tensor, fill: Tensor, boxes: Boxes, clean: CleanPass | None = None
) -> float:
    """Relative to the largest effect of a window; ``clean`` is the image's own pass where it is at hand."""
    clean = clean or Regions.trace(module, image).begin(image)
    found = clean.logits(fill, boxes)
    with torch.inference_mode():
        expected, whole = module(with_hidden(image, fill, boxes)), module(image)
    assert torch.allclose(clean.scores, whole, rtol=0, atol=float(whole.abs().max()) * 1e-12)
    effect = float((expected - whole).abs().max())
    assert effect > 0
    return float((found - expected).abs().max()) / effect


class Gate(nn.Module):
    """Squeeze-excitation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.scale(x.mean((2, 3), keepdim=True)))


class ChannelsNorm(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.mix = nn.LayerNorm(channels), nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(self.norm(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


class Together(nn.Module):
    """Two branches added, multiplied or put together, the second pooled back to the first one's size."""

    def __init__(self, first: nn.Module, second: nn.Module, how: str) -> None:
        super().__init__()
        self.first, self.second, self.how = first, second, how

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.first(x), self.second(x)
        if self.how == "cat":
            return torch.cat([a, b, x], 1)
        if self.how == "shuffle":
            n, c, h, w = a.shape
            return torch.cat([a, b], 1).view(n, 2, c, h, w).transpose(1, 2).reshape(n, 2 * c, h, w)
        if self.how == "turn":  # rows and columns exchanged, and channels between them
            turned = (1 - a).permute(0, 2, 1, 3).transpose(1, 3).relu()
            return b + turned.permute(0, 2, 3, 1)
        if self.how == "parts":
            left, right = torch.cat([a, b], 1).chunk(2, 1)
            return left * torch.sigmoid(right)
        return a.add_(b, alpha=0.5) if self.how == "add_" else a * b + x.mean(1, keepdim=True)


def random_part(rng: np.random.Generator, channels: int) -> nn.Module:
    """One of the operators that are computed in part, or squeeze-excitation, which is not."""

    def draw(low: int, high: int) -> int:
        return int(rng.integers(low, high + 1))

    kernel, half = draw(1, 4), draw(0, 1)
    pooled = {"padding": kernel // 2 * half, "ceil_mode": bool(draw(0, 1))}
    convolution = {"stride": (draw(1, 3), draw(1, 2)), "padding": (draw(0, 3), 1), "dilation": draw(1, 2)}
    choices: list[Callable[[], nn.Module]] = [
        lambda: nn.Conv2d(channels, 2 * draw(1, 4), (kernel, draw(1, 3)), **convolution),
        lambda: nn.Conv2d(channels, 2 * channels, 3, padding="same", dilation=(1, 2), groups=channels),
        lambda: nn.Sequential(nn.ZeroPad2d((0, 1, 2, 0)), nn.Conv2d(channels, channels, kernel, stride=2)),
        lambda: nn.MaxPool2d(kernel, draw(1, 2), dilation=draw(1, 2), **pooled),
        lambda: nn.AvgPool2d(kernel, draw(1, 2), count_include_pad=bool(draw(0, 1)), **pooled),
        lambda: nn.Sequential(nn.BatchNorm2d(channels), nn.Hardswish(inplace=True)),
        lambda: ChannelsNorm(channels),
        lambda: Gate(channels),
        lambda: Together(
            nn.Sequential(nn.Conv2d(channels, channels, 5, padding=2), nn.Tanh()),
            nn.Sequential(nn.ReLU(), nn.Conv2d(channels, channels, (1, 3), padding=(0, 1), bias=False), nn.GELU()),
            ("cat", "shuffle", "parts", "turn", "add_", "multiply")[draw(0, 5)],
        ),
    ]
    return choices[draw(0, len(choices) - 1)]()


def random_network(seed: int) -> nn.Module:
    rng = np.random.default_rng(seed)
    channels = 4
    parts: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1)]
    for _ in range(5):
        parts += [random_part(rng, channels), nn.SiLU()]
        with torch.no_grad():
            channels = nn.Sequential(*parts).eval()(torch.zeros(1, 3, 44, 52)).shape[1]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 3))


@pytest.mark.parametrize("seed", range(60))
def test_random_networks(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if seed % 2:
        monkeypatch.setattr(rectangles, "LIMIT", 1)  # rectangles to the end
    torch.manual_seed(seed)
    module = liven(random_network(seed), seed).double()
    rng = np.random.default_rng(seed + 1000)
    boxes = np.stack([rng.integers(0, 40, 6), rng.integers(0, 48, 6), *rng.integers(1, 12, (2, 6))], 1)
    boxes[0] = (10, 10, 6, 6)
    image, fill = noise(1, 3, 44, 52, seed=seed), noise(1, 3, 44, 52, seed=seed + 1)
    assert largest_error(module, image, fill, boxes) < EXACT


@pytest.mark.parametrize(
    ("name", "size", "most"),
    [  # the share of multiply-adds that may be left; whole maps throughout give 1
        ("densenet121", (192, 224), 0.7),
        ("resnet18", (320, 256), 0.55),
        ("tf_efficientnet_lite0", (224, 224), 0.75),
        ("convnext_atto", (224, 160), 0.9),
        ("regnety_004", (224, 224), 0.95),
        ("mobilenetv3_small_100", (320, 256), 0.95),
        ("inception_v3", (192, 160), 0.85),
        ("ghostnet_100", (224, 224), 0.95),
        ("vit_tiny_patch16_224", (224, 224), 1),
        ("mixer_s32_224", (224, 224), 1),
    ],
)
def test_timm_networks(name: str, size: tuple[int, int], most: float) -> None:
    torch.manual_seed(0)
    module = liven(timm.create_model(name, pretrained=False, num_classes=3))
    for weight in module.get_classifier().parameters():  # zero in mixers
        nn.init.normal_(weight)
    module = module.double()
    image, fill = noise(1, 3, *size), torch.zeros(1, 3, *size, dtype=torch.float64)
    module = fold(module, image).module
    boxes = around(*size)[1:4]
    clean = Regions.trace(module, image).begin(image)
    assert clean.share == 1
    assert largest_error(module, image, fill, boxes, clean) < EXACT
    assert 0.1 < clean.share < most


def test_a_unet() -> None:
    torch.manual_seed(0)
    module = liven(UNet("mobilenetv3_small_100", 2)).double()
    image = noise(1, 3, 96, 128)
    assert largest_error(module, image, torch.zeros_like(image), around(96, 128, 16)) < EXACT


def test_single_precision_agrees_with_whole_passes() -> None:
    module = liven(timm.create_model("resnet18", pretrained=False, num_classes=3))
    image, fill = noise(1, 3, 128, 160).float(), noise(1, 3, 128, 160, seed=1).float()
    boxes = around(128, 160, 24)
    found = Regions.trace(module, image).begin(image).logits(fill, boxes)
    with torch.inference_mode():
        expected = module(with_hidden(image, fill, boxes))
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


def test_small_windows_cost_little() -> None:
    module = nn.Sequential(
        *(nn.Conv2d(3, 3, 3, padding=1) for _ in range(4)), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).eval()
    image = torch.zeros(1, 3, 100, 100)
    clean = Regions.trace(module, image).begin(image)
    clean.logits(image + 1, np.array([(50, 50, 4, 4)]))
    assert clean.share == pytest.approx((6**2 + 8**2 + 10**2 + 12**2) / (4 * 100**2))


def test_parameters_are_shared_and_the_image_is_left_alone() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    image, fill = noise(1, 1, 20, 30).float(), torch.zeros(1, 1, 20, 30)
    regions = Regions.trace(module, image)
    before = image.clone()
    with torch.no_grad():
        module[0].weight.mul_(2)
    clean = regions.begin(image)
    boxes = around(20, 30, 8)
    first = clean.logits(fill, boxes)
    assert torch.equal(clean.logits(fill, boxes), first)
    with torch.inference_mode():
        expected = module(with_hidden(image, fill, boxes))
    torch.testing.assert_close(first, expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(image, before)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_cancelling_stops_between_operators() -> None:
    module = nn.Sequential(*(nn.Conv2d(3, 3, 3) for _ in range(6)), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    image = torch.zeros(1, 3, 64, 64)
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise Cancelled("Stopped by the user.")

    regions = Regions.trace(module, image)
    with pytest.raises(Cancelled):
        regions.begin(image, check)
    clean, calls = regions.begin(image), 0
    with pytest.raises(Cancelled):
        clean.logits(image, around(64, 64, 8), check)


class Looks(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x).mean((2, 3)) if x.mean() > 0 else x.mean((2, 3))


class Counts(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) if len(x) == 2 else x.amax((2, 3))


class Random(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(x, 0.5, training=True).mean((2, 3))


class Maps(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2


class Behind(nn.Module):
    """Changes a value through another view of it."""

    def forward(self, x: Tensor) -> Tensor:
        x = x + 1
        x.flatten(2).relu_()
        return x.mean((2, 3))


@pytest.mark.parametrize("kind", [Looks, Counts, Random, Maps, Behind])
def test_networks_that_cannot_be_recorded_say_so(kind: type[nn.Module]) -> None:
    with pytest.raises(Untraceable):
        Regions.trace(kind().eval(), torch.zeros(1, 3, 16, 16))
