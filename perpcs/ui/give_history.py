"""Assembling, on Assemble: the left side (an example, a paste, a file or a saved model; what was read; the button; the
settings), and the assembly as it happens.
"""

import time
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args, get_origin

import numpy as np
import streamlit as st

from perpcs.assembly.record import Assembly
from perpcs.assembly.router import Router, option_names
from perpcs.assembly.routers import (
    PRESETS,
    all_options,
    applies,
    changed,
    flat_options,
    option_default,
    option_help,
    option_type,
    same_routing,
)
from perpcs.data import Look, Opened
from perpcs.errors import PerpcsError
from perpcs.figures.assembly_map import live_map
from perpcs.figures.columns import column_order
from perpcs.figures.style import bytes_text, seconds_text
from perpcs.personalizers.methods import text_bytes
from perpcs.pool.portraits import Portraits
from perpcs.tasks import TASKS, Item, get_task
from perpcs.ui.engine import people_ahead
from perpcs.ui.navigation import current_example, example_picker, pool_tasks, task_picker
from perpcs.ui.state import (
    GUESS,
    LIMITS,
    SOURCES,
    Draft,
    Person,
    Studio,
    as_lines,
    assembled_here,
    clear_button,
    find_example,
    forget,
    look_at,
    read_draft,
    remember,
    until_now,
)
from perpcs.ui.widgets import PRIVACY, is_dark
from perpcs.ui.work import Work, show_error

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


# ---- a run -----------------------------------------------------------------------------------------------------------


TICK = 0.11
"""Seconds between two frames."""
PICTURES = 34
"""A fast assembly is slowed down to this many frames, so that people can follow; the page says so."""
FEWEST = 14
"""With fewer steps than this, each is shown for longer: the total time is that of this many frames."""


class Frame(NamedTuple):
    """One finished position: only what the picture needs from a Step."""

    position: int
    positions: int
    batch: int
    batches: int
    row: np.ndarray
    """The weights of that position, (S,); or of all positions, (P, S), if they change together."""


def start_assembly(
    engine: "Engine",
    record: Studio,
    task: str,
    items: Sequence[Item],
    *,
    user: str,
    options: Router | None = None,
    page: str = "assemble",
) -> None:
    """Start assembling; the previous assembly stays until the new one is complete.

    Args:
        options: for this run only; None = the current settings.
        page: the page that watches it.
    """
    if record.work is not None:
        record.work.stop()
    options, items = options or record.options, tuple(items)
    together = options.decided_by != "votes"  # all positions change at every step

    tokens: list[int] = []  # counted once the model is there, before anything is read

    def do(report: Any) -> Assembly:
        def on_position(step: Any) -> None:
            row = np.array(step.weights if together else step.weights[step.position], dtype=np.float32)
            report(Frame(step.position, step.positions, step.batch, step.batches, row))

        tokens.append(engine.count_tokens(get_task(task), items))
        return engine.assemble(get_task(task), items, options=options, user=user, on_position=on_position)

    record.failure, record.notice = None, ""
    record.work = Work(do, page=page, task=task, items=items, user=user, tokens=tokens, text=text_bytes(items))


def watch(engine: "Engine", record: Studio) -> None:
    """Draw the running assembly until it ends, then store its result and rerun the page."""
    work = record.work
    assert work is not None
    st.html(
        "<style>.st-key-finished, .st-key-finished-below { display: none; }</style>"
    )  # otherwise the old content would stay below
    sharers = engine.pool.sharers(work.about["task"])
    head, picture = st.empty(), st.empty()
    with st.container(horizontal=True):
        st.button("Stop", on_click=work.stop, icon=":material/stop:", key="stop")
        st.button("Skip the animation", on_click=work.skip, icon=":material/skip_next:", key="skip")
    canvas = np.zeros((len(engine.pool.manifest.positions), len(sharers)), dtype=np.float32)
    columns = column_order(canvas, sharers, "cluster")
    for frame in work.reports[: work.shown]:
        _paint(canvas, frame)
    while not (work.stopped or (work.ended and (work.skipped or work.error or work.shown >= len(work.reports)))):
        work.beat()
        reached, pause = len(work.reports), TICK
        if reached > work.shown:
            first = work.reports[0]
            steps = first.batches * (1 if first.row.ndim == 2 else first.positions)
            pause = TICK * max(1.0, FEWEST / steps)
            upto = reached if work.skipped else min(reached, work.shown + max(1, round(steps / PICTURES)))
            for frame in work.reports[work.shown : upto]:
                _paint(canvas, frame)
            work.shown = upto
            done = len(canvas) if frame.batch else frame.position + 1
            newest = frame.position if frame.row.ndim == 1 else None
            picture.html(live_map(canvas, columns, done=done, newest=newest, dark=is_dark(), label="The map so far"))
        head.html(_progress(engine, work))
        time.sleep(TICK if work.skipped else pause)
    _finish(engine, record, work)
    st.rerun()


def _paint(canvas: np.ndarray, frame: Frame) -> None:
    if frame.row.ndim == 2:
        canvas[:] = frame.row
    else:
        canvas[frame.position] = frame.row


