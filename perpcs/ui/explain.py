"""Under the map: one view at a time of what is behind it. Only the open view is computed."""

from typing import TYPE_CHECKING

import streamlit as st

from perpcs.figures.order import rows_of
from perpcs.figures.piece import largest_piece
from perpcs.ui.difference import difference_panel
from perpcs.ui.numbers import numbers_panel
from perpcs.ui.people import Person
from perpcs.ui.piece_panel import piece_panel
from perpcs.ui.state import VIEWS, Studio, remember
from perpcs.ui.whatif import whatif_panel
from perpcs.ui.words import words_panel

if TYPE_CHECKING:
    from perpcs.serve.engine import Engine


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
