"""Every figure against scikit-learn or a slow count."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    confusion_matrix,
    roc_auc_score,
)

from models.card import Measure, ModelCard
from models.errors import DataError
from models.training.masks import FIGURES, drawn_pixels, figures
from models.training.measures import confusion, decisions, measures
from models.training.scoring import Pixels
from models.types import favoured
from tests.conftest import card_fields

NAMES = ("Alpha", "Beta", "Gamma")
PIN = {"file": "w.safetensors", "sha256": "0" * 64}


def card_of(task: str, **values: float) -> ModelCard:
    classes = NAMES[:1] if task == "binary" else NAMES
    return ModelCard(**card_fields(task=task, classes=classes, weights=PIN, thresholds={"values": values}))


def table_of(labels: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
    n, k = labels.shape
    case = np.repeat(np.arange(n), k)
    return pd.DataFrame(
        {
            "case_id": case.astype(str),
            "group_id": (case // 2).astype(str),
            "class": list(NAMES[:k]) * n,
            "label": labels.ravel().astype(np.int8),
            "score": scores.ravel().astype(np.float32),
            "raw_score": scores.ravel().astype(np.float32),
            "split": "test",
            "sex": np.where(case < n - 8, np.where(case % 2, "F", "M"), ""),
        }
    )


def pick(found: list[Measure], metric: str, subject: str = "", subgroup: str = "") -> Measure:
    (one,) = [m for m in found if (m.metric, m.subject, m.subgroup) == (metric, subject, subgroup)]
    return one


def draw(n: int, k: int, rates: tuple[float, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.random((n, k)) < rates
    return labels, np.round(1 / (1 + np.exp(-rng.normal(labels, 1))), 2)


def test_multilabel_figures_equal_scikit_learn() -> None:
    labels, scores = draw(300, 3, (0.4, 0.2, 0.03))
    found = measures(card_of("multilabel", Alpha=0.6, Beta=0.55), table_of(labels, scores), ["sex"])
    areas = []
    for k, name in enumerate(NAMES[:2]):
        areas.append(roc_auc_score(labels[:, k], scores[:, k]))
        area = pick(found, "AUROC", name)
        assert area.value == pytest.approx(areas[-1], abs=1e-6)
        assert area.low is not None
        assert area.high is not None
        assert area.low < areas[-1] < area.high
        precise = average_precision_score(labels[:, k], scores[:, k])
        assert pick(found, "AUPRC", name).value == pytest.approx(precise, abs=1e-6)
        marked = scores[:, k].astype(np.float32) >= np.float32((0.6, 0.55)[k])
        expected = {
            "sensitivity": (marked[labels[:, k]].mean(), labels[:, k].sum()),
            "specificity": ((~marked)[~labels[:, k]].mean(), (~labels[:, k]).sum()),
            "PPV": (labels[marked, k].mean(), marked.sum()),
            "NPV": ((~labels)[~marked, k].mean(), (~marked).sum()),
        }
        for metric, (value, n) in expected.items():
            one = pick(found, metric, name)
            assert one.value == pytest.approx(value, abs=1e-6)
            assert one.n == n
    macro = pick(found, "macro AUROC")
    assert macro.value == pytest.approx(np.mean(areas), abs=1e-6)
    assert macro.note == "2 of 3 classes, those with at least 20 positives"


def test_too_few_is_said_and_listed() -> None:
    labels, scores = draw(300, 3, (0.4, 0.2, 0.015))
    assert 0 < labels[:, 2].sum() < 10
    found = measures(card_of("multilabel"), table_of(labels, scores), ["sex"])
    rare = pick(found, "AUROC", "Gamma")
    assert rare.value is None
    assert "too few" in rare.note
    assert pick(found, "sensitivity", "Gamma").n == labels[:, 2].sum()
    assert {m.subgroup for m in found} == {"", "sex F", "sex M", "sex unknown"}
    unknown = pick(found, "macro AUROC", subgroup="sex unknown")
    assert unknown.value is None
    assert unknown.n == 8
    men = np.arange(300) % 2 == 0
    men[-8:] = False
    kept = [k for k in range(3) if labels[men, k].sum() >= 10]
    expected = np.mean([roc_auc_score(labels[men, k], scores[men, k]) for k in kept])
    assert pick(found, "macro AUROC", subgroup="sex M").value == pytest.approx(expected, abs=1e-6)


def test_exclusive_classes_are_judged_by_the_cards_rule_and_by_the_largest() -> None:
    rng = np.random.default_rng(1)
    truth = rng.choice(3, 400, p=(0.6, 0.3, 0.1))
    scores = np.exp(rng.normal(size=(400, 3)) + 1.5 * np.eye(3)[truth])
    scores = (scores / scores.sum(1, keepdims=True)).astype(np.float32)
    card = card_of("multiclass", Alpha=0.5, Beta=0.3, Gamma=0.2)
    table = table_of(np.eye(3, dtype=bool)[truth], scores)
    found = measures(card, table)
    by_rule, largest = favoured(scores, card.threshold_array), scores.argmax(1)
    plain = ", deciding for the largest probability"
    assert (by_rule != largest).any()
    assert pick(found, "accuracy").value == pytest.approx(accuracy_score(truth, by_rule), abs=1e-6)
    assert pick(found, "balanced accuracy").value == pytest.approx(balanced_accuracy_score(truth, by_rule), abs=1e-6)
    assert pick(found, f"accuracy{plain}").value == pytest.approx(accuracy_score(truth, largest), abs=1e-6)
    expected = balanced_accuracy_score(truth, largest)
    assert pick(found, f"balanced accuracy{plain}").value == pytest.approx(expected, abs=1e-6)
    matrix = confusion(card, table)
    assert matrix is not None
    assert matrix["matrix"] == confusion_matrix(truth, by_rule).tolist()
    assert not any(plain in m.metric for m in measures(card_of("multiclass"), table))


def test_a_binary_model_tells_its_sensitivity_at_a_specificity() -> None:
    labels, scores = draw(200, 1, (0.4,))
    card, table = card_of("binary", Alpha=0.6), table_of(labels, scores)
    found = measures(card, table, ["sex"])
    best = max((scores[labels] >= cut).mean() for cut in np.append(scores, 2) if (scores[~labels] < cut).mean() >= 0.9)
    assert pick(found, "sensitivity at specificity 0.90", "Alpha").value == pytest.approx(best, abs=1e-6)
    assert pick(found, "AUROC", "Alpha", "sex F").value is not None
    marked = scores.astype(np.float32) >= np.float32(0.6)
    expected = confusion_matrix(labels.ravel(), marked.ravel())
    assert confusion(card, table) == {"classes": ["not Alpha", "Alpha"], "matrix": expected.tolist()}
    assert decisions(card, table)["Alpha"] == {
        "true positive": expected[1, 1],
        "false positive": expected[0, 1],
        "false negative": expected[1, 0],
        "true negative": expected[0, 0],
    }


def test_a_steep_calibration_costs_no_area() -> None:
    labels, scores = draw(200, 1, (0.4,))
    table = table_of(labels, scores)
    table["score"] = (scores > 0.2).ravel().astype(np.float32)  # as if rounded to 0 and 1
    found = measures(card_of("binary", Alpha=0.6), table)
    assert pick(found, "AUROC", "Alpha").value == pytest.approx(roc_auc_score(labels, scores), abs=1e-6)


def test_a_table_of_other_classes_is_refused() -> None:
    labels, scores = draw(30, 3, (0.4, 0.4, 0.4))
    table = table_of(labels, scores)
    with pytest.raises(DataError, match="in this order"):
        measures(card_of("multilabel"), table.iloc[::-1])


@pytest.mark.parametrize("kind", ["both", "no truth", "nothing"])
def test_mask_figures_equal_a_slow_count(kind: str) -> None:
    rng = np.random.default_rng(4)
    truth = np.zeros((20, 30), dtype=bool)
    found = np.zeros((20, 30), dtype=np.float32)
    if kind == "both":
        truth[4:12, 5:20] = True
    if kind != "nothing":
        found = rng.random((20, 30)).astype(np.float32)
    result = dict(zip(FIGURES, figures(found >= 0.5, found, found**2, truth), strict=True))

    def dice(marked: np.ndarray) -> float:
        total = marked.sum() + truth.sum()
        return float(2 * (marked & truth).sum() / total) if total else 1.0

    marked = found >= 0.5
    assert result["dice"] == pytest.approx(dice(marked))
    levels = [dice(found.astype(np.float64) >= level / 255) for level in range(256)]
    assert result["mean_dice"] == pytest.approx(np.mean(levels))
    own = (found**2).astype(np.float64)
    assert result["mean_dice_uncalibrated"] == pytest.approx(np.mean([dice(own >= k / 255) for k in range(256)]))
    assert result["specificity"] == pytest.approx((~marked)[~truth].mean())
    assert result["mae"] == pytest.approx(np.abs(found - truth).mean())
    assert (result["true_share"], result["found_share"]) == pytest.approx((truth.mean(), marked.mean()))
    if kind == "both":
        assert result["sensitivity"] == pytest.approx(marked[truth].mean())
    else:
        assert np.isnan(result["sensitivity"])


def test_pixels_are_drawn_with_the_label_that_lies_there() -> None:
    mask = np.zeros((1, 40, 20), dtype=bool)
    mask[0, 20:] = True
    # The grid is 12 x 12 with two columns of padding on either side; a pixel covers 2.5 x 4 of the image.
    to_image = np.array([[2.5, 0, -4.0], [0, 40 / 12, 1.2], [0, 0, 1]])
    logits = np.tile(np.arange(12, dtype=np.float32)[None, None, :, None], (1, 1, 1, 12))
    logits[..., :2] = logits[..., 10:] = np.nan
    drawn, labels, image = drawn_pixels(Pixels(logits, (mask,), (to_image,)), most=1000)
    assert np.isfinite(drawn).all()
    assert drawn.shape == labels.shape == (12 * 8, 1)
    assert (labels == (drawn >= 6)).all()
    assert (image == 0).all()
    fewer, _, _ = drawn_pixels(Pixels(logits, (mask,), (to_image,)), most=30)
    assert 0 < len(fewer) <= 30
