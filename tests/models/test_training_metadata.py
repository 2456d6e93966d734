"""Metadata helps where it was planted to help, and is reported as no gain where it is noise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.training.metadata import with_and_without
from models.training.tables import Wide


def _table(seed: int, telling: bool) -> Wide:
    """300 cases of three classes: weak scores; age follows the class where ``telling``."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, 300)
    logits = rng.normal(size=(300, 3)) + 0.7 * np.eye(3)[truth]
    scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    age = 30 + 20 * truth * telling + rng.normal(scale=8, size=300)
    age[::11] = np.nan
    cases = pd.DataFrame({"age": age.astype(np.float32), "sex": rng.choice(["F", "M"], 300)})
    groups = np.array([f"g{k // 2}" for k in range(300)])
    return Wide(cases, groups, np.eye(3, dtype=bool)[truth], scores, scores)


@pytest.mark.parametrize("telling", [True, False])
def test_a_planted_gain_is_found_and_noise_is_not(telling: bool) -> None:
    alone, both, gain = with_and_without(_table(1, telling), _table(2, telling), ["age"], ["sex"])
    assert gain.value == pytest.approx((both.value or 0) - (alone.value or 0), abs=2e-6)
    assert alone.n == 300
    assert gain.low is not None
    assert gain.high is not None
    if telling:
        assert gain.low > 0.1
    else:
        assert gain.low < 0 < gain.high or abs(gain.value or 0) < 0.02
