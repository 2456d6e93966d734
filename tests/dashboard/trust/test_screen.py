"""The line under a map and the evidence behind it say what the verdicts say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from dashboard.figures.trust import evidence
from dashboard.trust.judge import Judged
from dashboard.widgets.trust import line, number
from explainers.quality.strip import summary
from explainers.quality.types import Verdict


def verdicts() -> tuple[Verdict, ...]:
    share = np.linspace(0, 1, 5)
    curves = {
        "share": share,
        "deletion": 1 - share,
        "insertion": share,
        "deletion, edges": 1 - share / 2,
        "insertion, edges": share / 2,
    }
    return (
        Verdict("randomisation", "ok", "It depends.", 0.4, 0.3, 0.5, 20),
        Verdict("faithfulness", "fails", "It says little.", -0.1, -0.2, 0.0, 4, "at least 0.05", curves=curves, facts={"drop": "3"}),
        Verdict("road", "ok", "It says much.", 0.2, 0.1, 0.3, 4),
        Verdict("agreement", "fails", "Others differ.", 0.1, 0.0, 0.2, 36),
        Verdict("localisation", "not assessable", "No place is known."),
    )  # fmt: skip


def test_one_failing_way_of_two_makes_a_map_weak() -> None:
    """What asks the same twice must fail twice, and another map's fault is no proof against this one."""
    found = {one.check: one for one in verdicts()}
    assert summary(found.values()).level == "weak"
    both = [*found.values(), replace(found.pop("road"), level="fails")]
    assert summary([one for one in both if one.level != "ok" or one.check != "road"]).level == "fails"
    assert summary([verdicts()[0]]).level == "ok"
    assert summary([replace(verdicts()[0], level="fails"), verdicts()[2]]).level == "fails"


def test_the_line_names_the_level_and_counts() -> None:
    done = Judged("k", "done", 1.0, verdicts={"grad-cam": verdicts()})
    found = line(done, "grad-cam", False)
    assert found is not None
    assert (found.standing, found.text) == ("weak", "Trust: weak · 2 of 4 checks passed")
    assert "fails: faithful −.10" in found.more
    running = line(replace(done, state="running", progress=0.5), "grad-cam", True)
    assert running is not None
    assert running.text.endswith("checking, 50%")
    waiting = line(Judged("k", "cancelled", expected_s=40.0), "grad-cam", False)
    assert waiting is not None
    assert "not checked" in waiting.text
    assert "40 s" in waiting.text
    assert line(None, "grad-cam", False) is None


def test_numbers_carry_interval_and_n() -> None:
    assert number(verdicts()[0]) == "margin of similarity 0.40 (0.30 to 0.50, n = 20)"
    assert number(verdicts()[4]) == ""


def test_the_figure_draws_every_curve() -> None:
    figure = evidence(verdicts()[1], dark=True)
    assert figure is not None
    drawn = {(trace.name, trace.xaxis): list(trace.y) for trace in figure.data}
    assert drawn["this map", "x"] == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    assert drawn["edges", "x2"] == pytest.approx([0, 0.125, 0.25, 0.375, 0.5])
    assert evidence(verdicts()[0]) is None


def shown() -> None:
    from dashboard.trust.judge import Judged
    from dashboard.widgets.trust import evidence_panel
    from sample_data.samples import load_sample
    from tests.dashboard.trust.test_screen import verdicts

    case = load_sample("phantom-skin-symmetric")
    evidence_panel(Judged("k", "done", 1.0, verdicts={"grad-cam": verdicts()}), "grad-cam", case, 0, {})


def test_the_panel_tells_every_check() -> None:
    test = AppTest.from_function(shown, default_timeout=60).run()
    assert not test.exception, test.exception
    said = " ".join(one.value for one in test.markdown)
    for verdict in verdicts():
        assert verdict.sentence in said
    assert said.count(":red-badge") == 2
    assert said.count(":gray-badge") == 1
