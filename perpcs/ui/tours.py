"""Guided ways through the app, from the masthead's menu: the tours of the pages, and the presentation.

Tours are data: for each page the places to look at, in order, and one thing to do at each. A page that wants a tour
adds a line: TOURS["sharers"] = (Stop(".st-key-map", "The map", "What it is.", "What to do."), ...)

Presentation mode (``?present=1``): one idea per slide in large type, for a projector. Arrow keys move on and back.

The slides follow Overview, Assemble and Compare, with the selected example person; none of them needs the model.
``?present=1`` on a page begins at its first slide, ``?present=map`` at that one.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from perpcs.assembly.explain import fewest
from perpcs.assembly.routers import PRESETS
from perpcs.errors import PerpcsError
from perpcs.figures.answers import diff_html
from perpcs.figures.assembly_map import assembly_map
from perpcs.figures.columns import (
    LAYERS,
    MOST,
    called,
    largest_piece,
    piece_facts,
    rows_of,
    sharer_names,
    split_label,
    takeaway,
    took,
    update_equation,
    weight_equation,
)
from perpcs.figures.difference import difference_map
from perpcs.figures.story import STEPS, Story, explanation, size_html, story_html
from perpcs.figures.style import bytes_text, method_colour, ratio_text
from perpcs.personalizers.methods import title_of
from perpcs.ui.navigation import current_example
from perpcs.ui.state import Person, Studio, fit_of, write_link
from perpcs.ui.whatif import TAKEN_OVER
from perpcs.ui.widgets import CLAIM, chart, computed, is_dark, stat_row, term
from perpcs.ui.work import show_error

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


# ---- the presentation ------------------------------------------------------------------------------------------------


_LARGE = 20
"""Pixels of the smallest letters on a slide: they are read from three metres."""
MOST_PRESENTED = 14
"""Columns of the map on a slide: more names cannot be read from the last row."""


@dataclass(frozen=True)
class Show:
    """The data for a slide."""

    engine: "Engine"
    record: Studio
    person: Person


@dataclass(frozen=True)
class Screen:
    """One idea."""

    name: str
    """Its name in a link."""
    page: str
    """The page it belongs to."""
    draw: Callable[[Show], None]


def present(engine: "Engine", record: Studio, page: str) -> None:
    """Draw the current slide and the buttons that move on and back.

    Args:
        page: the page that the link led to; ``present=1`` begins at its first screen.
    """
    try:
        person = current_example(engine, record)
    except PerpcsError as error:
        show_error(error)
        person = None
    names = [screen.name for screen in SCREENS]
    if record.present not in names:
        record.present = next((screen.name for screen in SCREENS if screen.page == page), names[0])
    at = names.index(record.present)
    with st.container(key="present"):
        if person is None:
            st.html("<h1>There is no one to present</h1><p class='pp-lede'>This pool has no example people.</p>")
        else:
            SCREENS[at].draw(Show(engine, record, person))
    with st.container(key="present-bar", horizontal=True, vertical_alignment="center"):
        back, on = names[max(at - 1, 0)], names[min(at + 1, len(names) - 1)]
        st.button(
            "Back", key="present-back", shortcut="Left", on_click=_go_to_slide, args=(record, back), disabled=at == 0
        )
        st.button(
            "Next",
            key="present-next",
            shortcut="Right",
            type="primary",
            on_click=_go_to_slide,
            args=(record, on),
            disabled=at == len(names) - 1,
        )
        st.html(f'<p class="pp-quiet" aria-live="polite">{at + 1} of {len(names)}</p>', width="content")
        st.button("End", key="present-end", shortcut="Esc", type="tertiary", on_click=_go_to_slide, args=(record, ""))
    write_link(record)


def _go_to_slide(record: Studio, name: str) -> None:
    record.present = name


# ---- overview --------------------------------------------------------------------------------------------------------


def _claim(show: Show) -> None:
    st.html(
        f'<h1 class="pp-claim">{escape(CLAIM)}</h1><p class="pp-lede">{escape(computed(PRESETS["default"].name))} No '
        f"network is trained. The personal model is that table: {bytes_text(show.engine.user_bytes)}.</p>"
    )


def _story(step: int, show: Show) -> None:
    person, assembly = show.person, show.person.assembly
    query = person.queries[0] if person.queries else None
    answers = show.engine.stored.answers(person.task, show.record.example, query.id) if query else {}
    told = Story(
        name=person.name,
        history=person.history,
        assembly=assembly,
        sharers=show.engine.pool.sharers(person.task),
        user_bytes=show.engine.user_bytes,
        query=query,
        names=tuple(sharer_names(assembly.sharers, show.engine.stored.portraits(person.task), 40)),
        answers=tuple(
            (name, title_of(name, assembly.router), a.text) for name, a in answers.items() if name in ("base", "perpcs")
        ),
        fit=fit_of(person),
    )
    st.html(f'<h1>{step + 1}. {STEPS[step]}</h1><p class="pp-lede">{escape(explanation(told, step))}</p>')
    st.html(story_html(told, step=step, dark=is_dark()))


def _size(show: Show) -> None:
    engine = show.engine
    ratio = ratio_text(engine.user_bytes, engine.pool.manifest.adapter_bytes)
    st.html(f'<h1>A personal model is {ratio} of a full adapter</h1><p class="pp-lede">The areas are to scale.</p>')
    st.html(size_html(engine.user_bytes, engine.pool.manifest.adapter_bytes))


# ---- assemble --------------------------------------------------------------------------------------------------------


def _map(show: Show) -> None:
    person = show.person
    title = takeaway(person.assembly, person.name)
    portraits = show.engine.stored.portraits(person.task)
    story = took(person.assembly, person.name, portraits)
    st.html(f'<h1>{escape(title)}</h1><p class="pp-lede">{escape(story)}</p>')
    figure = assembly_map(
        person.assembly,
        show.engine.pool.sharers(person.task),
        sort=show.record.sort,
        module=LAYERS,
        names=sharer_names(person.assembly.sharers, portraits, 18) if portraits.sharers else (),
        only=fewest(person.assembly, MOST)[:MOST_PRESENTED],
        dark=is_dark(),
    )
    figure.update_annotations(font_size=_LARGE)
    figure.update_layout(height=450, margin={"b": 196, "l": 56}, legend_font_size=_LARGE, legend_y=-0.95)
    figure.update_xaxes(tickfont_size=_LARGE)
    figure.update_yaxes(tickfont_size=_LARGE)
    side = figure.layout.yaxis3  # rows are lower than a large letter: every second one is named
    side.update(tickvals=side.tickvals[::2], ticktext=side.ticktext[::2])
    figure.layout.annotations = figure.layout.annotations[:1]
    figure.update_traces({"marker.size": 11}, {"mode": "markers"})
    figure.update_traces({"marker.colorbar.tickfont.size": _LARGE}, {"name": "selected piece"})
    figure.update_traces({"marker.colorbar.title.font.size": _LARGE}, {"name": "selected piece"})
    chart(figure, "present-map", title, buttons=False)


def _piece(show: Show) -> None:
    assembly, manifest = show.person.assembly, show.engine.pool.manifest
    facts = piece_facts(assembly, *largest_piece(assembly))
    name = called(assembly.sharers, facts.sharer, show.engine.stored.portraits(show.person.task))
    st.html(f"<h1>The strongest piece: {escape(facts.label)}, {escape(name)}</h1>")
    rows = (
        (f"{facts.weight:.3f}", term("weight")),
        (f"{facts.score:.3f}", f"{term('score')}, rank {facts.score_rank} of {facts.n_sharers}"),
    )
    st.html(stat_row(rows))
    st.latex(weight_equation(facts))
    st.latex(update_equation(facts, manifest.scale, manifest.kind))


def _without(show: Show) -> None:
    """What changes if the most-used sharer withdraws their pieces."""
    assembly = show.person.assembly
    top = assembly.top_sharers(1)
    if not top:
        st.html("<h1>This model is the base model: no pieces are used</h1>")
        return
    id, share = top[0]
    portraits = show.engine.stored.portraits(show.person.task)
    name = called(assembly.sharers, assembly.sharers.index(id), portraits)
    st.html(
        f"<h1>What if {escape(name)} withdrew their pieces?</h1><p class='pp-lede'>They hold {100 * share:.0f} "
        f"% of all weight here. {TAKEN_OVER}</p>"
    )
    after = assembly.without_sharers([id]).weights
    module = split_label(assembly.positions[int(np.abs(assembly.weights - after).sum(axis=1).argmax())])[1]
    by = np.abs(assembly.weights - after)[rows_of(assembly.positions, module)].sum(axis=0)
    figure = difference_map(
        assembly.weights,
        after,
        assembly.positions,
        show.engine.pool.sharers(show.person.task),
        module=module,
        names=sharer_names(assembly.sharers, portraits, 18),
        only=np.argsort(-by)[:MOST_PRESENTED].tolist(),
        dark=is_dark(),
    )
    figure.update_layout(legend_font_size=_LARGE, height=450, margin={"l": 70, "b": 220})
    figure.update_traces(
        {f"marker.colorbar.{part}font.size": _LARGE for part in ("tick", "title.")},
        lambda trace: bool(trace.marker.colorbar.title.text),
    )
    figure.update_xaxes(tickfont_size=_LARGE)
    for side in figure.select_yaxes():
        if side.tickvals:  # every second row, as on the map
            side.update(tickvals=side.tickvals[::2], ticktext=side.ticktext[::2], tickfont_size=_LARGE)
    chart(figure, "diff-present", f"Without {name}: weights that change at {module}", buttons=False)


# ---- compare ---------------------------------------------------------------------------------------------------------


def _asked(task: str, name: str) -> str:
    """What the slide asks of the audience."""
    noun = {"LaMP_4": "headline", "LaMP_5": "title", "LaMP_7": "tweet"}.get(task, "")
    return f"What {noun} would {name} write?" if noun else f"How would {name} answer?"


def _question(show: Show) -> None:
    query = show.person.queries[0] if show.person.queries else None
    st.html("<h1>A question that no method has seen</h1>")
    if query is None:
        st.html('<p class="pp-lede">This person has no held-out item.</p>')
        return
    text = " ".join(query.x.split())
    st.html(
        f'<div class="pp-quote">{escape(text if len(text) <= 420 else text[:420] + " …")}</div>'
        f'<p class="pp-lede">{escape(_asked(show.person.task, show.person.name))}</p>'
    )


def _answers(show: Show) -> None:
    person = show.person
    query = person.queries[0] if person.queries else None
    rows = show.engine.stored.answers(person.task, show.record.example, query.id) if query else {}
    st.html(f"<h1>Three answers, and {escape(person.name)}’s own</h1>")
    gold = query.gold if query else None
    if gold:
        st.html(f'<div class="pp-truth"><small>{escape(person.name)}’s own answer</small><b>{escape(gold)}</b></div>')
    shown = [rows[name] for name in ("base", "rag", "perpcs") if name in rows]
    if not shown:
        st.html('<p class="pp-lede">This pool stores no answers: end the presentation and click Ask on Compare.</p>')
        return
    for column, answer in zip(st.columns(len(shown), gap="medium"), shown, strict=True):
        text = diff_html(answer.text, gold) if gold and not answer.labels else escape(answer.text)
        title = title_of(answer.method, person.assembly.router)
        column.html(
            f'<div class="pp-answer" style="--m:{method_colour(answer.method)}"><h3>{escape(title)}</h3>'
            f"<p>{text}</p></div>"
        )
    st.html(
        '<p class="pp-quiet">Underlined: words the answer shares with the person’s own; struck '
        "through: words it is missing. Precomputed.</p>"
    )


SCREENS: tuple[Screen, ...] = (
    Screen("claim", "overview", _claim),
    *(Screen(f"story-{step + 1}", "overview", partial(_story, step)) for step in range(len(STEPS))),
    Screen("size", "overview", _size),
    Screen("map", "assemble", _map),
    Screen("piece", "assemble", _piece),
    Screen("without", "assemble", _without),
    Screen("question", "compare", _question),
    Screen("answers", "compare", _answers),
)


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
            "Everybody usually gets the same model. Here, a person’s past texts give a table of weights that "
            "personalises it. No network is trained.",
            "Read this sentence; the other pages explain it in detail.",
        ),
        Stop(
            ".pp-story",
            "One person, five steps",
            "A real run, from what a person wrote to an answer in their style. All numbers come from this run.",
            "Click the numbers 1 to 5 above the figure.",
        ),
        Stop(
            ".pp-size",
            "How small it is",
            "Sharers contribute pieces of their own adapters to the pool: numbers, no text. A personal model is "
            "much smaller still.",
            "Compare the two squares: a personal model here, and an adapter trained for one person.",
        ),
        Stop(
            ".st-key-doors",
            "Three ways in",
            "Watch an example, bring your own text, or read how it works.",
            "Click “Watch an example” to go on.",
        ),
    ),
    "assemble": (
        Stop(
            ".st-key-source",
            "Whose history?",
            "An example person, pasted text, a file, or a model you saved before.",
            "Stay with “Example” for now.",
        ),
        Stop(
            "[class*='st-key-example-']",
            "Example people",
            "They were made up for this program. None of them is a sharer, and the base model was not adapted to "
            "any of them.",
            "Choose another person and see how the map changes.",
        ),
        Stop(
            ".st-key-mapbox",
            "The map",
            "A row is a layer of the model, a column is a sharer. Square: the piece is added; a stronger colour "
            "means more weight. Diamond: the piece is subtracted. Dot: the piece is not used.",
            "Click a square.",
        ),
        Stop(
            ".st-key-view",
            "A closer look",
            "Everything about the piece you clicked, and four other views of the same numbers.",
            "Open “What if” and remove something.",
        ),
        Stop(
            ".st-key-watch",
            "See it happen",
            "Reads the same history again, now, on this computer.",
            "Click “Watch it happen”. You can stop it or skip the animation.",
        ),
        Stop(
            ".st-key-knobs-box",
            "Settings",
            "How pieces are scored and selected. The changes from the previous run are shown below the map.",
            "Open the settings, change one, and assemble again.",
        ),
        Stop(
            ".st-key-other-router",
            "The published gates",
            "By default, one Newton step sets the weights. The paper compares trained gates with what the model reads.",
            "Click it to see both runs side by side.",
        ),
        Stop(
            ".st-key-save",
            "Save the model",
            "A file of numbers that contains no text of the history.",
            "Click “Save”; load it again under “Saved”.",
        ),
    ),
    "compare": (
        Stop(
            ".st-key-methods",
            "Who answers",
            "Some methods know nothing about the person, some put the history into the prompt, and some use the "
            "assembled model, by default with Newton weights.",
            "Add the gates as published, below the list.",
        ),
        Stop(
            ".st-key-ask",
            "The same question for all",
            "All methods answer in one batch, with the same seed and decoding.",
            "Click “Ask” and watch the answers appear.",
        ),
        Stop(
            ".pp-truth",
            "What the person really wrote",
            "It was held out: no method has seen it.",
            "Look for underlined words in the answers: these also occur in the true answer.",
        ),
    ),
    "sharers": (
        Stop(
            ".st-key-townbox",
            "Candidates and sharers",
            "A dot is a candidate, a star is a sharer, the diamond is the current person. Points that are close "
            "together have similar topics.",
            "Click a star and read the card below.",
        ),
        Stop(
            ".st-key-colour",
            "What the colours say",
            "Clusters of similar histories, how much each sharer is used, or how much each person wrote.",
            "Choose “Usage by the examples” and see whether similar people use the same sharers.",
        ),
        Stop(
            ".st-key-strategy",
            "Who should share?",
            "Rings mark the people whom another selection strategy would choose.",
            "Choose “random” and compare the rings with the stars.",
        ),
        Stop(
            ".st-key-only",
            "With fewer of them",
            "Assemble the person again from only the sharers you select.",
            "Select three, click the button below the list, and see how the loss changes.",
        ),
    ),
    "share": (
        Stop(
            ".st-key-share-source",
            "Your own pieces",
            "Here you become a sharer: a small adapter is trained on your texts and split into pieces.",
            "Choose how to enter your texts.",
        ),
        Stop(
            ".st-key-train",
            "Training",
            "Your pieces and gates are trained in the same way as this pool’s. If you stop the training, nothing "
            "is kept.",
            "Fill in a sample and click the button.",
        ),
        Stop(
            ".st-key-take-back-box",
            "Taking it back",
            "Before anything is added, you review it and give your consent. Later, your code removes it from the copy.",
            "Open it to see what you need.",
        ),
    ),
    "method": (
        Stop(
            ".pp-lit:not(.pp-toy)",
            "One equation",
            "A layer’s output is the base model’s output plus the output of each piece, times this person’s weight "
            "for it.",
            "Hover over a symbol to highlight its number.",
        ),
        Stop(
            ".st-key-toy-numbers",
            "Small enough to change",
            "Two sharers, two layers, one token: the same arithmetic as in the real model.",
            "Change a number and see what changes below.",
        ),
        Stop(
            ".st-key-differences",
            "Where this differs from the paper",
            "Each difference is listed with its measured effect, if there is one.",
            "Find the one with the largest effect.",
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
            "Means over people whose texts were not used in training, each with its 95 % interval. The controls "
            "use another person’s weights or profile, random pieces, or equal weights.",
            "Click a number to read the answers behind it.",
        ),
        Stop(
            ".st-key-measure",
            "Three measures",
            "The task’s metric, the likelihood of the person’s own answer, and style.",
            "Change the measure and see whether the order of the methods stays the same.",
        ),
        Stop(
            ".st-key-history-box",
            "How much history is needed?",
            "The same people with longer and longer histories, for each method.",
            "See where the lines cross.",
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
