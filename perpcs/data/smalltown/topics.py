"""The topics of the town's news: who acts, what they act on, what came before."""

from dataclasses import dataclass

from perpcs.data.smalltown.words import phrases, words


@dataclass(frozen=True)
class Topic:
    """Word lists of one topic. An actor pattern holds * where an invented name goes, or is a person's role."""

    actors: tuple[str, ...]
    happenings: tuple[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...]
    """(verbs, adjectives, nouns): any verb goes with any adjective and noun beside it."""
    counts: tuple[str, ...]
    few: frozenset[str]
    """Those of ``counts`` of which there are never many, such as weeks."""
    reasons: tuple[str, ...]


def _topic(actors: str, happenings: tuple[str, ...], counts: str, few: str, reasons: str) -> Topic:
    groups = []
    for line in happenings:
        verbs, adjectives, nouns = line.split(": ")
        groups.append((words(verbs), words(adjectives), phrases(nouns)))
    return Topic(
        actors=phrases(actors),
        happenings=tuple(groups),
        counts=(*phrases(counts), *phrases(few)),
        few=frozenset(phrases(few)),
        reasons=phrases(reasons),
    )


TOPICS: dict[str, Topic] = {
    "council": _topic(
        "* Council, * Town Hall, mayor, councillor, planner",
        (
            "approve reject delay fund plan: new wider covered wooden cheaper green modern public lakeside temporary: "
            "bridge, bus lane, car park, footpath, town square, cycle lane, fountain, playground, bandstand, tramway, "
            "skate park, market hall",
            "criticise approve reject cancel: local costly secret yearly draft late joint simple: "
            "budget, housing plan, parking tax, contract, survey, road scheme, bin charge, bylaw, petition, noise rule",
        ),
        "complaints, letters, signatures, objections, emails",
        "meetings, debates, votes",
        "rising costs, angry protests, flood fears, strong support, growing doubts, budget worries, empty coffers",
    ),
    "fire": _topic(
        "* Brigade, * Fire Service, firefighter, fire chief",
        (
            "fight: fierce sudden stubborn huge small midnight smoky: "
            "barn fire, kitchen fire, warehouse blaze, forest fire, roof fire, stable blaze, mill fire, boat fire",
            "rescue: trapped frightened elderly sleeping injured lucky stranded dizzy: "
            "baker, cyclist, cleaner, tenant, plumber, tourist, carpenter, gardener, student, postman",
            "inspect close: burnt smoky old damaged ruined crowded charred: "
            "mill, stable, hotel, theatre, garage, attic, bakery, workshop, laundry, cinema",
        ),
        "calls, warnings, sirens",
        "hours, alarms, drills",
        "strong winds, thick smoke, dry weather, safety fears, loud bangs, water shortages, gas worries",
    ),
    "sport": _topic(
        "* United!, * Rovers!, * Athletic!, * Wanderers!, coach, captain",
        (
            "win lose: tense close wet noisy early late thrilling scrappy: "
            "derby, cup final, replay, relay, semi-final, home match, away match, title race, friendly, shoot-out",
            "sign sack praise: young tall veteran foreign left-footed speedy fearless unknown: "
            "striker, keeper, defender, winger, trainer, sprinter, bowler, midfielder, goalkeeper, scout",
        ),
        "passes, tickets, minutes, laps",
        "matches, draws, defeats, goals",
        "injury worries, loud cheers, heavy rain, fan protests, poor form, high hopes, transfer rumours",
    ),
    "school": _topic(
        "* School, * Academy, * College, teacher, head teacher",
        (
            "open plan build repair: bright quiet heated tiny glass shared modern airy: "
            "library, canteen, music room, science lab, gym, reading corner, greenhouse, playground, art room, nursery",
            "ban test: plastic noisy smart wooden silent coloured electric paper: "
            "whistle, watch, scooter, lunchbox, pencil case, rucksack, tablet, water bottle, trolley, drum",
            "praise honour: shy gifted cheerful hard-working modest patient retired loyal: "
            "pupil, caretaker, cook, tutor, librarian, choir leader, chess player, cleaner, governor",
        ),
        "letters, emails, exams, detentions",
        "lessons, terms, assemblies",
        "exam stress, parent pressure, falling marks, staff shortages, playground quarrels, record results",
    ),
    "market": _topic(
        "* Bakery, * Farm, * Dairy, farmer, butcher, fishmonger",
        (
            "test buy ban: spiced smoked salted crusty organic frozen bitter giant purple: "
            "cheese, pie, sausage, loaf, pumpkin, marmalade, pickle, honey cake, turnip, cider",
            "raise cut: weekly winter seasonal yearly daily: "
            "stall fee, delivery charge, market toll, tasting fee, parking fee, pitch rent, milk levy",
            "buy move: muddy large rented stony sunny walled: "
            "orchard, meadow, allotment, field, vineyard, farmyard, pasture, cowshed",
        ),
        "orders, jars, crates, samples",
        "harvests, tastings, auctions",
        "poor harvests, strong demand, supply problems, frosty nights, rising wages, export hopes",
    ),
    "weather": _topic(
        "Storm *, River *, Cyclone *, Lake *",
        (
            "damage flood: old wooden crowded empty riverside historic narrow: "
            "pier, campsite, boathouse, chapel, cellar, promenade, railway station, windmill, cricket pitch",
            "block delay: busy steep coastal scenic rural main: "
            "ferry crossing, ring road, mountain pass, school bus, coast road, night train, parade, footbridge",
        ),
        "warnings, alerts, calls",
        "days, downpours, gusts, hours",
        "high tides, melting snow, gale warnings, broken dams, blocked drains, record rainfall",
    ),
    "festival": _topic(
        "* Choir, * Orchestra, * Theatre, singer, organiser, juggler",
        (
            "open plan cancel delay: floating candlelit midsummer silent yearly free outdoor: "
            "concert, lantern parade, puppet show, dance night, jazz festival, kite festival, magic show, "
            "pancake race, masked ball",
            "honour praise: blind elderly local forgotten young tireless humble: "
            "pianist, drummer, costume maker, piper, storyteller, violinist, stagehand, painter, puppeteer, conductor",
        ),
        "requests, votes, costumes",
        "rehearsals, encores, auditions",
        "noise complaints, huge crowds, power cuts, great excitement, poor sales, costume troubles",
    ),
    "traffic": _topic(
        "* Transport, * Highways Agency, inspector, road chief",
        (
            "close repair block inspect: narrow busy cracked sunken icy winding uneven: "
            "roundabout, tunnel, flyover, level crossing, toll bridge, junction, bus station, slip road",
            "fine question: speeding careless sleepy angry impatient uninsured: "
            "lorry driver, motorist, courier, cyclist, van driver, taxi driver, biker, tractor driver",
        ),
        "collisions, potholes, breakdowns, tickets",
        "crashes, tailbacks, accidents",
        "thick fog, endless roadworks, icy mornings, fuel shortages, holiday traffic, broken signals",
    ),
    "animals": _topic(
        "* Zoo, * Shelter, keeper, vet, ranger",
        (
            "rescue find catch free: lost striped shy injured hungry one-eyed runaway sleepy rare spotted: "
            "owl, tortoise, hedgehog, goat, otter, parrot, fox cub, llama, badger, heron, donkey, python, peacock",
            "buy build open: heated leafy spacious shady modern: "
            "aviary, reptile house, pony stable, duck pond, monkey cage, penguin pool, kennel, rabbit hutch",
        ),
        "sightings, tips, posters, photographs",
        "nights, searches, weeks",
        "loud squeaks, feeding problems, worried neighbours, cold weather, visitor interest, missing chickens",
    ),
    "court": _topic(
        "* Court, judge, magistrate",
        (
            "fine jail clear question: careless crafty nervous former masked unlucky greedy local: "
            "burglar, landlord, smuggler, forger, accountant, antique dealer, pickpocket, banker, hacker, poacher, "
            "wine merchant, locksmith",
            "delay cancel: strange lengthy bitter secret private disputed: "
            "fraud trial, theft case, libel case, inquest, insurance case, divorce case, appeal, tax trial",
        ),
        "pages, documents, photographs, exhibits",
        "witnesses, hearings, sessions",
        "public anger, missing evidence, shaky statements, press interest, legal doubts, tearful pleas",
    ),
    "shops": _topic(
        "* Store, * Bookshop, * Emporium, grocer, florist, shop owner",
        (
            "open close buy move: cosy corner Victorian family-run tiny trendy riverside empty: "
            "bookshop, tea room, toy shop, shoe shop, bicycle shop, antique shop, butcher's shop, hat shop, cafe, "
            "barber shop",
            "honour praise ban: loyal polite forgetful generous eager noisy: "
            "shopper, cashier, delivery rider, window cleaner, customer, apprentice, shop dog, street singer",
        ),
        "receipts, reviews, orders, parcels",
        "sales, break-ins, offers",
        "high rents, online rivals, thin profits, Christmas demand, staff illness, parking problems",
    ),
    "science": _topic(
        "* University, * Institute, * Laboratory, scientist, professor, astronomer",
        (
            "invent test build: solar tiny folding silent magnetic wireless waterproof: "
            "battery, robot, drone, umbrella, bandage, telescope, engine, sensor, raincoat, satellite",
            "find study: unusual glowing ancient poisonous hairy giant unknown: "
            "fern, beetle, comet, fossil, fungus, moth, jellyfish, meteorite, cave spider, orchid",
        ),
        "experiments, samples, measurements, attempts",
        "expeditions, seminars, failures",
        "funding cuts, scientific rivalry, energy worries, global interest, expert doubts, lucky accidents",
    ),
}

TIMES = (
    *(f"on {day}" for day in words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")),
    *(
        f"on {day} {month}"
        for month in words("January February March April May June July August September October November December")
        for day in (2, 7, 11, 14, 19, 23, 28)
    ),
)

QUOTE_ADVERBS = words("simply truly utterly quite rather really totally plainly frankly")
QUOTE_ADJECTIVES = words(
    "wonderful sad shocking hopeless brilliant unfair foolish moving surprising dreadful unforgettable "
    "ridiculous touching alarming delightful puzzling necessary heroic disgraceful charming risky splendid tiresome "
    "sensible absurd exciting baffling inspiring dull"
)
ROLES = phrases(
    "nurse, plumber, retired sailor, student, bus driver, beekeeper, dentist, piano teacher, waiter, tailor, "
    "lifeguard, gardener, chemist, carpenter, father of three, mother of two, hairdresser, clockmaker, shepherd, "
    "translator, roofer, optician, librarian, potter, window cleaner, postman, welder, neighbour"
)
