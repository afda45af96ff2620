"""The synthetic small town: people with known traits, and what they wrote. The source of the shipped pool.

    maker.py      what a task must offer the town, and the rule that reserves trait combinations for target users
    names.py      invented people, places and bodies, without end
    words.py      verbs with their forms in three registers, small word helpers
    events.py     what happens in town: topics, actors, objects, numbers, reasons, quotes; the article about it
    headlines.py  LaMP_4: the traits of a headline writer
    cues.py       plot clauses that hint at movie tags
    movies.py     LaMP_2: the traits of a film fan
    products.py   things for sale, and what can be said of them
    ratings.py    LaMP_3: the scale of a reviewer
    research.py   what a small university works on
    titles.py     LaMP_5: how a scholar titles papers
    citations.py  LaMP_1: what a scholar prefers to cite
    daily.py      what people do all day
    tweets.py     LaMP_7: how somebody tweets it
    person.py     people of a split, drawn from a seed
    write.py      a town on disk in the Per-Pcs release layout

A further task is one further file with a ``MAKER``, listed in ``person.MAKERS``.
"""

from perpcs.data.smalltown.person import MAKERS, SPLITS, Person, describe, invented_name, make_people
from perpcs.data.smalltown.write import release_fields, write_pool_people, write_town

__all__ = [
    "MAKERS",
    "SPLITS",
    "Person",
    "describe",
    "invented_name",
    "make_people",
    "release_fields",
    "write_pool_people",
    "write_town",
]
