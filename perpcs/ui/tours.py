"""Guided ways through the app: the tours of the pages, how a step is drawn, and the masthead's menu.

Tours are data: for each page the places to look at, in order, and one thing to do at each. A page that wants a tour
adds a line here:
TOURS["sharers"] = (Stop(".st-key-map", "The map", "What it is.", "What to do."), ...)
"""

import json
from dataclasses import dataclass
from html import escape

import streamlit as st

from perpcs.ui.state import Studio

# ---- the tours -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stop:
    """One step of a tour."""

    target: str
    """CSS selector of what stays bright; where there is no such thing now, nothing is dimmed."""
    title: str
    text: str
    """What it is, in a sentence or two."""
    action: str
    """The one thing to do here, as a request."""


TOURS: dict[str, tuple[Stop, ...]] = {
    "overview": (
        Stop(
            ".pp-claim",
            "What this is",
            "Everybody gets the same model. Here a person’s past texts give a table of weights that makes it theirs, "
            "without training a network.",
            "Read the sentence; everything else on these pages spells it out.",
        ),
        Stop(
            ".pp-story",
            "One person, five steps",
            "A real run, from what somebody wrote to an answer in their manner. All numbers are from that run.",
            "Press the numbers 1 to 5 above the figure.",
        ),
        Stop(
            ".pp-size",
            "How little it is",
            "Sharers gave pieces of their own adapters to the pool: numbers, no text. A person here is less still.",
            "Compare the two squares: one person here, and an adapter of one’s own.",
        ),
        Stop(
            ".st-key-doors",
            "Three ways in",
            "Watch an example, bring your own text, or read how it works.",
            "Press “Watch an example” when you have seen enough here.",
        ),
    ),
    "assemble": (
        Stop(
            ".st-key-source",
            "Whose history?",
            "An example person, text that you paste, a file, or a person you saved before.",
            "Stay with “Example” for now.",
        ),
        Stop(
            "[class*='st-key-example-']",
            "Example people",
            "Each was written for this program. None is among the sharers, and the model was adapted to none of them.",
            "Choose another person and see the map change.",
        ),
        Stop(
            ".st-key-mapbox",
            "The map",
            "A row is a layer of the model, a column a sharer. A square: this piece is added, the stronger its colour "
            "the more. A diamond: it is taken away. A dot: it is not used.",
            "Click a square.",
        ),
        Stop(
            ".st-key-view",
            "A closer look",
            "Everything about the piece you clicked, and four other views of the same numbers.",
            "Open “What if” and take something away.",
        ),
        Stop(
            ".st-key-watch",
            "See it happen",
            "The same history is read, now, on this computer, as often as you like.",
            "Press “Watch it happen”. Stop and skip are there if it takes long.",
        ),
        Stop(
            ".st-key-knobs-box",
            "Turn the knobs",
            "How pieces are scored and chosen. What changed against the run before is drawn under the map.",
            "Open the knobs, turn one, and watch it happen again.",
        ),
        Stop(
            ".st-key-other-router",
            "The published gates",
            "By default one Newton step on the weights decides. The paper compares trained gates with what is read.",
            "Press it: both runs are laid side by side.",
        ),
        Stop(
            ".st-key-save",
            "Take the person along",
            "A file of numbers without a word of the history.",
            "Press “Save”; load it again under “Saved”.",
        ),
    ),
    "compare": (
        Stop(
            ".st-key-methods",
            "Who answers",
            "Methods that know nothing of the person, that paste their history into the prompt, or that use the "
            "assembled model, by default with Newton weights.",
            "Add the gates as published, below the list.",
        ),
        Stop(
            ".st-key-ask",
            "The same question for all",
            "All methods answer in one batch, with the same seed and decoding.",
            "Press “Ask” and watch them write.",
        ),
        Stop(
            ".pp-truth",
            "What the person really wrote",
            "It was held out: no method has seen it.",
            "Look for the underlined words in the answers: those they share with it.",
        ),
    ),
    "sharers": (
        Stop(
            ".st-key-townbox",
            "Everybody who was asked",
            "A dot is a candidate, a star one of those who share, the diamond the person. Who wrote alike is near.",
            "Press a star and read its card below.",
        ),
        Stop(
            ".st-key-colour",
            "What the colours say",
            "Groups of alike histories, how much is used of whom, or how much each one wrote.",
            "Choose what the examples use and see whether alike people use the same sharers.",
        ),
        Stop(
            ".st-key-strategy",
            "Who should share?",
            "Rings show whom another way of choosing sharers would have taken.",
            "Choose “random” and compare the rings with the stars.",
        ),
        Stop(
            ".st-key-only",
            "With fewer of them",
            "The person can be assembled again from the sharers that you pick.",
            "Pick three, press the button under the list, and read what it cost.",
        ),
    ),
    "share": (
        Stop(
            ".st-key-share-source",
            "Your own pieces",
            "Here somebody becomes a sharer: a small adapter is trained on their texts, cut into pieces.",
            "Choose how you want to give your texts.",
        ),
        Stop(
            ".st-key-train",
            "Training",
            "Pieces and their gates are trained the way this pool’s were. It can be stopped at any moment, and then "
            "nothing is left.",
            "Fill in a sample and press the button.",
        ),
        Stop(
            ".st-key-take-back-box",
            "Taking it back",
            "Before anything is added you see all of it and are asked. Later your code takes it out of the pool again.",
            "Open it to see what is needed for that.",
        ),
    ),
    "method": (
        Stop(
            ".pp-lit:not(.pp-toy)",
            "One equation",
            "A layer’s output is the base model’s plus the pieces’, each times this person’s weight for it.",
            "Hold the pointer over a symbol: its number lights up.",
        ),
        Stop(
            ".st-key-toy-numbers",
            "Small enough to change",
            "Two sharers, two layers, one token: the same arithmetic as in the real model.",
            "Change a number and follow what changes below.",
        ),
        Stop(
            ".st-key-differences",
            "Where this differs from the paper",
            "Each difference stands beside what it was measured to change, where results are there.",
            "Find the one that changes most.",
        ),
        Stop(
            ".st-key-notes-page",
            "For teachers",
            "A five-minute script for each page, and three questions with answers.",
            "Choose the page that you want to show.",
        ),
    ),
    "results": (
        Stop(
            ".st-key-results-table",
            "How good, and how sure",
            "Means over people whom nothing was trained on; under each its 95 % interval. The controls use another "
            "person’s weights, or random ones.",
            "Press a number to read the answers behind it.",
        ),
        Stop(
            ".st-key-measure",
            "Two measures",
            "What the task counts, and how likely the model finds what the person really wrote.",
            "Change the measure and look whether the order stays.",
        ),
        Stop(
            ".st-key-history-box",
            "How much must somebody have written?",
            "The same people with ever longer histories, for every method.",
            "Look where the lines cross.",
        ),
    ),
}


# ---- a step on the screen --------------------------------------------------------------------------------------------


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


# ---- the menu --------------------------------------------------------------------------------------------------------


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
