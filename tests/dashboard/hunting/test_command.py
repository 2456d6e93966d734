"""``hunt``: a model, a table and a folder of images in; hunt.json, its parts and pictures out, or one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image as PILImage
from typer.testing import CliRunner

from dashboard.__main__ import app
from dashboard.hunting import command
from dashboard.hunting.neighbours import read_index
from explainers.quality.randomisation import stored as randomised
from explainers.quality.randomisation import usual
from models.card import read_card

COUNT = 24
pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Pictures of noise, and a table in which every one is called for Beta."""
    draw = np.random.default_rng(0)
    (tmp_path / "films").mkdir()
    rows = []
    for number in range(COUNT):
        PILImage.fromarray(draw.integers(0, 255, (64, 64), dtype=np.uint8)).save(tmp_path / "films" / f"f{number}.png")
        rows.append({"case_id": f"f{number}", "patient_id": f"p{number}", "sex": "FM"[number % 2]})
        for name in ("Alpha", "Beta", "Gamma"):
            rows[-1] |= {f"label_{name}": number % 2, f"score_{name}": 0.9 if name == "Beta" else 0.1}
    pd.DataFrame(rows).to_csv(tmp_path / "scores.csv", index=False)
    return tmp_path / "films"


def called(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["hunt", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_what_was_found_is_written_and_kept_with_the_model(
    films: Path, make_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "RANDOMISED", 6)
    monkeypatch.setattr(command, "usual", lambda card: usual(card, wanted=["grad-cam"]))
    model, out = make_model(), tmp_path / "out"
    asked = (model, "--data", films, "--table", tmp_path / "scores.csv", "--out", out, "--most", COUNT, "--keep")
    code, said, why = called(*asked, "--parts", "weights,shortcuts,neighbours", "--classes", "Beta,Gamma")
    assert code == 0, why
    answer, record = json.loads(said), json.loads((out / "hunt.json").read_text())
    assert answer["cases"] == record["cases"] == COUNT
    found = record["shortcuts"]["classes"]["Beta"]
    assert sum(cluster["cases"] for cluster in found["clusters"]) == COUNT
    assert {one["cluster"] for one in found["masked"]} <= {cluster["number"] for cluster in found["clusters"]}
    assert "called for Gamma" in record["failures"]["shortcuts of Gamma"]
    assert "called for Gamma" in why
    for path in map(Path, answer["files"]):
        assert path.stat().st_size
    assert PILImage.open(out / "shortcuts-Beta-1.png").size[0] > 300
    assert randomised(read_card(model))["grad-cam"].margin.n == 6
    assert (out / "neighbours.npz").stat().st_size
    assert read_index(read_card(model)) is None  # ids of one's own table stay in the output


def test_bad_input_is_one_sentence(films: Path, make_model: Callable[..., Path], tmp_path: Path) -> None:
    model = make_model()
    (tmp_path / "empty").mkdir()
    usual = {"--data": films, "--table": tmp_path / "scores.csv", "--out": tmp_path / "out", "--parts": "neighbours"}
    for wrong, words in (
        ({"--parts": "everything"}, "everything"),
        ({"--classes": "Delta"}, "Delta"),
        ({"--data": tmp_path / "empty"}, "has an image"),
        ({"--data": tmp_path / "nowhere"}, "images folder"),
        ({"--table": tmp_path / "no.csv"}, "no.csv"),
    ):
        code, said, why = called(model, *[word for pair in (usual | wrong).items() for word in pair])
        assert (code, said) == (2, "")
        assert words in why, why
        assert len(why.strip().splitlines()) == 1
