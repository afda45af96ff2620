"""The settings of an assembly: a widget for each option of the router, made from its type, with its docstring as
help."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import streamlit as st

from perpcs.assembly.options import option_names
from perpcs.assembly.routers import (
    PRESETS,
    all_options,
    applies,
    changed,
    flat_options,
    option_default,
    option_help,
    option_type,
)
from perpcs.errors import PerpcsError
from perpcs.ui.state import Studio, remember

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine

_PRESET_NAMES = {
    "default": "Default: Newton weights",
    "paper": "Gates, as published",
    "reference_code": "Gates, as in the released code",
}
_LABELS = {
    "router": "Router",
    "gates": "Gates",
    "normalise": "Normalise",
    "centre": "Subtract the mean over sharers",
    "standardise": "Divide by the spread over sharers",
    "reduce": "How token scores become an item's score",
    "sqrt_n": "Divide a cosine score by √n",
    "selector": "Selector",
    "p": "p: share of the softmax that is kept",
    "attention": "Weight the kept pieces by their scores",
    "half_life": "Half-life of an item, in items (0: all count equally)",
    "share_ratio": "Share of each sharer's pieces that may be used",
    "without": "Sharers to leave out",
    "seed": "Seed",
    "k": "k: pieces each item keeps per position",
    "temperature": "Temperature",
    "steps": "Steps of descent",
    "rate": "Learning rate",
    "shrink": "Shrinkage",
    "own_rate": "Learning rate of your own piece",
    "signed": "Allow negative weights",
    "least": "Smallest weight kept, relative to the largest",
}
_RANGES = {"k": (1, 10), "steps": (1, 60), "half_life": (0, 50), "seed": (0, 20)}
_MOST_SEGMENTS = 4
_SHARES = (0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0)
_FLOATS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_STEPS = {"p": _SHARES, "share_ratio": _SHARES, "least": (0.0, 0.1, 0.25, 0.5)}
_NAMES = ("router", *all_options())


def knobs(engine: "Engine", record: Studio) -> None:
    """An expander that shows and changes ``record.options``. A preset sets all; each can then be changed alone."""
    with st.expander("Settings" + ("" if record.options == PRESETS["default"] else " (changed)"), key="knobs-box"):
        st.session_state["preset"] = next((n for n, o in PRESETS.items() if o == record.options), "own")
        st.selectbox(
            "Preset",
            [*PRESETS, "own"],
            format_func=lambda name: _PRESET_NAMES.get(name, "Custom"),
            key="preset",
            on_change=_take_preset,
            args=(record,),
            help="All except the default follow a publication exactly, for comparison.",
        )
        for name in ("router", *option_names(type(record.options))):
            if applies(name, record.options):
                _knob(record, name, [sharer.id for sharer in engine.pool.sharers(record.task)])
        st.html('<p class="pp-quiet">Applies from the next assembly on.</p>')


def _knob(record: Studio, name: str, sharers: Sequence[str]) -> None:
    kind, value = option_type(name), option_default(name, record.options)
    key = remember(f"knob-{name}", list(value) if isinstance(value, tuple) else value)
    common: dict[str, Any] = {"key": key, "help": option_help(name), "on_change": _take_knobs, "args": (record,)}
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
        record.options = changed(record.options, **{**record.turned, **turned})
        record.turned |= turned
    except PerpcsError as error:  # two settings that cannot be combined
        record.failure = error


def _take_preset(record: Studio) -> None:
    if st.session_state["preset"] in PRESETS:
        record.options, record.turned = PRESETS[st.session_state["preset"]], {}
        for name, value in flat_options(record.options).items():
            st.session_state[f"knob-{name}"] = value
