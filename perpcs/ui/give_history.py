"""The left side of Assemble: an example, a paste, a file or a saved model; what was read; the button; the settings."""

from html import escape
from typing import TYPE_CHECKING, Any

import streamlit as st

from perpcs.assembly.record import Assembly
from perpcs.data import Look
from perpcs.errors import PerpcsError
from perpcs.figures.style import bytes_text
from perpcs.tasks import TASKS
from perpcs.ui.choice import example_picker, pool_tasks, task_picker
from perpcs.ui.errors import show_error
from perpcs.ui.knobs import knobs
from perpcs.ui.people import Person, find_example
from perpcs.ui.reading import GUESS, LIMITS, Draft, as_lines, look_at, read_draft
from perpcs.ui.run import start_assembly
from perpcs.ui.state import SOURCES, Studio, forget, remember
from perpcs.ui.strings import PRIVACY

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine

UPLOADS = [
    *("txt", "csv", "tsv", "tab", "json", "jsonl", "ndjson", "js", "xml", "rss", "atom", "mbox", "eml", "bib", "md"),
    *("xlsx", "zip"),
]
"""Endings that the chooser offers; what a file is, its content tells."""
PREVIEW = 60


def history_panel(engine: "Engine", record: Studio) -> None:
    """Where the history comes from, and the inputs for that source."""
    st.html("<h1>Assemble</h1>")
    remember("source", record.source)
    record.source = (
        st.segmented_control(
            "Whose history?",
            list(SOURCES),
            format_func=SOURCES.__getitem__,
            key="source",
            required=True,
            width="stretch",
        )
        or record.source
    )
    {"example": _example, "paste": _paste, "upload": _upload, "saved": _saved}[record.source](engine, record)


def _example(engine: "Engine", record: Studio) -> None:
    task_picker(engine, record, "task")
    example = example_picker(engine, record, "example")
    if example is None:
        return
    with st.expander(f"Read the history ({len(example.history)} items)"):
        st.html(f'<p class="pp-quiet">{escape(example.description)}</p>')
        st.html(items_html(example.history))
    knobs(engine, record)


def _paste(engine: "Engine", record: Studio) -> None:
    tasks = pool_tasks(engine)
    kind_picker(record, tasks)
    key = remember(f"paste-{record.generation}", record.text)
    record.text = st.text_area(
        "Your past items, one per line",
        key=key,
        height=150,
        placeholder="A text you were given => what you wrote for it\nThe next text => what you wrote for that",
        help="One item per line, input => your answer. JSON, tables, chats and other exports work too.",
    )
    if not record.text:
        st.button("Fill in a sample", on_click=fill_sample, args=(engine, record, key), key="sample", type="tertiary")
        _after_input(engine, record, None)
        return
    _after_input(engine, record, read_given(record, "paste", record.text, tasks))


def read_given(record: Studio, source: str, given: str | tuple[str, bytes], tasks: tuple[str, ...]) -> Draft:
    """The reading of what was given, of the person who is asked for where it is of several; read again only when
    something about it has changed.
    """
    seen = looked_at(record, source, given)
    user_id, replies = whose(record, source, seen), with_replies(record, source, seen)
    wanted = (given, record.wanted_task, user_id, replies)
    if source not in record.drafts or record.drafts[source][0] != wanted:
        record.drafts[source] = (wanted, read_draft(given, record.wanted_task, tasks, user_id, replies))
    return record.drafts[source][1]


def looked_at(record: Studio, source: str, given: str | tuple[str, bytes]) -> Look:
    """What can be asked about what was given; looked at again only when that has changed."""
    if source not in record.looks or record.looks[source][0] != given:
        record.looks[source] = (given, look_at(given))
    return record.looks[source][1]


def whose(record: Studio, source: str, seen: Look) -> str | None:
    """Whose of several people's texts is to be read; None where there is nobody to choose from, or not yet chosen."""
    if len(seen.people) < 2:
        return None
    return st.selectbox(
        "Which of these is you?" if seen.asks else f"Whose history? The file holds {len(seen.people)} people.",
        seen.people,
        index=None if seen.asks else 0,
        placeholder="Choose your name",
        key=f"who-{source}-{record.generation}",
    )


def with_replies(record: Studio, source: str, seen: Look) -> bool:
    """Whether posts that answer somebody's are read; asked where there are any."""
    if not seen.replies:
        return True
    return st.checkbox(
        f"With the {seen.replies:,} answers to others", True, key=f"replies-{source}-{record.generation}"
    )


def other_tasks(record: Studio, draft: Draft | None) -> None:
    """One button for each other task as which the text can be read."""
    if draft is None or not draft.others:
        return
    with st.container(horizontal=True):
        for name in draft.others:
            label = f"Read as {TASKS[name].title.lower()}"
            st.button(label, on_click=_read_as, args=(record, name), key=f"as-{name}", type="tertiary")


def _read_as(record: Studio, task: str) -> None:
    record.wanted_task = st.session_state["wanted-task"] = task


def fill_sample(engine: "Engine", record: Studio, key: str) -> None:
    example = find_example(engine.pool.examples(record.task), record.example)
    if example is not None:
        record.text = st.session_state[key] = as_lines(example.history)


