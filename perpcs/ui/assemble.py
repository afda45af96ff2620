"""The right side of Assemble: the map of the current person, or the assembly in progress; below it one view at a time
of what is behind it (only the open view is computed); and the model's answer to the visitor's own input, next to those
of the base model and RAG.
"""

from html import escape
from textwrap import shorten
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from perpcs.assembly.explain import fewest, fit_check, is_checked
from perpcs.assembly.record import Assembly, made_by
from perpcs.assembly.routers import PRESETS, flat_options
from perpcs.errors import PerpcsError
from perpcs.figures.assembly_map import assembly_map, map_csv
from perpcs.figures.columns import (
    ALL,
    LAYERS,
    MOST,
    SORTS,
    largest_piece,
    modules_of,
    rows_of,
    sharer_names,
    takeaway,
    took,
)
from perpcs.figures.difference import map_svg
from perpcs.figures.style import bytes_text, seconds_text
from perpcs.files import zipped
from perpcs.pool.manifest import Sharer
from perpcs.tasks import TASKS
from perpcs.ui.ask import typed_query
from perpcs.ui.asking import Asked, columns_html, columns_of, kept_as, start_asking, style_html
from perpcs.ui.compare import follow
from perpcs.ui.give_history import start_assembly, watch
from perpcs.ui.navigation import current_example, page
from perpcs.ui.numbers import difference_panel, numbers_panel
from perpcs.ui.piece_panel import piece_panel, words_panel
from perpcs.ui.state import VIEWS, Person, Studio, fit_of, remember, write_link
from perpcs.ui.whatif import whatif_panel
from perpcs.ui.widgets import CLEARED, chart, flush, is_dark, stat_row, term
from perpcs.ui.work import deferred, show_error

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


# ---- behind the map --------------------------------------------------------------------------------------------------


def closer_look(engine: "Engine", record: Studio, person: Person, cell: tuple[int, int] | None) -> None:
    """The views as a row of names, and the open one below.

    Args:
        cell: (position, sharer) of the piece that was clicked; None = the largest weight.
    """
    remember("view", record.view)
    record.view = (
        st.segmented_control(
            "Look closer",
            list(VIEWS),
            format_func=VIEWS.__getitem__,
            key="view",
            required=True,
            label_visibility="collapsed",
        )
        or record.view
    )
    with st.container(key=f"view-{record.view}"):
        if record.view == "words":
            assembly = person.assembly
            piece = cell or largest_piece(assembly, rows_of(assembly.positions, record.module or None))
            words_panel(engine, record, person, *piece)
        elif record.view == "whatif":
            whatif_panel(engine, record, person)
        elif record.view == "numbers":
            numbers_panel(engine, record, person)
        elif record.view == "difference":
            difference_panel(engine, record, person)
        else:
            piece_panel(engine, record, person, cell)


# ---- write with this model -------------------------------------------------------------------------------------------


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


# ---- the page --------------------------------------------------------------------------------------------------------


_ROWS = {LAYERS: "Layers", ALL: "All"}


def result_panel(engine: "Engine", record: Studio) -> None:
    """The running assembly, else the map of the example or of the visitor's own model, else how to begin."""
    if record.work is not None and not is_writing(record):
        watch(engine, record)
    if record.failure is not None:
        show_error(record.failure)
    if record.notice:
        st.html(
            f'<p class="pp-note" role="status">{escape(CLEARED if record.notice == "cleared" else record.notice)}</p>'
        )
    try:
        person = current_example(engine, record) if record.source == "example" else record.own
        if person is not None:
            engine.check(person.assembly)
    except PerpcsError as error:
        show_error(error)
        return
    with st.container(key="finished"):
        if person is None:
            _nothing_yet(engine, record)
        else:
            _person(engine, record, person)


def _nothing_yet(engine: "Engine", record: Studio) -> None:
    wanted = {
        "paste": "Paste what you wrote on the left, one item per line, and click Assemble.",
        "upload": "Choose a file on the left, check what was read, and click Assemble.",
        "saved": "Choose the file of a saved model on the left.",
    }
    size = f"{len(engine.pool.manifest.positions)} positions × {engine.pool.manifest.task(record.task).sharers} sharers"
    st.html(
        f'<div class="pp-empty"><h3>Your map will appear here</h3><p>{wanted.get(record.source, "")}</p>'
        f'<p class="pp-quiet">{size}, one weight each: {bytes_text(engine.user_bytes)}.</p></div>'
    )


