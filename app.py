"""Starts the app (`python -m streamlit run app.py`): opens the pool in the background and serves perpcs/ui/shell.py."""

import streamlit as st

from perpcs.ui.engine import warm_start
from perpcs.ui.work import on_script_error

app = st.App("perpcs/ui/shell.py", lifespan=warm_start, on_script_error=on_script_error)
