"""Retrieval augmentation as in LaMP: the history item that BM25 finds nearest to the query stands in the prompt."""

from collections.abc import Sequence

from perpcs.data.bm25 import retrieve
from perpcs.errors import PerpcsError
from perpcs.personalizers.method import Person, Row
from perpcs.tasks import Item, Query


def prepare(person: Person, query: Query, k: int = 1) -> Row:
    """The prompt with k retrieved items. The whole history has to be kept, as text.

    Raises:
        PerpcsError: when there is no history to retrieve from.
    """
    if not person.history:
        raise PerpcsError("RAG needs the history's text, and a saved person holds none.", "Paste the history again.")
    found = tuple(retrieve(query.sought, person.history, k))
    return Row(
        prompt=person.task.prompt(query, history=found),
        retrieved=found,
        bytes_stored=text_bytes(person.history),
        text_leaves=bool(found),
    )


def text_bytes(history: Sequence[Item]) -> int:
    """Bytes of a history's text, which RAG has to keep."""
    return sum(len(f"{item.x}{item.y or ''}".encode()) for item in history)
