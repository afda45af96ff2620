"""The left side of Compare: the person, the question, the columns, and the decoding settings."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from random import SystemRandom
from textwrap import shorten
from typing import TYPE_CHECKING

import streamlit as st

from perpcs.errors import PerpcsError
from perpcs.personalizers.methods import DEFAULT, METHODS, is_name, parse, title_of
from perpcs.tasks import TASKS, Query, get_task
from perpcs.ui.asking import Asked, Column, columns_by_person, columns_of, start_asking
from perpcs.ui.navigation import current_example, task_picker
from perpcs.ui.state import MOST_METHODS, Person, Studio, clear_button, example_person, names_of, remember
from perpcs.ui.widgets import NO_TEXT, PRIVACY
from perpcs.ui.work import show_error

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine

_HELD_OUT, _TYPED = "A held-out item", "My own words"
PUBLISHED = "perpcs:paper"
"""The paper's gates, added by a button."""
MENU = (
    *("base", "random-history", "rag", "rag:4", "pag", "pag:1", "retrieval", "p2p"),
    *("perpcs", PUBLISHED, "perpcs:gate", "perpcs:fit", "perpcs:fit+own", "perpcs:gradient"),
    *("perpcs:prototype", "perpcs:arrow"),
    *("oppu", "oppu:best", "perpcs+rag", "perpcs+pag", "retrieval+rag", "oppu+rag"),
    *("pag-counted", "uniform", "random", "wrong:perpcs", "wrong:oppu"),
)
"""The methods in the menu of columns, in this order; unknown names are ignored."""
_METHOD_HELP = "\n".join(f"- **{method.title}**: {method.says}" for method in METHODS.values())
_BY_METHOD, _BY_PERSON = "Methods", "People"


@dataclass(frozen=True)
class Question:
    """The input on the left side; ``problem`` says why it cannot be asked yet."""

    person: Person
    query: Query | None
    columns: tuple[Column, ...]
    by_person: bool = False
    blind: bool = False
    problem: PerpcsError | None = None

    def asked(self) -> Asked:
        """The question with empty columns, shuffled if names are hidden."""
        assert self.query is not None
        columns = [replace(column, curves={}) for column in self.columns]
        order = tuple(SystemRandom().sample(range(len(columns)), len(columns))) if self.blind else ()
        return Asked(self.query, columns, self.by_person, order=order)


def question_panel(engine: "Engine", record: Studio) -> Question | None:
    """Draw the left side; None if there is no person to answer for."""
    top = st.container(horizontal=True, vertical_alignment="center", key="ask-top")
    top.html("<h1>Compare</h1>")  # Ask is next to it, so that the answers begin at the same height
    try:
        person = _person(engine, record)
    except PerpcsError as error:
        show_error(error)
        return None
    if person is None:
        show_error(PerpcsError("There is no person to answer for.", "Assemble one on the Assemble page first."))
        return None
    query, problem = _query(engine, record, person)
    columns = _columns(engine, record, person)
    if not columns:
        problem = PerpcsError("No method is selected.", "Select at least one.")
    by_person = record.by_person
    question = Question(person, query, columns, by_person, record.blind and not by_person, problem)
    busy = record.work is not None
    if top.button(
        "Ask",
        type="primary",
        key="ask",
        disabled=problem is not None or query is None or busy,
        icon=":material/forum:",
    ):
        start_asking(engine, record, question.asked())
    _decoding(record, person)
    if problem is not None:
        st.html(f'<p class="pp-note">{escape(problem.wrong)} {escape(problem.do)}</p>')
    if person.kind != "example" or record.typed:
        st.html(f'<p class="pp-quiet">{escape(PRIVACY)}</p>')
        clear_button()
    return question


def _person(engine: "Engine", record: Studio) -> Person | None:
    if record.own is not None:
        who = {"own": "You", "saved": f"Saved: {record.own.name}"}.get(record.own.kind, record.own.name)
        remember("compare-own", record.compare_own)
        record.compare_own = bool(
            st.segmented_control(
                "Whose model?",
                [True, False],
                key="compare-own",
                required=True,
                width="stretch",
                format_func=lambda own: who if own else "An example",
            )
        )
        if record.compare_own:
            engine.check(record.own.assembly)
            return record.own
    task_picker(engine, record, "compare-task")
    examples = engine.pool.examples(record.task)
    if not examples:
        return None
    names = names_of(examples)
    if record.example not in names:
        record.example = examples[0].id
    key = remember(f"compare-example-{record.task}", record.example)
    record.example = st.selectbox("Example person", list(names), format_func=names.__getitem__, key=key)
    person = current_example(engine, record)
    description = next(example.description for example in examples if example.id == record.example)
    st.html(f'<p class="pp-quiet">{escape(shorten(description, 96, placeholder=" …"))}</p>')
    return person


def _fill_sample(engine: "Engine", record: Studio, person: Person, key: str) -> None:
    """An example person's held-out text, as a sample question."""
    queries = [query for example in engine.pool.examples(person.task) for query in example.queries]
    if queries:
        record.typed = st.session_state[key] = queries[0].x
        for number, option in enumerate(queries[0].options, start=1):
            st.session_state[f"{key}-option{number}"] = option


