"""metrics.json and history.csv: read as written, refused with one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.errors import ModelError
from models.evaluation import METRICS_FILE, read_evaluation, read_history


def write(folder: Path, content: object) -> None:
    path = folder / METRICS_FILE
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def test_an_evaluation_is_read_with_what_is_unknown_left_out(tmp_path: Path) -> None:
    assert read_evaluation(tmp_path) is None
    few = {"metric": "AUROC", "subject": "Mole", "value": None, "n": 7, "split": "test"}
    write(
        tmp_path,
        {
            "measures": [few],
            "confusion": {"classes": ["A", "B"], "matrix": [[3, 1], [0, 2]]},
            "counts": {"train": {"A": 4}},
            "calibration": {"method": "none", "validation": [{"method": "none", "nll": 0.5, "ece": 0.1}]},
            "fp16": {"anything": 1},
        },
    )
    found = read_evaluation(tmp_path)
    assert found is not None
    assert (found.measures[0].value, found.measures[0].n) == (None, 7)
    assert found.confusion is not None
    assert found.confusion.matrix == ((3, 1), (0, 2))
    assert found.calibration.validation[0].ece == 0.1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "field file"),
        ("{", "field file"),
        ({"measures": [{"metric": "AUROC"}]}, "measures.0.n"),
        ({"measures": [], "confusion": {"classes": ["A", "B"], "matrix": [[1, 2]]}}, "2 rows and columns"),
    ],
)
def test_a_wrong_evaluation_is_one_sentence(tmp_path: Path, content: object, said: str) -> None:
    write(tmp_path, content)
    with pytest.raises(ModelError) as error:
        read_evaluation(tmp_path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_history_is_read(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("epoch,loss,validation,seconds\n1,0.5,0.7,12.5\n2,0.25,0.75,12\n")
    first, second = read_history(path)
    assert (first.epoch, first.loss, first.validation, first.seconds) == (1, 0.5, 0.7, 12.5)
    assert second.epoch == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch,loss\n1,0.5\n", "no column 'validation'"),
        ("epoch,loss,validation,seconds\n1,x,0.7,1\n", "other than numbers"),
        ("epoch,loss,validation,seconds\n1,0.5\n", "other than numbers"),
        (None, "history.csv"),
    ],
)
def test_a_wrong_history_is_one_sentence(tmp_path: Path, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / "history.csv").write_text(text)
    with pytest.raises(ModelError, match=said):
        read_history(tmp_path / "history.csv")
