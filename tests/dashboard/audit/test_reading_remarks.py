"""What a table is read as where it leaves a choice, and what is said of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import expit, softmax

from dashboard.audit.reading import build, guess


def cases(**columns: object) -> pd.DataFrame:
    """Four cases of three patients; columns given are added."""
    made = {"image": list("abcd"), "patient_id": [1, 1, 2, 3], "score_A": [0.9, 0.1, 0.4, 0.2], "label_A": [1, 0, 1, 0]}
    return pd.DataFrame(made | columns)


def test_a_score_written_like_the_threshold_is_called():
    frame = pd.DataFrame({"image": ["a", "b", "c"], "score_A": [0.7, 0.69999, 0.1], "label_A": [1, 0, 0]})
    for table in (build(frame, guess(frame), "t", thresholds=[0.7]), build(frame, guess(frame), "t")):
        assert table.with_thresholds([0.7]).decided[:, 0].tolist() == [True, False, False]
    assert build(frame, guess(frame), "t", thresholds=[0.7]).decided[:, 0].tolist() == [True, False, False]


def test_a_group_is_no_patient_and_few_patients_are_remarked():
    frame = pd.DataFrame(
        {"image": [f"{row}.png" for row in range(40)], "group": ["M", "F"] * 20, "score_A": 0.5, "label_A": [0, 1] * 20}
    )
    table = build(frame, guess(frame), "t")
    assert not table.has_patients
    assert table.attributes == ("group",)
    few = frame.rename(columns={"group": "patient_id"})
    assert any("only 2 patients for 40 cases" in note for note in build(few, guess(few), "t").notes)
    many = few.assign(patient_id=list(range(10)) * 4)
    assert not any("only" in note for note in build(many, guess(many), "t").notes)


def test_a_softmax_that_nobody_asked_for_is_remarked():
    logits = np.random.default_rng(0).normal(size=(6, 3))
    frame = pd.DataFrame({"image": list("abcdef")})
    for k in range(3):
        frame[f"score_{k}"], frame[f"label_{k}"] = logits[:, k], (np.arange(6) % 3 == k).astype(int)
    guessed = build(frame, guess(frame), "t", logits=True)
    np.testing.assert_allclose(guessed.scores, softmax(logits, axis=1), rtol=1e-5)
    assert any("softmax" in note for note in guessed.notes)
    for task, expected in (("multiclass", softmax(logits, axis=1)), ("multilabel", expit(logits))):
        told = build(frame, guess(frame), "t", task, logits=True)
        np.testing.assert_allclose(told.scores, expected, rtol=1e-5)
        assert not any("softmax" in note for note in told.notes)


def test_the_table_remembers_leaks_in_its_parts():
    frame = cases(split=["test", "val", "test", "test"])
    table = build(frame, guess(frame), "t")
    assert table.leak.startswith("Leak: 1 patient")
    assert table.leak in table.notes
    assert table.in_split("test").leak == table.leak
    apart = cases(split=["test", "test", "val", "val"])
    assert build(apart, guess(apart), "t").leak == "No patient is in two splits."
    assert build(cases(), guess(cases()), "t").leak == ""
