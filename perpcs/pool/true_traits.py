"""Who the candidates of a small town really are: their traits, drawn again from the pool's seed.

A town can change between two versions of the program. The example people's traits are stored with the pool, so they
tell whether this program still draws the same people; where it does not, nothing is told.
"""

from collections.abc import Sequence

from perpcs.data.smalltown import MAKERS, make_people
from perpcs.pool.manifest import Example, Manifest

Traits = dict[str, str]


def true_traits(manifest: Manifest, task: str, examples: Sequence[Example]) -> tuple[Traits, ...]:
    """Traits of every candidate that are one word each, in the order of the map; empty where they are not known."""
    seed, count = manifest.users.get("town_seed"), manifest.task(task).candidates
    if not isinstance(seed, int) or task not in MAKERS or not examples:
        return ()
    numbers = [_number(example.id, seed, task) for example in examples]
    if min(numbers) < 0 or max(numbers) > 10_000:
        return ()
    again = make_people(task, seed=seed, count=max(numbers) + 1, split="target", history=(0, 0), queries=0)
    if any(dict(again[number].traits) != example.traits for number, example in zip(numbers, examples, strict=True)):
        return ()
    people = make_people(task, seed=seed, count=count, split="candidate", history=(0, 0), queries=0)
    return tuple({name: value for name, value in one.traits.items() if isinstance(value, str)} for one in people)


def _number(id: str, seed: int, task: str) -> int:
    """Which target person of the town an example is; -1 where the id is none of this town's."""
    stem, _, number = id.rpartition("-")
    return int(number) if stem == f"t{seed}-{task}-target" and number.isdecimal() else -1