def _query(engine: "Engine", record: Studio, person: Person) -> tuple[Query | None, PerpcsError | None]:
    """The query, or the reason why there is none yet."""
    if person.queries:
        remember("query-kind", _TYPED if record.typed else _HELD_OUT)
        kind = st.segmented_control("Question", [_HELD_OUT, _TYPED], key="query-kind", required=True, width="stretch")
        if kind == _HELD_OUT:
            by_id = {query.id or str(i): query for i, query in enumerate(person.queries)}
            if record.query not in by_id:
                record.query = next(iter(by_id))
            key = remember(f"query-{person.task}-{person.name}", record.query)
            record.query = st.selectbox(
                f"{len(by_id)} held-out items",
                list(by_id),
                key=key,
                format_func=lambda id: f"{list(by_id).index(id) + 1}. {by_id[id].x[:70]}",
            )
            return by_id[record.query], None
    return typed_query(engine, record, person, "typed")


def typed_query(engine: "Engine", record: Studio, person: Person, name: str) -> tuple[Query | None, PerpcsError | None]:
    """Fields for a question of the visitor's own: the query, or why there is none yet.

    Args:
        name: begins the keys of the fields; what is typed is the same wherever it is asked for.
    """
    task = TASKS[person.task]
    key = remember(f"{name}-{record.generation}", record.typed)
    noun = task.input_label.rstrip(":")
    record.typed = st.text_area(noun, key=key, height=68 if task.has_options else 130, help=task.instruction)
    if task.has_options:
        for number, option in enumerate(record.typed_options, start=1):
            remember(f"{key}-option{number}", option)
        first = st.text_input("Reference [1]", key=f"{key}-option1")
        record.typed_options = first, st.text_input("Reference [2]", key=f"{key}-option2")
    if not record.typed.strip():
        st.button(
            "Fill in a sample",
            on_click=_fill_sample,
            args=(engine, record, person, key),
            type="tertiary",
            key=f"{name}-sample",
        )
        return None, PerpcsError("There is no question yet.", f"Type or paste the {noun.lower()}.")
    if task.has_options:
        options = tuple(" ".join(option.split()) for option in record.typed_options)
        if not all(options):
            return None, PerpcsError("A reference is missing.", "Enter both references.")
        return Query(x=" ".join(record.typed.split()), options=options), None
    try:
        return get_task(person.task).read_query(record.typed), None
    except PerpcsError as error:
        return None, error


def _columns(engine: "Engine", record: Studio, person: Person) -> tuple[Column, ...]:
    """The columns: methods for one person, or people with one method."""
    remember("by-person", _BY_PERSON if record.by_person else _BY_METHOD)
    kind = st.segmented_control(
        "Columns are",
        [_BY_METHOD, _BY_PERSON],
        key="by-person",
        required=True,
        width="stretch",
        help="Several methods for one person, or the same question answered for many people at once.",
    )
    record.by_person = kind == _BY_PERSON
    if record.by_person:
        return _people(engine, record, person)
    options = _offered(record.methods, person)
    if not person.history:
        st.html(f'<p class="pp-note">{escape(NO_TEXT)}</p>')
    chosen = st.session_state.get("methods", record.methods)
    st.session_state["methods"] = [name for name in chosen if name in options]
    picked = st.multiselect(
        f"Methods, up to {MOST_METHODS}",
        options,
        key="methods",
        format_func=lambda name: title_of(name, person.assembly.router),
        max_selections=MOST_METHODS,
        help=_METHOD_HELP,
    )
    if person.history:
        record.methods = tuple(picked) or DEFAULT
        if PUBLISHED not in picked and len(picked) < MOST_METHODS:
            st.button(
                f"Add {title_of(PUBLISHED)}",
                key="add-published",
                icon=":material/add:",
                type="tertiary",
                on_click=_add,
                args=(record, PUBLISHED),
                help="The paper’s method of weighting pieces, exactly as published, next to the default.",
            )
    remember("blind", record.blind)
    record.blind = st.toggle(
        "Hide the names",
        key="blind",
        help="Blind mode: vote for the answer you like best, then see which method wrote it.",
    )
    return tuple(columns_of(person, picked))


def _add(record: Studio, method: str) -> None:
    chosen = [*st.session_state.get("methods", record.methods), method]
    record.methods, st.session_state["methods"] = tuple(chosen), chosen


def _offered(chosen: Sequence[str], person: Person) -> list[str]:
    """Methods from the menu and from the link, if they can answer for this person."""
    names = dict.fromkeys((*MENU, *chosen))
    return [name for name in names if is_name(name) and (person.history or not parse(name).reads)]


def _people(engine: "Engine", record: Studio, person: Person) -> tuple[Column, ...]:
    """All example people of the task, after the visitor's own model, with one method."""
    options = [name for name in _offered((), person) if not parse(name).wrong]
    remember("person-method", record.person_method if record.person_method in options else "perpcs")
    record.person_method = st.selectbox("Method", options, key="person-method", format_func=title_of)
    people = [] if person.kind == "example" else [person]
    people += [
        example_person(engine, person.task, example, record.live.get((person.task, example.id)))
        for example in engine.pool.examples(person.task)
    ]
    return tuple(columns_by_person(people, record.person_method))


def _decoding(record: Studio, person: Person) -> None:
    task = TASKS[person.task]
    with st.expander("Decoding (the same for all)", key="decoding-box"):
        if not task.labels:
            remember("max-new", record.max_new_tokens or task.max_new_tokens)
            record.max_new_tokens = st.slider("Maximum new tokens", 4, 80, key="max-new")
        else:
            record.max_new_tokens = 0
        remember("temperature", record.temperature)
        record.temperature = st.slider(
            "Temperature", 0.0, 1.5, step=0.1, key="temperature", help="0: always the most likely token."
        )
        remember("seed", record.seed)
        record.seed = int(st.number_input("Seed", 0, 10**6, key="seed", help="Used if the temperature is above 0."))
