"""The left side of Assemble: an example, a paste, a file or a saved model; what was read; the button; the settings."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import streamlit as st

from perpcs.assembly.record import Assembly
from perpcs.assembly.router import option_names
from perpcs.assembly.routers import (
    PRESETS,
    all_options,
    applies,
    changed,
    flat_options,
    option_default,
    option_help,
    option_type,
)
from perpcs.data import Look
from perpcs.errors import PerpcsError
from perpcs.figures.style import bytes_text
from perpcs.tasks import TASKS
from perpcs.ui.navigation import example_picker, pool_tasks, task_picker
from perpcs.ui.people import GUESS, LIMITS, Draft, Person, as_lines, find_example, look_at, read_draft
from perpcs.ui.run import start_assembly
from perpcs.ui.state import SOURCES, Studio, forget, remember
from perpcs.ui.strings import PRIVACY
from perpcs.ui.work import show_error

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


# ---- settings --------------------------------------------------------------------------------------------------------


_PRESET_NAMES = {
    "default": "Default: Newton weights",
    "paper": "Gates, as published",
    "reference_code": "Gates, as in the released code",
}
_LABELS = {
    "router": "Router",
    "gates": "Gates",
    "normalise": "Normalise",
    "centre": "Subtract the mean over sharers",
    "standardise": "Divide by the spread over sharers",
    "reduce": "How token scores become an item's score",
    "sqrt_n": "Divide a cosine score by √n",
    "selector": "Selector",
    "p": "p: share of the softmax that is kept",
    "attention": "Weight the kept pieces by their scores",
    "half_life": "Half-life of an item, in items (0: all count equally)",
    "share_ratio": "Share of each sharer's pieces that may be used",
    "without": "Sharers to leave out",
    "seed": "Seed",
    "k": "k: pieces each item keeps per position",
    "temperature": "Temperature",
    "steps": "Steps of descent",
    "rate": "Learning rate",
    "shrink": "Shrinkage",
    "own_rate": "Learning rate of your own piece",
    "signed": "Allow negative weights",
    "least": "Smallest weight kept, relative to the largest",
}
_RANGES = {"k": (1, 10), "steps": (1, 60), "half_life": (0, 50), "seed": (0, 20)}
_MOST_SEGMENTS = 4
_SHARES = (0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0)
_FLOATS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_STEPS = {"p": _SHARES, "share_ratio": _SHARES, "least": (0.0, 0.1, 0.25, 0.5)}
_NAMES = ("router", *all_options())


def knobs(engine: "Engine", record: Studio) -> None:
    """An expander that shows and changes ``record.options``. A preset sets all; each can then be changed alone."""
    with st.expander("Settings" + ("" if record.options == PRESETS["default"] else " (changed)"), key="knobs-box"):
        st.session_state["preset"] = next((n for n, o in PRESETS.items() if o == record.options), "own")
        st.selectbox(
            "Preset",
            [*PRESETS, "own"],
            format_func=lambda name: _PRESET_NAMES.get(name, "Custom"),
            key="preset",
            on_change=_take_preset,
            args=(record,),
            help="All except the default follow a publication exactly, for comparison.",
        )
        for name in ("router", *option_names(type(record.options))):
            if applies(name, record.options):
                _knob(record, name, [sharer.id for sharer in engine.pool.sharers(record.task)])
        st.html('<p class="pp-quiet">Applies from the next assembly on.</p>')


def _knob(record: Studio, name: str, sharers: Sequence[str]) -> None:
    kind, value = option_type(name), option_default(name, record.options)
    key = remember(f"knob-{name}", list(value) if isinstance(value, tuple) else value)
    common: dict[str, Any] = {"key": key, "help": option_help(name), "on_change": _take_knobs, "args": (record,)}
    label = _LABELS.get(name, name.replace("_", " "))
    if get_origin(kind) is Literal and len(get_args(kind)) > _MOST_SEGMENTS:
        st.selectbox(label, get_args(kind), **common)
    elif get_origin(kind) is Literal:
        st.segmented_control(label, get_args(kind), required=True, width="stretch", **common)
    elif kind is bool:
        st.checkbox(label, **common)
    elif get_origin(kind) is tuple:
        st.multiselect(label, sorted({*sharers, *st.session_state[key]}), **common)
    elif kind is int:
        low, high = _RANGES[name]
        st.slider(label, low, max(high, value), **common)
    else:
        st.select_slider(
            label,
            sorted({*_STEPS.get(name, _FLOATS), value, st.session_state[key]}),
            **common,
        )


def _take_knobs(record: Studio) -> None:
    turned = {name: st.session_state[f"knob-{name}"] for name in _NAMES if f"knob-{name}" in st.session_state}
    try:
        record.options = changed(record.options, **{**record.turned, **turned})
        record.turned |= turned
    except PerpcsError as error:  # two settings that cannot be combined
        record.failure = error


def _take_preset(record: Studio) -> None:
    if st.session_state["preset"] in PRESETS:
        record.options, record.turned = PRESETS[st.session_state["preset"]], {}
        for name, value in flat_options(record.options).items():
            st.session_state[f"knob-{name}"] = value


# ---- the history -----------------------------------------------------------------------------------------------------


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
