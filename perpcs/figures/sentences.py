"""What an assembly comes to, in sentences: the titles of its map."""

from collections.abc import Sequence

import numpy as np

from perpcs.assembly.explain import contributions, fewest
from perpcs.assembly.record import Assembly
from perpcs.figures.order import short_names
from perpcs.pool.portraits import Portraits

MOST = 0.9
"""The share of what all pieces bring that the shown sharers must keep."""


def takeaway(assembly: Assembly, name: str) -> str:
    """The title of a map: its main finding in one sentence, with n."""
    effective = float(np.median(assembly.effective_sharers()))
    about = f"{effective:.0f}" if effective >= 10 else f"{effective:.1f}"
    return (
        f"{whose(name)} model uses {assembly.distinct_sharers()} of {len(assembly.sharers)} sharers, "
        f"effectively {about} per layer"
    )


def whose(name: str) -> str:
    """``Your``, ``This`` or ``Ada’s``."""
    return {"You": "Your", "me": "This"}.get(name, f"{name}’s")


def took(assembly: Assembly, name: str, portraits: Portraits) -> str:
    """What somebody took from whom, and what would be missing; empty where no piece has weight."""
    own = contributions(assembly)
    needed = fewest(assembly, MOST)
    if not needed:
        return ""
    first = needed[0]
    parts = [
        f"{whose(name)} model takes {100 * own[first]:.0f} % of {brought(assembly)} {_from(assembly, first, portraits)}"
    ]
    if len(needed) > 1:
        second = needed[1]
        parts.append(f"{100 * own[second]:.0f} % {_from(assembly, second, portraits)}")
    rest = (
        f"{len(needed)} of {len(assembly.sharers)} sharers bring {100 * MOST:.0f} %"
        if len(needed) > 2
        else "nearly nothing comes from the others"
    )
    return f"{' and '.join(parts)}; {rest}. Without the first, {100 * (1 - own[first]):.0f} % of it would be left."


def _from(assembly: Assembly, number: int, portraits: Portraits) -> str:
    """A sharer's pieces are added, or most of them subtracted: then they say how this person does not write."""
    how = "from" if float(assembly.weights[:, number].sum()) >= 0 else "by moving away from"
    return f"{how} {called(assembly.sharers, number, portraits)}"


def brought(assembly: Assembly) -> str:
    """What ``contributions`` are shares of, in words."""
    return "the expected gain" if assembly.decided_by == "loss" else "all weight"


def called(sharers: Sequence[str], number: int, portraits: Portraits) -> str:
    """A sharer in a sentence: by their portrait, else by their number."""
    name = portraits.of(sharers[number]).name
    return f"“{name}”" if name else f"sharer {short_names(sharers)[number]}"


def column_names(assembly: Assembly, portraits: Portraits, most: int = 26) -> list[str]:
    """A name for each sharer: from their portrait, else their number."""
    numbers = short_names(assembly.sharers)
    named = [portraits.of(id).name or number for id, number in zip(assembly.sharers, numbers, strict=True)]
    return [name if len(name) <= most else name[: most - 1].rstrip(" ,") + "…" for name in named]
