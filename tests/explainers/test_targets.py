from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from explainers.targets import score
from models.errors import ExplainError
from models.types import Target

LOGITS = torch.tensor([[0.3, -1.2, 2.0], [5.0, 0.1, -0.4]])


def test_logit_probability_and_contrast_against_numpy() -> None:
    numbers = LOGITS.double().numpy()
    cases = [
        (Target("b", 1), numbers[:, 1]),
        (Target("b", 1, "probability", "sigmoid"), expit(numbers[:, 1])),
        (Target("b", 1, "probability", "softmax"), softmax(numbers, axis=1)[:, 1]),
        (Target("b", 1, "contrast", "softmax", "c", 2), numbers[:, 1] - numbers[:, 2]),
    ]
    for target, expected in cases:
        found = score(LOGITS, target)
        assert found.shape == (2,)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("index", [3, -1])
@pytest.mark.parametrize("output", ["logit", "probability"])
def test_a_class_the_network_lacks_is_refused(index: int, output: str) -> None:
    with pytest.raises(ExplainError, match="outputs 0 to 2"):
        score(LOGITS, Target("d", index, output, "softmax"))
    with pytest.raises(ExplainError, match="'d'"):
        score(LOGITS, Target("a", 0, "contrast", "softmax", "d", 3))


@pytest.mark.parametrize("output", [torch.zeros(2, 3, 4, 4), torch.zeros(3), {"logits": LOGITS}])
def test_other_outputs_are_refused(output) -> None:
    with pytest.raises(ExplainError, match=r"\(N, K\)"):
        score(output, Target("a", 0))
