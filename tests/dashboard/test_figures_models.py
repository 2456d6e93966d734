"""The Models page's figures: what is drawn is what was measured."""

from __future__ import annotations

import numpy as np
import pytest

from dashboard.figures.confusion import confusion, ink
from dashboard.figures.curves import history, robustness
from dashboard.figures.intervals import Row, forest
from dashboard.figures.style import palette


def luminance(colour: tuple[float, ...]) -> float:
    """Relative luminance of sRGB in [0, 1] (WCAG 2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return float(np.dot((0.2126, 0.7152, 0.0722), linear))


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    high, low = sorted((luminance(tuple(one)), luminance(tuple(other))), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_a_forest_shows_values_intervals_and_what_was_too_few() -> None:
    rows = [Row("A", 0.9, 0.85, 0.92, 40), Row("B", None, None, None, 7), Row("C", 0.6, None, None, 1200)]
    figure = forest(rows, "AUROC", chance=0.5)
    (trace,) = figure.data
    assert list(trace.x) == [0.9, 0.6]
    assert list(trace.y) == ["A  (n = 40)", "C  (n = 1,200)"]
    np.testing.assert_allclose(trace.error_x.array, [0.02, 0])
    np.testing.assert_allclose(trace.error_x.arrayminus, [0.05, 0])
    assert list(figure.layout.yaxis.categoryarray) == ["A  (n = 40)", "B  (n = 7)", "C  (n = 1,200)"]
    assert {note.text for note in figure.layout.annotations} == {"too few (n = 7)", "chance"}
    low, high = figure.layout.xaxis.range
    assert low < 0.5
    assert high > 0.92
    assert figure.layout.shapes[0].x0 == 0.5


def test_a_forest_of_nothing_known_still_names_its_rows() -> None:
    figure = forest([Row("A", None, None, None, 3)], "Dice")
    assert [note.text for note in figure.layout.annotations] == ["too few (n = 3)"]
    assert not figure.layout.shapes


def test_a_confusion_matrix_shows_counts_and_shares_of_the_true_class() -> None:
    figure = confusion(["A", "B", "C"], [[8, 2, 0], [1, 1, 2], [0, 0, 0]])
    shades, numbers = figure.data
    np.testing.assert_allclose(shades.z, [[0.8, 0.2, 0], [0.25, 0.25, 0.5], [0, 0, 0]])
    assert list(shades.y) == ["A  (n = 10)", "B  (n = 4)", "C  (n = 0)"]
    drawn = dict(zip(zip(numbers.y, numbers.x, strict=True), numbers.text, strict=True))
    assert drawn["A  (n = 10)", "B"] == "2"
    assert drawn["B  (n = 4)", "C"] == "2"
    assert figure.layout.yaxis.autorange == "reversed"


@pytest.mark.parametrize("dark", [False, True])
def test_numbers_stand_out_from_every_shade_and_words_from_the_page(dark: bool) -> None:
    colours = palette(dark)
    for share in np.linspace(0, 1, 41):
        cell = rgb(colours.ground) * (1 - share) + rgb(colours.accent) * share
        assert contrast(cell, rgb(ink(float(share), colours))) >= 4.5
    page = rgb("#12171c" if dark else "#f6f7f9")  # backgroundColor of .streamlit/config.toml
    assert contrast(page, rgb(colours.text)) >= 4.5
    assert contrast(page, rgb(colours.quiet)) >= 4.5
    assert contrast(page, rgb(colours.accent)) >= 3


def test_a_history_marks_its_best_epoch() -> None:
    figure = history([1, 2, 3], [0.9, 0.5, 0.3], [0.7, 0.82, 0.8], "balanced accuracy")
    loss, validation = figure.data
    assert (list(loss.y), list(validation.y)) == ([0.9, 0.5, 0.3], [0.7, 0.82, 0.8])
    assert any(note.text == "best 0.820, epoch 2" for note in figure.layout.annotations)
    assert len(history([], [], [], "AUROC").data) == 2


def test_robustness_is_on_one_scale_with_the_clean_value() -> None:
    values = {name: [(1, 0.9), (2, 0.8), (3, 0.7)] for name in ("noise", "blur", "JPEG", "contrast")}
    figure = robustness(values, "AUROC", 0.94)
    assert [list(trace.y) for trace in figure.data] == [[0.9, 0.8, 0.7]] * 4
    assert [note.text for note in figure.layout.annotations] == list(values)
    assert [shape.y0 for shape in figure.layout.shapes] == [0.94] * 4
    tied = [figure.layout[f"yaxis{number or ''}"].matches for number in (0, 2, 3, 4, 5, 6)]
    assert tied.count(None) == 1
    assert len(set(tied)) == 2
