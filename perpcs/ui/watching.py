"""Shows the progress of work with several named steps: how far each is, for how long, and Stop."""

import time
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import streamlit as st

from perpcs.figures.style import seconds_text
from perpcs.ui.engine import people_ahead
from perpcs.ui.work import Work

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine

TICK = 0.25


def watch_steps(
    engine: "Engine", work: Work[Any], names: Mapping[str, str], order: Sequence[str], *, stoppable: bool = False
) -> None:
    """Draw (step, done, of) reports of running work until it ends or is stopped.

    Args:
        names: the title of each step.
        order: the steps in their order.
        stoppable: whether to show a Stop button.
    """
    place = st.empty()
    if stoppable:
        st.button("Stop", on_click=work.stop, icon=":material/stop:", key="stop-steps")
    while not work.ended and not work.stopped:
        work.beat()
        place.html(_drawn(engine, work, names, order))
        time.sleep(TICK)


def _drawn(engine: "Engine", work: Work[Any], names: Mapping[str, str], order: Sequence[str]) -> str:
    reports = list(work.reports)
    last: dict[str, tuple[int, int]] = {what: (done, of) for what, done, of in reports}
    now = reports[-1][0] if reports else order[0]
    rows = []
    for step in order[: order.index(now) + 1]:
        done, of = last.get(step, (0, 1))
        ended = step != now
        share = 1.0 if ended else done / max(of, 1)
        count = f"{of if ended else done} of {of} steps" if of > 1 else "done" if ended else "…"
        rows.append(
            f'<div class="pp-wait"><div>{escape(names[step])}</div><span>{count}</span></div>'
            f'<div class="pp-progress"><i style="width:{100 * share:.0f}%"></i></div>'
        )
    ahead = people_ahead(engine, work)
    queue = f"{ahead}, " if ahead else ""
    return (
        f'<div role="status"><h3>{escape(names[now])}</h3><p class="pp-quiet">{queue}{seconds_text(work.elapsed)} so '
        f"far. You can visit other pages meanwhile.</p>{''.join(rows)}</div>"
    )
