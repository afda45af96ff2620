"""LaMP_3: the traits of a customer, reviews of things with aspects at clear levels, and the score the customer gives.

    focus       the aspect that counts FOCUS_WEIGHT times as much as another
    second      the aspect that counts SECOND_WEIGHT times as much as another
    strictness  harsh, fair, generous: what is added to the score

    score = 3 + SPREAD * mean + SHIFTS[strictness], rounded (half up), within 1 to 5

where mean is the weighted mean of the levels mentioned: very bad -2, bad -1, good 1, very good 2. A thing is mostly
good or mostly bad all through, so a review tells something about its score whoever wrote it.

In a clause {it} is the thing, {use} and {using} what one does with it (wear, wearing), {n} a small and {m} a larger
number. A clause speaks of one aspect at one level only, and fits every thing.
"""

import random
from dataclasses import dataclass
from math import floor

from perpcs.data.smalltown.maker import (
    NOISE,
    Made,
    Maker,
    Traits,
    capitalised,
    family_name,
    first_name,
    phrases,
    place_name,
    with_a,
    words,
)

# ---- things for sale -------------------------------------------------------------------------------------------------


ASPECTS = ("price", "quality", "looks", "ease", "service")
LEVELS = {"very bad": -2, "bad": -1, "good": 1, "very good": 2}


@dataclass(frozen=True)
class Group:
    """Things that are used in the same way: any adjective goes with any noun."""

    use: str
    using: str
    adjectives: tuple[str, ...]
    nouns: tuple[str, ...]


def _group(use: str, using: str, adjectives: str, nouns: str) -> Group:
    return Group(use, using, words(adjectives), phrases(nouns))


GROUPS = (
    _group(
        "use",
        "using",
        "blue round oval white black steel small large speckled grey cream red tall",
        "kettle, teapot, frying pan, bread bin, whisk, ladle, grater, rolling pin, toaster, colander, saucepan, "
        "coffee mill, chopping board, cake tin, butter dish, pepper mill",
    ),
    _group(
        "use",
        "using",
        "long short red grey heavy-duty small large black yellow orange pocket-sized",
        "hammer, hand drill, spanner, saw, screwdriver, chisel, workbench, ladder, spirit level, clamp, toolbox, "
        "paintbrush, plane, crowbar",
    ),
    _group(
        "wear",
        "wearing",
        "woollen cotton green striped grey linen checked navy short brown purple yellow",
        "coat, jumper, hat, scarf, cardigan, waistcoat, raincoat, shirt, shawl, jacket, cap, dressing gown, apron, "
        "poncho",
    ),
    _group(
        "play with",
        "playing with",
        "painted yellow red spotted small large blue striped orange multicoloured",
        "train set, doll, kite, spinning top, rocking horse, puppet, toy boat, jigsaw, marble run, drum, yo-yo, "
        "toy castle, board game, toy tractor",
    ),
    _group(
        "use",
        "using",
        "green brown small large yellow striped rust-coloured white olive grey",
        "watering can, spade, rake, wheelbarrow, hammock, bird table, garden bench, hosepipe, lawnmower, trowel, "
        "plant stand, garden chair, parasol, flowerpot",
    ),
    _group(
        "read",
        "reading",
        "illustrated hardback paperback pocket-sized thick slim revised leather-bound clothbound",
        "cookbook, atlas, songbook, bird guide, story book, dictionary, sailor's diary, poetry book, almanac, "
        "gardening book, town history, riddle book",
    ),
    _group(
        "ride",
        "riding",
        "red three-speed silver black tall small eight-speed yellow orange white",
        "bicycle, tricycle, scooter, tandem, cargo bike, racing bike, mountain bike, city bike",
    ),
    _group(
        "use",
        "using",
        "brown black square white compact small large grey silver ivory red",
        "radio, record player, alarm clock, torch, loudspeaker, desk lamp, wall clock, camera, cassette deck, "
        "pocket calculator, doorbell, microphone",
    ),
    _group(
        "use",
        "using",
        "blue large small square grey striped patterned narrow brown purple",
        "armchair, footstool, blanket, pillow, umbrella, suitcase, rucksack, laundry basket, bookcase, mirror, "
        "sewing box, writing desk, doormat, picnic basket",
    ),
)

