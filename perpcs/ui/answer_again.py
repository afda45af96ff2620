"""What a changed model would answer: the same question by the person's model and by the changed one, in one batch."""

from dataclasses import dataclass, replace
from html import escape
from textwrap import shorten
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from perpcs.errors import PerpcsError
from perpcs.figures.worddiff import beside_html
from perpcs.files import hash_bytes
from perpcs.serve.answer import Answer
from perpcs.tasks import Query, get_task
from perpcs.ui import subset
from perpcs.ui.errors import show_error
from perpcs.ui.people import Person
from perpcs.ui.state import Studio, worked_out

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


@dataclass(frozen=True)
class Again:
    """The two answers, and the loss of the person's held-out answers with each model."""

    before: Answer
    after: Answer
    losses: tuple[float | None, float | None]


def answer_again(engine: "Engine", record: Studio, person: Person, weights: np.ndarray, what: str) -> None:
    """Answers the current question with other weights and shows both answers, their difference and the losses.

    Args:
        weights: (P, S), the changed ones.
        what: the change, as a title.
    """
    query = current_question(record, person)
    if query is None:
        st.html('<p class="pp-quiet">Write something with this model above, and its answer will be rewritten here.</p>')
        return
    of = (person.assembly.fingerprint, query, hash_bytes(np.ascontiguousarray(weights).tobytes()))
    try:
        with st.spinner("Answering again", show_time=True):
            again = worked_out(record, "answer-again", of, lambda: _answer(engine, person, query, weights))
    except PerpcsError as error:
        show_error(error)
        return
    st.html(again_html(again, query, what, len(person.queries)))


def current_question(record: Studio, person: Person) -> Query | None:
    """The question last asked of this person's model, else their first held-out one."""
    asked = record.asked
    if asked is not None and any(column.person == person for column in asked.columns):
        query: Query = asked.query
        return query
    return person.queries[0] if person.queries else None


def _answer(engine: "Engine", person: Person, query: Query, weights: np.ndarray) -> Again:
    task = get_task(person.task)
    changed = replace(person.assembly, weights=weights.astype(np.float32))
    both = (person.assembly, changed)
    models = [engine.prepare(task, "perpcs", person.history, user=one.user, assembly=one) for one in both]
    *_, (before, after) = engine.answer_rows(task, [(model, query) for model in models])
    known = [one for one in person.queries if one.gold]
    losses = [subset.held_out_loss(engine, one, known) if known else None for one in both]
    return Again(before, after, (losses[0], losses[1]))


def again_html(again: Again, query: Query, what: str, held_out: int) -> str:
    """The question, both answers side by side, and how the loss moves."""
    marked = not again.after.labels
    cards = beside_html(("Now", _said(again.before)), (what, _said(again.after)), marked=marked)
    before, after = again.losses
    moved = ""
    if before is not None and after is not None:
        sense = "better" if after < before - 5e-4 else "worse" if after > before + 5e-4 else "unchanged"
        moved = (
            f'<p class="pp-quiet">Held-out answers ({held_out}): {before:.3f} → {after:.3f} nats per target token, '
            f"{after - before:+.3f} ({sense}).</p>"
        )
    asked = escape(shorten(query.x, 160, placeholder=" …"))
    return f'<p class="pp-quiet">{asked}</p><div role="status">{cards}</div>{moved}'


def _said(answer: Answer) -> str:
    share = answer.labels.get(answer.text) if answer.labels else None
    return f"{answer.text} ({100 * share:.0f} %)" if share is not None else answer.text
