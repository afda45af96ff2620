"""Presentation mode (``?present=1``): one idea per slide in large type, for a projector. Arrow keys move on and back.

The slides follow Overview, Assemble and Compare, with the selected example person; none of them needs the model.
``?present=1`` on a page begins at its first slide, ``?present=map`` at that one.
"""

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
    column_names,
    largest_piece,
    piece_facts,
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
from perpcs.ui.widgets import CLAIM, chart, computed, is_dark, stat_row, term
from perpcs.ui.work import show_error

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


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
        st.button("Back", key="present-back", shortcut="Left", on_click=_go, args=(record, back), disabled=at == 0)
        st.button(
            "Next",
            key="present-next",
            shortcut="Right",
            type="primary",
            on_click=_go,
            args=(record, on),
            disabled=at == len(names) - 1,
        )
        st.html(f'<p class="pp-quiet" aria-live="polite">{at + 1} of {len(names)}</p>', width="content")
        st.button("End", key="present-end", shortcut="Esc", type="tertiary", on_click=_go, args=(record, ""))
    write_link(record)


def _go(record: Studio, name: str) -> None:
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
        names=column_names(person.assembly, portraits, 18) if portraits.sharers else (),
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
        "% of all weight here. The other sharers at each position take it over; the model does not run.</p>"
    )
    after = assembly.without_sharers([id]).weights
    module = split_label(assembly.positions[int(np.abs(assembly.weights - after).sum(axis=1).argmax())])[1]
    figure = difference_map(
        assembly.weights,
        after,
        assembly.positions,
        show.engine.pool.sharers(show.person.task),
        module=module,
        dark=is_dark(),
    )
    figure.update_layout(legend_font_size=_LARGE, margin_l=70)
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