_CLAUSES = {
    "price": {
        "very bad": "the price is outrageous; {it} costs three times what it should; {it} is absurdly overpriced; "
        "the price is daylight robbery; you get next to nothing for a huge sum; I paid a fortune for very little; "
        "the amount they charge for {it} is shocking; at {m} crowns {it} is a complete rip-off; "
        "the shop asks a ridiculous sum for {it}; no sane person would pay that much for {it}",
        "bad": "the price is a bit too high; {it} is rather expensive; {it} costs more than I expected; "
        "you can find much the same for less elsewhere; the price could be lower; "
        "at {m} crowns {it} is somewhat dear; {it} is not quite worth the money; you pay a little too much for {it}; "
        "{it} costs slightly more than others of its kind; the value for money is below average",
        "good": "the price is fair; {it} is reasonably cheap; {it} offers decent value for money; "
        "{m} crowns is a sensible price for {it}; {it} costs a little less than most; the price is quite friendly; "
        "you get a fair amount for your money; I found the price reasonable; {it} is worth what it costs; "
        "the cost was somewhat lower than I expected",
        "very good": "{it} is an absolute bargain; the price is astonishingly low; {it} costs next to nothing; "
        "at {m} crowns {it} is a steal; the value for money is unbeatable; you will not find {it} cheaper anywhere; "
        "{it} costs half of what others ask; nobody could ask for a better price; "
        "I could hardly believe how cheap {it} was; {it} is worth ten times the price",
    },
    "quality": {
        "very bad": "{it} fell apart within {n} days; {it} broke the first time I touched it; "
        "the workmanship is appalling; {it} was in ruins after {n} days; {it} is made of the worst rubbish; "
        "the material is dreadful and crumbles; {it} came to pieces in my hands; every single part is terribly made; "
        "{it} did not survive a single week; the build is a disgrace",
        "bad": "{it} is a bit flimsy; the material feels thin; {it} soon showed some wear; "
        "one corner came loose after a while; the workmanship is somewhat careless; "
        "{it} is not as solid as I had hoped; a small piece has already come off; "
        "I doubt that {it} will last very long; the finish is slightly rough; the materials could be stronger",
        "good": "{it} is well made; the material feels solid; {it} has held up well so far; "
        "the workmanship is decent; {it} seems fairly sturdy; {it} shows little wear; "
        "the parts fit together properly; {it} should last a good while; I found no faults in the material; "
        "the build is reasonably strong",
        "very good": "{it} is built to last a lifetime; the workmanship is superb; {it} is practically indestructible; "
        "the material is of the very finest kind; {it} survived {m} falls without a scratch; {it} will outlive us all; "
        "the quality is outstanding; every part is perfectly made; after rough treatment {it} is still as good as new; "
        "I have never held anything so solid",
    },
    "looks": {
        "very bad": "{it} is hideous; {it} is the ugliest thing I have ever seen; the colours are revolting; "
        "the design is an eyesore; {it} looks absolutely dreadful; I am ashamed to be seen with {it}; "
        "visitors gasp at how ugly {it} is; the shape is utterly grotesque; "
        "{it} is so ugly that I hide it under a sheet; the pattern hurts my eyes",
        "bad": "{it} looks a bit dull; the colours are rather drab; the design is somewhat old-fashioned; "
        "{it} is not very pretty; the shape is slightly odd to look at; {it} looks plainer than in the picture; "
        "the colour is paler than in the picture; {it} is a little ugly from the side; the design lacks charm; "
        "{it} could look nicer",
        "good": "{it} looks nice; the colours are pleasant; the design is quite pretty; {it} has a neat shape; "
        "{it} looks good in daylight; the pattern is rather charming; {it} comes in a fetching colour; "
        "the design is tasteful; {it} looks as nice as in the picture; I found the shape attractive",
        "very good": "{it} is stunningly beautiful; the design is a work of art; the colours are gorgeous; "
        "{it} is the prettiest thing I have ever seen; everyone stops to admire how {it} looks; "
        "{it} looks absolutely magnificent; the shape is breathtakingly elegant; I cannot stop gazing at {it}; "
        "{it} is pretty enough for a museum; the beauty of {it} is beyond words",
    },
    "ease": {
        "very bad": "{it} is almost impossible to {use}; {using} {it} is pure torture; "
        "{using} {it} made my whole body ache; nobody in the house managed to {use} {it}; "
        "{it} is horribly uncomfortable to {use}; I gave up trying to {use} {it} after {n} minutes; "
        "{it} is a nightmare to {use}; {it} is so awkward that I dread {using} it; "
        "{using} {it} for {n} minutes leaves me exhausted; {using} {it} takes endless effort",
        "bad": "{it} is a bit awkward to {use}; {it} is not very comfortable to {use}; "
        "{using} {it} takes some patience; {it} takes a while to get used to; {it} is rather clumsy to handle; "
        "{using} {it} is slightly tiring; {it} is harder to {use} than it should be; "
        "{using} {it} feels a little uncomfortable; I needed several tries to {use} {it} properly; "
        "{it} could be simpler to {use}",
        "good": "{it} is easy enough to {use}; {it} is quite comfortable to {use}; {using} {it} is fairly simple; "
        "{it} is pleasant to handle; I soon got used to {using} {it}; {using} {it} gave me no trouble; "
        "{it} is handy and simple to {use}; {it} takes little effort to {use}; {using} {it} is rather comfortable; "
        "most people will {use} {it} without difficulty",
        "very good": "{it} is wonderfully easy to {use}; {using} {it} is utterly effortless; "
        "{it} could not be more comfortable to {use}; {it} is marvellously convenient to {use}; "
        "{using} {it} is a sheer delight; I could go on {using} {it} all day in perfect comfort; "
        "nothing I know is so easy to {use}; {using} {it} takes no effort at all; "
        "{it} is supremely comfortable to {use}; {it} was perfectly simple to {use} from the first minute",
    },
    "service": {
        "very bad": "the delivery was a complete disaster; the seller was unbelievably rude; "
        "nobody ever answered my {m} letters; the parcel arrived completely smashed; the staff shouted at me; "
        "the service was atrocious; they sent the wrong parcel {n} times; the seller flatly refused to help; "
        "the courier tossed the parcel into a ditch; I waited {m} hours at the counter and nobody apologised",
        "bad": "the delivery was a few days late; the seller was not very friendly; the parcel had a small dent; "
        "the seller was slow to reply; the service was a little careless; I had to ask twice for the receipt; "
        "the staff seemed rather bored; the parcel was poorly wrapped; the delivery took longer than promised; "
        "the staff knew little about their stock",
        "good": "the delivery was on time; the seller was friendly; the parcel was neatly wrapped; "
        "the staff answered my questions politely; the service was quick enough; "
        "the seller replied within a day or two; the delivery went smoothly; the staff were helpful; "
        "the courier was polite and punctual; the parcel arrived in good order",
        "very good": "the delivery was incredibly fast; the seller could not have been kinder; "
        "the service was exceptional; {it} arrived within the hour; the staff went far out of their way to help; "
        "the parcel came {n} days early with a kind note; all my questions were answered at once with great kindness; "
        "the courier even carried the parcel up {n} flights of stairs; I have never been served so well; "
        "the staff treated me like royalty",
    },
}

