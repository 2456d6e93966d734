"""Do age, sex and site add to what a network sees? Two equal classifiers on its scores, one with metadata.

Both are multinomial logistic regressions with balanced classes, fitted on the validation part (the training part
would not do: its scores are those of memorised pictures), with a penalty chosen by cross-validation over groups. The
test part is read once. The difference is paired: both are measured on the same draws of whole groups.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from models.card import Measure
from models.training.resample import Figures, Weights, interval, rate, resample
from models.training.tables import Wide

PENALTIES = np.logspace(-3, 1, 5)
NAME = "balanced accuracy"


def with_and_without(validation: Wide, test: Wide, numbers: list[str], names: list[str]) -> list[Measure]:
    """Balanced accuracy on the test part without metadata, with it, and the difference.

    Args:
        numbers: numeric columns of ``cases`` (age). names: columns of categories (sex, site).
    """
    truth = test.labels.argmax(1)
    weights = resample(test.groups)
    recalls = []
    for chosen_numbers, chosen_names in (([], []), (numbers, names)):
        model = _fit(validation, chosen_numbers, chosen_names)
        right = model.predict(_features(test, chosen_numbers, chosen_names)) == truth
        recalls.append(_balanced(weights, right, truth))
    said = ", ".join([*numbers, *names])
    rows = (
        (f"{NAME}, scores re-fitted", recalls[0], "the fair comparison for the next line"),
        (f"{NAME}, scores re-fitted with {said}", recalls[1], "not part of the served model"),
        (f"gain in {NAME} by {said}", recalls[1] - recalls[0], "paired; an interval that holds 0 is no gain"),
    )
    return [_measure(name, values, len(truth), note) for name, values, note in rows]


def _fit(wide: Wide, numbers: list[str], names: list[str]) -> GridSearchCV:
    search = GridSearchCV(
        _pipeline(wide, numbers, names),
        {"logisticregression__C": PENALTIES},
        scoring="balanced_accuracy",
        cv=GroupKFold(5),
    )
    return search.fit(_features(wide, numbers, names), wide.labels.argmax(1), groups=wide.groups)


def _pipeline(wide: Wide, numbers: list[str], names: list[str]) -> Pipeline:
    scores = [f"score {k}" for k in range(wide.scores.shape[1])]
    return make_pipeline(
        make_column_transformer(
            (StandardScaler(), scores),
            (make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), numbers),
            (OneHotEncoder(handle_unknown="ignore", min_frequency=10), names),
        ),
        LogisticRegression(class_weight="balanced", max_iter=2000),
    )


def _features(wide: Wide, numbers: list[str], names: list[str]) -> pd.DataFrame:
    logs = np.log(np.clip(wide.scores, 1e-6, 1))
    table = pd.DataFrame(logs, columns=[f"score {k}" for k in range(logs.shape[1])])
    return table.join(wide.cases[[*numbers, *names]].astype(dict.fromkeys(names, "object")))


def _balanced(weights: Weights, right: NDArray[np.bool_], truth: NDArray[np.int64]) -> Figures:
    """(replicates + 1,) mean recall over the classes."""
    mean: Figures = np.nanmean([rate(weights, right, truth == k) for k in np.unique(truth)], axis=0)
    return mean


def _measure(name: str, figures: Figures, n: int, note: str) -> Measure:
    value, low, high = interval(figures)
    return Measure(metric=name, value=value, low=low, high=high, n=n, split="test", note=note)
