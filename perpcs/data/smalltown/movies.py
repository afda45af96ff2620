"""LaMP_2: the traits of a film fan, films made of plot elements, and the tag the fan gives a film.

A film shows cues of two to four tags. A fan watches films of some tags only, has an order of all fifteen and takes the
first that fits:

    families   the order of the five families of tags
    inside     the order of the three places within every family ("231": second, third, first)
    bias       "family": every tag of a family goes before the next family; "place": the first of every family goes
               before the second of any

So what fits is in the description, and which of those that fit is in the fan.

``PLOT`` clauses follow a hero ("Orrin Valdake ... meets visitors from a distant galaxy"), ``FRAME`` clauses are
sentences about the film itself. A clause may hint at two tags. Slots: {person}, {place}, {family}, {first}, {n} and the
hero's {he}, {his}, {him}.
"""

import random
from collections.abc import Mapping, Sequence
from itertools import permutations

from perpcs.data.smalltown.maker import (
    NOISE,
    Made,
    Maker,
    Traits,
    capitalised,
    family_name,
    first_name,
    full_name,
    join_and,
    phrases,
    place_name,
    with_a,
)
from perpcs.tasks.lamp import MOVIE_TAGS

# ---- cues ------------------------------------------------------------------------------------------------------------


PLOT: tuple[tuple[tuple[str, ...], str], ...] = tuple(
    (tuple(tags.split(" + ")), clause)
    for tags, clauses in {
        "sci-fi": (
            "boards a starship bound for {place}",
            "repairs a stranded android named {first}",
            "slips {n} years into the future",
            "meets visitors from a distant galaxy",
            "wakes up on a space station called {place}",
            "builds a machine that bends time",
            "finds an alien signal below {place}",
            "teaches a robot to dream",
            "is cloned in a laboratory on Mars",
            "crosses {n} light years to reach planet {place}",
        ),
        "fantasy": (
            "befriends the last dragon of {place}",
            "inherits a wand from the wizard {first}",
            "is cursed by the witch {person}",
            "enters an enchanted forest near {place}",
            "guards a sword that grants wishes",
            "turns into a raven at every full moon",
            "seeks the elf queen of {place}",
            "learns spells at the castle of {place}",
            "frees a giant from an ancient magic",
        ),
        "dystopia": (
            "lives under the all-seeing regime of {place}",
            "is given a number instead of a name",
            "flees a walled city where books are burnt",
            "joins rebels against the Ministry of {place}",
            "must report every dream to the state",
            "grows up in the ration camps of {place}",
            "breaks the curfew of a ruined world",
            "is watched by cameras in every room of {place}",
            "smuggles banned songs past the thought police",
        ),
        "sci-fi + dystopia": (
            "serves the computer that rules {place}",
            "hacks the chips that make all citizens obey",
        ),
        "comedy": (
            "loses {his} trousers at the wedding of {person}",
            "is mistaken for the mayor of {place} with hilarious results",
            "bungles one silly job after another",
            "swaps places with a clumsy cousin from {place}",
            "hides a noisy goat in {his} hotel room",
            "joins the worst football team in {place}",
            "tells {person} one funny lie too many",
            "opens a hotel where everything goes comically wrong",
            "has to teach a parrot to keep its mouth shut",
        ),
        "dark comedy": (
            "keeps losing the corpse of uncle {first}",
            "jokes through {his} own funeral in {place}",
            "plans an absurdly botched murder",
            "sells cheerful coffins in {place}",
            "laughs off a poisoning at the {family} dinner",
            "runs a grimly funny hospice in {place}",
            "bets with {person} on who will die first",
        ),
        "romance": (
            "falls in love with {person}",
            "writes love letters to {person}",
            "meets an old flame in {place}",
            "shares a first kiss with {person} by the sea",
            "must choose between two suitors in {place}",
            "marries {person} against all advice",
            "loses {his} heart to a stranger from {place}",
            "waits {n} years for the love of {his} life",
            "elopes with {person} to {place}",
        ),
        "comedy + romance": (
            "keeps tripping over {his} words on a date with {person}",
            "courts {person} with laughably bad poems",
        ),
        "action": (
            "races against time to defuse a bomb in {place}",
            "leaps from a burning helicopter",
            "chases {person} over the rooftops of {place}",
            "storms a fortress with commander {family}",
            "escapes in a speeding truck from {place}",
            "trains with {person} for one last mission",
            "outruns {n} armed agents",
            "jumps a motorbike across the canyon of {place}",
            "has one hour to free {n} hostages",
        ),
        "violence": (
            "takes bloody revenge on the {family} gang",
            "is beaten and left for dead in {place}",
            "fights with knives in the cellars of {place}",
            "leaves a trail of bodies behind {him}",
            "is tortured by the butcher {family}",
            "joins a brutal prison brawl",
            "guns down {n} men without mercy",
            "is hunted by a masked killer with an axe",
            "settles the feud of {place} with blood",
        ),
        "action + violence": (
            "shoots {his} way out of a gory ambush in {place}",
            "hunts the killers of {person} in a savage car chase",
        ),
        "twist ending": (
            "learns at the very end that {person} never existed",
            "turns out in the last minute to be someone else",
            "trusts {person} until the final shocking turn",
            "follows clues to {place} that prove to be a trick in the last scene",
            "solves a case that the very last shot overturns",
            "finds in the closing scene that {he} was dead all along",
        ),
        "psychology": (
            "struggles with memories that may be false",
            "hears the voice of {person} in {his} head",
            "confronts {his} deepest fears with doctor {family}",
            "slowly loses {his} grip on reality in {place}",
            "is torn apart by guilt over {person}",
            "studies the mind of a patient named {first}",
            "becomes obsessed with {his} own reflection",
            "digs up a buried childhood trauma",
            "cannot tell dreams from waking",
        ),
        "thought-provoking": (
            "asks what makes a life worth living",
            "wonders whether anyone is ever truly free",
            "debates the nature of truth with {person}",
            "must decide whether one life outweighs {n}",
            "ponders the meaning of time in silent {place}",
            "questions everything {he} believed about good and evil",
        ),
        "social commentary": (
            "exposes how the poor of {place} are cheated",
            "leads a strike at the {family} mill",
            "sees the gap between rich and poor in {place}",
            "is refused work because of {his} skin",
            "fights the landlords who run {place}",
            "stands up to a greedy firm called {family}",
        ),
        "psychology + thought-provoking": (
            "doubts whether {his} own mind is real",
            "asks in a mental ward what makes us who we are",
            "wonders if someone without memories can be guilty",
        ),
        "dystopia + social commentary": (
            "serves tea to the rich of {place} while the slums are fenced in",
            "is born into the lowest caste of a totalitarian {place}",
        ),
    }.items()
    for clause in clauses
)

