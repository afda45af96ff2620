"""The order in which a page comes to the screen."""

import time

import streamlit as st

PAUSE = 0.12
"""Seconds without a message after which a browser draws what has come; while more comes it gathers."""


def first_paint(name: str) -> None:
    """Let the browser draw what a page has shown so far before the rest comes, when somebody comes to the page.

    A press on the page waits for nothing, unless it changes the name: where it changes most of a page, charts and all,
    what was pressed for comes first.
    """
    if st.session_state.get("painted") != name:
        st.session_state["painted"] = name
        time.sleep(PAUSE)
