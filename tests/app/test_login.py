"""A login where one is asked for, and nothing of the app before it."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.settings import settings

SCRIPT = "import streamlit as st\nfrom dashboard.widgets import login\nlogin.required()\nst.write('inside')\n"


def shown(at: AppTest) -> bool:
    return any(text.value == "inside" for text in at.markdown)


def test_without_the_setting_the_app_opens() -> None:
    at = AppTest.from_string(SCRIPT).run()
    assert not at.exception
    assert shown(at)


def test_with_it_only_the_way_in_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SIGHTLINE_LOGIN", "1")
    settings.cache_clear()
    at = AppTest.from_string(SCRIPT)
    at.secrets["auth"] = {"redirect_uri": "https://sightline.example.org/oauth2callback"}
    at.run()
    assert not at.exception
    assert not shown(at)
    assert [button.label for button in at.button] == ["Log in"]


def test_a_login_that_is_not_set_up_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_LOGIN", "1")
    settings.cache_clear()
    at = AppTest.from_string(SCRIPT).run()
    assert not shown(at)
    (error,) = at.error
    assert error.value.endswith("(docs/deployment.md).")
