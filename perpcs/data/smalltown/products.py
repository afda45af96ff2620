"""Things for sale in town, and what a review says of them.

In a clause {it} is the thing, {use} and {using} what one does with it (wear, wearing), {n} a small and {m} a larger
number. A clause speaks of one aspect at one level only, and fits every thing.
"""

from dataclasses import dataclass

from perpcs.data.smalltown.words import phrases, words

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
