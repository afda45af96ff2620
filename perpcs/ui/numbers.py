"""In numbers: how the mix changes from layer to layer, who is used, and what PEFT retrieval would select."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from perpcs.assembly.explain import OVER_USED, Usage, agreement, usage
from perpcs.assembly.record import Assembly
from perpcs.assembly.routers import router_options
from perpcs.errors import PerpcsError
from perpcs.figures.order import short_names
from perpcs.figures.strip import Panel, strip, strip_csv
from perpcs.tasks import get_task
from perpcs.ui.chart import chart
from perpcs.ui.errors import show_error
from perpcs.ui.facts import facts_html
from perpcs.ui.people import Person
from perpcs.ui.state import Studio, worked_out
from perpcs.ui.strings import term
from perpcs.ui.theme import is_dark

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


def numbers_panel(engine: "Engine", record: Studio, person: Person) -> None:
    """The facts, the strip over the layers, and the sharers by use."""
    assembly = person.assembly
    norms = 100 * worked_out(record, "norms", assembly.fingerprint, lambda: engine.update_norms(assembly))
    effective, top = assembly.effective_sharers(), 100 * assembly.top_share()
    panels = [Panel("effective sharers", effective), Panel("top-1 share, %", top, 100), Panel("update norm, %", norms)]
    retrieval = _retrieval(engine, record, person)
    if retrieval is not None:
        panels.append(Panel("agreement with PEFT retrieval, %", 100 * retrieval, 100))
    largest = int(np.argmax(norms))
    title = (
        f"{person.name} {'change' if person.name == 'You' else 'changes'} the base model most at "
        f"{assembly.positions[largest]}: by {norms[largest]:.1f} % of that matrix's norm"
    )
    st.html(f"<h3>{escape(title)}</h3>")
    n = len(assembly.positions)
    rows = [
        (f"{np.median(effective):.1f}", f"{term('effective sharers')}, median of {n}"),
        (f"{top.mean():.0f} %", f"{term('top-1 share')}, mean of {n}"),
        (f"{norms.mean():.1f} %", f"{term('update norm')}, mean of {n}"),
    ]
    if retrieval is not None:
        rows.append((f"{100 * retrieval.mean():.0f} %", f"{term('agreement')} with {term('PEFT retrieval')}"))
    st.html(facts_html(rows, "This person in numbers"))
    chart(strip(panels, assembly.positions, dark=is_dark()), "strip", title, file="perpcs-numbers", vector=True)
    with st.container(horizontal=True):
        st.download_button(
            "CSV of these numbers",
            lambda: strip_csv(panels, assembly.positions),
            "perpcs-numbers.csv",
            "text/csv",
            on_click="ignore",
            key="strip-csv",
            type="tertiary",
            icon=":material/table:",
        )
        if retrieval is None and person.history:
            st.button(
                "Compare with PEFT retrieval",
                key="retrieval",
                type="tertiary",
                icon=":material/compare_arrows:",
                on_click=_ask_retrieval,
                args=(record, assembly),
                help="Selects the sharers with the most similar histories. Takes seconds; the base model does not run.",
            )
    _sharers(engine, record, person)


def _ask_retrieval(record: Studio, assembly: Assembly) -> None:
    record.kept["retrieval-asked"] = (assembly.fingerprint, True)


def _retrieval(engine: "Engine", record: Studio, person: Person) -> np.ndarray | None:
    """Agreement with PEFT retrieval at each position, (P,); None until it is requested."""
    assembly = person.assembly
    if record.kept.get("retrieval-asked", ("", False))[0] != assembly.fingerprint or not person.history:
        return None
    options = router_options(router="retrieval", k=assembly.router.get("k"))

    def whole_sharers() -> np.ndarray:
        return engine.assemble(get_task(person.task), person.history, options=options).weights

    try:
        with st.spinner("Embedding the history", show_time=True):
            weights = worked_out(record, "retrieval", assembly.fingerprint, whole_sharers)
    except PerpcsError as error:
        record.kept.pop("retrieval-asked")
        show_error(error)
        return None
    return agreement(assembly.weights, weights)


def _sharers(engine: "Engine", record: Studio, person: Person) -> None:
    """Who is used: by this person, and by all example people of the pool together."""
    names = short_names(person.assembly.sharers)
    mine = usage([person.assembly.weights])
    st.html(
        f"<h3>Who is used</h3><p>{_told(mine, names, 'here')}</p>"
        f'<p class="pp-quiet">{term("dormant", "Dormant")}: no weight anywhere. {term("over-used", "Over-used")}: more '
        f"than {OVER_USED:g} times an even share, {100 * OVER_USED / len(names):.1f} % of all weight.</p>"
    )
    examples = engine.pool.examples(person.task)
    if not examples:
        return
    try:
        everybody = worked_out(
            record,
            "usage",
            (engine.pool.hash, person.task),
            lambda: usage([engine.stored.assembly(person.task, example.id).weights for example in examples]),
        )
    except PerpcsError as error:
        show_error(error)
        return
    st.html(
        f"<p>{_told(everybody, names, f'over all {len(examples)} example people')} "
        f'<span class="pp-tag">precomputed</span></p>'
    )


def _told(found: Usage, names: Sequence[str], where: str) -> str:
    dormant, over = len(found.dormant), found.over_used
    listed = ", ".join(f"{escape(names[s])} ({100 * found.shares[s]:.0f} %)" for s in over[:6])
    more = f" and {len(over) - 6} more" if len(over) > 6 else ""
    used = f"over-used: {listed}{more}" if over else "none is over-used"
    return f"<b>{dormant} of {len(names)} sharers</b> are dormant {where}; {used}."
