"""Starts an assembly, shows it as it happens, and stores the result."""

import time
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import streamlit as st

from perpcs.assembly.record import Assembly
from perpcs.assembly.router import Router
from perpcs.assembly.routers import same_routing
from perpcs.figures.assembly_map import live_map
from perpcs.figures.columns import column_order
from perpcs.figures.style import bytes_text, seconds_text
from perpcs.personalizers.prompting import text_bytes
from perpcs.tasks import Item, get_task
from perpcs.ui.engine import people_ahead
from perpcs.ui.navigation import current_example
from perpcs.ui.people import Person, assembled_here, until_now
from perpcs.ui.state import Studio
from perpcs.ui.widgets import is_dark
from perpcs.ui.work import Work

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine

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