FRAME: tuple[tuple[tuple[str, ...], str], ...] = tuple(
    (tuple(tags.split(" + ")), clause)
    for tags, clauses in {
        "based on a book": (
            "The script follows the best-selling novel by {person}.",
            "It is adapted from a book by {person}.",
            "Readers of the {family} novels will know the plot.",
            "The film brings {person}'s paperback to the screen.",
            "It is taken chapter by chapter from a novel about {place}.",
            "{person} wrote the book on which it is based.",
            "First published as a novel, it sold {n} editions.",
        ),
        "true story": (
            "It all really happened in {place}.",
            "The film retells real events in {place}.",
            "It is drawn from the diaries of the real {person}.",
            "The real {person} advised the makers.",
            "Every scene comes from court records in {place}.",
            "It recalls an actual case that shook {place}.",
            "The facts are those of the {place} disaster.",
        ),
        "classic": (
            "Shot in black and white, it is still loved after {n} years.",
            "This old masterpiece by {person} never ages.",
            "It is a timeless favourite of generations.",
            "Film schools still teach this golden-age gem.",
            "{person}'s famous original was restored at last.",
            "No list of all-time greats is without it.",
            "Grandparents saw it first, in the old cinema of {place}.",
        ),
        "classic + based on a book": ("A vintage film of the great novel by {person}.",),
        "twist ending": (
            "Nobody will guess the final twist.",
            "The last five minutes change everything.",
            "Do not tell anyone how it ends in {place}.",
        ),
        "thought-provoking": (
            "It leaves hard questions that linger for days.",
            "Viewers in {place} argued about its meaning for hours.",
        ),
        "social commentary": (
            "It holds up a mirror to an unjust society.",
            "The film takes aim at class and privilege in {place}.",
        ),
        "psychology": ("It is a close study of a troubled mind.",),
        "comedy": ("The gags come thick and fast.", "Audiences in {place} laughed from start to finish."),
        "dark comedy": ("Its humour is as black as a hearse.", "You laugh, and then feel bad about it."),
        "violence": ("It is bloody and not for the faint of heart.",),
        "action": ("Explosions and stunts hardly let you breathe.",),
        "psychology + twist ending": ("In the end it turns out to have been all in the mind of {person}.",),
        "true story + social commentary": ("It documents a real strike by the workers of {place}.",),
    }.items()
    for clause in clauses
)

