"""Which task and example person are on the screen, made valid for this pool."""

from textwrap import shorten
from typing import TYPE_CHECKING, Any

import streamlit as st

from perpcs.pool.manifest import Example
from perpcs.tasks import TASKS
from perpcs.ui.people import Person, example_person, find_example, names_of
from perpcs.ui.state import Studio, remember

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


def pool_tasks(engine: "Engine") -> tuple[str, ...]:
    """Tasks the pool has sharers for."""
    return tuple(task.task for task in engine.pool.manifest.tasks)


def settle(engine: "Engine", record: Studio) -> Example | None:
    """Replace a task or example that the pool lacks with its first ones, preferring tasks with examples; returns the
    example.
    """
    tasks = pool_tasks(engine)
    if record.task not in tasks:
        record.task = next((task for task in tasks if engine.pool.examples(task)), tasks[0])
    example = find_example(engine.pool.examples(record.task), record.example)
    record.example = example.id if example else ""
    return example


_SIDE_BY_SIDE = 2  # more titles do not fit next to each other


def task_picker(engine: "Engine", record: Studio, key: str) -> None:
    """The kind of text, if the pool has more than one."""
    tasks = pool_tasks(engine)
    if len(tasks) > 1:
        if st.session_state.get(key) not in tasks:
            st.session_state[key] = record.task
        about: dict[str, Any] = {"format_func": lambda name: TASKS[name].title, "key": key}
        if len(tasks) > _SIDE_BY_SIDE:
            record.task = st.selectbox("Kind of text", tasks, **about)
        else:
            record.task = st.segmented_control("Kind of text", tasks, required=True, **about) or record.task


def example_picker(engine: "Engine", record: Studio, key: str) -> Example | None:
    """The example people of the task as a list with a line about each."""
    examples = engine.pool.examples(record.task)
    if not examples:
        st.html('<p class="pp-note">This pool has no example people for this kind of text.</p>')
        return None
    ids = [example.id for example in examples]
    key = f"{key}-{record.task}"
    if record.example not in ids:
        record.example = ids[0]
    remember(key, record.example)
    names = names_of(examples)
    record.example = st.radio(
        "Example person",
        ids,
        format_func=names.__getitem__,
        captions=[shorten(example.description, 96, placeholder=" …") for example in examples],
        key=key,
        help="Made up for this program; not sharers, and not in the data that the base model was adapted to.",
    )
    return find_example(examples, record.example)


def current_example(engine: "Engine", record: Studio) -> Person | None:
    """The selected example person with the assembly on the screen."""
    example = settle(engine, record)
    if example is None:
        return None
    return example_person(engine, record.task, example, record.live.get((record.task, example.id)))
