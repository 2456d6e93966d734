"""Listings of images in the place of a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Picture

from dashboard.folder_runs.runs import predict_path
from models.errors import DataError

MakeModel = Callable[..., Path]
RNG = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty pictures in two folders under the same names."""
    for side in "ab":
        (tmp_path / "in" / side).mkdir(parents=True)
        for number in range(10):
            values = RNG.integers(0, 255, (40, 50), dtype=np.uint8)
            Picture.fromarray(values).save(tmp_path / "in" / side / f"film {number:02d}.png")
    return tmp_path / "in"


def test_a_listing_stands_for_a_folder(make_model: MakeModel, folder: Path, tmp_path: Path) -> None:
    model = str(make_model())
    listing = tmp_path / "in" / "wanted.csv"
    rows = ["b/film 01.png", "a/film 00.png", "./a/film 00.png", "a/gone.png", "", str(folder / "b" / "film 02.png")]
    pd.DataFrame({"n": range(6), "image": rows}).to_csv(listing, index=False)
    done = predict_path(listing, model, tmp_path / "s.csv", None)
    assert pd.read_csv(tmp_path / "s.csv").image.tolist() == [rows[0], rows[1], rows[5]]
    assert done.failures.sentences == {
        "There is no file or folder at the path given; check the path.": (1, ["a/gone.png"])
    }
    pd.DataFrame({"path": rows[:2]}).to_parquet(tmp_path / "in" / "w.parquet")
    (tmp_path / "in" / "w.txt").write_text("\n".join([*rows[:2], "", "b"]))
    assert predict_path(tmp_path / "in" / "w.parquet", model, tmp_path / "p.csv", None).written == 2
    assert (
        predict_path(tmp_path / "in" / "w.txt", model, tmp_path / "t.csv", None).written == 11
    )  # a folder, one file twice


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"file,label\na.png,1\n", "no column path or image"),
        (b"path\n\n", "lists no image"),
        (b"", "cannot be read"),
        (b"path\n\xff\xfe", "cannot be read"),
    ],
)
def test_a_listing_that_is_none_is_one_sentence(
    content: bytes, reason: str, make_model: MakeModel, tmp_path: Path
) -> None:
    (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(DataError, match=reason):
        predict_path(tmp_path / "list.csv", str(make_model()), tmp_path / "s.csv", None)