CLAUSES: dict[str, dict[str, tuple[str, ...]]] = {
    aspect: {level: tuple(_CLAUSES[aspect][level].split("; ")) for level in LEVELS} for aspect in ASPECTS
}
"""Aspect -> level -> clauses."""

# {a_kind}: "a blue kettle", {thing}: "blue Valdake kettle", {a_thing}: with its article, {noun}: "kettle".
OPENINGS = (
    "I ordered {a_thing} for my {who}.",
    "I bought {a_thing} from a shop in {place}.",
    "My {who} asked me to review {a_thing}.",
    "This is about {a_thing} that I bought {when}.",
    "We have had {a_thing} for {n} weeks now.",
    "{Thing}, ordered {when}.",
    "My old {noun} was lost in {place}, so I ordered {a_thing}.",
    "{When} I ordered {a_thing}.",
    "After moving to {place} I needed a new {noun} and chose {a_thing}.",
    "{First} from {place} told me about this {thing}.",
    "I got {a_thing} as a present for {first}.",
    "Here are my notes on {a_thing}.",
    "This review is of {a_thing}, bought {when}.",
    "The {noun} I write about is {a_thing}.",
    "{A_thing} joined our household {when}.",
    "I have owned {a_thing} for {n} months.",
    "My {who} and I share {a_thing}.",
    "We picked {a_thing} out of {m} in the catalogue.",
    "{brand} makes {m} things, and I ordered this {adjective} {noun}.",
    "Order number {m}{n}: {a_thing}.",
    "For {first}'s birthday I ordered {a_thing}.",
    "This {adjective} {noun} is my {ordinal} by {brand}.",
    "My {who} in {place} needed {a_kind}, so I ordered one by {brand}.",
    "Our club in {place} ordered {a_thing}.",
    "I saw {a_thing} in the window of a shop in {place} and bought it.",
    "{First} and I ordered {a_thing} {when}.",
    "{Thing}, bought for my {who}.",
    "I tried {a_thing} for {n} weeks.",
)