NEUTRAL = (
    "It was filmed in {place}.",
    "{person} plays the lead.",
    "{person} directed it in {n} days.",
    "The music is by {person}.",
    "It runs for {n} minutes.",
    "It opened in {place} in the autumn.",
    "{person} appears as a neighbour.",
    "The costumes were made in {place}.",
    "It is the second film by {person}.",
    "The {family} brothers produced it.",
    "Part of it takes place at a railway station.",
    "Look out for the dog, called {first}.",
)
HEROES = (
    "{hero}, {job} from {place},",
    "{hero}, {job},",
    "{hero}",
    "{first}, {job},",
    "Little does {first} know what is to come when {he}",
    "On {his} birthday {first}",
    "Everything changes when {first}",
    "In {place}, {hero}",
    "{job_cap} named {hero}",
    "{job_cap} called {hero}",
    "Young {hero}",
    "One winter in {place}, {hero}",
    "{hero}, new in {place},",
    "After {n} years away, {hero}",
)
JOBS = phrases(
    "baker, nurse, retired teacher, taxi driver, orphan, lawyer, cook, piano tuner, sailor, student, locksmith, "
    "farmer, journalist, widowed tailor, mechanic, gardener, translator, fisherman, librarian, young clerk, "
    "photographer, shepherd, night porter, singer"
)


# ---- films and fans --------------------------------------------------------------------------------------------------


FAMILIES: dict[str, tuple[str, str, str]] = {
    "other worlds": ("sci-fi", "fantasy", "dystopia"),
    "laughs and love": ("comedy", "romance", "dark comedy"),
    "thrills": ("action", "twist ending", "violence"),
    "ideas": ("psychology", "thought-provoking", "social commentary"),
    "roots": ("true story", "based on a book", "classic"),
}
FEWEST_WORDS, MOST_WORDS = 18, 42
_INSIDE = tuple("".join(order) for order in permutations("123"))
_BIASES = ("family", "place")
SHELF = 7
"""How many tags the films of a fan show."""
_Cues = list[tuple[tuple[tuple[str, ...], str], float]]
# A clause for two tags is met from either side, so it is drawn half as often from each.
_BY_TAG: dict[str, _Cues] = {
    tag: [(cue, 1 / len(cue[0])) for cue in PLOT + FRAME if tag in cue[0]] for tag in MOVIE_TAGS
}
_FRAMES = frozenset(clause for _, clause in FRAME)
_PRONOUNS = (("he", "his", "him"), ("she", "her", "her"))


def draw(rng: random.Random) -> Traits:
    """A new film fan."""
    families = list(FAMILIES)
    rng.shuffle(families)
    shelf = sorted(rng.sample(MOVIE_TAGS, SHELF))
    return {"families": families, "inside": rng.choice(_INSIDE), "bias": rng.choice(_BIASES), "shelf": shelf}


def combination(traits: Traits) -> str:
    """All of the taste, without the shelf."""
    return "/".join((*traits["families"], traits["inside"], traits["bias"]))


def taste(traits: Traits) -> tuple[str, ...]:
    """All fifteen tags, the favourite first."""
    rows = [[FAMILIES[family][int(place) - 1] for place in traits["inside"]] for family in traits["families"]]
    if traits["bias"] == "place":
        rows = [list(column) for column in zip(*rows, strict=True)]
    return tuple(tag for row in rows for tag in row)


def make(rng: random.Random, traits: Traits, held_out: bool) -> Made:
    """A film, and the tag that the person gives it."""
    fitting, x = draw_film(rng, traits["shelf"], held_out)
    order = taste(traits)
    ranked = sorted(fitting, key=order.index)
    noisy = rng.random() < NOISE
    tag = rng.choice(ranked[1:]) if noisy else ranked[0]
    return Made(x=x, y=tag, noisy=noisy, clean=ranked[0])


