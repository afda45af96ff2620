"""Share: train pieces on your own text, see exactly what would be shared, add it to a copy of the pool, withdraw."""

import streamlit as st

from perpcs.ui import share
from perpcs.ui.engine import get_engine
from perpcs.ui.navigation import settle
from perpcs.ui.state import studio

engine, record = get_engine(), studio()
settle(engine, record)

share.heading(record)
share.write_address(record)  # here too: a run that watches training ends inside it
left, right = st.columns([0.36, 0.64], gap="large")
with left:
    share.text_panel(engine, record)
with right:
    share.progress_panel(engine, record)
share.take_back_panel(engine, record)
share.write_address(record)
