"""Verbs with their forms in three registers, and small helpers for words."""

from dataclasses import dataclass


def words(text: str) -> tuple[str, ...]:
    """The words of a list written as one string."""
    return tuple(text.split())


def phrases(text: str) -> tuple[str, ...]:
    """The phrases of a list written as one string, between commas."""
    return tuple(text.split(", "))


REGISTERS = ("plain", "tabloid", "formal")

_VERBS = """
approve OK authorise; reject bin decline; delay stall postpone; fund bankroll finance; rescue save recover;
fight battle combat; inspect probe examine; close shut seal; win grab secure; lose blow forfeit; sign nab recruit;
sack axe dismiss; open unveil inaugurate; praise hail commend; criticise slam censure; ban nix prohibit;
plan plot propose; buy snap_up acquire; raise hike increase; cut slash reduce; find spot discover;
catch bag capture; free loose release; test try_out evaluate; study eye analyse; build rig_up construct;
cancel scrap withdraw; repair fix restore; damage wreck impair; flood swamp inundate; block jam obstruct;
fine sting penalise; jail bang_up imprison; clear let_off acquit; question grill interview; invent dream_up devise;
honour toast recognise; move shift relocate
"""
_IRREGULAR = {  # base: past, participle
    "fight": ("fought", "fought"),
    "shut": ("shut", "shut"),
    "win": ("won", "won"),
    "lose": ("lost", "lost"),
    "blow": ("blew", "blown"),
    "buy": ("bought", "bought"),
    "cut": ("cut", "cut"),
    "find": ("found", "found"),
    "catch": ("caught", "caught"),
    "build": ("built", "built"),
    "sting": ("stung", "stung"),
    "let": ("let", "let"),
    "OK": ("OK'd", "OK'd"),
}
_DOUBLED = frozenset(words("bin grab nab slam ban plan plot snap spot rig scrap jam  bag"))


@dataclass(frozen=True)
class Verb:
    """The forms of a verb: approve, approves, approved, (has been) approved."""

    base: str
    present: str
    past: str
    participle: str


def conjugate(base: str) -> Verb:
    """All forms of a verb; of two words ("snap up") the first one changes."""
    head, _, tail = base.partition(" ")
    if head.endswith(("s", "x", "ch", "sh")):
        present = head + "es"
    elif head.endswith("y") and head[-2] not in "aeiou":
        present = head[:-1] + "ies"
    else:
        present = head + "s"
    if head in _IRREGULAR:
        past, participle = _IRREGULAR[head]
    elif head.endswith("e"):
        past = participle = head + "d"
    elif head.endswith("y") and head[-2] not in "aeiou":
        past = participle = head[:-1] + "ied"
    elif head in _DOUBLED:
        past = participle = head + head[-1] + "ed"
    elif head == "cancel":
        past = participle = "cancelled"
    else:
        past = participle = head + "ed"
    end = f" {tail}" if tail else ""
    return Verb(base, present + end, past + end, participle + end)


VERBS: dict[str, dict[str, Verb]] = {
    line.split()[0]: {
        register: conjugate(word.replace("_", " ")) for register, word in zip(REGISTERS, line.split(), strict=True)
    }
    for line in _VERBS.replace("\n", " ").split(";")
}
"""Plain verb -> register -> forms."""


def with_a(phrase: str) -> str:
    """The phrase behind "a" or "an"."""
    return f"{'an' if phrase[0] in 'aeiou' and not phrase.startswith(('uni', 'use', 'one')) else 'a'} {phrase}"


def capitalised(text: str) -> str:
    """The first letter in upper case, the rest untouched."""
    return text[:1].upper() + text[1:]


def join_and(parts: list[str]) -> str:
    """The parts in a row: a, b and c."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
