"""The knobs of an assembly: one widget for each field of RouterOptions, made from its type, its docstring as help."""

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import streamlit as st

from perpcs.assembly.options import PRESETS, RouterOptions, applies, option_helps
from perpcs.errors import PerpcsError
from perpcs.ui.state import Studio, remember

if TYPE_CHECKING:
    from perpcs.personalizers.engine import Engine

_PRESET_NAMES = {
    "default": "Default: Newton weights",
    "paper": "Gates, as published",
    "reference_code": "Gates, as in the released code",
}
_LABELS = {
    "router": "Router",
    "gates": "Gates",
    "normalise": "Normalise",
    "centre": "Subtract what all sharers have in common",
    "standardise": "Divide by the spread over sharers",
    "reduce": "From token scores to an item's score",
    "sqrt_n": "Divide a cosine score by √n",
    "selector": "Selector",
    "p": "p: share of the softmax that is kept",
    "attention": "Weight the kept pieces by their scores",
    "half_life": "Half-life of an item, in items (0: all count alike)",
    "share_ratio": "Share of each sharer's pieces that may be used",
    "without": "Sharers left out",
    "seed": "Seed",
    "k": "k: pieces each item keeps at a position",
    "temperature": "Temperature",
    "steps": "Steps of descent",
    "rate": "Learning rate",
    "shrink": "Shrinkage",
    "own_rate": "Learning rate of the own piece",
    "signed": "Weights may fall below 0",
    "least": "Smallest weight that is kept, as a share of the largest",
}
_RANGES = {"k": (1, 10), "steps": (1, 60), "half_life": (0, 50), "seed": (0, 20)}
_MOST_SEGMENTS = 4
_SHARES = (0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0)
_FLOATS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_STEPS = {"p": _SHARES, "share_ratio": _SHARES, "least": (0.0, 0.1, 0.25, 0.5)}
_NAMES = tuple(field.name for field in fields(RouterOptions))


def knobs(engine: "Engine", record: Studio) -> None:
    """An expander that shows and turns ``record.options``. A preset sets all; any knob can then be turned alone."""
    with st.expander("Knobs" + ("" if record.options == PRESETS["default"] else " (changed)"), key="knobs-box"):
        st.session_state["preset"] = next((n for n, o in PRESETS.items() if o == record.options), "own")
        st.selectbox(
            "Preset",
            [*PRESETS, "own"],
            format_func=lambda name: _PRESET_NAMES.get(name, "My own mix"),
            key="preset",
            on_change=_take_preset,
            args=(record,),
            help="All but the default follow a published text to the letter, for comparison.",
        )
        for name in _NAMES:
            if applies(name, record.options):
                _knob(record, name, [sharer.id for sharer in engine.sharers(record.task)])
        st.html('<p class="pp-quiet">Used from the next assembly on.</p>')


def _knob(record: Studio, name: str, sharers: Sequence[str]) -> None:
    kind, value = get_type_hints(RouterOptions)[name], asdict(record.options)[name]
    key = remember(f"knob-{name}", list(value) if isinstance(value, tuple) else value)
    common: dict[str, Any] = {"key": key, "help": option_helps()[name], "on_change": _take_knobs, "args": (record,)}
    label = _LABELS.get(name, name.replace("_", " "))
    if get_origin(kind) is Literal and len(get_args(kind)) > _MOST_SEGMENTS:
        st.selectbox(label, get_args(kind), **common)
    elif get_origin(kind) is Literal:
        st.segmented_control(label, get_args(kind), required=True, width="stretch", **common)
    elif kind is bool:
        st.checkbox(label, **common)
    elif get_origin(kind) is tuple:
        st.multiselect(label, sorted({*sharers, *st.session_state[key]}), **common)
    elif kind is int:
        low, high = _RANGES[name]
        st.slider(label, low, max(high, value), **common)
    else:
        st.select_slider(
            label,
            sorted({*_STEPS.get(name, _FLOATS), value, st.session_state[key]}),
            **common,
        )


def _take_knobs(record: Studio) -> None:
    turned = {name: st.session_state[f"knob-{name}"] for name in _NAMES if f"knob-{name}" in st.session_state}
    try:
        record.options = replace(record.options, **turned)
    except PerpcsError as error:  # two knobs that do not go together
        record.failure = error


def _take_preset(record: Studio) -> None:
    if st.session_state["preset"] in PRESETS:
        record.options = PRESETS[st.session_state["preset"]]
        for name in _NAMES:
            st.session_state[f"knob-{name}"] = asdict(record.options)[name]
