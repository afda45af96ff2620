"""Draws a guided tour: everything except the step's target is dimmed, and a card says what it is and what to do."""

import json
from html import escape

import streamlit as st

from perpcs.ui.state import Studio
from perpcs.ui.tours import TOURS, Stop

# A page is drawn bit by bit: for some seconds the script looks for the target, and scrolls to it again whenever the
# page has grown, until the visitor scrolls.
_SCROLL = """<script>(() => {{ let left = 40, height = -1; const stop = () => {{ left = 0; }};
for (const what of ["wheel", "touchmove", "keydown"]) addEventListener(what, stop, {{ once: true, passive: true }});
const look = () => {{ const found = document.querySelector({target});
const main = document.querySelector("[data-testid=stMain]");
const now = main ? main.scrollHeight : 0; if (found && now !== height) {{ height = now;
found.scrollIntoView({{ block: "center", behavior: "smooth" }}); }} if (left-- > 0) setTimeout(look, 150); }};
look(); }})()</script>"""


def current(record: Studio, page: str) -> int | None:
    """The current step (from 0) of this page's tour; None if no tour is running."""
    name, _, number = record.tour.partition(".")
    if name != page or name not in TOURS:
        return None
    return min(max(int(number) - 1, 0), len(TOURS[name]) - 1)


def show_tour(record: Studio, page: str) -> None:
    """Draw the current step over the page. Call it after the page."""
    at = current(record, page)
    if at is None:
        return
    stops = TOURS[page]
    stop = stops[at]
    st.html(_style(stop))
    st.html(_SCROLL.format(target=json.dumps(stop.target)), unsafe_allow_javascript=True)
    with st.container(key="tour"):
        st.html(
            '<div role="dialog" aria-label="Guided tour" aria-live="polite">'
            f"<small>Step {at + 1} of {len(stops)}</small><h3>{escape(stop.title)}</h3>"
            f"<p>{escape(stop.text)}</p><p><b>{escape(stop.action)}</b></p></div>"
        )
        with st.container(horizontal=True):
            last = at + 1 == len(stops)
            st.button(
                "Done" if last else "Next",
                type="primary",
                key="tour-next",
                on_click=_go,
                args=(record, "" if last else f"{page}.{at + 2}"),
            )
            st.button("Back", key="tour-back", on_click=_go, args=(record, f"{page}.{at}"), disabled=at == 0)
            if not last:
                st.button("Skip the tour", key="tour-skip", type="tertiary", on_click=_go, args=(record, ""))


def start_tour(record: Studio, page: str) -> None:
    """Begin a page's tour, if it has one."""
    record.tour = f"{page}.1" if page in TOURS else ""


def _go(record: Studio, step: str) -> None:
    record.tour = step


def _style(stop: Stop) -> str:
    """A page-wide shadow around the target: no layer covers the target, so it can still be clicked."""
    return (
        f"<style>{stop.target} {{ position: relative; z-index: 900; border-radius: 10px; "
        "box-shadow: 0 0 0 3px var(--pp-mark), 0 0 0 9px var(--pp-ground), 0 0 0 200vmax var(--pp-dim); "
        "background: var(--pp-ground); }</style>"
    )