DISTRACTORS = (
    "My {who} has another {noun}, by {other}.",
    "It rained all day when I wrote this.",
    "I live near {place}.",
    "My {who} keeps {m} hens.",
    "{First} was with me at the time.",
    "The sun was out that day.",
    "I also looked at another {noun}, by {other}.",
    "We are a household of {n}.",
    "I write a review every {n} weeks.",
    "{First} will have the {noun} after me.",
    "My last {noun} was by {other}.",
    "There was snow in {place} that week.",
    "I read about the {noun} in a magazine.",
    "{First} lives two doors from us.",
    "I keep the {noun} next to the door.",
    "My {who} lives in {place}.",
    "We took the {noun} along to {place} once.",
    "This is my {ordinal} review this year.",
    "The shop is in {place}.",
    "{First} is learning to swim, by the way.",
    "I have {n} cousins who collect such things.",
    "It was a windy {day}.",
    "Our street has {m} houses.",
    "I wrote this on a {day}.",
    "My {who} took a photograph of the {noun}.",
    "The {noun} has a label that says {place}.",
    "I asked {first} about the {noun} beforehand.",
    "The fog lay over {place} that {day}.",
    "The {noun} came with a leaflet of {n} pages.",
    "We are moving to {place} next month.",
)

LEADS = phrases(
    "also:, for the record:, I should add that, it turned out that, my notes say that, as far as I can tell:, "
    "one more thing:, it must be said that, in short:, I can confirm that, to be exact:, I can report that"
)
"""What may stand before a clause whose subject is not I."""

WHO = phrases(
    "aunt, uncle, sister, brother, neighbour, cousin, mother, father, nephew, niece, grandmother, grandfather, "
    "colleague, friend, daughter, son, landlady, teacher"
)
WHEN = phrases(
    "last week, in March, in June, in October, last winter, two weeks ago, on Monday, on Friday, last spring, "
    "this summer, a month ago, in January, before the holidays, at the end of April, last autumn, in August"
)
DAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
ORDINALS = words("second third fourth fifth sixth seventh")


# ---- customers -------------------------------------------------------------------------------------------------------


FOCUS_WEIGHT, SECOND_WEIGHT = 6, 2
SHIFTS = {"harsh": -1.0, "fair": 0.0, "generous": 1.0}
SPREAD = 1.3
AGREEMENT = 0.75
"""How likely an aspect is good where the thing is, and bad where it is bad."""
FEWEST_WORDS, MOST_WORDS = 20, 45
_GOOD, _BAD = (tuple(name for name, level in LEVELS.items() if (level > 0) is good) for good in (True, False))
_TRAITS = ("focus", "second", "strictness")
# Listed rather than drawn trait by trait, so that all combinations are equally likely.
_PEOPLE = tuple(
    (focus, second, strictness) for focus in ASPECTS for second in ASPECTS for strictness in SHIFTS if second != focus
)


def draw(rng: random.Random) -> Traits:
    """A new customer."""
    return dict(zip(_TRAITS, rng.choice(_PEOPLE), strict=True))


def combination(traits: Traits) -> str:
    """All of the traits."""
    return "/".join(traits[name] for name in _TRAITS)


def score(levels: dict[str, int], traits: Traits) -> int:
    """What the person gives a thing with these levels of the aspects mentioned."""
    weighty = {traits["focus"]: FOCUS_WEIGHT, traits["second"]: SECOND_WEIGHT}
    weights = {aspect: weighty.get(aspect, 1) for aspect in levels}
    mean = sum(weights[aspect] * level for aspect, level in levels.items()) / sum(weights.values())
    return min(5, max(1, _whole(3 + SPREAD * mean + SHIFTS[traits["strictness"]])))


def _whole(points: float) -> int:
    """The nearest whole number of points, a half up; the tiny number keeps it from falling by an error of a digit."""
    return floor(points + 0.5 + 1e-9)


def make(rng: random.Random, traits: Traits, held_out: bool) -> Made:
    """A review, and the person's score."""
    levels, x = draw_review(rng, held_out)
    clean = score(levels, traits)
    noisy = rng.random() < NOISE
    given = clean
    if noisy:
        given = rng.choice([points for points in range(1, 6) if 0 < abs(points - clean) <= 2])
    return Made(x=x, y=str(given), noisy=noisy, clean=str(clean))


def draw_review(rng: random.Random, held_out: bool) -> tuple[dict[str, int], str]:
    """The levels of the aspects mentioned, and a review that mentions them."""
    aspects = rng.sample(ASPECTS, rng.choices((2, 3, 4), (1, 4, 5))[0])
    good = rng.random() < 0.5
    named = {aspect: rng.choice(_GOOD if (rng.random() < AGREEMENT) is good else _BAD) for aspect in aspects}
    levels = {aspect: LEVELS[level] for aspect, level in named.items()}
    while True:
        text = _write(rng, named, held_out)
        if FEWEST_WORDS <= len(text.split()) <= MOST_WORDS:
            return levels, text


