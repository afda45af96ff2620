"""Compare: one question, several methods, answered side by side."""

import streamlit as st

from perpcs.ui import ask, compare, peftu
from perpcs.ui.engine import get_engine
from perpcs.ui.navigation import settle
from perpcs.ui.state import studio, write_link

engine, record = get_engine(), studio()
settle(engine, record)

left, right = st.columns([0.31, 0.69], gap="large")
with left:
    question = ask.question_panel(engine, record)
with right:
    if question is not None:
        compare.answers_panel(engine, record, question)
    peftu.six_panel(engine)
write_link(record)
