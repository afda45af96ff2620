"""The knobs of an assembly: preset, router, normalisation, centring, k, temperature."""

from dataclasses import replace

import streamlit as st

from perpcs.assembly.options import PRESETS
from perpcs.ui.state import Studio, remember

_NAMES = {"default": "Default (measured best)", "paper": "As in the paper", "reference_code": "As in its released code"}


def knobs(record: Studio) -> None:
    """An expander whose state is ``record.options``. A preset fills the others in; any of them can then be turned."""
    changed = record.options != PRESETS["default"]
    with st.expander("Knobs" + (" (changed)" if changed else ""), key="knobs-box"):
        names = [*PRESETS, "own"]
        current = next((name for name, options in PRESETS.items() if options == record.options), "own")
        st.session_state["preset"] = current
        st.selectbox(
            "Preset",
            names,
            format_func=lambda name: _NAMES.get(name, "My own mix"),
            key="preset",
            on_change=_take_preset,
            args=(record,),
            help="All but the default follow a published text to the letter, for comparison.",
        )
        options = record.options
        fill = {
            "knob-router": options.router,
            "knob-normalise": options.normalise,
            "knob-centre": options.centre,
            "knob-k": options.k,
            "knob-temperature": options.temperature,
        }
        for key, value in fill.items():
            remember(key, value)
        router = st.segmented_control(
            "Router",
            ["gate", "prototype"],
            key="knob-router",
            required=True,
            width="stretch",
            help="What a word's activation is compared with: each piece's gate, or its owner's mean activation.",
        )
        k = st.slider("Pieces each item keeps at a position (k)", 1, 10, key="knob-k")
        temperature = st.slider(
            "Temperature", 0.05, 4.0, step=0.05, key="knob-temperature", help="Small: the best piece takes all."
        )
        normalise = st.segmented_control(
            "Normalise", ["layernorm", "cosine"], key="knob-normalise", required=True, width="stretch"
        )
        centre = st.checkbox(
            "Subtract the pool's mean first", key="knob-centre", help="So that what all sharers share does not decide."
        )
        record.options = replace(
            options,
            router="prototype" if router == "prototype" else "gate",
            k=k,
            temperature=temperature,
            normalise="cosine" if normalise == "cosine" else "layernorm",
            centre=centre,
        )
        st.html('<p class="pp-quiet">Used from the next assembly on.</p>')


def _take_preset(record: Studio) -> None:
    name = st.session_state["preset"]
    if name in PRESETS:
        record.options = PRESETS[name]
        for key in ("knob-router", "knob-normalise", "knob-centre", "knob-k", "knob-temperature"):
            st.session_state.pop(key, None)
