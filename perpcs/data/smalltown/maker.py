"""What a task must offer the town, and the rule that reserves trait combinations for target users."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

NOISE = 0.1
"""Probability that an item goes against one of its writer's traits."""
RESERVED_ONE_IN = 4
"""One combination of traits in so many belongs to target users alone."""

Traits = dict[str, Any]
"""JSON-able: str, float, or a list of str."""


@dataclass(frozen=True)
class Made:
    """One item as a person made it: x was given, y is theirs."""

    x: str
    y: str
    noisy: bool
    """Whether y goes against a trait of theirs."""
    clean: str
    """What their traits alone would have made of x, which is y where it is not noisy: an oracle's answer."""
    other: str = ""
    """What they passed over for y, where the task is a choice between two."""


@dataclass(frozen=True)
class Maker:
    """One task's part of the town."""

    task: str
    draw: Callable[[random.Random], Traits]
    """Traits of a new person."""
    combination: Callable[[Traits], str]
    """The traits that decide how a person answers, as text; what is only subject matter is left out."""
    make: Callable[[random.Random, Traits, bool], Made]
    """One item; the flag says whether its names come from those held out for target users."""
    describe: Callable[[Traits], str]
    """One sentence about a person with these traits."""
    wording: str = "{x}"
    """LaMP's wording of a query, with {x} and, where there are two options, {option1} and {option2}."""


def is_reserved(maker: Maker, traits: Traits) -> bool:
    """Whether these traits belong to target users alone. A hash decides, so it holds for every seed and count."""
    text = f"{maker.task}/{maker.combination(traits)}"
    return blake2b(text.encode(), digest_size=4).digest()[0] % RESERVED_ONE_IN == 0


def draw_traits(maker: Maker, rng: random.Random, *, reserved: bool) -> Traits:
    """Traits whose combination is reserved for target users, or not, as asked."""
    while True:
        traits = maker.draw(rng)
        if is_reserved(maker, traits) == reserved:
            return traits