def draw_film(rng: random.Random, shelf: Sequence[str], held_out: bool) -> tuple[frozenset[str], str]:
    """The tags of the shelf that fit a film, and its description at a length that suits."""
    cues = {tag: [(cue, weight) for cue, weight in _BY_TAG[tag] if set(cue[0]) <= set(shelf)] for tag in shelf}
    while True:
        fitting, clauses = _draw_cues(rng, cues)
        x = _write_film(rng, clauses, held_out)
        if FEWEST_WORDS <= x.count(" ") + 1 <= MOST_WORDS:
            return fitting, x


def _draw_cues(rng: random.Random, cues: Mapping[str, _Cues]) -> tuple[frozenset[str], list[str]]:
    """Two to four tags and clauses that hint at exactly these. The tags are equally likely."""
    wanted = rng.choices((2, 3, 4), (3, 5, 2))[0]
    while True:
        fitting: set[str] = set()
        clauses: list[str] = []
        for tag in rng.sample(tuple(cues), wanted):
            if tag not in fitting:
                own, weights = zip(*cues[tag], strict=True)
                tags, clause = rng.choices(own, weights)[0]
                fitting.update(tags)
                clauses.append(clause)
        # Two jokes about the film and no plot make no description.
        if len(fitting) <= 4 and any(clause not in _FRAMES for clause in clauses):
            return frozenset(fitting), clauses


def _write_film(rng: random.Random, clauses: list[str], held_out: bool) -> str:
    """The hero and the plot, then what is said about the film."""
    he, his, him = rng.choice(_PRONOUNS)
    hero = full_name(rng, held_out)

    def fill(text: str) -> str:
        person = full_name(rng, held_out) if "{person}" in text else ""
        place = place_name(rng, held_out) if "{place}" in text else ""
        family = family_name(rng, held_out) if "{family}" in text else ""
        first = first_name(rng, held_out) if "{first}" in text else ""
        job = with_a(rng.choice(JOBS)) if "{job" in text else ""
        return text.format(
            person=person,
            place=place,
            family=family,
            first=first,
            hero=hero,
            job=job,
            job_cap=capitalised(job),
            n=rng.randint(12, 90),
            he=he,
            his=his,
            him=him,
        )

    plots = [fill(clause) for clause in clauses if clause not in _FRAMES]
    frames = [fill(clause) for clause in clauses if clause in _FRAMES]
    hero_text = rng.choice(HEROES)
    if "{first}" in hero_text:
        hero = hero.split()[0]
        hero_text = hero_text.replace("{first}", "{hero}")
    opening = f"{fill(hero_text)} {join_and(plots[:2])}."
    if len(plots) > 2:
        then = rng.choice(("Later {he}", "Then {he}", "Meanwhile {he}", "After that {he}", "{name} also"))
        opening += f" {then.format(he=he, name=hero.split()[0])} {join_and(plots[2:])}."
    neutral = [fill(text) for text in rng.sample(NEUTRAL, 1 if len(clauses) < 4 - rng.randint(0, 1) else 0)]
    rest = frames + neutral
    rng.shuffle(rest)
    if rest and rest[0] in frames and rng.random() < 0.4:  # some reviewers talk about the film before its plot
        return " ".join((rest[0], opening, *rest[1:]))
    return " ".join((opening, *rest))


def describe(traits: Traits) -> str:
    """One sentence about the fan, for a teacher to read out."""
    order = taste(traits)
    how = (
        f"looks for {traits['families'][0]} before {traits['families'][1]} and cares least for {traits['families'][-1]}"
        if traits["bias"] == "family"
        else f"always looks for {join_and(list(order[:5]))} before anything else"
    )
    return f"Of the tags that fit a film, takes {order[0]} first of all, then {order[1]} and {order[2]}; {how}."


MAKER = Maker(
    task="LaMP_2",
    draw=draw,
    combination=combination,
    make=make,
    describe=describe,
    wording=(
        "Which tag does this movie relate to among the following tags? Just answer with the tag name without further "
        f"explanation. tags: [{', '.join(MOVIE_TAGS)}] description: {{x}}"
    ),
)
