"""Every kind of parameter gets its control, and what comes back is what the method accepts."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from explainers import types
from models.errors import ExplainError


def spec(*params: types.Param) -> types.ExplainerSpec:
    return types.ExplainerSpec(
        id="method",
        title="Method",
        family="gradient",
        signed=True,
        unit="logit",
        dims=(2,),
        needs_gradient=True,
        params=params,
        cost=lambda values, shape: int(values.get("steps", 1)) * shape[0],
        paper="",
        summary="",
    )


EVERY_KIND = spec(
    types.Param("steps", "Steps", "int", 50, low=2, high=1000, step=1, unit="steps"),
    types.Param("window", "Window", "int", 8, help="Side of the square.", low=2, high=32, step=2, unit="px"),
    types.Param("seeds", "Seeds", "int", 3),
    types.Param("noise", "Noise", "float", 0.15, low=0.0, high=1.0, step=0.05),
    types.Param("baseline", "Baseline", "choice", "black", choices=("black", "zero-mean", "Gauss")),
    types.Param("rule", "Rule", "choice", "a", choices=("a", "b", "c", "d")),
    types.Param("layer", "Target layer", "layer", ""),
)


def page(spec, current, layers) -> None:  # type: ignore[no-untyped-def]  # run from its source, without our imports
    import streamlit as st

    from dashboard.widgets.params import edit_params

    st.session_state.edited = edit_params(spec, layers, "features.norm5", current, "method")


def shown(
    spec: types.ExplainerSpec = EVERY_KIND,
    current: dict[str, Any] | None = None,
    layers: tuple[str, ...] = ("features.norm5", "features.block4"),
) -> AppTest:
    return AppTest.from_function(page, args=(spec, current or {}, layers)).run()


def test_defaults_come_back_unchanged_with_the_layer_filled_in() -> None:
    app = shown()
    assert not app.exception
    assert app.session_state.edited == {**EVERY_KIND.resolve({}), "layer": "features.norm5"}


def test_each_kind_has_a_control_with_its_bounds_and_unit() -> None:
    app = shown()
    assert [(box.label, box.min, box.max) for box in app.number_input] == [("Steps", 2, 1000), ("Seeds", None, None)]
    assert [(bar.label, bar.min, bar.max, bar.step) for bar in app.slider] == [
        ("Window (px)", 2, 32, 2),
        ("Noise", 0.0, 1.0, 0.05),
    ]
    assert app.slider[0].help == "Side of the square."
    assert [option.content for option in app.button_group[0].proto.options] == ["Black", "Zero mean", "Gauss"]
    assert app.button_group[0].proto.required
    assert app.selectbox[0].options == ["A", "B", "C", "D"]
    assert app.selectbox[1].options == ["features.norm5 (card's default)", "features.block4"]


def test_edits_come_back_in_the_types_the_method_accepts() -> None:
    app = shown()
    app.number_input[0].set_value(7)
    app.slider[1].set_value(0.5)
    app.selectbox[0].select("c")
    app.selectbox[1].select("features.block4")
    app.run()
    edited = app.session_state.edited
    wanted = {"steps": 7, "noise": 0.5, "rule": "c", "layer": "features.block4"}
    assert edited == {**EVERY_KIND.resolve({}), **wanted}
    assert {name: type(value) for name, value in edited.items()} == {
        name: type(value) for name, value in EVERY_KIND.resolve(edited).items()
    }


def test_current_values_are_shown_first() -> None:
    current = {"steps": 20, "window": 4, "seeds": -1, "noise": 1.0, "baseline": "Gauss", "rule": "d", "layer": "stem"}
    app = shown(current=current)
    assert app.session_state.edited == current
    assert app.selectbox[1].options[-1] == "stem"


def test_a_default_layer_outside_the_candidates_is_offered() -> None:
    app = shown(spec(EVERY_KIND.params[-1]), layers=())
    assert app.selectbox[0].options == ["features.norm5 (card's default)"]


@pytest.mark.parametrize("current", [{"steps": 1}, {"colour": "red"}])
def test_values_the_method_refuses_are_refused_here(current: dict[str, Any]) -> None:
    with pytest.raises(ExplainError) as refused:
        EVERY_KIND.resolve(current)
    assert shown(current=current).exception[0].message == str(refused.value)


def test_the_controls_do_not_import_torch() -> None:
    code = "import sys, dashboard.widgets.params; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
