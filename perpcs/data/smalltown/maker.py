"""What a task must offer the town, the rule that reserves trait combinations for target users, and words for all tasks:
names in any combination, verbs with their forms in three registers, small helpers.

A name's checksum says whether it is held out for target users, so that people a model is adapted to never meet a
target user's names. What a pretrained model reads here are words it knows.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any
from zlib import crc32

# ---- verbs and words -------------------------------------------------------------------------------------------------


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


# ---- names -----------------------------------------------------------------------------------------------------------


HELD_OUT_ONE_IN = 3

_FIRST = words(
    "Aaron Abigail Adam Agnes Alan Albert Alice Alison Amber Amelia Amir Amy Andrea Andrew Angela Anita Anna Anthony "
    "April Arthur Asha Audrey Barbara Beatrice Ben Bernard Beth Bilal Boris Brenda Brian Bridget Bruno Camilla Carl "
    "Carmen Caroline Cecilia Charles Charlotte Chloe Clara Claire Colin Connor Cora Craig Daisy Daniel Daphne David "
    "Dawn Deborah Dennis Derek Diana Dinah Dominic Donna Doris Dorothy Duncan Edith Edward Eileen Elaine Eleanor "
    "Elena Elias Ella Ellen Elsie Emily Emma Eric Erin Esther Ethan Eva Evelyn Farah Felix Fiona Frances Frank Freda "
    "Gareth Gary Gemma George Georgia Gerald Gilbert Gloria Gordon Grace Graham Greta Gwen Hamid Hannah Harold "
    "Harriet Harry Hazel Heather Helen Henry Hilda Howard Hugo Ian Imogen Ingrid Irene Iris Isaac Isabel Ivan Ivy "
    "Jack Jacob James Janet Jasmine Jason Jean Jennifer Jeremy Jessica Joan Joel John Jonas Joseph Joyce Judith Julia "
    "Julian June Karen Karim Kate Keith Kenneth Kevin Kim Lara Laura Lauren Lawrence Leah Leila Leo Leon Leonard "
    "Lewis Lily Linda Liam Lionel Lisa Louis Louise Lucas Lucy Luke Lydia Mabel Malcolm Marcus Margaret Maria Marion "
    "Mark Martha Martin Mary Matthew Maureen Max Maya Megan Michael Mildred Miles Mina Miriam Molly Monica Morris "
    "Nadia Naomi Nathan Neil Nicholas Nigel Nina Noah Nora Norman Olga Oliver Olivia Omar Oscar Otto Owen Pamela "
    "Patricia Patrick Paul Pauline Penelope Peter Petra Philip Phoebe Priya Rachel Ralph Rebecca Reuben Richard Rita "
    "Robert Robin Roger Ronald Rosa Rose Ruby Rupert Russell Ruth Ryan Sally Samira Samuel Sandra Sarah Sean "
    "Sebastian Sharon Sheila Sidney Silas Simon Sonia Sophie Stanley Stella Stephen Stuart Susan Sylvia Tara Teresa "
    "Terry Theo Thomas Tim Tobias Tom Tracy Trevor Umar Una Ursula Valerie Vera Victor Victoria Vincent Violet Vivian "
    "Walter Wanda Warren Wendy Wilfred William Winifred Yasmin Yusuf Yvonne Zara Zoe"
)
_FAMILY = words(
    "Abbott Adams Ahmed Allen Anderson Armstrong Atkins Austin Bailey Baker Banks Barker Barnes Barrett Bates Baxter "
    "Begum Bell Bennett Benson Berry Bird Bishop Black Blake Bloom Bond Booth Bowen Bradley Brennan Briggs Brooks "
    "Brown Bryant Buckley Burgess Burke Burns Burton Butler Byrne Campbell Carlson Carpenter Carr Carter Chambers "
    "Chapman Chen Clarke Clayton Cole Coleman Collins Conway Cook Cooper Corbett Cox Crawford Cross Cruz Curtis Dale "
    "Dalton Daniels Davies Dawson Day Dean Dixon Doherty Douglas Doyle Drake Dunn Eaton Edwards Elliott Ellis Evans "
    "Farmer Ferguson Fernandez Field Finch Fisher Fleming Fletcher Flynn Foley Forbes Ford Foster Fowler Fox Francis "
    "Franklin Fraser Freeman French Frost Fuller Gallagher Garcia Gardner Gibbs Gibson Gilbert Gill Glover Goodman "
    "Graham Grant Graves Gray Green Griffin Gupta Hale Hall Hamilton Hansen Harding Harper Harris Hart Harvey Hayes "
    "Heath Henderson Herbert Hicks Higgins Hill Hobbs Hodges Holland Holmes Holt Hooper Hopkins Horton Howe Hudson "
    "Hughes Hunt Hussain Ingram Irving Jackson Jacobs Jansen Jenkins Jensen Jones Jordan Joyce Kaplan Kaur Keller "
    "Kelly Kemp Kennedy Kent Khan King Klein Knight Kumar Lamb Lambert Lane Lawson Lee Leonard Lewis Lloyd Long Lopez "
    "Lowe Lucas Lynch Lyons Macdonald Mann Manning Marsh Marshall Martin Mason Matthews Maxwell May Meyer Miles Mills "
    "Mitchell Moore Moran Morgan Morris Morton Moss Murphy Murray Myers Nash Nelson Newman Newton Nichols Nolan "
    "Norman Norris North Novak Oliver Osborne Owens Page Palmer Park Parker Parsons Patel Patterson Payne Pearce "
    "Perez Perkins Perry Peters Phillips Pierce Plant Pollard Poole Porter Potter Powell Pratt Price Quinn Ramsey "
    "Randall Reed Reeves Reid Reyes Reynolds Rhodes Rice Richards Riley Rivera Roberts Robinson Rogers Rose Ross Rowe "
    "Russell Ryan Sanders Santos Saunders Schmidt Scott Sharp Shaw Shepherd Silva Simmons Simpson Singh Skinner "
    "Slater Smith Snow Sparks Spencer Stanley Steele Stevens Stewart Stokes Stone Sullivan Sutton Sweeney Tait Tanner "
    "Taylor Thompson Thornton Todd Townsend Tucker Turner Underwood Vaughan Vincent Wade Walker Wallace Walsh Walters "
    "Ward Warner Watkins Watson Watts Weaver Webb Weber Webster Wells West Wheeler White Wilkins Williams Willis "
    "Wilson Winter Wolfe Wong Wood Woods Wright Yates Young"
)
_PLACES = words(
    "Aberdeen Adelaide Albany Amsterdam Antwerp Athens Atlanta Auckland Austin Bangor Barcelona Bath Bedford Belfast "
    "Bergen Berlin Birmingham Blackpool Bologna Bolton Bordeaux Boston Bradford Brighton Brisbane Bristol Bruges "
    "Brussels Budapest Buffalo Burnley Calgary Cambridge Canberra Canterbury Cardiff Carlisle Charleston Chelmsford "
    "Chester Chicago Cleveland Colchester Cologne Columbus Copenhagen Cork Coventry Crewe Croydon Dallas Darlington "
    "Darwin Dayton Denver Derby Detroit Doncaster Dorchester Dover Dresden Dublin Dundee Dunedin Durham Edinburgh "
    "Edmonton Exeter Falmouth Florence Galway Geneva Genoa Ghent Glasgow Gloucester Granada Grimsby Guildford Halifax "
    "Hamburg Hamilton Hanover Harlow Harrogate Hartford Hastings Helsinki Hereford Hobart Houston Huddersfield Hull "
    "Ipswich Jersey Kendal Kingston Knoxville Lancaster Leeds Leicester Leiden Leipzig Limerick Lincoln Lisbon "
    "Liverpool London Louisville Luton Lyon Madison Madrid Malaga Manchester Marseille Melbourne Memphis Miami Milan "
    "Milwaukee Monmouth Montreal Munich Nantes Naples Nashville Newark Newcastle Newport Northampton Norwich "
    "Nottingham Oakland Odense Oldham Omaha Orlando Oslo Ottawa Oxford Paisley Palermo Paris Perth Peterborough "
    "Philadelphia Phoenix Pisa Plymouth Portland Porto Portsmouth Prague Preston Quebec Reading Reykjavik Richmond "
    "Riga Rochdale Rochester Rome Rotterdam Rugby Salford Salisbury Salzburg Sandwich Seattle Seville Sheffield "
    "Shrewsbury Southampton Southend Stirling Stockholm Stockport Sunderland Swansea Swindon Sydney Tacoma Tallinn "
    "Tampa Taunton Telford Toledo Torquay Toronto Toulouse Truro Tucson Turin Utrecht Valencia Vancouver Venice "
    "Verona Vienna Wakefield Warsaw Warwick Wellington Weymouth Wichita Winchester Windsor Winnipeg Wolverhampton "
    "Worcester Worthing Wrexham York Zagreb Zurich"
)


def _part(names: tuple[str, ...], held_out: bool) -> tuple[str, ...]:
    return tuple(name for name in names if (crc32(name.encode()) % HELD_OUT_ONE_IN == 0) == held_out)


_SPLIT = {
    (kind, held_out): _part(tuple(dict.fromkeys(names)), held_out)
    for kind, names in {"first": _FIRST, "family": _FAMILY, "place": _PLACES}.items()
    for held_out in (False, True)
}


def first_name(rng: random.Random, held_out: bool) -> str:
    """A first name, such as "Nora"."""
    return rng.choice(_SPLIT["first", held_out])


def family_name(rng: random.Random, held_out: bool) -> str:
    """A family name, such as "Holland"."""
    return rng.choice(_SPLIT["family", held_out])


def place_name(rng: random.Random, held_out: bool) -> str:
    """A town, such as "Bristol"."""
    return rng.choice(_SPLIT["place", held_out])


def full_name(rng: random.Random, held_out: bool) -> str:
    """First and family name, such as "Nora Holland"."""
    return f"{first_name(rng, held_out)} {family_name(rng, held_out)}"


# ---- makers ----------------------------------------------------------------------------------------------------------


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
