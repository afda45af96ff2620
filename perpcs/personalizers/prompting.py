"""Methods that show the model something of a history in the prompt: random items, RAG and PAG.

    base             nothing at all
    random history   items of other people, drawn by the query: what any example of the task does, whoever wrote it
    RAG              the items that BM25 finds nearest to the query (Okapi, as in LaMP)
    PAG              a profile of the person, and retrieved items where asked (Richardson et al., 2023)

All history lies before the query, and what training is shown of an item's past lies strictly before the item.
"""

import random
from collections.abc import Sequence
from functools import lru_cache
from zlib import crc32

from perpcs.data.prompts import retrieve, statistics
from perpcs.errors import PerpcsError
from perpcs.personalizers.methods import Call, Person, Prepared, Progress, Writer
from perpcs.tasks import Item, Query


def nothing(call: Call) -> list[Prepared]:
    """The base model: nothing is kept, nothing is shown."""
    return [Prepared(call.setting.task) for _ in call.people]


def drawn(call: Call) -> list[Prepared]:
    """k items of other people, drawn anew for each query and the same for the same one. Nothing of the person is kept.

    Raises:
        PerpcsError: when there is nobody else.
    """
    k, prepared = int(call.detail), []
    for person in call.people:
        own = set(person.history)
        others = [item for id, items in call.setting.strangers if id != person.id for item in items if item not in own]
        if not others:
            raise PerpcsError("Random history needs other people's items, but there are none.", "Use another method.")

        def find(query: Query, others: list[Item] = others) -> list[Item]:
            draws = random.Random(crc32(f"{query.x}/{query.options}".encode()))
            return draws.sample(others, min(k, len(others)))

        prepared.append(Prepared(call.setting.task, finds=(find,)))
    return prepared


def rag(call: Call) -> list[Prepared]:
    """The k nearest items. The whole history has to be kept, as text.

    Raises:
        PerpcsError: when there is no history to retrieve from.
    """
    return [_retrieving(call, person, int(call.detail)) for person in call.people]


def pag(call: Call) -> list[Prepared]:
    """A profile, and k retrieved items beside it. The profile has to be kept, and the history where k is not 0.

    Raises:
        PerpcsError: when there is no history.
    """
    return _described(call, call.setting.writer)


def counted(call: Call) -> list[Prepared]:
    """The same with a profile that is counted: what a language model's profile has to be better than.

    Raises:
        PerpcsError: when there is no history.
    """
    return _described(call, statistics)


def _described(call: Call, writer: Writer) -> list[Prepared]:
    k, prepared = int(call.detail), []
    for number, person in enumerate(call.people):
        _needs_text(person)
        if call.watch:
            call.watch(Progress("writing the profile", number, len(call.people)))
        profile = writer(call.setting.task, person.history)
        told = Prepared(
            call.setting.task, profile=profile, other_bytes=len(profile.encode()), text_leaves=bool(profile)
        )
        prepared.append(told.beside(_retrieving(call, person, k)) if k else told)
    return prepared


def _retrieving(call: Call, person: Person, k: int) -> Prepared:
    _needs_text(person)
    history = person.history

    @lru_cache(maxsize=8)  # a column asks for its prompt more than once
    def find(query: Query) -> list[Item]:
        return retrieve(query.sought, history, k)

    return Prepared(call.setting.task, finds=(find,), text_bytes=text_bytes(history), text_leaves=True)


def _needs_text(person: Person) -> None:
    if not person.history:
        raise PerpcsError(
            "RAG and PAG need the history's text, but a saved model holds none.", "Give the history again."
        )


def text_bytes(history: Sequence[Item]) -> int:
    """Bytes of a history's text, which RAG has to keep."""
    return sum(len(f"{item.x}{item.y or ''}".encode()) for item in history)