def _progress(engine: "Engine", work: Work[Any]) -> str:
    """The current step, progress and time; says if a fast run is shown in slow motion."""
    if not work.shown:
        queue = people_ahead(engine, work) or ("loading the model" if engine.loaded is None else "reading the history")
        return _bar(f"Assembling: {queue}", seconds_text(work.elapsed), 0) + _figures(engine, work, 0)
    frame = work.reports[work.shown - 1]
    took = seconds_text(work.elapsed) + (" (done; shown in slow motion)" if work.ended else "")
    if frame.row.ndim == 2:
        where = f"<b>All positions at once</b>, pass {frame.batch + 1} of {frame.batches}"
        share = (frame.batch + 1) / frame.batches
        return _bar(where, took, share) + _figures(engine, work, share)
    label = engine.pool.manifest.positions[frame.position].label
    batch = f", batch {frame.batch + 1} of {frame.batches}" if frame.batches > 1 else ""
    share = (frame.batch * frame.positions + frame.position + 1) / (frame.batches * frame.positions)
    where = f"<b>{escape(label)}</b>, position {frame.position + 1} of {frame.positions}{batch}"
    return _bar(where, took, share) + _figures(engine, work, share)


def _figures(engine: "Engine", work: Work[Any], share: float) -> str:
    """What this costs so far, and what OPPU and RAG would: tokens read, seconds, bytes kept."""
    if not work.about["tokens"]:
        return ""
    tokens, text = work.about["tokens"][0], work.about["text"]
    epochs = int(engine.pool.manifest.task(work.about["task"]).training.get("pieces", {}).get("epochs", 2))
    parts = (
        f"<b>This model</b> {share * tokens:,.0f} of {tokens:,} tokens read, {seconds_text(work.elapsed)}, keeps "
        f"{bytes_text(engine.user_bytes)}",
        f"<b>OPPU</b> would train on {epochs * tokens:,} tokens and keep "
        f"{bytes_text(engine.pool.manifest.adapter_bytes)}",
        f"<b>RAG</b> would read nothing now, keep {bytes_text(text)} of text and put items into every prompt",
    )
    return f'<p class="pp-status pp-live">{"".join(f"<span>{part}</span>" for part in parts)}</p>'


def _bar(text: str, right: str, share: float) -> str:
    return (
        f'<div class="pp-wait" role="status"><div>{text}</div><span>{right}</span></div>'
        f'<div class="pp-progress"><i style="width:{100 * share:.1f}%"></i></div>'
    )


def _finish(engine: "Engine", record: Studio, work: Work[Any]) -> None:
    """The result replaces the old one; after a stop or an error, the old one stays."""
    record.work = None
    if work.error is not None:
        record.failure = work.error
    elif work.stopped or work.result is None:
        record.notice = "Stopped. The previous result is kept."
    elif work.about["user"] != "me":
        _keep_before(record, current_example(engine, record), work.result)
        record.live[(work.about["task"], work.about["user"])] = work.result
        record.cell = None
    else:
        how = assembled_here(engine, work.result)
        same = record.own is not None and record.own.history == work.about["items"]
        _keep_before(record, record.own if same else None, work.result)
        record.own = Person("own", "You", work.about["task"], work.result, work.about["items"], (), how)
        record.compare_own, record.cell, record.asked, record.loaded_file = True, None, None, ""


def _keep_before(record: Studio, before: Person | None, after: Assembly) -> None:
    """Keep the previous model for comparison; show the comparison at once if the settings have changed."""
    record.before = until_now(before)
    if before is not None and not same_routing(before.assembly.router, after.router):
        record.view = "difference"
        st.session_state.pop("view", None)


# ---- settings --------------------------------------------------------------------------------------------------------


_PRESET_NAMES = {
    "default": "Default: Newton weights",
    "from_base": "Newton weights, from the base model",
    "paper": "Gates, as published",
    "reference_code": "Gates, as in the released code",
}
_LABELS = {
    "router": "Router",
    "start": "Start of the step",
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
            help="The two with gates follow the publication and its released code exactly, for comparison.",
        )
        ids, portraits = (
            [sharer.id for sharer in engine.pool.sharers(record.task)],
            engine.stored.portraits(record.task),
        )
        for name in ("router", *option_names(type(record.options))):
            if applies(name, record.options):
                _knob(record, name, ids, portraits)
        st.html('<p class="pp-quiet">Applies from the next assembly on.</p>')


def _knob(record: Studio, name: str, sharers: Sequence[str], portraits: Portraits) -> None:
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
        ids = sorted({*sharers, *st.session_state[key]})
        st.multiselect(label, ids, format_func=lambda id: portraits.of(id).name or id, **common)
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
    opened: Opened = {}
    seen = looked_at(record, source, given, opened)
    user_id, replies = whose(record, source, seen), with_replies(record, source, seen)
    wanted = (given, record.wanted_task, user_id, replies)
    if source not in record.drafts or record.drafts[source][0] != wanted:
        record.drafts[source] = (wanted, read_draft(given, record.wanted_task, tasks, user_id, replies, opened, seen))
    return record.drafts[source][1]


def looked_at(record: Studio, source: str, given: str | tuple[str, bytes], opened: Opened) -> Look:
    """What can be asked about what was given; looked at again only when that has changed."""
    if source not in record.looks or record.looks[source][0] != given:
        record.looks[source] = (given, look_at(given, opened=opened))
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
        f"Include the {seen.replies:,} replies to others", True, key=f"replies-{source}-{record.generation}"
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
    privacy()


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
    privacy()


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


def privacy() -> None:
    st.html(f'<p class="pp-quiet">{escape(PRIVACY)}</p>')
    clear_button(on_click=_forget)


def _forget() -> None:
    from perpcs.ui.state import studio

    source = studio().source
    forget()
    studio().source, studio().notice = source, "cleared"