def _upload(engine: "Engine", record: Studio) -> None:
    tasks = pool_tasks(engine)
    kind_picker(record, tasks)
    file = st.file_uploader(
        "A file with your past items",
        type=UPLOADS,
        key=f"upload-{record.generation}",
        help="Text, tables, JSON, XLSX, exports of X, Mastodon, Bluesky, Reddit, Letterboxd, Goodreads, WhatsApp and "
        "more, mbox, BibTeX, feeds, a zip of any of these, and files in the formats of LaMP and Per-Pcs.",
    )
    if file is None:
        _after_input(engine, record, None)
        return
    _after_input(engine, record, read_given(record, "upload", (file.name, file.getvalue()), tasks))


def _saved(engine: "Engine", record: Studio) -> None:
    file = st.file_uploader("A model saved by this studio", type=["json"], key=f"saved-{record.generation}")
    if file is not None and file.file_id != record.loaded_file:
        try:
            assembly = Assembly.from_json(file.getvalue())
            engine.check(assembly)
        except PerpcsError as error:
            show_error(error)
        else:
            record.own = Person("saved", assembly.user or "me", assembly.task, assembly, how=f"loaded from {file.name}")
            record.loaded_file, record.compare_own, record.cell, record.asked = file.file_id, True, None, None
    st.html('<p class="pp-quiet">The file holds weights, not text. It works with the pool it was made with.</p>')
    privacy(record)


def kind_picker(record: Studio, tasks: tuple[str, ...]) -> None:
    options = [GUESS, *tasks]
    remember("wanted-task", record.wanted_task)
    record.wanted_task = st.selectbox(
        "Kind of text",
        options,
        format_func=lambda name: "Detect automatically" if name == GUESS else TASKS[name].title,
        key="wanted-task",
    )


def _after_input(engine: "Engine", record: Studio, draft: Draft | None) -> None:
    """Counts, preview, bad rows, the button, settings, privacy: the same for a paste and a file."""
    counts(draft)
    other_tasks(record, draft)
    if draft is not None and draft.error is not None:
        show_error(draft.error)
    ready = draft is not None and draft.ready
    if (
        st.button("Assemble", type="primary", disabled=not ready, width="stretch", key="assemble")
        and draft
        and draft.reading
    ):
        start_assembly(engine, record, draft.task, draft.reading.items, user="me")
    if draft is not None and draft.reading is not None:
        preview(draft)
    knobs(engine, record)
    privacy(record)


def counts(draft: Draft | None) -> None:
    size = draft.size if draft else 0
    reading = draft.reading if draft else None
    head = ""
    if draft and reading:
        head = f"<b>{escape(reading.summary())}</b> Read as {escape(TASKS[draft.task].title.lower())}. "
    items = len(reading.items) if reading else 0
    st.html(
        f'<p class="pp-quiet">{head}{items:,} of at most {LIMITS.max_rows:,} items, {bytes_text(size)} of at most '
        f"{bytes_text(LIMITS.max_bytes)}.</p>"
    )


def preview(draft: Draft) -> None:
    """Skipped rows first, then what was cut or guessed, then the items."""
    reading = draft.reading
    assert reading is not None
    if reading.bad:
        rows = "".join(
            f"<li><b>Line {bad.line}</b>: {escape(bad.reason)} {escape(bad.do)} <code>{escape(bad.excerpt)}</code></li>"
            for bad in reading.bad[:20]
        )
        more = f"<li>… and {len(reading.bad) - 20} more.</li>" if len(reading.bad) > 20 else ""
        st.html(f'<div class="pp-bad" role="status"><b>Skipped</b><ul>{rows}{more}</ul></div>')
    notes = (*((draft.why,) if draft.why else ()), *reading.notes)
    if notes:
        st.html(f'<p class="pp-quiet">{"<br>".join(escape(note) for note in notes)}</p>')
    st.html(items_html(reading.items, reading.lines))


def items_html(items: Any, lines: tuple[int, ...] = ()) -> str:
    """Items as a short scrolling list: number, input, answer."""
    rows = []
    for index, item in enumerate(items[:PREVIEW]):
        number = lines[index] if index < len(lines) else index + 1
        x = escape(" ".join(item.x.split())[:160])
        body = (
            f"<span><small>{x}</small><br><b>{escape(item.y)}</b></span>" if item.y is not None else f"<span>{x}</span>"
        )
        rows.append(f"<div><em>{number}</em>{body}</div>")
    more = len(items) - PREVIEW
    if more > 0:
        rows.append(f"<div><em></em><span>… and {more:,} more</span></div>")
    return f'<div class="pp-items" tabindex="0" aria-label="Items that were read">{"".join(rows)}</div>'


def privacy(record: Studio) -> None:
    st.html(f'<p class="pp-quiet">{escape(PRIVACY)}</p>')
    st.button("Clear my data", icon=":material/delete:", on_click=_forget, key="forget")


def _forget() -> None:
    from perpcs.ui.state import studio

    source = studio().source
    forget()
    studio().source, studio().notice = source, "cleared"
