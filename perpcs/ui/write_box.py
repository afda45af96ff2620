"""Write with this model, on Assemble: its answer to the visitor's own input, next to those of base model and RAG."""

from html import escape
from textwrap import shorten
from typing import TYPE_CHECKING

import streamlit as st

from perpcs.tasks import TASKS
from perpcs.ui.answers import Asked, columns_of
from perpcs.ui.ask import typed_query
from perpcs.ui.asking import kept_as, start_asking
from perpcs.ui.cards import columns_html, style_html
from perpcs.ui.compare import follow
from perpcs.ui.errors import show_error
from perpcs.ui.pages import page
from perpcs.ui.people import Person
from perpcs.ui.state import Studio

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine

METHODS = ("base", "rag", "perpcs")
_DOORS = {
    "compare": ("Compare more methods", ":material/compare:", False),
    "people": ("Ask everyone’s model", ":material/groups:", True),
    "share": ("Share pieces of mine", ":material/volunteer_activism:", False),
}
"""Where one goes on from here: label, icon, and whether Compare's columns are people."""


def is_writing(record: Studio) -> bool:
    """Whether the running work writes answers rather than assembles."""
    return record.work is not None and "skipped" in record.work.about


@st.fragment
def write_box(engine: "Engine", record: Studio, person: Person) -> None:
    """The box: an input, the answers to the last one, and a link to more methods. It reruns without the map."""
    with st.container(key="write-box", border=True):
        st.html(f"<h3>Write with {_whose(person)} model</h3>")
        query, _ = typed_query(engine, record, person, "write")
        with st.container(horizontal=True, vertical_alignment="center"):
            if st.button(
                "Write",
                type="primary",
                icon=":material/edit:",
                key="write",
                disabled=query is None or record.work is not None,
            ):
                assert query is not None
                start_asking(engine, record, Asked(query, columns_of(person, _methods(person))), page="assemble")
            for name, (label, icon, by_person) in _DOORS.items():
                own = person is record.own and bool(person.history)
                if (name != "share" or own) and st.button(label, icon=icon, key=f"write-{name}", type="tertiary"):
                    record.compare_own, record.by_person = person is record.own, by_person
                    st.switch_page(page("share" if name == "share" else "compare"))
        while_written = st.empty()
        if record.work is not None and is_writing(record):
            with while_written.container():
                head = st.empty()
                st.button("Stop", on_click=record.work.stop, icon=":material/stop:", key="write-stop")
                follow(engine, record, head, st.empty())
            while_written.empty()
        asked = _last(engine, record, person)
        if record.failure is not None and asked is not None:
            show_error(record.failure)
        if asked is not None:
            st.html(_asked_html(person, asked) + columns_html(asked) + style_html(asked))


def _methods(person: Person) -> tuple[str, ...]:
    """The columns: RAG needs the history's text, which a saved model does not hold."""
    return METHODS if person.history else ("base", "perpcs")


def _whose(person: Person) -> str:
    names = {"own": "your", "saved": "this person’s"}
    return names.get(person.kind) or f"{escape(person.name)}’s"


def _last(engine: "Engine", record: Studio, person: Person) -> Asked | None:
    """The last answers written with this model; for an example, else those stored with the pool."""
    asked: Asked | None = record.asked
    if asked is not None:
        here = [kept_as(method, person) for method in _methods(person)]
        if [kept_as(column.method, column.person) for column in asked.columns] == here:
            return asked
    if record.typed or person.how != "precomputed":
        return None
    for query in person.queries:
        rows = engine.stored.answers(person.task, person.assembly.user, query.id)
        if all(method in rows for method in METHODS):
            columns = columns_of(person, METHODS)
            for column in columns:
                column.answer = rows[column.method]
            return Asked(query, columns, stored=True)
    return None


def _asked_html(person: Person, asked: Asked) -> str:
    """The question, and the person's own answer if it is known."""
    text = escape(shorten(asked.query.x, 240, placeholder=" …"))
    told = f'<p class="pp-quiet">{text}</p>'
    if asked.query.gold:
        did = "chose" if TASKS[person.task].labels else "wrote"
        told += f'<p class="pp-quiet">{escape(person.name)} {did}: <b>{escape(asked.query.gold)}</b></p>'
    return told