def _write(rng: random.Random, named: dict[str, str], held_out: bool) -> str:
    """The review: an opening, the aspects one by one or in pairs, and facts beside the point."""
    group = rng.choice(GROUPS)
    noun, adjective, brand = rng.choice(group.nouns), rng.choice(group.adjectives), family_name(rng, held_out)
    thing = f"{adjective} {brand} {noun}"
    known = {"thing": thing, "noun": noun, "adjective": adjective, "brand": brand}
    known |= {"a_thing": with_a(thing), "a_kind": with_a(f"{adjective} {noun}")}
    opening = _fill(rng, rng.choice(OPENINGS), held_out, known)
    spoken_of = True  # whether "it" would be taken for the thing; else it is named again

    def clause(aspect: str, naming: float) -> str:
        nonlocal spoken_of
        pattern = rng.choice(CLAUSES[aspect][named[aspect]])
        it = "it" if spoken_of and rng.random() >= naming else rng.choice((f"the {noun}", f"this {noun}"))
        spoken_of = "{it}" in pattern
        return pattern.format(it=it, use=group.use, using=group.using, n=rng.randint(2, 9), m=rng.randint(11, 60))

    aspects = list(named)
    plan: list[tuple[str, ...]] = []
    while aspects:
        size = 2 if len(aspects) > 1 and rng.random() < 0.4 else 1
        plan.append(tuple(aspects[:size]))
        del aspects[:size]
    room = 2 if len(named) == 2 else 1
    for _ in range(rng.randint(1, room) if len(named) < 4 else rng.randint(0, 1)):
        plan.insert(rng.randint(0, len(plan)), ())

    sentences = [opening]
    facts: list[int] = []
    used: list[str] = []
    for part in plan:
        if not part:
            fact = rng.choice([text for text in DISTRACTORS if text not in used])
            used.append(fact)
            facts.append(len(sentences))
            sentences.append(_fill(rng, fact, held_out, known))
            spoken_of = False
            continue
        sentence = clause(part[0], naming=0.2)
        if rng.random() < 0.2 and not sentence.startswith("I "):
            sentence = f"{rng.choice(LEADS)} {sentence}"
        if len(part) == 2:
            same = (LEVELS[named[part[0]]] > 0) == (LEVELS[named[part[1]]] > 0)
            link = rng.choice((", and", ";", ", and") if same else (", but", ", but", ", yet", ";", ", while"))
            sentence += f"{link} {clause(part[1], naming=0.0)}"
        sentences.append(f"{capitalised(sentence)}.")
    while facts and sum(len(sentence.split()) for sentence in sentences) > MOST_WORDS:
        del sentences[facts.pop()]
    return " ".join(sentences)


def _fill(rng: random.Random, text: str, held_out: bool, known: dict[str, str]) -> str:
    """An opening or a fact with its slots filled; names are invented only where there is a slot for them."""
    first = first_name(rng, held_out) if "irst}" in text else ""
    when = rng.choice(WHEN)
    return text.format(
        **known,
        Thing=capitalised(known["thing"]),
        A_thing=capitalised(known["a_thing"]),
        First=first,
        first=first,
        place=place_name(rng, held_out) if "{place}" in text else "",
        other=family_name(rng, held_out) if "{other}" in text else "",
        who=rng.choice(WHO),
        when=when,
        When=capitalised(when),
        day=rng.choice(DAYS),
        ordinal=rng.choice(ORDINALS),
        n=rng.randint(2, 9),
        m=rng.randint(11, 60),
    )


_ASPECT_WORDS = {"price": "price", "quality": "quality", "looks": "looks", "ease": "ease of use", "service": "service"}
_STRICT_WORDS = {"harsh": "marks harshly", "fair": "marks fairly", "generous": "marks generously"}


def describe(traits: Traits) -> str:
    """One sentence about the customer, for a teacher to read out."""
    focus, second = _ASPECT_WORDS[traits["focus"]], _ASPECT_WORDS[traits["second"]]
    return f"Goes by {focus} above all, then by {second}, and {_STRICT_WORDS[traits['strictness']]}."


MAKER = Maker(
    task="LaMP_3",
    draw=draw,
    combination=combination,
    make=make,
    describe=describe,
    wording=(
        "What is the score of the following review on a scale of 1 to 5? just answer with 1, 2, 3, 4, or 5 without "
        "further explanation. review: {x}"
    ),
)
