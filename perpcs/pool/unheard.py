"""Words that nobody has heard: a share of the words that an answer takes from its text, replaced in both.

A small model that has only met the town's words copies those, and makes something near them of anybody else's: of a
name of the world it keeps the beginning and goes on with what the town would say. Where the words of a lesson exist
nowhere, copying letter by letter is all that helps.
"""

import random
import re
from dataclasses import replace

from perpcs.data.smalltown.words import words
from perpcs.tasks import Item, Query

SHARE = 0.5
"""How likely each word that stands in text and answer is replaced."""
_WORD = re.compile(r"[A-Za-z]{4,}")
_KEPT = frozenset(
    words(
        "after also been before between could does done down during each ever every from have here into just like make "
        "many more most much need nearly never once only other over same should since some such than that their them "
        "then there these they this those through towards under until upon used using very want what when where which "
        "while whose will with without would your about against amid"
    )
)
"""Words of grammar: where they stand is the manner of a writer."""
_ONSETS = words(
    "b c d f g h j k l m n p r s t v w y z bl br ch cl cr dr fl fr gl gr kn pl pr qu sc sh sk sl sm sn sp st str sw th "
    "tr tw wh"
)
_NUCLEI = words("a a a e e e i i o o o u u ai au ea ee ie oa oo ou y")
_CODAS = ("", "", "", "", *words("b ck d g l ll m n n nd ng nt p r r rd rk rn s ss st t th x"))


def word(rng: random.Random) -> str:
    """A word of one to three syllables, in small letters, of at least four."""
    while True:
        found = "".join(
            rng.choice(_ONSETS if place or rng.random() < 0.8 else ("",)) + rng.choice(_NUCLEI) + rng.choice(_CODAS)
            for place in range(rng.choice((1, 2, 2, 3)))
        )
        if 4 <= len(found) <= 14:
            return found


def unheard(rng: random.Random, x: str, y: str) -> tuple[str, str]:
    """The two texts with some of the words that stand in both replaced, alike in both and each in its own casing."""
    shared = sorted({w.lower() for w in _WORD.findall(x)} & {w.lower() for w in _WORD.findall(y)} - _KEPT)
    new = {old: word(rng) for old in shared if rng.random() < SHARE}

    def put(match: re.Match[str]) -> str:
        old = match[0]
        found = new.get(old.lower())
        if found is None:
            return old
        return found.upper() if old.isupper() else found.capitalize() if old[0].isupper() else found

    return _WORD.sub(put, x), _WORD.sub(put, y)


def unheard_item(rng: random.Random, item: Item) -> Item:
    """An item whose text and answer share words that nobody has heard."""
    if item.y is None:
        return item
    x, y = unheard(rng, item.x, item.y)
    return replace(item, x=x, y=y)


def unheard_query(rng: random.Random, query: Query) -> Query:
    """A query whose text and true answer share words that nobody has heard."""
    if query.gold is None:
        return query
    x, gold = unheard(rng, query.x, query.gold)
    return replace(query, x=x, gold=gold)
