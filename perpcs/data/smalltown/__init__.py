"""The synthetic small town: people with known traits, and what they wrote. The source of the shipped pool.

    maker.py      what a task must offer the town, the traits reserved for target users; names and verbs
    headlines.py  LaMP_4: what happens in town, its article, and the traits of a headline writer
    movies.py     LaMP_2: plot clauses that hint at movie tags, and the traits of a film fan
    ratings.py    LaMP_3: things for sale, what can be said of them, and the scale of a reviewer
    titles.py     LaMP_5: what a small university works on, and how a scholar titles papers
    citations.py  LaMP_1: what a scholar prefers to cite
    daily.py      what people do all day
    tweets.py     LaMP_7: how somebody tweets it
    person.py     people of a split, drawn from a seed; a town on disk in the layout of the Per-Pcs release

A further task is one further file with a ``MAKER``, listed in ``person.MAKERS``.
"""

from perpcs.data.smalltown.person import (
    MAKERS,
    SPLITS,
    Person,
    describe,
    invented_name,
    make_people,
    release_fields,
    write_pool_people,
    write_town,
)

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
