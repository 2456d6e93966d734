"""Rows are checked when they are made; thumbnails show what the viewer's first picture shows."""

from __future__ import annotations

from base64 import b64decode
from io import BytesIO

import numpy as np
import PIL.Image
import pytest
from streamlit.testing.v1 import AppTest

from dashboard.thumbnail import thumbnail
from dashboard.widgets.findings import Finding, findings
from dashboard.widgets.worklist import WorklistRow, worklist
from dashboard.widgets.worklist.worklist import _list, _pictures
from models.errors import DataError
from models.types import Geometry, Image, Window


def row(id: str = "a", score: float | None = 0.5, picture: bytes = b"") -> WorklistRow:
    return WorklistRow(id, "Title", "x-ray", "Group", score, "Mass", False, picture)


def finding(index: int = 0, probability: float = 0.5, threshold: float | None = 0.4) -> Finding:
    return Finding(index, "Mass", probability, threshold, True, "flagged", None)


def decode(jpeg: bytes) -> np.ndarray:
    with PIL.Image.open(BytesIO(jpeg)) as picture:
        assert picture.format == "JPEG"
        return np.asarray(picture, dtype=float)


def halves(rows: int = 64, columns: int = 64) -> np.ndarray:
    """(1, rows, columns): 0 on the left half, 1 on the right."""
    values = np.zeros((1, rows, columns), np.float32)
    values[..., columns // 2 :] = 1
    return values


@pytest.mark.parametrize("score", [-0.01, 1.01, float("nan"), float("inf")])
def test_scores_outside_the_unit_interval_are_refused(score: float) -> None:
    with pytest.raises(DataError, match="row 'a': the score must lie between 0 and 1"):
        row(score=score)
    with pytest.raises(DataError, match="'Mass': the probability must lie between 0 and 1"):
        finding(probability=score)
    with pytest.raises(DataError, match="'Mass': the threshold must lie between 0 and 1"):
        finding(threshold=score)


def test_ids_and_class_indices_must_be_unique() -> None:
    with pytest.raises(DataError, match="needs an id"):
        row(id="")
    with pytest.raises(DataError, match="share an id"):
        worklist([row("a"), row("a")], selected="", key="cases", height=300)
    with pytest.raises(DataError, match="share a class index"):
        findings([finding(3), finding(3)], chosen=3, key="findings", calibrated=True)


def test_pictures_do_not_depend_on_the_selection() -> None:
    png = b"\x89PNG\r\n\x1a\nbody"
    rows = [row("a", picture=png), row("b", picture=b"\xff\xd8body"), row("c")]
    pictures = _pictures(rows, "cases")["pictures"]
    assert list(pictures) == ["a", "b"]
    assert pictures["a"].startswith("data:image/png;base64,")
    assert pictures["b"].startswith("data:image/jpeg;base64,")
    assert b64decode(pictures["a"].split(",")[1]) == png
    assert "body" not in str(_list(rows, "a", "cases", 300))


def test_numpy_scores_are_shown_like_python_ones() -> None:
    def page() -> None:

        import numpy as np
        import streamlit as st

        from dashboard.serving.types import Health
        from dashboard.widgets import style
        from dashboard.widgets.findings import Finding, findings
        from dashboard.widgets.worklist import WorklistRow, worklist

        style.inject()
        half = np.float32(0.5)
        worklist(
            [WorklistRow("a", "Title", "x-ray", "Group", half, "Mass", np.True_, b"")],
            selected="a",
            key="cases",
            height=300,
        )
        findings(
            [Finding(np.int64(2), "Mass", half, half, half > 0.4, "flagged", None)],
            chosen=np.int64(2),
            key="findings",
            calibrated=True,
        )
        st.text("between")
        style.footer(Health(()))

    app = AppTest.from_function(page).run()
    assert not app.exception
    sent = [element.proto.json for element in app.get("bidi_component")]
    assert len(sent) == 3
    assert '"score": 0.5' in sent[1]
    assert '"flagged": true' in sent[1]
    assert '"index": 2' in sent[2]
    assert '"probability": 0.5' in sent[2]
    assert '"chosen": 2' in sent[2]


def test_grey_thumbnail_uses_the_default_window() -> None:
    window = Window.from_range("narrow", 0.0, 2.0)
    pixels = decode(thumbnail(Image(halves(), "stored value", windows=(window,))))
    assert pixels.shape == (56, 56)
    assert pixels[:, :24].mean() == pytest.approx(0, abs=3)
    assert pixels[:, 32:].mean() == pytest.approx(127.5, abs=3)


def test_inverted_film_is_turned_round() -> None:
    pixels = decode(thumbnail(Image(halves(), "unit interval", inverted=True)))
    assert pixels[:, :24].mean() > 250
    assert pixels[:, 32:].mean() < 5


def test_colour_thumbnail_keeps_its_channels() -> None:
    values = np.zeros((3, 40, 40), np.float32)
    values[0], values[2] = 0.8, 0.2
    pixels = decode(thumbnail(Image(values, "unit interval"), size=20))
    assert pixels.shape == (20, 20, 3)
    np.testing.assert_allclose(pixels.mean((0, 1)), [204, 0, 51], atol=4)


def test_volume_shows_its_middle_slice() -> None:
    values = np.zeros((1, 5, 32, 32), np.float32)
    values[0, 2] = 0.6
    assert decode(thumbnail(Image(values, "unit interval"))).mean() == pytest.approx(153, abs=2)


@pytest.mark.parametrize(
    ("shape", "spacing", "expected"),
    [((100, 50), (1.0, 1.0), (56, 28)), ((100, 100), (0.5, 1.0), (56, 28)), ((2, 400), (1.0, 1.0), (1, 56))],
)
def test_thumbnail_keeps_physical_proportions(
    shape: tuple[int, int], spacing: tuple[float, float], expected: tuple[int, int]
) -> None:
    image = Image(halves(*shape), "unit interval", geometry=Geometry.from_spacing(*spacing))
    assert decode(thumbnail(image)).shape == expected


def test_thumbnail_is_small_and_the_same_each_time() -> None:
    noise = np.random.default_rng(0).random((1, 512, 512), dtype=np.float32)
    first = thumbnail(Image(noise, "unit interval"))
    assert first == thumbnail(Image(noise, "unit interval"))
    assert len(first) < 4000
    with pytest.raises(DataError, match="at least 1 pixel"):
        thumbnail(Image(noise, "unit interval"), size=0)
