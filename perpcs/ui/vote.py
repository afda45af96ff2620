"""Blind mode: a vote once all columns are complete, then the names, and a running tally of this session."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import streamlit as st

from perpcs.assembly.names import made_by
from perpcs.figures.style import method_colour
from perpcs.personalizers.methods import known_names, title_of
from perpcs.ui.answers import Asked, Column
from perpcs.ui.cards import letter
from perpcs.ui.state import Studio


@dataclass(frozen=True)
class Ballot:
    """One vote. Holds no text."""

    task: str
    methods: tuple[str, ...]
    winner: str
    """A method, or empty if none was better."""


@dataclass(frozen=True)
class Standing:
    """How many of its votes a method won, with a 95 % Wilson interval of that share."""

    method: str
    wins: int
    votes: int
    low: float
    high: float


def standings(ballots: Sequence[Ballot]) -> list[Standing]:
    """All methods that took part in a vote, best share first."""
    methods = dict.fromkeys(method for ballot in ballots for method in ballot.methods)
    rows = []
    for method in methods:
        votes = sum(method in ballot.methods for ballot in ballots)
        wins = sum(method == ballot.winner for ballot in ballots)
        rows.append(Standing(method, wins, votes, *wilson(wins, votes)))
    return sorted(rows, key=lambda row: -row.wins / row.votes)


def wilson(wins: int, votes: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % Wilson score interval of a share: (low, high)."""
    share, spread = wins / votes, z * z / votes
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * (share * (1 - share) / votes + spread / (4 * votes)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def vote_panel(record: Studio, asked: Asked) -> None:
    """Voting buttons in blind mode once all is written; the vote that was cast; the tally."""
    if asked.order and asked.over and not asked.revealed:
        st.html(
            '<p class="pp-note" role="status">Which answer is most like this person? Names appear after your vote.</p>'
        )
        with st.container(horizontal=True, key="ballot"):
            for place, index in enumerate(asked.order):
                st.button(letter(place), key=f"vote-{place}", on_click=cast, args=(record, asked, index))
            st.button("No difference", key="vote-none", on_click=cast, args=(record, asked, None))
    elif asked.voted:
        st.html(f'<p class="pp-note" role="status">{escape(asked.voted)}</p>')
    if record.ballots:
        _tally(record)


def _method(column: Column) -> str:
    """A column's method; ``perpcs`` with another router than the default is counted under that router's name."""
    by = made_by(column.person.assembly.router)
    if column.method != "perpcs" or by == title_of("perpcs"):
        return column.method
    return next((name for name in known_names("perpcs") if title_of(name) == by), column.method)


def cast(record: Studio, asked: Asked, index: int | None) -> None:
    """Count a vote and show the names."""
    if asked.revealed:
        return
    methods = tuple(_method(column) for column in asked.columns)
    record.ballots.append(Ballot(asked.columns[0].person.task, methods, "" if index is None else methods[index]))
    asked.revealed = True
    asked.voted = "You saw no difference." if index is None else f"You voted for {asked.columns[index].title}."


def _tally(record: Studio) -> None:
    rows = standings(record.ballots)
    count = len(record.ballots)
    lines = "".join(
        f'<tr><th scope="row"><i style="background:{method_colour(row.method)}"></i>{escape(title_of(row.method))}</th>'
        f"<td>{row.wins} of {row.votes}</td><td>{row.low:.0%} to {row.high:.0%}</td></tr>"
        for row in rows
    )
    st.html(
        f"<h3>After {count} blind {'vote' if count == 1 else 'votes'}</h3><table class='pp-tally'><thead><tr>"
        "<th scope='col'>method</th><th scope='col'>wins</th><th scope='col'>95 % interval</th></tr></thead>"
        f"<tbody>{lines}</tbody></table>"
    )
    head = "task,methods,winner"
    votes = [f"{b.task},{' '.join(b.methods)},{b.winner}" for b in record.ballots]
    st.download_button(
        "CSV of the votes",
        "\n".join([head, *votes]) + "\n",
        "perpcs-votes.csv",
        "text/csv",
        on_click="ignore",
        key="votes-csv",
        type="tertiary",
        icon=":material/table:",
    )
