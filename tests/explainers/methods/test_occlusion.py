"""Occlusion: patch sums of a linear score, captum called directly, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import Occlusion
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from explainers import get
from models.errors import ExplainError
from models.types import Target
from tests.explainers.support import (
    BLACK,
    SIZE,
    assert_close_to_range,
    explain,
    linear_net,
    logit,
    prepared_input,
    smooth_net,
)

IMAGE = prepared_input().tensor[0].double().numpy()
FILLS = {
    "black": np.broadcast_to(np.array(BLACK)[:, None, None], IMAGE.shape),
    "mean": np.zeros_like(IMAGE),
    "blurred": gaussian_filter(IMAGE, (0, 0.1 * SIZE, 0.1 * SIZE), mode="nearest"),
}


def slow(weight: np.ndarray, fill: np.ndarray, window: int, stride: int) -> tuple[np.ndarray, int]:
    """The closed form for a linear score: a window's drop is the sum of w (x - fill) in it; overlaps are averaged."""
    drops, counts = np.zeros((SIZE, SIZE)), np.zeros((SIZE, SIZE))
    starts = [*range(0, SIZE - window, stride)]
    starts.append(starts[-1] + stride if starts else 0)
    for top in starts:
        for left in starts:
            place = np.s_[top : top + window, left : left + window]
            drops[place] += (weight * (IMAGE - fill))[:, *place].sum()
            counts[place] += 1
    return drops / counts, len(starts) ** 2


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize(("window", "stride"), [(8, 8), (10, 6), (32, 16), (9, 4), (30, 30)])
def test_a_linear_score_gives_patch_sums_over_the_overlap(fill: str, window: int, stride: int) -> None:
    net = linear_net()
    (found,) = explain("occlusion", net, prepared_input(), logit(1), fill=fill, window=window, stride=stride)
    expected, windows = slow(net.weight(1), FILLS[fill], window, stride)
    assert found.values.shape == (1, SIZE, SIZE)
    np.testing.assert_allclose(found.values[0], expected, atol=1e-5 * np.abs(expected).max(), rtol=1e-4)
    assert found.facts["windows"] == str(windows)


@pytest.mark.parametrize(
    "target", [logit(2), Target("b", 1, "probability", "softmax")], ids=lambda target: target.output
)
def test_equals_captums(target: Target) -> None:
    net, prepared = smooth_net(), prepared_input()
    expected = Occlusion(lambda x: net(x).softmax(1) if target.output == "probability" else net(x)).attribute(
        prepared.tensor, (3, 10, 10), (3, 6, 6), baselines=0, target=target.index
    )
    (found,) = explain("occlusion", net, prepared, target)
    assert_close_to_range(found.values[0], expected[0, 0].numpy())


def test_positive_where_hiding_costs_the_class_score() -> None:
    class Corner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, image: Tensor) -> Tensor:
            bright = (image[:, :, :8, :8] - torch.tensor(BLACK).view(3, 1, 1)).clamp(min=0).sum(dim=(1, 2, 3))
            return self.scale * torch.stack([bright, -bright], dim=1)

    found, against = explain(
        "occlusion", Corner().eval(), prepared_input(), logit(0), logit(1), window=8, stride=8, fill="black"
    )
    assert (found.values[0, :8, :8] > 0).all()
    assert (against.values[0, :8, :8] < 0).all()
    assert not found.values[0, 8:, 8:].any()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"window": 33, "stride": 8}, "window of 33 px does not fit the network's input of 32 px"),
        ({"window": 8, "stride": 9}, "stride of 9 px leaves gaps"),
        ({"fill": "grey"}, "one of black, blurred, mean"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(given: dict, sentence: str) -> None:
    with pytest.raises(ExplainError, match=sentence):
        explain("occlusion", smooth_net(), prepared_input(), **given)


def test_the_default_of_a_usual_input_costs_what_the_interface_announces() -> None:
    spec = get("occlusion").spec
    assert spec.cost(spec.resolve({}), (224, 224)) == 1 + 169
    assert spec.cost(spec.resolve({}), (224, 112)) == 1 + 13 * 6
