"""Recalibration on the Audit page: what a prevalence shift starts from."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.audit.reading import zoo_table
from dashboard.audit.recalibrate import base_rates, halves
from models.card import read_card
from tests.app.test_audit_page import opened, said


def test_a_prevalence_shift_starts_from_the_part_it_is_fitted_on():
    test = opened("lung-nodule", "Calibration")
    test.selectbox(key="recalibrate").select("prior").run()
    assert not test.exception, test.exception
    (shown,) = (box for box in test.number_input if box.label.startswith("Prevalence of"))
    whole = zoo_table(read_card(Path("models/zoo/lung-nodule")))
    fitted_on = test.selectbox(key=f"fit-on-{whole.title}").value
    audited = whole.in_split("test")
    ground = whole.in_split(fitted_on) if fitted_on in whole.splits else audited.part(halves(audited)[0])
    assert shown.value == pytest.approx(100 * base_rates(ground)[0], abs=0.006)
    assert abs(shown.value - 100 * base_rates(audited)[0]) > 0.1
    assert "Fitted on" in said(test)
