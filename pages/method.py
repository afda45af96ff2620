"""Method: the equation with live numbers, a toy to change, differences from the paper, notes for teachers."""

import streamlit as st

from perpcs.ui import method, peftu
from perpcs.ui.engine import get_engine
from perpcs.ui.navigation import settle
from perpcs.ui.state import studio, write_link
from perpcs.ui.widgets import flush

engine, record = get_engine(), studio()
example = settle(engine, record)

st.html("<h1>Method</h1>")
method.equation_panel(engine, record, example)
flush("method")
method.toy_panel()
peftu.places_panel()
method.differences_panel(engine)
method.notes_panel()
write_link(record)
