"""A task of PEFT-U's kind whose truth is known: customers of the small town judge the same reviews.

A review tells how good a thing is in some aspects. A customer weighs the aspects and marks harshly or generously, so
one review is rightly good to one and bad to another (perpcs/data/smalltown/ratings.py). One judgement in ten goes
against the customer's traits; those of test texts are kept beside what the traits say.
"""

import random
from dataclasses import dataclass

from perpcs.data.smalltown import ratings
from perpcs.peftu.data import Judged, Reader
from perpcs.peftu.tasks import get_peft_task

NOISE = 0.1
"""Probability that a judgement goes against the customer's traits."""
PARTS = {"train": 0.8, "val": 0.1, "test": 0.1}


@dataclass(frozen=True)
class Town:
    """How many people and reviews."""

    people: int = 20
    reviews: int = 400
    """Different reviews; every person judges ``each`` of them."""
    each: int = 100
    seed: int = 29


def judged(points: int) -> str:
    """A score of one to five as a label."""
    return "bad" if points <= 2 else "fair" if points == 3 else "good"


def town_readers(town: Town = Town()) -> list[Reader]:
    """The customers, each with their traits and their own draw of the same reviews."""
    rng = random.Random(town.seed)
    drawn: dict[str, dict[str, int]] = {}
    while len(drawn) < town.reviews:
        levels, text = ratings.draw_review(rng, False)
        drawn.setdefault(text, levels)
    reviews = list(drawn.items())
    labels = get_peft_task("smalltown").labels
    people = []
    for number in range(town.people):
        own = random.Random(f"{town.seed}/{number}")
        traits = ratings.draw(own)
        rows, truths = [], []
        for text, levels in own.sample(reviews, town.each):
            true = judged(ratings.score(levels, traits))
            noisy = own.random() < NOISE
            said = own.choice([label for label in labels if label != true]) if noisy else true
            rows.append(Judged(text, (said,)))
            truths.append(true)
        ends = [round(town.each * share) for share in (PARTS["train"], PARTS["train"] + PARTS["val"])]
        train, val, test = rows[: ends[0]], rows[ends[0] : ends[1]], rows[ends[1] :]
        people.append(Reader(str(number), tuple(train), tuple(val), tuple(test), tuple(truths[ends[1] :])))
    return people
