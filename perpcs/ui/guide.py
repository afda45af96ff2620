"""Two guided ways through the app: a tour of the page, and the presentation."""

import streamlit as st

from perpcs.ui.state import Studio
from perpcs.ui.tour import start_tour
from perpcs.ui.tours import TOURS


def guide(record: Studio, page: str) -> None:
    """The masthead's "Guide"."""
    key = f"guide-{'touring' if record.tour else 'resting'}"  # another key closes the menu when a tour begins
    with st.popover("Guide", icon=":material/signpost:", type="tertiary", key=key):
        st.button(
            "Tour of this page",
            key="tour-start",
            icon=":material/tour:",
            type="tertiary",
            on_click=start_tour,
            args=(record, page),
            disabled=page not in TOURS,
        )
        st.button(
            "Presentation",
            key="present-start",
            icon=":material/slideshow:",
            type="tertiary",
            on_click=_present,
            args=(record,),
        )


def _present(record: Studio) -> None:
    record.present = "1"
