"""The order in which parts of a page reach the screen."""

import time

import streamlit as st

PAUSE = 0.12
"""Seconds without a message after which a browser draws what it has received."""


def first_paint(name: str) -> None:
    """When a visitor opens the page, let the browser draw what it has so far before the rest arrives.

    Later clicks on the page do not wait, unless they change the name: a click that redraws most of a page, charts
    included, shows its direct result first.
    """
    if st.session_state.get("painted") != name:
        st.session_state["painted"] = name
        time.sleep(PAUSE)
