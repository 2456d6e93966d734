"""Controls for a method's settings, built from its spec alone: a new method needs no code here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import streamlit as st

if TYPE_CHECKING:  # these modules import torch, which a widget has no use for
    from explainers.types import Param, ParamValue

_MOST_SLIDER_STOPS = 100
_MOST_SEGMENTS = 3


class Adjustable(Protocol):
    """What has settings: the spec of a method, or of a preparation step."""

    @property
    def params(self) -> tuple[Param, ...]: ...

    def resolve(self, given: Mapping[str, Any]) -> dict[str, ParamValue]: ...


def edit_params(
    spec: Adjustable,
    layers: Sequence[str],
    default_layer: str,
    current: Mapping[str, Any],
    key: str,
) -> dict[str, ParamValue]:
    """One control for each of the method's parameters.

    Args:
        layers: dotted names of the network's candidate target layers.
        default_layer: the model card's; offered even when ``layers`` lacks it.
        current: the values shown at first, by parameter name; missing ones are the method's defaults.
        key: unique on the page; change it to start again from ``current``.

    Returns:
        All parameters, resolved; a layer is never "".

    Raises:
        ExplainError: ``current`` names an unknown parameter or holds a value out of bounds.
    """
    values = spec.resolve(current)
    names = list(dict.fromkeys(name for name in (default_layer, *layers) if name))
    for param in spec.params:
        values[param.name] = _control(param, values[param.name], names, default_layer, f"{key}-{param.name}")
    return values


def _control(param: Param, value: ParamValue, layers: list[str], default_layer: str, key: str) -> ParamValue:
    label = param.title if param.unit in param.title.lower() else f"{param.title} ({param.unit})"
    help_text = param.help or None
    if param.kind == "layer":
        chosen = str(value) or default_layer
        options = layers if chosen in layers else [*layers, chosen]
        return st.selectbox(
            label,
            options,
            index=options.index(chosen),
            format_func=lambda name: f"{name} (card's default)" if name == default_layer else name,
            key=key,
            help=help_text,
        )
    if param.kind == "choice":
        return _choice(param, str(value), label, key)
    return _number(param, value, label, key)


def _choice(param: Param, value: str, label: str, key: str) -> str:
    help_text = param.help or None
    if len(param.choices) <= _MOST_SEGMENTS:
        return st.segmented_control(
            label, param.choices, default=value, format_func=_readable, key=key, help=help_text, required=True
        )
    return st.selectbox(
        label, param.choices, index=param.choices.index(value), format_func=_readable, key=key, help=help_text
    )


def _readable(choice: str) -> str:
    """ "zero-mean" as "Zero mean"; a name with capitals of its own stays as it is."""
    return choice if choice != choice.lower() else choice.replace("-", " ").replace("_", " ").capitalize()


def _number(param: Param, value: ParamValue, label: str, key: str) -> ParamValue:
    kind = int if param.kind == "int" else float
    low, high, step = (None if bound is None else kind(bound) for bound in (param.low, param.high, param.step))
    control = st.slider if _suits_slider(param) else st.number_input
    return kind(control(label, low, high, kind(value), step, key=key, help=param.help or None))


def _suits_slider(param: Param) -> bool:
    """Both bounds are known, and a whole number can still be hit with the mouse."""
    if param.low is None or param.high is None:
        return False
    return param.kind == "float" or (param.high - param.low) / (param.step or 1) <= _MOST_SLIDER_STOPS