def _person(engine: "Engine", record: Studio, person: Person) -> None:
    tags = [text for text in (made_by(person.assembly.router), person.how) if text]
    how = " ".join(f'<span class="pp-tag">{escape(text)}</span>' for text in tags)
    st.html(f"<h2>{escape(takeaway(person.assembly, person.name))} {how}</h2>{_strip(person.assembly, person)}")
    story = took(person.assembly, person.name, engine.stored.portraits(person.task))
    if story:
        st.html(f'<p class="pp-took">{escape(story)}</p>')
    said, other = st.columns([0.72, 0.28], vertical_alignment="center")
    said.html(fit_html(person))
    if person.history:
        with other:
            _other_router(engine, record, person)
    flush("assemble")  # a browser needs a second to prepare its first chart
    _map_and_views(engine, record, person)


@st.fragment
def _map_and_views(engine: "Engine", record: Studio, person: Person) -> None:
    """The map, its controls and the open view: a click on them reruns this part alone, not the whole page."""
    assembly, sharers = person.assembly, engine.pool.sharers(person.task)
    with st.container(horizontal=True, vertical_alignment="bottom", key="map-controls"):
        modules = [LAYERS, ALL, *modules_of(assembly.positions)]
        remember("module", record.module if record.module in modules else ALL)
        module = st.segmented_control(
            "Rows",
            modules,
            key="module",
            required=True,
            format_func=lambda name: _ROWS.get(name, name.removesuffix("_proj")),
        )
        remember("sort", record.sort)
        sort = st.segmented_control(
            "Sort columns by",
            list(SORTS),
            key="sort",
            required=True,
            format_func=SORTS.__getitem__,
        )
        remember("every-sharer", record.every_sharer)
        record.every_sharer = st.toggle(
            f"All {len(assembly.sharers)} sharers",
            key="every-sharer",
            help=f"Off: only the smallest group of sharers that together contribute {100 * MOST:.0f} %.",
        )
        _actions(engine, record, person)
    record.module, record.sort = ("" if module in (None, ALL) else str(module)), sort or record.sort
    cell = piece_of(assembly, record.cell)
    portraits, needed = engine.stored.portraits(person.task), fewest(assembly, MOST)
    chosen = cell or largest_piece(assembly, rows_of(assembly.positions, record.module or None))
    names = sharer_names(assembly.sharers, portraits) if portraits.sharers else []
    figure = assembly_map(
        assembly,
        sharers,
        sort=record.sort,
        module=record.module or None,
        chosen=chosen,
        names=names,
        only=() if record.every_sharer else sorted({*needed, chosen[1]}) if needed else (),
        dark=is_dark(),
    )
    with st.container(key="mapbox"):
        chart(
            figure,
            "map",
            takeaway(assembly, person.name),
            file=f"perpcs-{person.name}-map",
            on_select=lambda: _take_click(record, assembly),
            selection_mode=("points",),
        )
        if assembly.router.get("router") == "prototype" and not record.module:
            st.html(
                '<p class="pp-quiet">q, k and v of a layer read the same input, so their rows select the same pieces; '
                "o reads the output of attention.</p>"
            )
        with st.container(horizontal=True):
            _csv(assembly, person, sharers)
            _svg(record, person, sharers, names)
            _export(engine, person)
            if person.kind == "example" and person.how != "precomputed":
                _back(record)
    write_box(engine, record, person)
    closer_look(engine, record, person, cell)
    write_link(record)


def fit_html(person: Person) -> str:
    """The fit check in one line; more prominent if the pool does not help."""
    check = fit_check(person.assembly) if is_checked(person.assembly) else None
    kind = "pp-note" if check is not None and not check.helps else "pp-quiet"
    return f'<p class="{kind} pp-fitcheck" role="status">{escape(fit_of(person))}</p>'


def _other_router(engine: "Engine", record: Studio, person: Person) -> None:
    """Reassembles the same history with the published gates, or with the default again."""
    published = made_by(person.assembly.router) == made_by(flat_options(PRESETS["paper"]))
    preset = "default" if published else "paper"
    if st.button(
        "With Newton weights" if published else "With the published gates",
        icon=":material/swap_horiz:",
        key="other-router",
        type="tertiary",
        help=f"Assemble the same history with {made_by(flat_options(PRESETS[preset]))} and compare both side by side.",
    ):
        user = record.example if person.kind == "example" else "me"
        start_assembly(engine, record, person.task, person.history, user=user, options=PRESETS[preset])
        st.rerun()


def piece_of(assembly: Assembly, cell: tuple[str, str] | None) -> tuple[int, int] | None:
    """(position, sharer) of a remembered cell; None if this assembly has no such piece."""
    if cell is None or cell[0] not in assembly.positions or cell[1] not in assembly.sharers:
        return None
    return assembly.positions.index(cell[0]), assembly.sharers.index(cell[1])


