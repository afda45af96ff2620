"""Assemble: give a history on the left, see the resulting model on the right."""

import streamlit as st

from perpcs.ui import assemble, give_history
from perpcs.ui.engine import get_engine
from perpcs.ui.navigation import settle
from perpcs.ui.state import studio, write_link

engine, record = get_engine(), studio()
settle(engine, record)

left, right = st.columns([0.31, 0.69], gap="large")
with left:
    give_history.history_panel(engine, record)
with right:
    assemble.result_panel(engine, record)
write_link(record)
