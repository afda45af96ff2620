"""The left side of Compare: who is asked for, what is asked, which methods answer, and how they decode."""

from dataclasses import dataclass
from html import escape
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import streamlit as st

from perpcs.errors import PerpcsError
from perpcs.personalizers.methods import METHODS
from perpcs.tasks import TASKS, Query, get_task
from perpcs.ui.answers import Asked
from perpcs.ui.choice import current_example, task_picker
from perpcs.ui.errors import show_error
from perpcs.ui.people import Person, names_of
from perpcs.ui.state import Studio, forget, remember
from perpcs.ui.strings import NO_TEXT, PRIVACY
from perpcs.ui.work import Work

if TYPE_CHECKING:
    from perpcs.personalizers.engine import Engine

_HELD_OUT, _TYPED = "A held-out item", "My own words"


_METHOD_HELP = "\n".join(f"- **{method.title}**: {method.says}" for method in METHODS.values())


def title_of(method: str) -> str:
    """What a method is called."""
    return METHODS[method].title if method in METHODS else method


@dataclass(frozen=True)
class Question:
    """What the left side says; ``problem`` is why it cannot be asked yet."""

    person: Person
    query: Query | None
    methods: tuple[str, ...]
    problem: PerpcsError | None = None


def question_panel(engine: "Engine", record: Studio) -> Question | None:
    """Draw the left side; None where the pool has nobody to ask for."""
    st.html("<h1>Compare</h1>")
    try:
        person = _person(engine, record)
    except PerpcsError as error:
        show_error(error)
        return None
    if person is None:
        show_error(PerpcsError("There is nobody to answer for.", "Assemble a person on the Assemble page first."))
        return None
    query, problem = _query(engine, record, person)
    methods = _methods(record, person)
    if not methods:
        problem = PerpcsError("No method is chosen.", "Choose at least one.")
    question = Question(person, query, methods, problem)
    busy = record.work is not None
    if st.button(
        "Ask",
        type="primary",
        width="stretch",
        key="ask",
        disabled=problem is not None or query is None or busy,
        icon=":material/forum:",
    ):
        _start(engine, record, question)
    _decoding(record, person)
    if problem is not None:
        st.html(f'<p class="pp-note">{escape(problem.wrong)} {escape(problem.do)}</p>')
    if person.kind != "example" or record.typed:
        st.html(f'<p class="pp-quiet">{escape(PRIVACY)}</p>')
        st.button("Clear my data", icon=":material/delete:", on_click=forget, key="forget")
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
    examples = engine.examples(record.task)
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
    """An example person's held-out text, so that there is something to ask about."""
    queries = [query for example in engine.examples(person.task) for query in example.queries]
    if queries:
        record.typed = st.session_state[key] = queries[0].x
        for number, option in enumerate(queries[0].options, start=1):
            st.session_state[f"{key}-option{number}"] = option


def _query(engine: "Engine", record: Studio, person: Person) -> tuple[Query | None, PerpcsError | None]:
    """The query and why there is none yet."""
    if person.queries:
        remember("query-kind", _TYPED if record.typed else _HELD_OUT)
        kind = st.segmented_control("Question", [_HELD_OUT, _TYPED], key="query-kind", required=True, width="stretch")
        if kind == _HELD_OUT:
            by_id = {query.id or str(i): query for i, query in enumerate(person.queries)}
            if record.query not in by_id:
                record.query = next(iter(by_id))
            key = remember(f"query-{person.task}-{person.name}", record.query)
            record.query = st.selectbox(
                f"{len(by_id)} items held out of the history",
                list(by_id),
                key=key,
                format_func=lambda id: f"{list(by_id).index(id) + 1}. {by_id[id].x[:70]}",
            )
            return by_id[record.query], None
    task = TASKS[person.task]
    key = remember(f"typed-{record.generation}", record.typed)
    noun = task.input_label.rstrip(":")
    record.typed = st.text_area(noun, key=key, height=68 if task.has_options else 130, help=task.instruction)
    if task.has_options:
        for number, option in enumerate(record.typed_options, start=1):
            remember(f"{key}-option{number}", option)
        first = st.text_input("Reference [1]", key=f"{key}-option1")
        record.typed_options = first, st.text_input("Reference [2]", key=f"{key}-option2")
    if not record.typed.strip():
        st.button("Fill in a sample", on_click=_fill_sample, args=(engine, record, person, key), type="tertiary")
        return None, PerpcsError("There is no question yet.", f"Type or paste one: {noun.lower()}.")
    if task.has_options:
        options = tuple(" ".join(option.split()) for option in record.typed_options)
        if not all(options):
            return None, PerpcsError("A reference is missing.", "Name the two references to choose between.")
        return Query(x=" ".join(record.typed.split()), options=options), None
    try:
        return get_task(person.task).read_query(record.typed), None
    except PerpcsError as error:
        return None, error


def _methods(record: Studio, person: Person) -> tuple[str, ...]:
    options = [name for name in METHODS if name != "rag" or person.history]
    if len(options) < len(METHODS):
        st.html(f'<p class="pp-note">{escape(NO_TEXT)}</p>')
    remember("methods", [name for name in record.methods if name in options])
    st.session_state["methods"] = [name for name in st.session_state["methods"] if name in options]
    picked = st.pills(
        "Methods", options, selection_mode="multi", key="methods", format_func=title_of, help=_METHOD_HELP
    )
    chosen = tuple(name for name in options if name in picked)
    if "rag" in options:
        record.methods = chosen or tuple(METHODS)
    return chosen


def _decoding(record: Studio, person: Person) -> None:
    task = TASKS[person.task]
    with st.expander("Decoding, the same for all", key="decoding-box"):
        if not task.labels:
            remember("max-new", record.max_new_tokens or task.max_new_tokens)
            record.max_new_tokens = st.slider("Most new tokens", 4, 80, key="max-new")
        else:
            record.max_new_tokens = 0
        remember("temperature", record.temperature)
        record.temperature = st.slider(
            "Temperature", 0.0, 1.5, step=0.1, key="temperature", help="0: always the most probable token."
        )
        remember("seed", record.seed)
        record.seed = int(st.number_input("Seed", 0, 10**6, key="seed", help="Used where the temperature is above 0."))


def _start(engine: "Engine", record: Studio, question: Question) -> None:
    person, query, methods = question.person, question.query, question.methods
    assert query is not None
    asked = Asked(person, query, methods)
    most, temperature, seed = record.max_new_tokens or None, record.temperature, record.seed

    def do(report: Any) -> None:
        answers = engine.answer(
            get_task(person.task),
            query,
            methods,
            history=person.history,
            assembly=person.assembly,
            max_new_tokens=most,
            temperature=temperature,
            seed=seed,
        )
        try:
            for snapshot in answers:
                report(snapshot)
        finally:
            answers.close()  # type: ignore[attr-defined]

    record.asked, record.failure = asked, None
    record.work = Work(do, page="compare")
