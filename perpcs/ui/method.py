"""The parts of the Method page: the equation with live numbers, the toy, differences with their effects, notes."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from perpcs.assembly.record import Assembly
from perpcs.assembly.toy import Toy, numbers, run, with_number
from perpcs.errors import PerpcsError
from perpcs.evaluate.effects import Effect, effects
from perpcs.figures.formula import Layer, layer_html, toy_html
from perpcs.figures.order import short_names
from perpcs.figures.piece import largest_piece, piece_facts, weight_equation
from perpcs.pool.manifest import Example
from perpcs.tasks import TASKS
from perpcs.ui.card import RESULTS, table_html
from perpcs.ui.choice import example_picker, task_picker
from perpcs.ui.errors import show_error
from perpcs.ui.lesson import DIFFERENCES, NOTES, Difference
from perpcs.ui.people import names_of
from perpcs.ui.state import Studio
from perpcs.ui.strings import term

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine

_SHOWN = 3
_TOP = {"x.0": "x 1", "x.1": "x 2", "scale": "scale", "temperature": "temperature", "k": "k"}
_NAMES = {
    "perpcs": "Newton weights",
    "wrong:perpcs": "Newton weights, of the next person",
    "perpcs:newton": "Newton weights",
    "wrong:perpcs:newton": "Newton weights, of the next person",
    "perpcs:paper": "gates, as published",
    "perpcs:gate": "distilled gates",
    "perpcs:prototype": "prototypes",
    "perpcs:gradient": "gradient",
    "perpcs:fit": "fit",
    "oppu": "OPPU",
    "wrong:oppu": "OPPU, of the next person",
}


# ---- the equation --------------------------------------------------------------------------------------------------


def equation_panel(engine: "Engine", record: Studio, example: Example | None) -> None:
    """The one equation with the numbers of the current example; no model is run."""
    st.html("<h2>One equation</h2>")
    if example is None:
        st.html('<p class="pp-note">This pool has no example people for this kind of text.</p>')
        return
    name = names_of(engine.pool.examples(record.task))[example.id]
    with st.expander(f"Whose numbers: {name}, {TASKS[record.task].title.lower()}"):
        task_picker(engine, record, "method-task")
        example_picker(engine, record, "method-example")
    try:
        assembly = engine.stored.assembly(record.task, example.id)
    except PerpcsError as error:
        show_error(error)
        return
    st.html(layer_html(layer_of(engine, assembly, name)))
    position, sharer = largest_piece(assembly)
    st.html(
        f'<h3>Where that {term("weight")} comes from</h3><p class="pp-quiet">The router of this assembly is '
        f"“{escape(str(assembly.router.get('router', 'gate')))}”, its numbers those of {escape(name)}, precomputed.</p>"
    )
    st.latex(weight_equation(piece_facts(assembly, position, sharer)))


def layer_of(engine: "Engine", assembly: Assembly, name: str) -> Layer:
    """The position of the largest weight, in numbers."""
    manifest, (p, _) = engine.pool.manifest, largest_piece(assembly)
    size = np.abs(assembly.weights[p])
    order, names = np.argsort(-size, kind="stable")[:_SHOWN], short_names(assembly.sharers)
    top = tuple((names[s].rpartition("-")[2], float(assembly.weights[p, s])) for s in order.tolist() if size[s] > 0)
    return Layer(
        label=assembly.positions[p],
        n=manifest.positions[p].n,
        d=manifest.positions[p].d,
        rank=manifest.rank,
        scale=manifest.scale,
        top=top,
        others=int((size > 0).sum()) - len(top),
        sharers=len(assembly.sharers),
        positions=len(assembly.positions),
        name=name,
        scaling=manifest.kind == "ia3",
    )


# ---- the toy -------------------------------------------------------------------------------------------------------


def toy_panel() -> None:
    """All numbers of the toy as fields, and what comes out of them at once."""
    st.html(
        '<h2 class="pp-part">The same in numbers you can change</h2><p class="pp-quiet">2 sharers, 2 positions, '
        "rank 1, vectors of 2, one token. The arithmetic is that of the real layer; change any number and everything "
        "below is computed again.</p>"
    )
    toy = Toy()
    for name, usual in numbers(toy).items():
        toy = with_number(toy, name, st.session_state.get(f"toy-{name}", usual))
    with st.container(horizontal=True, vertical_alignment="bottom", key="toy-numbers"):
        for name, label in _TOP.items():
            _number(name, label)
        st.button("Start values", on_click=_reset, key="toy-reset", type="tertiary", icon=":material/restart_alt:")
    for position, column in enumerate(st.columns(2, gap="large")):
        with column, st.expander(f"Position {position + 1}: W, A, B, g", expanded=True):
            for what, title in (("W", "W, the base model"), *((f"s{s}", f"Sharer {s + 1}") for s in (0, 1))):
                st.html(f"<b>{title}</b>")
                with st.container(horizontal=True, gap="small"):
                    for name, label in _fields(what, position):
                        _number(name, label)
    st.html(toy_html(run(toy), toy.scale, toy.temperature))


def _fields(what: str, position: int) -> list[tuple[str, str]]:
    if what == "W":
        return [(f"W.{position}.{r}.{c}", f"W {r + 1},{c + 1}") for r in (0, 1) for c in (0, 1)]
    sharer = int(what[1:])
    return [(f"{letter}.{position}.{sharer}.{i}", f"{letter} {i + 1}") for letter in "ABg" for i in (0, 1)]


def _number(name: str, label: str) -> None:
    usual, key = numbers(Toy())[name], f"toy-{name}"
    if key not in st.session_state:
        st.session_state[key] = int(usual) if name == "k" else usual
    spoken = label if name.count(".") < 2 else f"{label}, position {int(name.split('.')[1]) + 1}"
    if name == "k":
        st.number_input(spoken, 1, 2, key=key, width=96)
    elif name == "temperature":
        st.number_input(spoken, 0.01, 100.0, step=0.1, format="%g", key=key, width=110)
    else:
        st.number_input(spoken, -100.0, 100.0, step=0.1, format="%g", key=key, width=96)


def _reset() -> None:
    for name in numbers(Toy()):
        st.session_state.pop(f"toy-{name}", None)


# ---- differences and notes -----------------------------------------------------------------------------------------


def differences_panel(engine: "Engine") -> None:
    """Where this program differs from the paper and its code, with measured effects where there are any."""
    st.html(
        '<h2 class="pp-part">Where this differs from the paper and its code</h2><p class="pp-quiet">Per-Pcs (Tan et '
        "al., EMNLP 2024, arXiv 2406.10471) and the code released with it. An effect is given only where an evaluation "
        f"under results/ has it: nats per target token minus the {term('base model')}’s, lower is better, with the "
        f"{term('interval', '95 % interval')} over people.</p>"
    )
    measured = effects(RESULTS)
    with st.container(key="differences"):
        for difference in DIFFERENCES:
            with st.expander(difference.what):
                st.html(
                    '<div class="pp-prose"><p><b>There.</b> '
                    f"{escape(difference.before)}</p><p><b>Here.</b> {escape(difference.here)}</p><p><b>What it "
                    f"does.</b> {escape(difference.does)}</p></div>"
                    f"{effect_html(difference, measured, engine.pool.hash)}"
                )


def effect_html(difference: Difference, measured: Sequence[Effect], pool_hash: str) -> str:
    """The measured effect of a difference as a table: a row a task, a column a method."""
    there = [effect for effect in measured if effect.method in difference.methods]
    if not there:
        return '<p class="pp-quiet">Not measured: no evaluation under results/ tells this apart.</p>'
    cells = {(effect.file, effect.method): effect for effect in there}
    files = list(dict.fromkeys(effect.file for effect in there))
    shown = [method for method in difference.methods if any((file, method) in cells for file in files)]
    body = []
    for file in files:
        one = next(effect for effect in there if effect.file == file)
        which = "this pool" if one.pool_hash == pool_hash else f"the pool {escape(one.pool_hash[:8])}"
        head = f"{escape(TASKS[one.task].title)}<br><small>n = {one.people} people, {which}, {escape(file)}</small>"
        body.append([head, *(_cell(cells.get((file, method))) for method in shown)])
    return (
        '<div class="pp-scroll" tabindex="0" role="region" aria-label="Measured effect">'
        + table_html("Measured: nats per token minus the base model’s", ("task", *(_NAMES[m] for m in shown)), body)
        + "</div>"
    )


def _cell(effect: Effect | None) -> str:
    if effect is None:
        return "–"
    return f"{effect.mean:+.3f}<br><small>[{effect.low:+.3f}, {effect.high:+.3f}]</small>".replace("-", "−")


@st.fragment
def notes_panel() -> None:
    """Five minutes and three questions for every page; another page's run nothing else of this one."""
    st.html(
        '<h2 class="pp-part">Teacher’s notes</h2><p class="pp-quiet">Five minutes with each page, and three questions '
        "to end with.</p>"
    )
    names = [notes.page for notes in NOTES]
    chosen = st.segmented_control("Page", names, default=names[0], key="notes-page", required=True)
    notes = next(notes for notes in NOTES if notes.page == chosen)
    left, right = st.columns(2, gap="large")
    minutes = "".join(f"<li><b>Minute {i}.</b> {escape(text)}</li>" for i, text in enumerate(notes.minutes, start=1))
    left.html(f'<h3>A script for {escape(notes.page)}</h3><ol class="pp-script">{minutes}</ol>')
    with right:
        st.html("<h3>Three questions</h3>")
        for question, answer in notes.questions:
            with st.expander(question):
                st.html(f"<p>{escape(answer)}</p>")