def _strip(assembly: Assembly, person: Person) -> str:
    """The facts over the map (A8), each with its n."""
    effective, top = assembly.effective_sharers(), assembly.top_share()
    n, positions = assembly.n_items, len(assembly.positions)
    cut = f", {assembly.cut_items} cut to fit" if assembly.cut_items else ""
    rows = (
        (f"{n}", f"{term('item', 'items')}, {assembly.tokens:,} tokens{cut}"),
        (f"{assembly.distinct_sharers()} of {len(assembly.sharers)}", f"{term('sharer', 'sharers')} used"),
        (
            f"{np.median(effective):.1f}",
            f"{term('effective sharers')}, median of {positions}<br>{effective.min():.1f} to {effective.max():.1f}",
        ),
        (f"{100 * top.mean():.0f} %", f"{term('top-1 share')}, mean of {positions}"),
        (seconds_text(assembly.seconds), "to assemble"),
    )
    task = TASKS[person.task].title.lower() if person.task in TASKS else person.task
    return stat_row(rows, f"Facts about this assembly for {escape(task)}")


def _actions(engine: "Engine", record: Studio, person: Person) -> None:
    """Watch an example being assembled; save the model."""
    if person.kind == "example" and st.button(
        "Watch it happen", type="primary", icon=":material/play_arrow:", key="watch"
    ):
        start_assembly(engine, record, person.task, person.history, user=record.example)
        st.rerun()
    text = person.assembly.to_json()
    st.download_button(
        f"Save ({bytes_text(len(text.encode()))})",
        text,
        f"perpcs-{file_name(person)}.json",
        "application/json",
        on_click="ignore",
        icon=":material/download:",
        key="save",
        type="secondary" if person.kind == "example" else "primary",
        help=f"Your model as a file: {bytes_text(person.assembly.kept_bytes)} of weights, and how they were made; no "
        "text. Load it again under Saved.",
    )


def _back(record: Studio) -> None:
    """Drop the run of this visit; this changes the whole page, so all of it runs again."""
    if st.button("Back to the precomputed result", key="back", type="tertiary"):
        record.live.pop((record.task, record.example), None)
        st.rerun()


def _csv(assembly: Assembly, person: Person, sharers: tuple[Sharer, ...]) -> None:
    st.download_button(
        "CSV of this map",
        deferred(lambda: map_csv(assembly, sharers)),
        f"perpcs-{file_name(person)}-map.csv",
        "text/csv",
        on_click="ignore",
        key="csv",
        type="tertiary",
        icon=":material/table:",
        help="Every piece on the map: weight, score, and how many items selected it.",
    )


def _svg(record: Studio, person: Person, sharers: tuple[Sharer, ...], names: list[str]) -> None:
    title = takeaway(person.assembly, person.name)
    st.download_button(
        "SVG",
        deferred(
            lambda: map_svg(
                person.assembly, sharers, title, sort=record.sort, module=record.module or None, names=names
            )
        ),
        f"perpcs-{file_name(person)}-map.svg",
        "image/svg+xml",
        on_click="ignore",
        key="svg",
        type="tertiary",
        icon=":material/image:",
        help="The map as a vector figure, for papers and slides; the camera on the map saves a PNG.",
    )


def _export(engine: "Engine", person: Person) -> None:
    """The model for other programs: the adapter's files, and the code that loads them."""
    assembly = person.assembly
    if not assembly.is_exportable(engine.pool.manifest.kind):
        return
    name = f"perpcs-{file_name(person)}-adapter"
    with st.popover("Export", type="tertiary", icon=":material/output:"):
        st.html(
            "<p>This model as a standard peft adapter, without approximation. The zip contains numbers and module "
            "names, but no text. You also need the pool’s base model: "
            "<code>perpcs export --user FILE --out FOLDER --with-base</code> writes both.</p>"
        )
        st.download_button(
            "Adapter (zip)",
            deferred(lambda: zipped(engine.adapter(assembly).files)),
            f"{name}.zip",
            "application/zip",
            on_click="ignore",
            key="export",
        )
        st.code(
            "from peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n\n"
            'base = AutoModelForCausalLM.from_pretrained("FOLDER/base")\n'
            f'model = PeftModel.from_pretrained(base, "{name}")',
            language="python",
        )


def file_name(person: Person) -> str:
    """Letters and digits of the person's name, for a file."""
    return "".join(ch for ch in person.name if ch.isascii() and ch.isalnum()).lower() or "me"


def _take_click(record: Studio, assembly: Assembly) -> None:
    """A click on the map: remember the piece; the map is redrawn with a mark on it."""
    points = st.session_state["map"]["selection"]["points"]
    data = points[0].get("customdata") if points else None
    if not isinstance(data, list | tuple) or len(data) < 4:  # a bar, or the selection was cleared
        return
    record.cell = (assembly.positions[int(data[0])], assembly.sharers[int(data[1])])
    for key in ("piece-position", "piece-sharer"):
        st.session_state.pop(key, None)
