"""The page on the shipped models' explanations says what is stored with them."""

from __future__ import annotations

import pandas as pd

from benchmarks.explanation_pages import PAGE, page, table


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m benchmarks.explanation_pages"


def test_a_bar_does_not_break_a_table() -> None:
    assert table(pd.DataFrame({"a": ["x | y"]})).splitlines()[-1] == "| x / y |"
